#!/usr/bin/env bash
# The script that deploy/kuberay-rayjob.yaml runs on the head. `drive` resumes the sweep in the storage, or starts it;
# `evict` makes the driver write checkpoints before the pod is evicted.
#
# The operator creates another cluster for a job that fails. A job does not fail if a user ended the sweep from another
# terminal, or if it has an error that another cluster would have too.
set -euo pipefail

name=mine
place=$SWEEP_STORAGE/$name
runs=${SWEEP_RUNS_DIR:-/home/ray/runs}
control=$runs/$name/control/status.json
lock=$runs/$name/lock

drive() {
  local code=0 asked=0 ended_by
  trap 'asked=1' TERM INT # Ray sends SIGTERM to every process of a job; the shell waits for the driver to end
  if sweep status "$place"; then
    [ "$asked" -eq 0 ] || exit 130
    sweep resume "$place" --address auto --autoscale-timeout 900 --runs-dir "$runs" || code=$?
  else
    [ "$asked" -eq 0 ] || exit 130 # the signal ended the status command
    sweep run "/sweeps/$name.toml" --address auto --autoscale-timeout 900 --runs-dir "$runs" || code=$?
  fi
  if [ "$code" -eq 2 ]; then
    echo "rayjob.sh: another cluster does not fix this error; correct it and apply the job again"
    exit 0
  fi
  ended_by=$(sed -n 's/.*"ended_by": "\([a-z]*\)".*/\1/p' "$control" 2> /dev/null || true)
  case $code:$ended_by in
    130:stop | 130:cancel)
      echo "rayjob.sh: ended by \`sweep $ended_by\`; apply the job again to continue"
      exit 0
      ;;
  esac
  exit "$code"
}

evict() {
  local pid
  pid=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$lock" 2> /dev/null || true)
  if [ -n "$pid" ] && kill -TERM "$pid"; then # a signal, not a stop request: the next cluster resumes the sweep
    timeout 40 tail --pid="$pid" -f /dev/null || true
  fi
  ray stop
}

case ${1:-} in
  drive | evict) "$1" ;;
  *) echo "usage: bash rayjob.sh drive|evict" >&2; exit 2 ;;
esac
