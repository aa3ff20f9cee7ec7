# The node image of a kind that is built here; sourced by build.sh, whose names it uses.
# It is a Debian root filesystem, kind's own node files, Kubernetes' binaries, and beyond stock kind: a pod network without
# a daemon of its own, a storage class, and a service that plays the cloud (node/cloud.sh).

node_packages=systemd,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,pigz,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins,hostname,socat

node_image() { echo "ottla.dev/kind/node:v$KUBERNETES-$(cat "$here/versions.env" "$here"/node/* "$here/node-image.sh" | sha256sum | cut -c1-12)"; }

# stage DIR PROGRAM...: copies programs (or files) of the node's root filesystem with the libraries they load.
stage() {
  local dir=$1 program lib; shift
  for program in "$@"; do
    program=$(chroot "$cache/node" sh -c "command -v $program" || echo "$program")
    for lib in "$program" $(chroot "$cache/node" ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' || true); do
      mkdir -p "$dir/$(dirname "$lib")"
      cp -L "$cache/node$lib" "$dir/$lib"
    done
  done
}

archive() { # IMAGE DIR [dockerfile changes...]: an image from a directory, saved for the node's containerd
  local image=$1 dir=$2; shift 2
  local file=$images/$(tr '/:' '__' <<<"$image").tar
  tar -C "$dir" -c . | docker import "${@/#/--change=}" - "$image" >/dev/null
  docker save "$image" -o "$file"
  docker rmi "$image" >/dev/null # only the nodes need it, and the tag is not ours
}

preloaded_images() { # the images that kubeadm and kind expect a node to have, as archives in $images
  log "building the images that a node preloads"
  rm -f "$images"/*.tar
  local component
  for component in kube-apiserver kube-controller-manager kube-scheduler; do
    mkdir -p "$tmp/$component/usr/local/bin" && cp "$bin/$component" "$tmp/$component/usr/local/bin/"
    archive "registry.k8s.io/$component:v$KUBERNETES" "$tmp/$component" 'ENV PATH=/usr/local/bin'
  done
  mkdir -p "$tmp/proxy/usr/local/bin" "$tmp/proxy/tmp" "$tmp/proxy/run" "$tmp/proxy/etc" && cp "$bin/kube-proxy" "$tmp/proxy/usr/local/bin/"
  stage "$tmp/proxy" sh iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore nft conntrack ip \
    $(cd "$cache/node" && printf '/%s ' usr/lib/*/xtables/*.so)
  archive "registry.k8s.io/kube-proxy:v$KUBERNETES" "$tmp/proxy" 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

  local wanted; wanted=$("$bin/kubeadm" config images list --kubernetes-version "v$KUBERNETES" 2>/dev/null)
  mkdir -p "$tmp/etcd/usr/local/bin" "$tmp/dns" "$tmp/pause" "$tmp/path/usr/local/bin" "$tmp/path/tmp" "$tmp/shell/tmp"
  cp "$bin/etcd" "$tmp/etcd/usr/local/bin/" && archive "$(grep /etcd: <<<"$wanted")" "$tmp/etcd" 'ENV PATH=/usr/local/bin'
  cp "$bin/coredns" "$tmp/dns/" && archive "$(grep /coredns: <<<"$wanted")" "$tmp/dns" 'ENTRYPOINT ["/coredns"]'
  gcc -O2 -static -o "$tmp/pause/pause" "$here/node/pause.c"
  archive registry.k8s.io/pause:3.10 "$tmp/pause" 'ENTRYPOINT ["/pause"]'
  cp "$bin/local-path-provisioner" "$tmp/path/usr/local/bin/"
  archive ottla.dev/kind/path-provisioner:built "$tmp/path" 'ENV PATH=/usr/local/bin'
  stage "$tmp/shell" sh rm mkdir chmod chown
  ln -s usr/bin "$tmp/shell/bin"
  archive ottla.dev/kind/shell:built "$tmp/shell" 'ENV PATH=/usr/bin:/bin'
}

node_files() { # the root filesystem with kind's files, Kubernetes and what this directory adds
  local base root=$tmp/node; mkdir -p "$root"
  base=$(module "sigs.k8s.io/kind@v$KIND")/images/base/files
  cp -a "$cache/node/." "$root/"
  cp -r --no-preserve=mode,ownership "$base/." "$root/"
  chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
  mkdir -p "$root/kind/manifests" "$root/opt/cni/bin" "$root/etc/kubernetes/manifests" "$root/kind/kubelet.conf.d" "$root/kind/images"
  cp "$bin"/{kubelet,kubeadm,kubectl} "$root/usr/bin/"
  cp "$images"/*.tar "$root/kind/images/"
  cp "$root"/usr/lib/cni/* "$root/opt/cni/bin/"
  ln -sf /usr/bin/containerd /usr/bin/ctr "$root/usr/local/bin/"
  ln -sf /lib/systemd/systemd "$root/sbin/init"
  install -m 755 "$here"/node/*.sh "$root/kind/bin/"
  install -m 644 "$here"/node/*.service "$root/etc/systemd/system/"
  install -m 644 "$here/node/storage.yaml" "$root/kind/manifests/default-storage.yaml"
  echo "v$KUBERNETES" >"$root/kind/version"
  install -m 644 "$here/node/network.yaml" "$root/kind/manifests/default-cni.yaml"
  # Hosts with cgroup v1, and hosts whose root may not lower an OOM score (no CAP_SYS_RESOURCE), still work.
  printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfailCgroupV1: false\noomScoreAdj: 0\n' >"$root/kind/kubelet.conf.d/sandbox.conf"
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
  echo 'KUBELET_EXTRA_ARGS="--runtime-cgroups=/system.slice/containerd.service --config-dir=/kind/kubelet.conf.d"' >"$root/etc/default/kubelet"
  echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
  chroot "$root" sh -euc '
    rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
      /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* \
      /lib/systemd/system/basic.target.wants/* /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
    systemctl enable kubelet containerd undo-mount-hacks pod-network cloud 2>/dev/null
    systemctl mask systemd-binfmt 2>/dev/null
    ctr oci spec | jq ".hooks.createContainer[.hooks.createContainer|length] |= . + {path: \"/kind/bin/mount-product-files.sh\"} | del(.process.rlimits)" >/etc/containerd/cri-base.json'
}

load_images() { # puts the archives into the node's containerd, and commits that as the node image
  tar -C "$tmp/node" -c . | docker import --change 'ENV container=docker' \
    --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' - ottla.dev/kind/node:unloaded >/dev/null
  docker rm -f ottla-kind-build >/dev/null 2>&1 || true
  docker run -d --privileged --name ottla-kind-build --entrypoint sleep ottla.dev/kind/node:unloaded infinity >/dev/null
  docker exec ottla-kind-build bash -euc '
    containerd >/tmp/containerd.log 2>&1 & pid=$!
    until ctr version >/dev/null 2>&1; do sleep 0.2; done
    for image in /kind/images/*.tar; do ctr -n k8s.io images import --all-platforms --no-unpack --digests "$image" >/dev/null 2>&1 || ctr -n k8s.io images import "$image" >/dev/null; done
    kill $pid; wait $pid 2>/dev/null || true
    rm -rf /kind/images /tmp/containerd.log'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' ottla-kind-build "$(node_image)" >/dev/null
  docker rm -f ottla-kind-build >/dev/null
  docker rmi ottla.dev/kind/node:unloaded >/dev/null 2>&1 || true
}

build_node_image() {
  docker image inspect "$(node_image)" >/dev/null 2>&1 && return
  tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
  preloaded_images
  log "building $(node_image)"
  node_files
  load_images
  local old
  for old in $(docker images --format '{{.Repository}}:{{.Tag}}' ottla.dev/kind/node); do
    [ "$old" = "$(node_image)" ] || docker rmi "$old" >/dev/null 2>&1 || true
  done
}

