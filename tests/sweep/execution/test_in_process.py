"""`--in-process`: same bits, ledger, checkpoints, retries and stops as with Ray, and a debugger that works."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.ledger.ledger import Ledger
from search_spaces.errors import SpecError
from sweep.driver.driver import Outcome
from tests.sweep.sweeps import (
    DATA,
    PATIENCE_SECONDS,
    ROOT,
    begin,
    call,
    command,
    environment,
    frames,
    rows_of,
    run,
    spec,
)

OWN_OPTIMIZER = """
import torch

def is_training(optimizer):  # and not tried out on a tiny model
    return sum(parameter.numel() for parameter in optimizer.param_groups[0]["params"]) > 1000

class Stops(torch.optim.SGD):
    def step(self, closure=None):
        if not hasattr(Stops, "seen") and is_training(self):
            Stops.seen = True
            breakpoint()
        return super().step(closure)

class Leaves(torch.optim.SGD):
    def step(self, closure=None):
        if is_training(self):
            raise ValueError("this optimizer always fails")
"""


def one(optimizer: str, resources: str = "retries = 2") -> str:
    return f"""
data = "{DATA}"
epochs = 2
seeds = 1
[protocol]
batch_size = 64
[resources]
{resources}
[[configurations]]
optimizer = [{optimizer}]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    return run(spec(), tmp_path_factory.mktemp("in-process"))


def test_a_sweep_is_trained_and_resumed_in_this_process(trained: tuple[Outcome, str]) -> None:
    outcome, _ = trained
    assert outcome.all_done
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert {pid for (pid,) in ledger.rows("SELECT pid FROM attempts", {})} == {os.getpid()}
        assert {word for (word,) in ledger.rows("SELECT outcome FROM attempts", {})} == {"done"}
    again, told = run(spec(), outcome.folder.runs_dir)
    assert again.all_done
    assert "nothing to train" in told


