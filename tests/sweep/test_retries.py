"""What dies and is tried again: processes killed for real, packs taken apart, GPUs that are too full."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.ledger import Ledger
from tests.sweep.test_run import DATA, frames, ray, run, spec, without_times

__all__ = ["ray"]  # the fixture

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore"),  # Ray's and Tune's own, in this process and at its end
]

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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_retried_from_its_checkpoint_to_the_same_bits(
    ray: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """It dies in its second epoch, so the first is not trained again; without the accident the numbers are the same."""
    marker = tmp_path / "marker"
    dies = f'{{name = "tests.sweep.poison:KillsOnce", lr = 0.05, marker = "{marker}", number = {number.value}}}'
    said, results = [], []
    for name in ("dies", "lives"):
        outcome, told = run(spec(text("pack = 3", f"{dies}, {SOUND}"), name), tmp_path)
        assert outcome.all_done
        said.append(told)
        results.append(without_times(frames(outcome)[1]))
    assert "it is tried again from its last checkpoint" in said[0]
    assert "again" not in said[1]
    pd.testing.assert_frame_equal(*results, check_exact=True)
    with Ledger.open_read_only(tmp_path / "dies" / "ledger.sqlite") as ledger:
        by_epoch = dict(ledger.rows("SELECT DISTINCT epoch, attempt_id FROM epochs", {}))
    assert by_epoch[1] != by_epoch[2]


def test_a_poisonous_run_takes_no_other_with_it(ray: Any, tmp_path: Path) -> None:
    """Its pack dies twice and is taken apart: the others give what a sweep without packs gives, and it alone fails."""
    poison = '{name = "tests.sweep.poison:Poison"}'
    outcome, said = run(spec(text("pack = 3\nretries = 1", f"{poison}, {SOUND}"), "poisoned"), tmp_path)
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


def test_a_pack_that_only_its_gpu_had_no_memory_for_gets_a_larger_share(ray: Any, tmp_path: Path) -> None:
    """At a quarter of a GPU it cannot train, at a half it can: as the same pack, not taken apart."""
    hungry = '{name = "tests.sweep.poison:NeedsHalfAGpu", lr = [0.05, 0.1]}'
    resources = "pack = 2\ngpus_per_trial = 0.25\ncpus_per_trial = 0.5"
    outcome, said = run(spec(text(resources, hungry), "hungry"), tmp_path)
    assert outcome.all_done
    assert "out of GPU memory: it is tried again with 0.5 of a GPU" in said
    assert set(frames(outcome)[1]["pack_size"]) == {2}
