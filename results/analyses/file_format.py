"""What an analysis captured, as Parquet: arrays by name, and what they are; read again without torch."""

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

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import LedgerError

KEY = b"lenet_sweep"
VERSION = 1

SYNTHETIC_NOTE = "Synthetic data, made from a seed: these numbers say nothing about CIFAR-100."
"""What every table and figure of an analysis of made data says."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class AnalysisFile:
    """One file: columns of ``n`` rows, each an array ``[n]`` or ``[n, …]``, and what they are of."""

    columns: dict[str, Array]
    about: dict[str, Any]  # JSON: run, configuration, layer, …


class AnalysisWriter:
    """Writes rows as they come; see :func:`writing`."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self._path = path
        self._about = dict(about)
        self._writer: pq.ParquetWriter | None = None

    def append(self, columns: Mapping[str, Array], about: Mapping[str, Any] | None = None) -> None:
        """Write rows: the same columns, of the same types and inner shapes, as the first time.

        ``about`` adds to what the file says of itself, even after rows were written.
        """
        self._about |= about or {}
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        table = pa.table({name: _column(values) for name, values in arrays.items()})
        if self._writer is None:
            self._about["shapes"] = {name: list(values.shape[1:]) for name, values in arrays.items()}
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the file's end, and in it what the arrays are of."""
        if self._writer is not None:
            text = json.dumps({"version": VERSION, **self._about}, allow_nan=True)
            self._writer.add_key_value_metadata({KEY.decode(): text})
            self._writer.close()
            self._writer = None


@contextmanager
def writing(path: Path, about: Mapping[str, Any]) -> Iterator[AnalysisWriter]:
    """Write an analysis row by row; the file stands at ``path`` once all of it is written, or not at all.

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
    """Write a whole analysis at once; see :func:`writing`."""
    with writing(path, about) as writer:
        writer.append(columns)


def read_analysis(path: Path) -> AnalysisFile:
    """Read what :func:`writing` wrote.

    Raises:
        LedgerError: the file is missing, torn, or none of ours.
    """
    try:
        with pq.ParquetFile(path) as file:
            about = json.loads(file.metadata.metadata[KEY])
            table = file.read()
        shapes = about.pop("shapes")
        columns = {name: _array(table[name], shapes[name]) for name in table.column_names}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        raise LedgerError(f"{path}: cannot be read as an analysis; delete it and make it again") from error
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
