"""A small data set, and the two forms in which a folder can hold it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainables.small_sources import small_images, write_archive, write_parquet
from trainables.data.image_arrays import LabelledImages


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    return small_images()


@pytest.fixture
def parquet(tmp_path: Path, images: LabelledImages) -> Path:
    return write_parquet(tmp_path / "parquet", images)


@pytest.fixture
def archive(tmp_path: Path, images: LabelledImages) -> Path:
    return write_archive(tmp_path, images)
