#!/bin/bash
# images.sh TARGET VERSION: builds the binaries with cargo and the images ottla-broker, ottla-operator and ottla-verify, all :VERSION,
# from them, and fails where one is bigger than it may be. Where cargo cannot build for Linux, the images are built from source.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1 version=$2
limit_mb() { case $1 in broker) echo 25 ;; operator) echo 30 ;; verify) echo 20 ;; esac; }

if [ "$(uname)" = Linux ] && command -v cargo >/dev/null; then
  cargo build --release --locked --target-dir "$target" --bin ottla-broker --bin ottla-operator --bin ottla-verify
  context=$(mktemp -d); trap 'rm -rf "$context"' EXIT
  cp LICENSE "$context/"
  for name in broker operator verify; do tools/stage-image.sh "$context/ottla-$name" "$target/release/ottla-$name"; done
  suffix=-local
else
  context=. suffix=
fi

for name in broker operator verify; do
  docker build --quiet --file Dockerfile --target "$name$suffix" --tag "ottla-$name:$version" "$context" >/dev/null
  bytes=$(docker image inspect --format '{{.Size}}' "ottla-$name:$version")
  mb=$(( (bytes + 999999) / 1000000 ))
  echo "image ottla-$name:$version: $mb MB (at most $(limit_mb $name))"
  [ "$mb" -le "$(limit_mb $name)" ]
done
