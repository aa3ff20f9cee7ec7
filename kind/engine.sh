#!/bin/bash
# A docker engine: the one that answers, else the machine's service, else one from Debian's packages (needs root).
#
#   engine.sh          start one where none answers, and wait for it
#   engine.sh stop     stop the one that this script started; any other is left alone
#
# Log of one started here: $log below.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
state=${XDG_CACHE_HOME:-$HOME/.cache}/ottla/engine
pid_file=$state/dockerd.pid
log=$state/dockerd.log

say() { echo "engine: $*" >&2; }

ours() { # the pid of a dockerd that this script started and that still runs
  [ -s "$pid_file" ] && grep -qs dockerd "/proc/$(cat "$pid_file")/comm" && cat "$pid_file"
}

stop() {
  local pid; pid=$(ours) || return 0
  kill "$pid"
  for _ in $(seq 150); do [ -e "/proc/$pid" ] || break; sleep 0.2; done
  rm -f "$pid_file"
  say "stopped"
}

install_engine() {
  command -v dockerd >/dev/null && command -v jq >/dev/null && command -v iptables >/dev/null && return
  command -v apt-get >/dev/null || { say "no docker engine answers: install one (or, on Debian, run this as root)"; exit 1; }
  say "installing docker.io from Debian's packages"
  "$here/retry.sh" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "$here/retry.sh" apt-get install -y -qq --no-install-recommends docker.io runc containerd iptables jq >/dev/null
}

start() {
  docker info >/dev/null 2>&1 && return
  if [ -d /run/systemd/system ] && systemctl cat docker >/dev/null 2>&1; then
    systemctl start docker && docker info >/dev/null 2>&1 && return
  fi
  [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || { say "no docker engine answers, and only root on Linux can start one: start docker and try again"; exit 1; }
  install_engine
  install -m 755 "$here/runc-held-caps.sh" /usr/local/sbin/ottla-runc
  mkdir -p "$state"
  rm -f /var/run/docker.pid
  say "starting dockerd (log: $log)"
  setsid nohup dockerd --add-runtime ottla-runc=/usr/local/sbin/ottla-runc --default-runtime ottla-runc \
    --log-level warn >>"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  for _ in $(seq 300); do docker info >/dev/null 2>&1 && return; sleep 0.2; done
  say "dockerd did not come up:"; tail -20 "$log" >&2
  exit 1
}

case ${1:-start} in
  start) start ;;
  stop) stop ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
