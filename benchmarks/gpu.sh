#!/bin/sh
# Measure this machine's GPU: all sections of benchmarks/gpu.py, or those that are named. Sets up nothing.
#
#   benchmarks/gpu.sh --data FOLDER [SECTION ...]
#
# Needs Python 3.12 with torch 2.11 or newer and this repository's other dependencies; PYTHON names another interpreter.
# Each row is printed when it is measured. The table is printed at the end, also after a failure, Ctrl-C or SIGTERM.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
rows=${GPU_ROWS:-gpu-results.jsonl}
rm -f "$rows"

child=
# shellcheck disable=SC2317  # called by the trap
print_table() {
    trap - EXIT
    [ ! -s "$rows" ] || "$python" -c 'import sys
from pathlib import Path
from benchmarks.gpu import table
print(table(Path(sys.argv[1])))' "$rows"
}
trap 'status=$?; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null; print_table; exit "$status"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$python" -m benchmarks.gpu --out "$rows" "$@" >/dev/null &
child=$!
wait "$child"
status=$?
child=
exit "$status"
