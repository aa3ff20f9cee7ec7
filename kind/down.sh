#!/bin/bash
# down.sh NAME: removes the kind cluster NAME, and stops the docker engine if engine.sh started it and nothing else runs on it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docker info >/dev/null 2>&1 || { echo "down: no docker engine answers, so no cluster runs" >&2; exit 0; }
. "$("$here/tools.sh" -e)"
kind delete cluster --name "$1"
[ -n "$(docker ps -q)" ] || "$here/engine.sh" stop
