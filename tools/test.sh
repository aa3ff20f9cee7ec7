#!/bin/bash
# Everything that CI runs: the sources judged, unit tests, the broker against foreign clients, Apache's tools and Apache's broker, the operator on kind.
# All of it runs even if a part fails; the last line has the counts. TARGET: cargo's directory; VERSION: the images' tag.
set -uo pipefail
cd "$(dirname "$0")/.."
. tools/checks.sh
export CARGO_TARGET_DIR=${TARGET:-target} CARGO_INCREMENTAL=0
logs=$(mktemp -d)
cluster=ottla-e2e
engine_was_there=false; docker info >/dev/null 2>&1 && engine_was_there=true

finish() {
  local status=$?
  trap - EXIT INT TERM
  [ -z "${peers:-}" ] || kill "$peers" 2>/dev/null
  if docker info >/dev/null 2>&1; then
    (. "$(kind/tools.sh -e)" && kind delete cluster --name "$cluster") >/dev/null 2>&1
    $engine_was_there || kind/engine.sh stop
  fi
  rm -rf "$logs"
  exit "$status"
}
trap finish EXIT
trap 'exit 143' INT TERM

logged() { # FILE COMMAND...: shown and kept
  local file=$logs/$1; shift
  "$@" 2>&1 | tee "$file"
}

lint() { COUNTS=$logs/lint tools/lint.sh; }
unit() { # what is tried at random the commit decides, so that a failure comes again
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null) &&
    local -x OTTLA_FRESH_SEED=$((16#${commit::12})) PROPTEST_RNG_SEED=$((16#${commit::12}))
  OTTLA_KAFKA_LIBS=$(cat "$logs/peers")/libs logged unit cargo test --release --locked --workspace --no-fail-fast --quiet
}
build() { cargo build --release --locked --bin ottla-broker --bin ottla-operator --bin ottla-verify; }
pytests() { # DIRECTORY
  OTTLA_BROKER=$(realpath "$CARGO_TARGET_DIR/release/ottla-broker") OTTLA_PEERS=$(cat "$logs/peers") OTTLA_VERSION=$VERSION \
    logged "$1" "$(cat "$logs/peers")/venv/bin/python" -m pytest -c tests/pytest.ini --basetemp "$logs/$1.d" "tests/$1"
}
peers_ready() { wait "$peers"; status=$?; peers=; cat "$logs/peers.log"; return $status; }
images() { tools/images.sh "$CARGO_TARGET_DIR" "$VERSION"; }

tests/setup.sh >"$logs/peers" 2>"$logs/peers.log" & peers=$!
check "build" build || { summary; exit 1; }
lint; read -r p f <"$logs/lint"; passed=$((passed + p)) failed=$((failed + f)) failures+=$(tail -n +2 "$logs/lint")
check "foreign clients and tools are there" peers_ready
check "unit tests" unit; count "$logs/unit"
check "black box" pytests blackbox; count "$logs/blackbox"
check "beside Apache Kafka" pytests differential; count "$logs/differential"
check "clusters" pytests cluster; count "$logs/cluster"
check "kind" kind/tools.sh && check "images" images && { check "on kind" pytests e2e; count "$logs/e2e"; }
summary
