#!/bin/bash
# kind, kubectl, helm and a node image: the machine's own where it has them, else built here (build.sh).
#
#   tools.sh            get what is missing, then print the settings
#   . "$(tools.sh -e)"  ... or load them: PATH, KIND_NODE_IMAGE (empty: kind's own default)
#
# OTTLA_KIND=build forces everything to be built here, OTTLA_KIND=stock forbids it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ottla/kind
mkdir -p "$cache"

has_tools() { command -v kind && command -v kubectl && command -v helm; } >/dev/null 2>&1
has_node_image() { # kind's own node image is here already, or a registry answers
  [ -n "$(docker images -q kindest/node)" ] || timeout 60 docker pull -q registry.k8s.io/pause:3.10
} >/dev/null 2>&1

"$here/engine.sh" start
case ${OTTLA_KIND:-auto} in
  build) stock=false ;;
  stock) stock=true ;;
  *) if has_tools && has_node_image; then stock=true; else stock=false; fi ;;
esac
if $stock; then
  : >"$cache/env"
else
  "$here/build.sh" >"$cache/env.new"
  mv "$cache/env.new" "$cache/env"
fi
if [ "${1:-}" = -e ]; then echo "$cache/env"; else cat "$cache/env"; fi
