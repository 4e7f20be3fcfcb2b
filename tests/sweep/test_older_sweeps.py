"""A sweep's folder that an earlier version wrote is read and resumed by this one.

``older/before`` is a sweep of two runs that was interrupted after two of twelve epochs. The code that wrote it had no
sub-packages, and its spec named a key (``wait``) that has another name now.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from tests.sweep.sweeps import call

OLDER = Path(__file__).parent / "older" / "before"
EPOCHS = 12


Sweep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Run ``sweep`` with these arguments in this process; `run` and `resume` end with the ledger."""
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder, *_: folder.report)
    return lambda *words: call(words, tmp_path, monkeypatch, capfd)


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the older sweep."""
    folder = tmp_path_factory.mktemp("older")
    shutil.copytree(OLDER, folder / OLDER.name)
    return folder


def epochs_of(folder: Path) -> pd.DataFrame:
    with Ledger.open_read_only(folder / OLDER.name / "ledger.sqlite") as ledger:
        return epochs_frame(ledger)


def test_an_older_sweep_is_read_exported_and_resumed(runs_dir: Path, sweep: Sweep) -> None:
    before = epochs_of(runs_dir)
    status = sweep("status", OLDER.name, "--runs-dir", runs_dir)
    assert (status.returncode, status.stderr) == (0, "")
    assert "2 interrupted of 2 runs" in status.stdout
    for command in ("export", "report"):
        ended = sweep(command, OLDER.name, "--runs-dir", runs_dir)
        assert (ended.returncode, ended.stderr) == (0, ""), command
    resumed = sweep("resume", OLDER.name, "--in-process", "--runs-dir", runs_dir)
    assert resumed.returncode == 0, resumed.stderr
    after = epochs_of(runs_dir)
    assert len(after) == 2 * EPOCHS
    columns = ["run_id", "epoch", "train_loss", "val_loss", "val_acc", "epoch_seconds"]  # the seconds are the attempt's
    kept = after[after["epoch"] <= 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[columns], before[columns])
    with Ledger.open_read_only(runs_dir / OLDER.name / "ledger.sqlite") as ledger:
        assert set(runs_frame(ledger)["status"]) == {"done"}


@pytest.mark.slow
def test_the_resumed_epochs_are_those_of_a_sweep_without_an_interruption(
    runs_dir: Path, tmp_path: Path, sweep: Sweep
) -> None:
    """On the machine that wrote the older sweep they are equal to the bit; another processor rounds differently."""
    spec = tmp_path / "before.toml"
    spec.write_text((OLDER / "sweep.toml").read_text().replace("\nwait = 0\n", "\n"))
    ended = sweep("run", spec, "--name", OLDER.name, "--in-process", "--runs-dir", tmp_path)
    assert ended.returncode == 0, ended.stderr
    # Where the test above ran before, this sweep is done, and there is nothing to train.
    resumed_sweep = sweep("resume", OLDER.name, "--in-process", "--runs-dir", runs_dir)
    assert resumed_sweep.returncode == 0, resumed_sweep.stderr
    whole, resumed = epochs_of(tmp_path), epochs_of(runs_dir)
    assert list(whole["run_id"]) == list(resumed["run_id"])
    for column in ("train_loss", "val_loss"):
        assert whole[column].to_numpy() == pytest.approx(resumed[column].to_numpy(), rel=0.02)
