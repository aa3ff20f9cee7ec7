#!/bin/bash
# demo.sh NAME: a KafkaCluster and a KafkaTopic on the kind cluster NAME, and how to talk to them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$1
. "$("$here/tools.sh" -e)"
k() { kubectl --context "kind-$name" "$@"; }

k apply -f "$here/demo.yaml" -f "$here/../examples/kafka-topic.yaml"
k wait kafkacluster/demo kafkatopic/orders --for condition=Ready --timeout 180s
k get kafkaclusters,kafkatopics,pods
cat <<X

The cluster is up. From this machine it is 127.0.0.1:32092, inside Kubernetes $(k get kafkacluster demo -o jsonpath='{.status.listeners[?(@.name=="internal")].bootstrapServers}'):

  echo hello | kcat -b 127.0.0.1:32092 -P -t orders
  kcat -b 127.0.0.1:32092 -C -t orders -e

  . "\$(kind/tools.sh -e)"                # kind, kubectl and helm, where they are not installed
  kubectl --context kind-$name get kc,kt
  make down
X
