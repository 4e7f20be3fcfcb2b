"""The data of a spec: every error has the key ``data``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from search_spaces.errors import DataError

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet


@contextmanager
def data_key() -> Iterator[None]:
    """Add the key ``data`` to the line of a data error, which has the value, the problem and what would be right."""
    try:
        yield
    except DataError as error:
        raise DataError(f"data: {str(error).removeprefix('data source ')}") from error


def load_spec_data(data: str, options: Mapping[str, Any]) -> DataSet:
    """Load the data that a spec names (``Spec.data``, ``Spec.data_options``).

    Raises:
        DataError: the line begins with the key ``data``.
        EnvironmentMismatchError: a download needs torchvision, which does not match torch.
    """
    from trainables.data.dataset import load_data

    with data_key():
        return load_data(data, **options)
