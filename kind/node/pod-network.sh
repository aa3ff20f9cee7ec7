#!/bin/bash
# The pod network of a kind node: a bridge for its own pods, and a route to every other node's pods.
# Stands in for kind's own CNI daemon, whose image is in a registry.
set -u
conf=/etc/cni/net.d/10-bridge.conflist
nodes() {
  kubectl --kubeconfig /etc/kubernetes/kubelet.conf get nodes -o \
    jsonpath='{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'
}
while sleep 2; do
  [ -s /etc/kubernetes/kubelet.conf ] || continue
  nodes 2>/dev/null | while read -r name cidr address; do
    [ -n "${address:-}" ] || continue
    if [ "$name" != "$(hostname)" ]; then
      ip route replace "$cidr" via "$address"
    elif [ ! -s "$conf" ]; then
      mkdir -p "${conf%/*}"
      cat >"$conf.new" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
      iptables -t nat -A POSTROUTING -s "$cidr" ! -d 10.244.0.0/16 -j MASQUERADE
      mv "$conf.new" "$conf"
    fi
  done
done
