#!/bin/bash
# stage-image.sh DIR BINARY...: lays out in DIR the root file system of an image that holds the binaries in /usr/bin and
# nothing else but what they load: their shared libraries, what glibc needs to resolve names, and a user.
set -euo pipefail
dir=$1; shift

copy() { mkdir -p "$dir$(dirname "$1")" && cp -L "$1" "$dir$1"; }

rm -rf "$dir"
mkdir -p "$dir/usr/bin" "$dir/etc" "$dir/tmp" "$dir/data"
chmod 1777 "$dir/tmp"
for binary in "$@"; do
  install -m 755 "$binary" "$dir/usr/bin/"
  libraries=$(ldd "$binary" | grep -oE '/[^ ]+')
  for library in $libraries; do copy "$library"; done
  # Resolvers that glibc loads by name at run time. Recent ones have files and dns built in and ship no such file.
  libc=$(grep -E '/libc\.so' <<<"$libraries" || true)
  [ -z "$libc" ] || for library in "${libc%/*}"/lib{nss_files,nss_dns,resolv}.so.2; do
    [ ! -e "$library" ] || copy "$library"
  done
done
echo 'hosts: files dns' >"$dir/etc/nsswitch.conf"
echo 'ottla:x:65532:65532::/data:/sbin/nologin' >"$dir/etc/passwd"
echo 'ottla:x:65532:' >"$dir/etc/group"
chown 65532:65532 "$dir/data" 2>/dev/null || true
