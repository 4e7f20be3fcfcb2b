"""A canonical form of values, so that equal values have the same hash on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from search_spaces.errors import SpecError, shown

WHOLE_LIMIT = 2**63
"""Integers of TOML, SQLite and pandas are in -2⁶³ … 2⁶³-1; a float outside this range stays a float."""


def checked_value(value: Any, where: str) -> Any:
    """Return ``value`` in the types of TOML and JSON: tuples as lists, keys as strings; a number keeps its type.

    Raises:
        SpecError: NaN, infinity, an integer beyond 64 bits, or a type that TOML and JSON do not have.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if not -WHOLE_LIMIT <= value < WHOLE_LIMIT:
            raise SpecError(where, "a whole number beyond 64 bits", "write it with an exponent, as in 1e30")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SpecError(where, f"{value} is not a finite number")
        return value
    if isinstance(value, list | tuple):
        return [checked_value(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): checked_value(item, f"{where}.{key}") for key, item in value.items()}
    raise SpecError(
        where, f"{shown(value)} is a {type(value).__name__}", "numbers, strings, booleans and lists are allowed"
    )


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces: equal values give equal text.

    1 and 1.0 are equal, so the hash does not depend on how a number is written.
    """
    plain = one_spelling(checked_value(value, "value"))
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def one_spelling(value: Any) -> Any:
    """Return ``value`` with integral floats as ints; used for hashes and names, not for training."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and -WHOLE_LIMIT <= value < WHOLE_LIMIT else value
    if isinstance(value, list):
        return [one_spelling(item) for item in value]
    if isinstance(value, dict):
        return {key: one_spelling(item) for key, item in value.items()}
    return value


def content_hash(value: Any, length: int = 16) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]
