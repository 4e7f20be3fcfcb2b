"""A ledger to write into, and the builders as fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from results.ledger.arrays import SweepData
from results.ledger.ledger import Attempt, EpochRow, Ledger
from results.reports.registry import report_tables
from results.tables.table import Table
from search_spaces.run import Run
from tests import builders
from tests.results.hand_worked import hand_worked


@pytest.fixture(scope="session")
def runs() -> list[Run]:
    return builders.two_by_two_runs()


@pytest.fixture(scope="session")
def attempt_of() -> Callable[..., Attempt]:
    return builders.attempt_of


@pytest.fixture(scope="session")
def row_of() -> Callable[..., EpochRow]:
    return builders.row_of


@pytest.fixture(scope="session")
def hand_sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepData:
    """The sweep whose tables are computed by hand, with the target 20 %."""
    return hand_worked(tmp_path_factory.mktemp("hand"))


@pytest.fixture(scope="session")
def hand_tables(hand_sweep: SweepData) -> dict[str, Table]:
    return report_tables(hand_sweep)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, runs: list[Run]) -> Iterator[Ledger]:
    """A ledger with a plan of four runs and three epochs, and no report."""
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        yield ledger
