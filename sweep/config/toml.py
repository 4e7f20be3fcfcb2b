"""Reads and writes the spec of a sweep as TOML, and explains an invalid spec in one line."""

from __future__ import annotations

import copy
import os
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, ValidationError

from search_spaces import Configuration, space_names, space_text
from search_spaces.errors import SpecError, UnknownNameError, shortened, shown
from sweep.config.benchmark import Benchmark
from sweep.config.spec import Cluster, Imports, Lint, ProtocolTable, Resources, Spec

RENAMED = {"cluster.wait": "cluster.autoscale_timeout"}
"""A key of older versions → its present name. A resolved spec may have the old one."""

MAX_SPEC_BYTES = 16 * 2**20

HOW_TO_CHANGE = (
    "Resolved: the schedules below are in epochs and batches and do not follow `epochs` above. To change the sweep,",
    "run its source again (`sweep run SPACE --epochs 20 --seeds 5`), or run a copy of this file under another name.",
)
"""The comment in a resolved spec above its configurations."""


def read_spec(source: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read ``source``, a TOML file or the name of a space; ``overrides`` (``resources.pack``: 4) replace its values.

    Raises:
        UnknownNameError: neither a file nor a space.
        SpecError: invalid TOML, an unknown key, or an invalid value.
    """
    path = Path(source)
    if path.suffix == ".toml" or os.path.isfile(source):  # noqa: PTH113  Path.is_file raises if a name is too long
        _check_file(path)
        try:
            text, name = path.read_text(encoding="utf-8-sig"), path.stem  # some editors write a byte-order mark
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                source, f"cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8'})"
            ) from error
    elif source in space_names():
        text, name = space_text(source), source
    else:
        raise UnknownNameError("space", source, [*space_names(), "FILE.toml"])
    return parse_spec(text, where=source, name=name, overrides=overrides)


def _check_file(path: Path) -> None:
    """Refuse a FIFO, whose opening would block, and a file that is far too large. Other errors are found on reading."""
    with suppress(OSError, ValueError):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise SpecError(str(path), "is a FIFO, socket or device", "give a TOML file")
        if status.st_size > MAX_SPEC_BYTES:
            raise SpecError(str(path), f"has {status.st_size >> 20:,} MB", f"at most {MAX_SPEC_BYTES >> 20} MB")


def parse_spec(text: str, *, where: str, name: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Parse the TOML ``text`` of the file or space ``where``; ``name`` is the sweep's name if the text has none.

    Raises:
        SpecError: see :func:`read_spec`.
    """
    return spec_of(_parse(text, where), where=where, name=name, overrides=overrides)


def parse_resolved(text: str, *, where: str, name: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Parse the text of a resolved spec, which an older version may have written; otherwise as :func:`parse_spec`."""
    table = _parse(text, where)
    for old, new in RENAMED.items():
        section, _, key = old.rpartition(".")
        if isinstance(table.get(section), dict) and key in table[section]:
            table[section].setdefault(new.rpartition(".")[2], table[section].pop(key))
    return spec_of(table, where=where, name=name, overrides=overrides)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError: from TOML, or a number of thousands of digits
        raise SpecError(where, f"is not valid TOML ({error})") from error


def spec_of(table: dict[str, Any], *, where: str, name: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Return the spec of a parsed TOML table; arguments and errors as in :func:`parse_spec`."""
    table = copy.deepcopy(table)
    table.setdefault("name", name)
    for key, value in (overrides or {}).items():
        section, _, leaf = key.rpartition(".")
        place = table.setdefault(section, {}) if section else table
        if isinstance(place, dict):  # otherwise the validation below reports it
            place[leaf] = value
    try:
        spec = Spec.model_validate(table)
    except (ValidationError, RecursionError) as error:
        raise SpecError(where, *_first_error(error)) from error
    spec.check_size()
    return spec


def _first_error(error: ValidationError | RecursionError) -> tuple[str, str]:
    """Return the problem, with key and value, and what would be valid."""
    if isinstance(error, RecursionError):
        return "is nested too deeply", ""
    errors = error.errors(include_url=False)
    first, keys = errors[0], _keys(errors[0]["loc"])
    if first["type"] == "extra_forbidden":
        *section, unknown = map(str, first["loc"])
        key = ".".join([*section, unknown])
        if key in RENAMED:
            return f"{key}: was renamed", f"use {RENAMED[key]}"
        return f"{shortened(key)}: unknown key", f"valid: {', '.join(_valid_keys(section))}"
    if first["type"] == "missing":
        return f"{'.'.join(keys)}: missing", ""
    # A key may accept several types, and each reports an error. The error at the deepest key belongs to the type meant.
    of_key = [other for other in errors if _keys(other["loc"])[: len(keys)] == keys]
    chosen = max(of_key, key=lambda other: len(_keys(other["loc"])))
    key = ".".join(_keys(chosen["loc"]))
    messages = dict.fromkeys(other["msg"] for other in of_key if other["loc"][:-1] == chosen["loc"][:-1])
    message = ", or ".join(text.removeprefix("Input should be ") for text in messages)
    if chosen["type"] == "value_error":  # raised by a validator of the spec
        message = message.removeprefix("Value error, ")
        return (f"{key}: {shown(chosen['input'])}", message) if key else (message, "")
    return (
        f"{key}: {shown(chosen['input'])}" if key else shown(chosen["input"])
    ), f"should be {message}" if key else ""


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys of an error's location, without pydantic's names for types."""
    types = ("literal[", "constrained-", "list[")
    return [str(part) for part in loc if not str(part).startswith(types)]


def _valid_keys(section: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "protocol": ProtocolTable, "resources": Resources, "cluster": Cluster, "imports": Imports,
        "lint": Lint,
        "benchmark": Benchmark,
    }  # fmt: skip
    return sorted(tables.get(section[0] if section else "", Spec).model_fields)


def spec_text(spec: Spec, configurations: list[Configuration]) -> str:
    """Return the resolved spec as TOML, with every value written out.

    TOML has no ``None``: a parameter whose default is ``None`` is left out, and filled in when the text is read. A list
    in a configuration is written as a list of one list, because a plain list is crossed.
    """
    document = _document(spec, "run", {"configurations", "seeds", "benchmark", "methods"})
    document["seeds"] = spec.seed_list
    blocks = tomlkit.aot()
    for configuration in configurations:
        block = tomlkit.table()
        for key, value in configuration_block(configuration).items():
            block[key] = _inline(value)
        blocks.append(block)
    for line in HOW_TO_CHANGE:
        document.add(tomlkit.comment(line))
    document["configurations"] = blocks
    return tomlkit.dumps(document)


def configuration_block(configuration: Configuration) -> dict[str, Any]:
    """Return the block of a spec that is this configuration alone; a parameter that is ``None`` is left out."""
    table = configuration.to_dict()
    parts = {part: _uncrossed(table[part]) for part in ("optimizer", "scheduler")}
    return {**parts, **{key: table[key] for key in ("warmup", "batch_size") if key in table}}


def benchmark_text(spec: Spec) -> str:
    """Return a benchmark's resolved spec as TOML: every key written out, and the search space of every method."""
    assert spec.benchmark is not None
    benchmark = spec.benchmark.model_copy(update={"tuning_epochs": spec.tuning_epochs})
    not_written = {"configurations", "seeds", "max_seeds", "test_epochs", "reference", "methods"}
    document = _document(spec.model_copy(update={"benchmark": benchmark}), "benchmark", not_written)
    methods = tomlkit.aot()
    for method in spec.methods:
        block = tomlkit.table()
        for key, value in method.items():
            block[key] = _inline(value)
        methods.append(block)
    document["methods"] = methods
    return tomlkit.dumps(document)


def _document(spec: Spec, command: str, without: set[str]) -> tomlkit.TOMLDocument:
    """Return the keys of ``spec`` that are not in ``without``, as they are resolved by this command."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Resolved by `sweep {command}`; `sweep resume` reads this file."))
    for key, value in spec.model_dump(exclude=without).items():
        document[key] = value
    if os.path.isdir(spec.data):  # noqa: PTH112  Path.is_dir raises if a name is too long
        document["data"] = str(Path(spec.data).resolve())  # `sweep resume` may start in another directory
    if spec.storage and "://" not in spec.storage:
        document["storage"] = str(Path(spec.storage).absolute())
    return document


def _inline(value: Any) -> Any:
    """Return ``value`` with every table in it as an inline table."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table[key] = _inline(item)
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_inline(item))
        return array
    return value


def _uncrossed(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of an optimizer or scheduler with every list as one value."""
    values = {key: _uncrossed(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    return {key: [value] if isinstance(value, list) else value for key, value in values.items() if not _has_none(value)}


def _has_none(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(_has_none(item) for item in value))
