#!/bin/bash
# Everything that judges the sources without running them. TARGET: cargo's directory.
set -uo pipefail
cd "$(dirname "$0")/.."
. tools/checks.sh
export CARGO_TARGET_DIR=${TARGET:-target}

file_lengths() { # no file written by hand is longer than 800 lines
  local long
  long=$(git ls-files '*.rs' '*.py' '*.sh' '*.md' '*.yaml' | grep -vE '/generated/|^crds/|/crds/' | while read -r file; do
    lines=$(wc -l <"$file"); [ "$lines" -le 800 ] || echo "$lines $file"
  done)
  [ -z "$long" ] || { echo "longer than 800 lines:"; echo "$long"; return 1; }
}

dependencies() { # licences, sources and banned crates; advisories need a database that is not in a package registry
  local version=0.20.2 tools=${XDG_CACHE_HOME:-$HOME/.cache}/ottla/tools
  if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    CARGO_TARGET_DIR=$tools/target kind/retry.sh cargo install --quiet --locked "cargo-deny@$version" --root "$tools" || return
    rm -rf "$tools/target"
  fi
  PATH=$tools/bin:$PATH cargo deny --log-level error check bans licenses sources
}

doc() { RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --quiet; }
crds() { cargo run --release --locked --quiet --bin ottla-operator -- crds --check crds charts/ottla/files/crds; }
generated() { cargo run --release --locked --quiet -p ottla-wire-generator -- generate --check; }

python() {
  local ruff; ruff=$(tests/setup.sh)/venv/bin/ruff || return
  "$ruff" check --quiet --config tests/ruff.toml tests fuzz && "$ruff" format --quiet --check --config tests/ruff.toml tests fuzz
}

check "format" cargo fmt --all --check
check "length of files" file_lengths
check "dependencies" dependencies
check "tests in Python" python
check "clippy" cargo clippy --release --locked --workspace --all-targets --quiet -- -D warnings
check "documentation" doc
check "generated code" generated
check "CRDs" crds
[ -n "${COUNTS:-}" ] && { echo "$passed $failed" >"$COUNTS"; printf '%s' "$failures" >>"$COUNTS"; [ "$failed" = 0 ]; exit; }
summary