@pytest.mark.slow
def test_a_sweep_in_this_process_never_imports_ray(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(one('{name = "SGD", lr = 0.05}'))
    code = f"""
import sys
import sweep
done = sweep.run("s.toml", runs_dir={str(tmp_path / "runs")!r}, in_process=True, quiet=True)
assert list(done.runs["status"]) == ["done"]
print(*[name for name in sys.modules if name.partition(".")[0] == "ray"])
"""
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert not found.stdout.strip()


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--address", "10.0.0.1:6379"], "cluster.address", "10.0.0.1:6379"),
        (["--storage", "s3://bucket/prefix"], "storage", "s3://bucket/prefix"),
        (["--gpus-per-trial", "0.25"], "resources.gpus_per_trial", "0.25"),
        (["--gpus-per-trial", "auto"], "resources.gpus_per_trial", "auto"),
    ],
)
def test_what_needs_other_machines_or_a_gpu_is_refused_in_one_line(
    tmp_path: Path, words: list[str], key: str, value: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ended = call(["run", "quickstart", "--in-process", *words], tmp_path, monkeypatch, capfd)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert key in line
    assert value in line
    assert "--in-process" in line
    assert not list(tmp_path.iterdir())


def test_a_cluster_address_in_the_spec_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cluster\.address: 'auto'"):
        run(spec(**{"cluster.address": "auto"}), tmp_path)


def test_a_run_that_always_fails_is_split_off_and_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_optimizer.py").write_text(OWN_OPTIMIZER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = one('{name = "own_optimizer:Leaves", lr = 0.1}, {name = "SGD", lr = 0.05}', "pack = 2\nretries = 1")
    outcome, told = run(spec(text, "fails"), tmp_path)
    runs, epochs = frames(outcome)
    assert list(runs["status"]) == ["failed", "done"]
    assert set(epochs["pack_size"]) == {1}
    assert "ValueError: this optimizer always fails" in told
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        starts = dict(ledger.rows("SELECT status, attempts FROM run_statuses", {}))
    assert starts == {"failed": 2 + 2, "done": 2 + 1}  # in the pack, and alone


NO_MEMORY = """
import torch
from tests.sweep.broken_optimizer import is_training

class Short(torch.optim.SGD):
    failures = 0

    def step(self, closure=None):
        if Short.failures and is_training(self):
            Short.failures -= 1
            raise {error}
        return super().step(closure)
"""


@pytest.mark.parametrize(
    "error",
    ["MemoryError()", 'RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 8 bytes")'],
)
def test_a_pack_without_memory_stays_whole_and_gives_the_same_rows(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program used the memory. A part of the pack would have rows with other numbers."""
    monkeypatch.setattr("sweep.execution.retries.FIRST_WAIT_SECONDS", 0.01)
    name = f"short_{len(error)}"
    (tmp_path / f"{name}.py").write_text(NO_MEMORY.format(error=error))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = one(f'{{name = "{name}:Short", lr = 0.1}}, {{name = "SGD", lr = 0.05}}', "pack = 2\nretries = 2")
    undisturbed, _ = run(spec(text, "undisturbed"), tmp_path)
    sys.modules[name].Short.failures = 5
    outcome, told = run(spec(text, "short"), tmp_path)
    pd.testing.assert_frame_equal(rows_of(outcome.folder.path), rows_of(undisturbed.folder.path), check_exact=True)
    assert outcome.count("done") == 2
    waits = [line for line in told.splitlines() if "stays whole" in line]
    assert len(waits) == 2  # of 5 failures, every second one is retried by the executor
    assert "memory" in waits[0]
    assert "--max-concurrent" in waits[0]


def test_a_driver_without_memory_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none(*given: Any, **named: Any) -> None:
        raise MemoryError

    (tmp_path / "s.toml").write_text(one('{name = "SGD", lr = 0.05}'))
    monkeypatch.setattr(Ledger, "record", none)
    monkeypatch.setattr(Ledger, "plan", none)
    told = call(["run", "s.toml", "--in-process"], tmp_path, monkeypatch, capfd)
    assert (told.returncode, len(told.stderr.splitlines())) == (2, 1)
    assert "memory" in told.stderr
    assert "sweep resume" in told.stderr


LONG = one('{name = "Adam", lr = 0.003}').replace("epochs = 2", "epochs = 20")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Twenty epochs without an interruption."""
    outcome, _ = run(spec(LONG, "whole"), tmp_path_factory.mktemp("whole"))
    return rows_of(outcome.folder.path)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_ends_it_with_a_checkpoint_and_resume_gives_the_same_bits(
    tmp_path: Path, number: int, whole: pd.DataFrame
) -> None:
    (tmp_path / "cut.toml").write_text(LONG)
    process = begin(tmp_path, "run", "cut.toml")
    logs = tmp_path / "cut" / "logs"
    until = time.monotonic() + PATIENCE_SECONDS
    while not (logs.exists() and any("epoch 2:" in log.read_text() for log in logs.iterdir())):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    with Ledger.open_read_only(tmp_path / "cut" / "ledger.sqlite") as ledger:
        assert set(ledger.statuses().values()) == {"interrupted"}
        trained = len(ledger.rows("SELECT epoch FROM epochs", {}))
    assert 2 <= trained < 20
    resumed, _ = run(spec(LONG, "cut"), tmp_path)
    assert resumed.all_done
    pd.testing.assert_frame_equal(rows_of(tmp_path / "cut"), whole, check_exact=True)


@pytest.mark.slow
def test_a_breakpoint_in_an_own_optimizer_gives_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "own_optimizer.py").write_text(OWN_OPTIMIZER)
    (tmp_path / "mine.toml").write_text(one('{name = "own_optimizer:Stops", lr = 0.05}'))
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command("run", "mine.toml", "--in-process", "--runs-dir", tmp_path), cwd=tmp_path, stdin=follower,
        stdout=follower, stderr=follower, env=environment() | {"TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    try:
        screen = read_until(leader, "(Pdb)", process)
        os.write(leader, b"print(type(self).__name__)\n")
        screen += read_until(leader, "Stops", process)
        os.write(leader, b"c\n")
        screen += read_until(leader, None, process)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, screen
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert "1 done" in screen


def read_until(descriptor: int, text: str | None, process: subprocess.Popen[Any]) -> str:
    """Return what the terminal shows up to ``text``, or to its end."""
    screen, until = "", time.monotonic() + PATIENCE_SECONDS
    while text is None or text not in screen:
        assert time.monotonic() < until, screen
        if not select.select([descriptor], [], [], 0.2)[0]:
            if text is None and process.poll() is not None:
                break
            continue
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # Linux raises it at the end of a terminal
            part = b""
        if not part:
            assert text is None, screen
            break
        screen += part.decode(errors="replace")
    return screen


@pytest.mark.slow
def test_the_command_itself_runs_it_without_a_supervisor(tmp_path: Path) -> None:
    """`python -m sweep`, tables and report included."""
    (tmp_path / "s.toml").write_text(one('{name = "SGD", lr = 0.05}'))
    ended = subprocess.run(
        [sys.executable, "-m", "sweep", "run", "s.toml", "--in-process"], cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs" / "s" / "report.html").exists()
