#!/usr/bin/env bash
# Trains with several processes on this machine, as the hosts of a cluster would.
#
#   bash launch/local.sh [options] -- train CONFIG --workdir DIR
#
# To try on a laptop, or in CI, what a pod will do: each process has CPU devices of its
# own and its rows of every batch. The same command resumes, with any number of processes
# that divides the batch. ctrl-C lets the training save and end.
#
#   --processes N       how many (2)
#   --devices N         of each (1)
#   --port N            where process 0 listens (one that is free)
#   --dry-run           prints the commands and runs none of them
#
# Needs mdm: in .venv, in MDM_VENV=FOLDER, or on the PATH. On hosts of your own, run mdm on
# each with the three MDM_ variables that --dry-run prints, and HOST:PORT of the first.
#
# Exit status: 0 done or saved; else that of the first process that failed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

processes=2 devices=1 port=''
read_options "processes devices port" "" "$@"
[ ${#words[@]} -eq 0 ] || fail "${words[0]} comes before --; what mdm is to do comes after."
need_command
for number in "$processes" "$devices" "${port:-1}"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "$number is no number of processes, devices or port."
done

is_taken() {
  (: <"/dev/tcp/localhost/$1") 2>/dev/null
}

if [ -z "$port" ]; then
  port=$((20000 + RANDOM % 10000))
  while is_taken "$port"; do port=$((port + 1)); done
fi
mdm="${MDM_VENV:-$root/.venv}/bin/mdm"
[ -x "$mdm" ] || mdm=mdm

children=() status=0
trap 'kill -TERM "${children[@]}" 2>/dev/null || true' TERM INT
for ((id = 0; id < processes; id++)); do
  start=(env JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices"
    MDM_COORDINATOR="localhost:$port" MDM_NUM_PROCESSES="$processes" MDM_PROCESS_ID="$id"
    "$mdm" "${command[@]}")
  if [ -n "$dry_run" ]; then run "${start[@]}" && continue; fi
  "${start[@]}" &
  children+=($!)
done
for child in ${children[@]+"${children[@]}"}; do
  while :; do
    one=0
    wait "$child" || one=$?
    kill -0 "$child" 2>/dev/null || break # else a signal came between
  done
  [ "$status" -ne 0 ] || status=$one
done
exit "$status"
