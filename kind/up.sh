#!/bin/bash
# up.sh NAME CONFIG: a kind cluster NAME (made from CONFIG if there is none), with our images (tag VERSION) and the chart in it.
# Done again on a cluster that is there, it upgrades it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$1 config=$2 version=${VERSION:?the images\' tag}
. "$("$here/tools.sh" -e)"
say() { echo "up: $*" >&2; }

if ! kind get clusters 2>/dev/null | grep -qx "$name"; then
  say "creating the cluster $name"
  kind create cluster --name "$name" ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --config "$config" --wait 180s
fi
say "loading the images"
kind load docker-image --name "$name" "ottla-broker:$version" "ottla-operator:$version" "ottla-verify:$version" 2>&1 | grep -v 'not yet present' >&2 || true

say "installing the chart"
helm --kube-context "kind-$name" upgrade --install ottla "$here/../charts/ottla" --namespace ottla-system --create-namespace \
  --set "image.tag=$version" --set "brokerImage.tag=$version" --wait --timeout 180s >&2
