"""Analyses on disk: arrays are read back unchanged, and another file gives an error of one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from results.analyses.file_format import analysis_writer, read_analysis, write_analysis
from search_spaces.errors import LedgerError


def test_rows_written_one_by_one_are_one_array(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "capture.parquet"
    gradients = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    with analysis_writer(path, {"layer": "conv1.weight", "lr": 0.1}) as writer:
        for step, gradient in enumerate(gradients):
            writer.append({"step": np.array([step]), "gradient": gradient[None]})
        writer.append({"step": np.array([5]), "gradient": gradients[:1]}, {"noise": None})
    found = read_analysis(path)
    assert found.about == {"version": 1, "layer": "conv1.weight", "lr": 0.1, "noise": None}
    assert found.columns["step"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.columns["gradient"].dtype == np.float32
    np.testing.assert_array_equal(found.columns["gradient"][:5], gradients)


def test_texts_and_nan_survive(tmp_path: Path) -> None:
    write_analysis(tmp_path / "a.parquet", {"name": np.array(["SGD", "Adam"]), "loss": np.array([1.5, np.nan])}, {})
    columns = read_analysis(tmp_path / "a.parquet").columns
    assert columns["name"].tolist() == ["SGD", "Adam"]
    np.testing.assert_array_equal(columns["loss"], [1.5, np.nan])


def test_an_analysis_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_analysis(path, {"x": np.arange(3)}, {})
    with pytest.raises(KeyboardInterrupt), analysis_writer(path, {}) as writer:
        writer.append({"x": np.arange(9)})
        raise KeyboardInterrupt
    assert read_analysis(path).columns["x"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"\x00" * 4096])
def test_another_file_gives_an_error_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.parquet"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"torn\.parquet: cannot be read as an analysis"):
        read_analysis(path)
