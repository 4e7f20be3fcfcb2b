"""Failures and retries in whole sweeps: killed processes, split packs, GPUs without memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.ledger.frames import EPOCH_COLUMNS
from results.ledger.ledger import Ledger
from tests.sweep.sweeps import DATA, frames, run, spec, without_times

HEAD = f"""
data = "{DATA}"
epochs = 2
seeds = 1
[protocol]
batch_size = 64
"""


def text(resources: str, optimizers: str) -> str:
    return f"{HEAD}[resources]\n{resources}\n[[configurations]]\noptimizer = [{optimizers}]\n"


SOUND = '{name = "SGD", lr = 0.05}, {name = "Adam", lr = 0.003}'


def attempts_of(outcome: Any) -> list[tuple[int, str | None]]:
    """Return pack size and outcome of every attempt, in the order of their starts."""
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        return ledger.rows("SELECT pack_size, outcome FROM attempts ORDER BY started", {})


def pack_with_accident(marker: Path) -> str:
    dies = f'{{name = "tests.sweep.poison:KillsOnce", lr = 0.05, marker = "{marker}"}}'
    return text("pack = 3", f"{dies}, {SOUND}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The measurements of the pack's epochs without a fault: the fault of this one has already happened."""
    folder = tmp_path_factory.mktemp("lives")
    (folder / "marker").touch()
    outcome, told = run(spec(pack_with_accident(folder / "marker"), "lives"), folder)
    assert outcome.all_done
    assert "failed" not in told
    return measured(outcome)


def measured(outcome: Any) -> pd.DataFrame:
    """Return all that an epoch measures, without what names the run and without times."""
    epochs = without_times(frames(outcome)[1])
    return epochs[[name for name in EPOCH_COLUMNS if name in epochs and name != "run_id"]]


@pytest.mark.slow
@pytest.mark.ray
def test_a_worker_that_dies_is_retried_from_its_checkpoint_to_the_same_bits(
    ray: Any, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    """It dies in its second epoch, so the first is not trained again; without the fault the numbers are the same.

    The death is by SIGKILL; ``test_retries.py`` has what Ray reports of other signals.
    """
    outcome, told = run(spec(pack_with_accident(tmp_path / "marker"), "dies"), tmp_path, ray=True)
    assert outcome.all_done
    assert "from its last checkpoint" in told
    pd.testing.assert_frame_equal(measured(outcome), undisturbed, check_exact=True)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        by_epoch = dict(ledger.rows("SELECT DISTINCT epoch, attempt_id FROM epochs", {}))
    assert by_epoch[1] != by_epoch[2]


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_that_kills_its_process_fails_alone(ray: Any, tmp_path: Path) -> None:
    """Its pack dies twice and is split: the others have the rows of a sweep without packs, and only this run fails."""
    poison = '{name = "tests.sweep.poison:Poison"}'
    outcome, said = run(spec(text("pack = 3\nretries = 1", f"{poison}, {SOUND}"), "poisoned"), tmp_path, ray=True)
    runs, epochs = frames(outcome)
    assert list(runs["status"]) == ["failed", "done", "done"]
    assert "its runs are trained one by one" in said
    assert set(epochs["pack_size"]) == {1}
    alone, _ = run(spec(text("pack = 1", SOUND), "alone"), tmp_path)
    assert set(epochs["differs_in"]) == {"pack"}
    expected = without_times(frames(alone)[1]).drop(columns="differs_in")
    pd.testing.assert_frame_equal(without_times(epochs)[expected.columns], expected, check_exact=True)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert sorted(map(len, ledger.packs("3").values())) == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.ray
def test_a_pack_that_only_its_gpu_had_no_memory_for_gets_a_larger_share(ray: Any, tmp_path: Path) -> None:
    """With a quarter of a GPU it cannot train, with a half it can: as the same pack, not split."""
    hungry = '{name = "tests.sweep.poison:NeedsHalfAGpu", lr = [0.05, 0.1]}'
    resources = "pack = 2\ngpus_per_trial = 0.25\ncpus_per_trial = 0.5"
    outcome, said = run(spec(text(resources, hungry), "hungry"), tmp_path, ray=True)
    assert outcome.all_done
    assert "out of GPU memory: it is retried with 0.5 of a GPU" in said
    assert set(frames(outcome)[1]["pack_size"]) == {2}


def test_two_failures_with_an_epoch_between_them_leave_a_pack_whole(tmp_path: Path) -> None:
    """Fifteen steps per epoch: it fails in the second and in the third epoch, and continues after both."""
    dies = f'{{name = "tests.sweep.poison:FailsTwice", lr = 0.05, marker = "{tmp_path / "marker"}"}}'
    outcome, said = run(spec(text("pack = 3\nretries = 1", f"{dies}, {SOUND}"), "twice", epochs=4), tmp_path)
    assert outcome.all_done
    assert "it had trained an epoch since it failed before" in said
    assert len(list(tmp_path.glob("marker-*"))) == 2
    epochs = frames(outcome)[1]
    assert set(epochs["pack_size"]) == {3}
    assert epochs["differs_in"].isna().all()


def test_without_gpus_an_error_about_their_memory_is_one_like_others(tmp_path: Path) -> None:
    hungry = '{name = "tests.sweep.poison:NeedsAGpu", lr = 0.05}'
    outcome, said = run(spec(text("pack = 2\nretries = 1", f"{hungry}, {SOUND}"), "cpu"), tmp_path)
    assert list(frames(outcome)[0]["status"]) == ["failed", "done", "done"]
    assert "of a GPU" not in said


def test_a_place_that_cannot_be_written_does_not_split_the_pack(tmp_path: Path) -> None:
    """A file in place of the checkpoints' folder: the pack fails as a whole, and is the same after the repair."""
    sound = spec(text("pack = 2\nretries = 1", SOUND), "blocked")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "checkpoints").write_text("in the way")
    outcome, said = run(sound, tmp_path)
    assert set(frames(outcome)[0]["status"]) == {"failed"}
    assert "one by one" not in said
    assert "CheckpointError" in said
    (tmp_path / "blocked" / "checkpoints").unlink()
    outcome, _ = run(sound, tmp_path, retry_failed=True)
    assert outcome.all_done
    assert set(frames(outcome)[1]["pack_size"]) == {2}
