#!/usr/bin/env bash
# What deploy/kuberay-rayjob.yaml runs on the head. `drive` goes on with what the storage has, or begins it; `evict`
# makes the driver write checkpoints before the pod is taken away.
#
# The operator makes another cluster for a job that fails. One that a user ended from another terminal, and one whose
# mistake the next cluster would meet, too, has not failed.
set -euo pipefail

name=mine
place=$SWEEP_STORAGE/$name
runs=${SWEEP_RUNS_DIR:-/home/ray/runs}
control=$runs/$name/control/status.json
lock=$runs/$name/lock

drive() {
  local code=0 asked=0 ended_by
  trap 'asked=1' TERM INT # Ray asks every process of a job to end: the shell waits for the driver's own end
  if sweep status "$place"; then
    [ "$asked" -eq 0 ] || exit 130
    sweep resume "$place" --address auto --wait 900 --runs-dir "$runs" || code=$?
  else
    [ "$asked" -eq 0 ] || exit 130 # it was the look at the storage that ended
    sweep run "/sweeps/$name.toml" --address auto --wait 900 --runs-dir "$runs" || code=$?
  fi
  if [ "$code" -eq 2 ]; then
    echo "rayjob.sh: no other cluster mends this; correct it and apply the job anew"
    exit 0
  fi
  ended_by=$(sed -n 's/.*"ended_by": "\([a-z]*\)".*/\1/p' "$control" 2> /dev/null || true)
  case $code:$ended_by in
    130:stop | 130:cancel)
      echo "rayjob.sh: ended by \`sweep $ended_by\`; the job, applied anew, goes on"
      exit 0
      ;;
  esac
  exit "$code"
}

evict() {
  local pid
  pid=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$lock" 2> /dev/null || true)
  if [ -n "$pid" ] && kill -TERM "$pid"; then # a signal: nobody means the sweep to end for good
    timeout 40 tail --pid="$pid" -f /dev/null || true
  fi
  ray stop
}

case ${1:-} in
  drive | evict) "$1" ;;
  *) echo "usage: bash rayjob.sh drive|evict" >&2; exit 2 ;;
esac
