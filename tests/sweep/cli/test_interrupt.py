"""Ctrl-C at any moment of a command: exit code 130 and one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweep.sweeps import DATA, ROOT

SMALL = f"""
data = "{DATA}"
epochs = 1
seeds = 1
[[configurations]]
optimizer = [{{name = "SGD", lr = 0.05}}]
scheduler = [{{name = "none"}}]
"""
ENTRY = """
import os, signal, sys, threading, time
from sweep.__main__ import command
sys.argv = ["sweep", "run", "s.toml"]
delay = float(os.environ["DELAY"])
os.environ["PARENT"] = str(os.getpid())
if delay == 0:
    os.register_at_fork(after_in_child=lambda: os.kill(os.getppid(), signal.SIGINT))
else:
    os.register_at_fork(after_in_child=lambda: threading.Timer(delay, os.kill, (os.getppid(), signal.SIGINT)).start())
command()
"""


@pytest.mark.parametrize(
    "delay", [0.0, 0.05, 0.2, *(pytest.param(delay, marks=pytest.mark.slow) for delay in (0.5, 1.0))]
)
def test_an_interrupt_during_the_start_is_one_line(delay: float, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SMALL)
    ended = subprocess.run(
        [sys.executable, "-c", ENTRY], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DELAY": str(delay)},
    )  # fmt: skip
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert (ended.returncode, len(lines)) == (130, 1), ended.stderr
    assert "interrupted" in lines[0]
    assert not (tmp_path / "runs" / "s" / "sweep.toml").exists()


def test_an_interrupt_before_the_command_has_imported_anything(tmp_path: Path) -> None:
    """The imports of the command are under way."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sweep.__main__ as m; print(flush=True); import time; m.command()"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert "Traceback" not in err
