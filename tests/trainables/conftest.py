from __future__ import annotations

import pytest

from tests.trainables.training import tiny_data
from trainables.data.dataset import DataSet


@pytest.fixture(scope="session")
def data() -> DataSet:
    """300 training, 100 validation and 100 test images."""
    return tiny_data()
