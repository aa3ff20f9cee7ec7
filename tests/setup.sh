#!/bin/bash
# Fetches what the tests run against: kcat, Apache Kafka's jars (Maven Central), Python clients (PyPI) and franz-go's own tests (Go modules;
# left out, and their scenario skipped, where there is no Go).
# Kept in ${XDG_CACHE_HOME:-~/.cache}/ottla/peers, keyed by the lists beside this file. Prints that directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ottla/peers
retry() { "$here/../kind/retry.sh" "$@"; }
mkdir -p "$cache"
exec 9>"$cache/.lock" && flock 9 # one at a time

current() { cmp -s "$1" "$2/.from"; }
mark() { cp "$1" "$2/.from"; }

packages=()
command -v kcat >/dev/null || packages+=(kcat)
command -v java >/dev/null || packages+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || current "$here/apache/pom.xml" "$cache/libs" || packages+=(maven)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  echo "tests: installing ${packages[*]}" >&2
  retry apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive retry apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi

if ! current "$here/apache/pom.xml" "$cache/libs"; then
  echo "tests: fetching Apache Kafka" >&2
  rm -rf "$cache/libs.new"
  retry mvn -q -B -f "$here/apache/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs.new" >&2
  mark "$here/apache/pom.xml" "$cache/libs.new"
  rm -rf "$cache/libs" && mv "$cache/libs.new" "$cache/libs"
fi

if ! current "$here/requirements.txt" "$cache/venv"; then
  echo "tests: installing Python clients" >&2
  rm -rf "$cache/venv"
  python3 -m venv "$cache/venv"
  retry "$cache/venv/bin/pip" install -q --only-binary :all: -r "$here/requirements.txt" >&2
  mark "$here/requirements.txt" "$cache/venv"
fi

PATH=$PATH:/usr/local/go/bin
if command -v go >/dev/null && ! current "$here/franz-go/go.mod" "$cache/franz-go"; then
  echo "tests: building franz-go's tests" >&2
  rm -rf "$cache/franz-go"
  retry go -C "$here/franz-go" test -mod=readonly -c -o "$cache/franz-go/kgo.test" github.com/twmb/franz-go/pkg/kgo >&2
  mark "$here/franz-go/go.mod" "$cache/franz-go"
fi
echo "$cache"
