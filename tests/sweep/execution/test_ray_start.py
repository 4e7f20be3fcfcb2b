"""Ray that does not start in time on this machine: one line, and nothing is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.sweep.sweeps import PATIENCE_SECONDS, SPEC

pytestmark = [pytest.mark.ray, pytest.mark.slow]  # Ray waits for 30 seconds

NEVER_REGISTERED = """
import sys
import ray._private.services as services

def get_node(*arguments, **options):
    raise RuntimeError("no such node")

services.get_node = get_node
sys.argv = ["sweep", "run", "s.toml"]
from sweep.__main__ import command
command()
"""
"""The daemons of Ray start, but this node never appears in their table, as on a machine with too much load."""


def test_a_start_that_takes_too_long_is_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SPEC)
    ended = subprocess.run(
        [sys.executable, "-c", NEVER_REGISTERED], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("sweep: ")]
    assert "timed out during startup" in line
    assert "--in-process" in line
    assert [one.pid for one in psutil.process_iter() if _is_in(one, tmp_path)] == []


def _is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except psutil.Error:
        return False
