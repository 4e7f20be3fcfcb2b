"""Which code trains: a hash that a changed file changes, and a copy in the working directory that is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from search_spaces.code_version import PACKAGES, code_hash, other_copy
from search_spaces.errors import EnvironmentMismatchError, SweepFolderError
from sweep.config.toml import parse_spec
from sweep.execution.ray.executor import RayExecutor
from tests.trainables.small_runs import make_run, tiny_data
from trainables.training.messages import Assignment, TrialSpec
from trainables.training.trial import run_trial

ROOT = Path(__file__).parents[2]
SPEC = '[[configurations]]\noptimizer = "SGD"\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def change(clone: Path) -> None:
    path = clone / "trainables" / "data" / "augmentation.py"
    path.write_text(path.read_text() + "# changed\n")


def test_a_copy_has_the_same_hash_until_a_file_is_changed(clone: Path) -> None:
    assert code_hash(clone) == code_hash()
    assert other_copy(clone) is None
    code_hash.cache_clear()
    change(clone)
    assert code_hash(clone) != code_hash()
    assert other_copy(clone) == clone / "search_spaces"


def test_a_changed_clone_as_working_directory_is_refused_before_anything_starts(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's workers would import it, and its numbers would be recorded under the installed code's commit."""
    change(clone)
    monkeypatch.chdir(clone)
    with pytest.raises(SweepFolderError, match=r"search_spaces: differs from the code of this command"):
        RayExecutor().check(parse_spec(SPEC, where="s.toml", name="s"), clone / "runs")


def test_a_trial_in_a_process_with_other_code_is_refused(tmp_path: Path) -> None:
    spec = TrialSpec(
        Assignment("p", [make_run("SGD")], 1, frozenset()), str(tmp_path), str(tmp_path), threads=1, code="0" * 16
    )
    with pytest.raises(EnvironmentMismatchError, match="the driver has 0000000000000000"):
        next(run_trial(spec, tiny_data(), lambda: False))
