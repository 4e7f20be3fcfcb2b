"""A sweep with code of a user: the plan says what cannot resume, and such a run restarts with the same rows."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from results.ledger.ledger import Ledger
from search_spaces.errors import SpecError
from sweep.driver.driver import DriveOptions, drive
from tests.sweep.sweeps import frames, run, spec, without_times

DATA = "synthetic:n_train=1000,n_test=100,seed=0"


def text(optimizers: str, epochs: int = 2, scheduler: str = "none") -> str:
    return f"""
data = "{DATA}"
epochs = {epochs}
seeds = 1
test_epochs = "all"
[resources]
pack = 4
cpus_per_trial = 1
[[configurations]]
optimizer = [{optimizers}]
scheduler = {{name = "{scheduler}"}}
"""


LOOKAHEAD = '{name = "tests.trainables.own_rules:Lookahead", lr = 0.05}'
SGD = '{name = "SGD", lr = 0.05}'


def dry_run(text: str, folder: Path) -> str:
    screen = io.StringIO()
    assert (
        drive(spec(text), folder, Console(file=screen, width=200), DriveOptions(dry_run=True, in_process=True)) is None
    )
    return screen.getvalue()


def test_the_plan_says_what_cannot_resume_and_gives_it_a_pack_without_the_others(tmp_path: Path) -> None:
    said = dry_run(text(f"{LOOKAHEAD}, {SGD}"), tmp_path)
    (line,) = [line for line in said.splitlines() if "cannot resume exactly" in line]
    assert line.startswith("tests.trainables.own_rules:Lookahead")
    assert "'taken'" in line
    packs = [line for line in said.splitlines() if line.startswith("  pack ")]
    assert len(packs) == 2
    assert "cannot resume" not in dry_run(text(SGD), tmp_path)


def test_a_run_that_cannot_resume_is_extended_by_a_restart_to_the_rows_of_a_training_without_a_break(
    tmp_path: Path,
) -> None:
    """The other run continues from its checkpoint: its first epochs keep their attempt."""
    both = f"{LOOKAHEAD}, {SGD}"
    whole, _ = run(spec(text(both, 3)), tmp_path / "whole")
    run(spec(text(both, 2)), tmp_path / "cut")
    cut, said = run(spec(text(both, 3)), tmp_path / "cut")
    assert "cannot resume exactly" in said
    runs, epochs = frames(cut)
    assert list(runs["status"]) == ["done", "done"]
    assert list(epochs.groupby("run_id").size()) == [3, 3]
    with Ledger.open_read_only(cut.folder.ledger) as ledger:
        found = ledger.rows("SELECT run_id, COUNT(DISTINCT attempt_id) FROM epochs GROUP BY run_id", {})
    assert [dict(found)[run_id] for run_id in runs["run_id"]] == [1, 2]
    ours, theirs = (without_times(frames(one)[1]) for one in (cut, whole))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_code_that_fails_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Leaves fails: SystemExit: bye"):
        run(spec(text(f'{SGD}, {{name = "tests.trainables.own_rules:Leaves"}}')), tmp_path)
    assert not list(tmp_path.iterdir())
