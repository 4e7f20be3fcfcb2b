from __future__ import annotations

import pytest

from tests.trainables.small_runs import tiny_data
from trainables.data.dataset import DataSet


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here trains small packs; several threads would only wait for each other."""


@pytest.fixture(scope="session")
def data() -> DataSet:
    """300 training, 100 validation and 100 test images."""
    return tiny_data()
