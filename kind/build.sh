#!/bin/bash
# kind where no image registry is reached: kind, helm, kubectl and a node image, put together from package registries
# alone (Go modules, Debian's packages). Linux, root, Go, a docker engine; 12 to 15 minutes on two cores, seconds once cached.
# Prints the settings to load: PATH and KIND_NODE_IMAGE.
#
# Cached in ${XDG_CACHE_HOME:-~/.cache}/ottla/kind, each part keyed by its version in versions.env; the node image's tag
# is a digest of everything that it is made from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.env"
. "$here/node-image.sh"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ottla/kind
bin=$cache/bin
images=$cache/images
mkdir -p "$bin" "$images" "$cache/go"
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"

log() { echo "kind: $*" >&2; }
retry() { "$here/retry.sh" "$@"; }
quiet() { retry "$@" >>"$cache/build.log" 2>&1 || { tail -20 "$cache/build.log" >&2; return 1; }; }

installed() { [ -x "$bin/$1" ] && [ "$(cat "$bin/.$1" 2>/dev/null)" = "$2" ]; }
mark() { echo "$2" >"$bin/.$1"; }

need_packages() {
  command -v go >/dev/null || { log "building kind needs Go"; exit 1; }
  command -v debootstrap >/dev/null && command -v jq >/dev/null && command -v gcc >/dev/null && return
  command -v apt-get >/dev/null || { log "building kind needs debootstrap, jq and gcc"; exit 1; }
  retry apt-get update -qq
  DEBIAN_FRONTEND=noninteractive retry apt-get install -y -qq --no-install-recommends debootstrap jq gcc libc6-dev >/dev/null
}

# The directory of a module's source. Outside any module, so that its own go.mod decides nothing here.
module() { (cd / && GOFLAGS=-mod=mod retry go mod download -json "$1" | jq -r 'select(.Dir) | .Dir'); }

go_install() { # NAME PACKAGE VERSION: a command that `go install` can build as it stands
  installed "$1" "$3" && return
  log "building $1 $3"
  GOBIN=$bin quiet go install -ldflags "-s -w" "$2@v$3" && mark "$1" "$3"
}

build_kubernetes() {
  local missing="" name dir=$cache/go/kubernetes
  for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubeadm kubectl; do
    installed $name "$KUBERNETES" || missing+=" $name"
  done
  [ -z "$missing" ] && return
  # The module's own go.mod points its staging modules at v0.0.0; the published ones are v0.<minor>.<patch>.
  mkdir -p "$dir" && cd "$dir"
  local source staging=v0.${KUBERNETES#1.}
  source=$(module "k8s.io/kubernetes@v$KUBERNETES")
  {
    echo "module kind.local/kubernetes"
    echo "go $(go env GOVERSION | sed 's/^go//')"
    echo "require k8s.io/kubernetes v$KUBERNETES"
    awk -v v="$staging" '$1 ~ /^k8s.io\// && $2 == "v0.0.0" {print "replace " $1 " => " $1 " " v}' "$source/go.mod"
  } >go.mod
  { echo "package tools"; echo "import ("; for name in $missing; do echo "_ \"k8s.io/kubernetes/cmd/$name\""; done; echo ")"; } >tools.go
  sed -i '1i //go:build tools' tools.go
  quiet go mod tidy
  local stamp=k8s.io/component-base/version
  for name in $missing; do
    log "building $name $KUBERNETES"
    go build -ldflags "-s -w -X $stamp.gitVersion=v$KUBERNETES -X $stamp.gitMajor=1 -X $stamp.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES") -X $stamp.gitTreeState=clean" \
      -o "$bin/$name" "k8s.io/kubernetes/cmd/$name"
    mark $name "$KUBERNETES"
  done
}

build_etcd() {
  installed etcd "$ETCD" && return
  log "building etcd $ETCD"
  mkdir -p "$cache/go/etcd" && cd "$cache/go/etcd"
  rm -f go.mod go.sum && go mod init kind.local/etcd 2>/dev/null
  quiet go get "go.etcd.io/etcd/server/v3@v$ETCD"
  go build -ldflags "-s -w" -o "$bin/etcd" go.etcd.io/etcd/server/v3 && mark etcd "$ETCD"
}

build_coredns() {
  installed coredns "$COREDNS" && return
  log "building coredns $COREDNS"
  mkdir -p "$cache/go/coredns" && cd "$cache/go/coredns"
  cp "$here/coredns/main.go" . && rm -f go.mod go.sum && go mod init kind.local/coredns 2>/dev/null
  quiet go get "github.com/coredns/coredns@v$COREDNS" && quiet go mod tidy
  go build -ldflags "-s -w" -o "$bin/coredns" . && mark coredns "$COREDNS"
}

rootfs() { # the nodes' root filesystem, without kind's own files
  [ "$(cat "$cache/node.done" 2>/dev/null)" = "$DEBIAN $node_packages" ] && return
  log "debootstrap $DEBIAN"
  local attempt
  for attempt in 1 2 3; do
    rm -rf "${cache:?}/node"
    debootstrap --variant=minbase --include="$node_packages" "$DEBIAN" "$cache/node" >"$cache/node.log" 2>&1 && break
    [ $attempt = 3 ] && { tail -20 "$cache/node.log" >&2; return 1; }
    log "debootstrap failed, again"; sleep 5
  done
  rm -rf "$cache"/node/var/cache/apt/archives/*.deb "$cache"/node/var/lib/apt/lists/*
  echo "$DEBIAN $node_packages" >"$cache/node.done"
}

main() {
  docker info >/dev/null 2>&1 || { log "no docker engine answers"; exit 1; }
  need_packages
  rootfs & local filesystem=$!
  (build_kubernetes)
  (build_etcd)
  (build_coredns)
  go_install kind sigs.k8s.io/kind "$KIND"
  go_install helm helm.sh/helm/v3/cmd/helm "$HELM"
  go_install local-path-provisioner github.com/rancher/local-path-provisioner "$LOCAL_PATH"
  wait $filesystem
  build_node_image
  printf 'export PATH=%q:$PATH\nexport KIND_NODE_IMAGE=%s\n' "$bin" "$(node_image)"
}
main "$@"
