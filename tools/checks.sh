# What lint.sh and test.sh share: named checks, each timed, all of them run, counted at the end. Sourced.

passed=0 failed=0 failures=

check() { # NAME COMMAND...
  local name=$1 start=$SECONDS status; shift
  echo "=== $name"
  "$@" </dev/null && status=0 || status=$?
  if [ $status = 0 ]; then
    passed=$((passed + 1))
    echo "=== $name: ok, $((SECONDS - start)) s"
  else
    failed=$((failed + 1)) failures+="  $name"$'\n'
    echo "=== $name: FAILED ($status), $((SECONDS - start)) s"
  fi
  return $status
}

count() { # FILE: adds the tests that a log of cargo test or pytest tells of
  local line
  while read -r line; do
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$line" | grep -oE '[0-9]+' || echo 0)))
    failed=$((failed + $(grep -oE '[0-9]+ (failed|error)' <<<"$line" | grep -oE '[0-9]+' | paste -sd+ | grep . || echo 0)))
  done < <(grep -E '^(test result: |=+ .*(passed|failed|error).* in [0-9.]+s)' "$1")
}

summary() {
  [ -z "$failures" ] || printf '\nfailed:\n%s' "$failures"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" = 0 ] && [ "$passed" != 0 ]
}
