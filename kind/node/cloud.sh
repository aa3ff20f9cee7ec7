#!/bin/bash
# Plays the cloud of a kind cluster, on its control-plane node:
# - a Service of type LoadBalancer gets an address of its own on the docker network (x.y.200.z), served by kube-proxy;
# - a PersistentVolumeClaim that asks for more than it has is granted it (local-path volumes are directories: growing is bookkeeping).
# Label a Service or a claim kind.ottla.dev/ignore=true and it stays pending, to test what an operator does then.
set -u
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
network() { ip -4 -o addr show eth0 | awk '{print $4; exit}' | cut -d. -f1-2; }

balance() {
  local used free namespace name
  k get services -A -l 'kind.ottla.dev/ignore!=true' -o json | jq -r '.items[] | select(.spec.type == "LoadBalancer" and (.status.loadBalancer.ingress | not))
    | "\(.metadata.namespace) \(.metadata.name)"' | while read -r namespace name; do
    used=$(k get services -A -o jsonpath='{.items[*].status.loadBalancer.ingress[*].ip}')
    for free in $(seq 1 250); do
      grep -qw "$(network).200.$free" <<<"$used" || break
    done
    ip addr add "$(network).200.$free/32" dev eth0 2>/dev/null
    k patch service -n "$namespace" "$name" --subresource status --type merge \
      -p "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$(network).200.$free\"}]}}}"
  done
}

grow() {
  local namespace name volume wanted
  k get persistentvolumeclaims -A -l 'kind.ottla.dev/ignore!=true' -o json | jq -r '.items[]
    | select(.status.phase == "Bound" and .status.capacity.storage != .spec.resources.requests.storage)
    | "\(.metadata.namespace) \(.metadata.name) \(.spec.volumeName) \(.spec.resources.requests.storage)"' | while read -r namespace name volume wanted; do
    k patch persistentvolume "$volume" --type merge -p "{\"spec\":{\"capacity\":{\"storage\":\"$wanted\"}}}"
    k patch persistentvolumeclaim -n "$namespace" "$name" --subresource status --type merge \
      -p "{\"status\":{\"capacity\":{\"storage\":\"$wanted\"}}}"
  done
}

while sleep 2; do
  [ -s /etc/kubernetes/admin.conf ] || continue
  balance
  grow
done 2>&1 | grep --line-buffered -v '^$'
