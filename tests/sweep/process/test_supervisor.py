"""A command's end is answered for by a process that cannot be taken down with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60  # a bound for a child that hangs; no test passes by it
PROGRAM = """
import os, signal, sys, time
import sweep.process.supervisor
from sweep.process.signals import stopping
from sweep.process.supervisor import supervise
from trainables.runtime.stop_signal import StopRequest

def work():
    {work}

sweep.process.supervisor.LAST_SECONDS = {last_seconds}
sys.exit(supervise(work))
"""
ASKED_AND_THEN = """
    with stopping(lambda: StopRequest.NONE, print, "last words") as stop:
        print("ready", flush=True)
        while not stop.asked:
            time.sleep(0.01)
        {then}
"""


@contextmanager
def program(work: str, folder: Path, last_seconds: float = PATIENCE_SECONDS) -> Iterator[subprocess.Popen[str]]:
    """A supervised process in a session of its own; all of it is gone after the block.

    It is killed ``last_seconds`` after the first signal; only a test of this limit has a short one.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work, last_seconds=last_seconds)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out, err


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_of_the_work_is_that_of_the_command(tmp_path: Path, code: int) -> None:
    with program(f"sys.exit({code})", tmp_path) as process:
        assert end_of(process) == (code, "", "")


def test_work_that_somebody_kills_is_no_success(tmp_path: Path) -> None:
    with program("os.kill(os.getpid(), signal.SIGKILL)", tmp_path) as process:
        assert end_of(process)[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_asks_once_whoever_gets_it(tmp_path: Path, number: signal.Signals, everybody: bool) -> None:
    """A second one would end the work at once, before its checkpoints are written."""
    then = 'time.sleep(0.5); print("checkpoints", flush=True); sys.exit(130)'
    with program(ASKED_AND_THEN.format(then=then), tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (os.killpg if everybody else os.kill)(process.pid, number)
        assert end_of(process) == (130, "checkpoints\n", "")


def test_a_library_that_ends_the_work_from_within_does_not_change_the_exit_code(tmp_path: Path) -> None:
    with program(ASKED_AND_THEN.format(then="os._exit(1)"), tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == (130, "", "last words\n")


def test_work_that_hangs_after_it_was_asked_is_ended(tmp_path: Path) -> None:
    """It holds the interpreter, as a call into a library may: no thread of its own could end it."""
    then = "import ctypes; ctypes.PyDLL(None).sleep(600)"
    with program(ASKED_AND_THEN.format(then=then), tmp_path, last_seconds=1.0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == (130, "", "last words\n")


def test_a_second_signal_ends_the_work_at_once(tmp_path: Path) -> None:
    then = 'print("asked", flush=True); time.sleep(600)'
    with program(ASKED_AND_THEN.format(then=then), tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        code, _, err = end_of(process)
        assert code == 130
        assert "KeyboardInterrupt" in err  # which `main` turns into its exit code


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux to end a process with its parent")
def test_the_work_does_not_outlive_a_command_that_is_killed(tmp_path: Path) -> None:
    with program('print("ready", flush=True); time.sleep(600)', tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (work,) = psutil.Process(process.pid).children()
        process.kill()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while work.is_running() and work.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not work.is_running() or work.status() == psutil.STATUS_ZOMBIE
