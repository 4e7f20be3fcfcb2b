"""File format of the analyses: named arrays and metadata in Parquet, readable without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from search_spaces import Configuration
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import LedgerError, UserError

KEY = b"lenet_sweep"
VERSION = 1

SYNTHETIC_NOTE = "Synthetic data (made from a seed): these numbers do not apply to CIFAR-100."
"""Note in every table and figure of an analysis of synthetic data."""

Array = npt.NDArray[Any]


def data_label(about: Mapping[str, Any]) -> str:
    """Return the name of an analysis's data, without the path of a folder; marked if it is synthetic."""
    title = about.get("title") if not about.get("synthetic") else None
    name = str(title or Path(str(about.get("data", ""))).name)
    return f"{name} (made from a seed)" if about.get("synthetic") else name


def columns_of(configuration: object) -> dict[str, Any] | None:
    """Return the stored configuration of an analysis, flat; None if the file does not have it."""
    try:
        return Configuration.from_dict(configuration).columns()  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AttributeError, UserError):
        return None


@dataclass(frozen=True)
class AnalysisFile:
    """One file: columns of ``n`` rows, each an array ``[n]`` or ``[n, …]``, and its metadata."""

    columns: dict[str, Array]
    about: dict[str, Any]  # metadata, JSON: run, configuration, layer, …


class AnalysisWriter:
    """Writer of rows in parts; see :func:`analysis_writer`."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._about = dict(about)
        self._writer: pq.ParquetWriter | None = None

    def append(self, columns: Mapping[str, Array], about: Mapping[str, Any] | None = None) -> None:
        """Write rows, with the same columns, types and inner shapes in every call.

        ``about`` is added to the metadata, also after rows were written.
        """
        self._about |= about or {}
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        table = pa.table({name: _column(values) for name, values in arrays.items()})
        if self._writer is None:
            self._about["shapes"] = {name: list(values.shape[1:]) for name, values in arrays.items()}
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the metadata and close the file."""
        if self._writer is not None:
            text = json.dumps({"version": VERSION, **self._about}, allow_nan=True)
            self._writer.add_key_value_metadata({KEY.decode(): text})
            self._writer.close()
            self._writer = None


@contextmanager
def analysis_writer(path: Path, about: Mapping[str, Any]) -> Iterator[AnalysisWriter]:
    """Write an analysis in parts; the file appears at ``path`` only after it is complete.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished:
        writer = AnalysisWriter(unfinished, about)
        try:
            yield writer
        finally:
            writer.close()


def write_analysis(path: Path, columns: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write an analysis in one call; see :func:`analysis_writer`."""
    with analysis_writer(path, about) as writer:
        writer.append(columns)


def read_analysis(path: Path) -> AnalysisFile:
    """Read a file of :func:`analysis_writer`.

    Raises:
        LedgerError: the file is missing, incomplete, or not an analysis.
    """
    try:
        with pq.ParquetFile(path) as file:
            about = json.loads(file.metadata.metadata[KEY])
            table = file.read()
        shapes = about.pop("shapes")
        columns = {name: _array(table[name], shapes[name]) for name in table.column_names}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise LedgerError(f"{path}: cannot be read as an analysis; delete it and run the analysis again") from error
    return AnalysisFile(columns, about)


def _column(values: Array) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))


def _array(column: pa.ChunkedArray, shape: list[int]) -> Array:
    whole = column.combine_chunks()
    if not shape:
        return np.asarray(whole.to_numpy(zero_copy_only=False))
    return np.asarray(whole.flatten().to_numpy(zero_copy_only=False)).reshape(len(whole), *shape)
