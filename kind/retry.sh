#!/bin/bash
# retry.sh COMMAND...: up to five tries, with growing pauses, for what downloads.
for pause in 2 5 15 30 0; do
  "$@" && exit 0
  status=$?
  [ $pause = 0 ] || { echo "retry: '$1 ${2:-}' failed ($status), again in $pause s" >&2; sleep $pause; }
done
exit "$status"
