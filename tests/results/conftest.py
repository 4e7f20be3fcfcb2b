"""A ledger to write into, and the builders as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from results.ledger.ledger import Attempt, EpochRow, Ledger
from search_spaces.run import Run
from tests import builders


@pytest.fixture(scope="session")
def runs() -> list[Run]:
    return builders.two_by_two_runs()


@pytest.fixture(scope="session")
def attempt_of() -> Callable[..., Attempt]:
    return builders.attempt_of


@pytest.fixture(scope="session")
def row_of() -> Callable[..., EpochRow]:
    return builders.row_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, runs: list[Run]) -> Iterator[Ledger]:
    """A ledger that has heard nothing yet but the plan: four runs, three epochs."""
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        yield ledger
