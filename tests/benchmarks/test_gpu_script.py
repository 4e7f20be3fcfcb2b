"""``benchmarks/gpu.sh`` prints the rows that were measured, also where the measurement ends early."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
ROW = ["packs", "a step of 24 runs", "2.29 ms", ""]
PYTHON = f"""#!/bin/sh
case "$*" in
    *benchmarks.gpu*--out*) ;;
    *) exec {sys.executable} "$@" ;;
esac
echo '{json.dumps(ROW)}' > "$GPU_ROWS"
echo measured >&2
[ -z "$HANGS" ] || exec sleep 60
exit 3
"""


def begin(folder: Path, hangs: str = "") -> subprocess.Popen[str]:
    """Run the script with an interpreter that measures one row and then fails, or hangs."""
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    rows = folder / "rows.jsonl"
    rows.write_text("rows of an earlier call\n")
    environment = os.environ | {"PYTHON": str(python), "GPU_ROWS": str(rows), "HANGS": hangs}
    return subprocess.Popen([SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_the_table_is_printed_after_a_failure_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    out, _ = (process := begin(tmp_path)).communicate(timeout=120)
    assert process.returncode == 3
    assert out.splitlines()[-1] == f"| {' | '.join(ROW)} |"
    assert len(out.splitlines()) == 3


@pytest.mark.slow
def test_the_table_is_printed_when_it_is_cut_short(tmp_path: Path) -> None:
    process = begin(tmp_path, hangs="yes")
    assert process.stderr is not None
    assert process.stderr.readline() == "measured\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert out.splitlines()[-1] == f"| {' | '.join(ROW)} |"


def test_shellcheck_finds_nothing_in_the_script() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck)")
    assert subprocess.run(["shellcheck", SCRIPT], check=False).returncode == 0
