"""The supervisor of a command reports its end, however the command's process ends."""

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
    """A supervised process in a separate session; all its processes are ended after the block.

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


def test_killed_work_is_no_success(tmp_path: Path) -> None:
    with program("os.kill(os.getpid(), signal.SIGKILL)", tmp_path) as process:
        assert end_of(process)[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_request_whichever_process_gets_it(
    tmp_path: Path, number: signal.Signals, everybody: bool
) -> None:
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


@pytest.mark.parametrize("end", ["os._exit(1)", "os.abort()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_work_that_is_ended_from_outside_prints_how_to_continue(tmp_path: Path, end: str) -> None:
    """Ray's library or the kernel can end a process at any time."""
    before = "from sweep.process.supervisor import leave_hint; leave_hint('to continue: sweep resume x'); "
    with program(before + end, tmp_path) as process:
        code, out, err = end_of(process)
    assert code not in (0, 2, 130)
    assert out == ""
    assert err.count("\n") == 1
    assert "to continue: sweep resume x" in err


def test_work_that_ends_normally_leaves_no_message(tmp_path: Path) -> None:
    work = "from sweep.process.supervisor import leave_hint; leave_hint('to continue: sweep resume x'); sys.exit(1)"
    with program(work, tmp_path) as process:
        assert end_of(process) == (1, "", "")


def test_a_process_of_ray_that_ends_is_reported_at_once(tmp_path: Path) -> None:
    """In the driver, while its main thread waits."""
    work = """
    import subprocess, ctypes
    from sweep.execution.ray.watch import watched
    from sweep.process.supervisor import end_at_once, leave_hint
    leave_hint("to continue: sweep resume x")
    raylet = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with watched({raylet.pid: "raylet"}, [], end_at_once):
        raylet.kill()
        time.sleep(600)
"""
    with program(work, tmp_path) as process:
        code, out, err = end_of(process)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "raylet" in err
    assert "to continue: sweep resume x" in err


@pytest.mark.parametrize("then", ["time.sleep(600)", "raise FileNotFoundError"])
def test_a_folder_of_ray_that_is_deleted_is_reported_at_once(then: str, tmp_path: Path) -> None:
    """While the main thread waits; and where an error that it causes comes first."""
    work = f"""
    import pathlib
    from sweep.execution.ray.watch import watched
    from sweep.process.supervisor import end_at_once, leave_hint
    leave_hint("to continue: sweep resume x")
    with watched({{}}, [pathlib.Path("/"), pathlib.Path({str(tmp_path / "session")!r})], end_at_once):
        os.rmdir({str(tmp_path / "session")!r})
        {then}
"""
    (tmp_path / "session").mkdir()
    with program(work, tmp_path) as process:
        code, out, err = end_of(process)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert str(tmp_path / "session") in err
    assert "to continue: sweep resume x" in err


def test_what_is_watched_and_runs_on_ends_nothing(tmp_path: Path) -> None:
    from sweep.execution.ray.watch import LOOK_SECONDS, watched

    ended: list[str] = []
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with watched({sleeper.pid: "raylet"}, [tmp_path], ended.append):
        time.sleep(2 * LOOK_SECONDS)
    sleeper.kill()
    sleeper.wait()
    assert ended == []


def test_an_error_with_another_cause_is_raised(tmp_path: Path) -> None:
    from sweep.execution.ray.watch import watched

    ended: list[str] = []
    with pytest.raises(ValueError, match="another"), watched({}, [tmp_path], ended.append):
        raise ValueError("another")
    assert ended == []


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    work = "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    command = (
        f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PROGRAM.format(work=work, last_seconds=9)}"
    )
    said = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.stdout == "True\n"


def test_an_interrupt_where_python_ignores_exceptions_is_not_lost(tmp_path: Path) -> None:
    work = """
    class Noisy:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
    try:
        Noisy()
        time.sleep(600)
    except KeyboardInterrupt:
        sys.exit(130)
"""
    with program(work, tmp_path) as process:
        assert end_of(process) == (130, "", "")


def test_a_closed_terminal_is_a_request_to_stop(tmp_path: Path) -> None:
    """The work continues to its checkpoints: it may print, although the terminal is closed."""
    import pty

    then = 'print("x" * 100, flush=True); open("checkpoint", "w").close(); sys.exit(130)'
    work = PROGRAM.format(work=ASKED_AND_THEN.format(then=then), last_seconds=PATIENCE_SECONDS)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup pytest` ignores it, and so would the program
        os.execve(sys.executable, [sys.executable, "-c", work], {**os.environ, "PYTHONPATH": str(ROOT)})
    said = b""
    while b"ready\r\n" not in said:
        said += os.read(terminal, 100)
    time.sleep(0.1)  # the print has returned
    os.close(terminal)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 130
    assert (tmp_path / "checkpoint").exists()


def test_a_terminal_that_is_closed_counts_once(tmp_path: Path) -> None:
    """The kernel sends SIGHUP, and so does the shell."""
    then = 'print("asked", flush=True); time.sleep(0.5); sys.exit(130)'
    with program(ASKED_AND_THEN.format(then=then), tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGHUP)
        assert process.stdout.readline() == "asked\n"
        os.killpg(process.pid, signal.SIGHUP)
        assert end_of(process) == (130, "", "")


def test_work_that_hangs_after_it_was_asked_is_ended(tmp_path: Path) -> None:
    """It holds the interpreter, as a call into a library can: no other thread of the process can end it."""
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
        assert (code, err) == (130, "sweep: interrupted\n")


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


def test_a_command_ends_without_a_search_for_garbage() -> None:
    """The functions of ``atexit`` run in the child, and after it in the supervisor."""
    program = "import atexit, gc, sys\natexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
    program += "sys.argv = ['sweep', '--version']\nfrom sweep.__main__ import command\ncommand()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.splitlines()[-2:] == ["True", "False"]
