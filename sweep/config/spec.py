"""The spec of a sweep: a TOML file or a named space, with what the command line says on top of it."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from search_spaces import Configuration, Protocol, expand, space_names, space_text
from search_spaces.errors import SpecError, UnknownNameError

HOW_TO_CHANGE = (
    "Resolved: schedules stand here in epochs and batches, and no longer follow `epochs` above. To change the sweep,",
    "say it where it came from (`sweep run SPACE --epochs 20 --seeds 5`), or run a copy of this file by another name.",
)
"""What a resolved spec says above its configurations."""

Seed = Annotated[int, Field(ge=0, le=2**53)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProtocolTable(_Table):
    """``[protocol]``: what all runs have in common; see :class:`search_spaces.Protocol`."""

    batch_size: int = Field(128, ge=1, le=100_000)
    dropout: float = Field(0.3, ge=0, lt=1)
    augment: bool = True
    val_fraction: float = Field(0.1, gt=0, lt=1)
    dtype: Literal["float32", "float64"] = "float32"


class Resources(_Table):
    """``[resources]``: how the runs are placed. None of it changes what a run is."""

    pack: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    cpus_per_trial: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = "auto"
    gpus_per_trial: Literal["auto"] | Annotated[float, Field(ge=0, le=1024)] = 0.0  # auto: as much as a probe finds
    max_concurrent: int = Field(0, ge=0)  # 0: as many as fit
    retries: int = Field(2, ge=0, le=100)
    checkpoint_seconds: float = Field(30, gt=0)  # between two checkpoints within an epoch

    @model_validator(mode="after")
    def _whole_gpus_above_one(self) -> Self:
        if self.gpus_per_trial != "auto" and self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError("gpus_per_trial: a fraction up to 1, or a whole number")
        return self

    @property
    def cpus(self) -> float:
        """The CPUs of a trial; one where nothing else was given or chosen."""
        return 1.0 if self.cpus_per_trial == "auto" else self.cpus_per_trial

    @property
    def threads(self) -> int:
        """The threads of a trial on these CPUs."""
        return max(1, int(self.cpus))

    @property
    def gpus(self) -> float:
        """The GPUs of a trial; a whole one where its share is still to be found."""
        return 1.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial


class Cluster(_Table):
    """``[cluster]``: which Ray trains the sweep. None of it changes what a run is."""

    address: str = "local"  # or auto, or HOST:PORT; see sweep/execution/ray/cluster.py
    wait: float = Field(0, ge=0)  # seconds that a cluster gets to grow until a trial has room


class Spec(_Table):
    """A sweep as a user writes it; every key has a default but the configurations."""

    name: str = "sweep"
    description: str = ""
    data: str = "cifar100"
    storage: str = ""  # a folder that all nodes share, or s3://bucket/prefix; empty: the sweep's own folder
    epochs: int = Field(50, ge=1, le=1_000_000)
    seeds: Annotated[int, Field(ge=1, le=100_000)] | Annotated[list[Seed], Field(min_length=1)] = 3
    test_epochs: Literal["last", "all"] | list[Annotated[int, Field(ge=1)]] = "last"
    save_weights_every: int = Field(0, ge=0)  # epochs; 0: never. For `sweep trajectory`; no part of a run's id
    protocol: ProtocolTable = ProtocolTable()
    resources: Resources = Resources()
    cluster: Cluster = Cluster()
    configurations: list[dict[str, Any]]

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if isinstance(self.seeds, list) and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one stands twice")
        return self

    @model_validator(mode="after")
    def _test_epochs_come(self) -> Self:
        if isinstance(self.test_epochs, list) and any(epoch > self.epochs for epoch in self.test_epochs):
            raise ValueError(f"test_epochs: {max(self.test_epochs)} lies beyond the {self.epochs} epochs")
        return self

    @property
    def seed_list(self) -> list[int]:
        """The seeds; a number n stands for 0 … n-1."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def shared_protocol(self) -> Protocol:
        """The protocol that goes into every run's id."""
        return Protocol(**self.protocol.model_dump())

    def test_epoch_set(self) -> frozenset[int]:
        """The epochs after which the test split is looked at."""
        if self.test_epochs == "last":
            return frozenset({self.epochs})
        if self.test_epochs == "all":
            return frozenset(range(1, self.epochs + 1))
        return frozenset(self.test_epochs)

    def expanded(self) -> list[Configuration]:
        """Return the configurations that the blocks stand for, expressions and defaults not yet filled in.

        Raises:
            SpecError: a block that cannot be read.
        """
        return expand(self.configurations, self.name)


def read_spec(source: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read ``source``, a TOML file or the name of a space, with ``overrides`` (``resources.pack``: 4) on top.

    Raises:
        UnknownNameError: neither a file nor a space.
        SpecError: TOML that cannot be parsed, an unknown key, or a value that cannot be.
    """
    path = Path(source)
    if path.suffix == ".toml" or os.path.isfile(source):  # noqa: PTH113  Path.is_file raises where a name is too long
        try:
            text, name = path.read_text(encoding="utf-8"), path.stem
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                source, f"cannot be read ({getattr(error, 'strerror', None) or 'it is no UTF-8'})"
            ) from error
    elif source in space_names():
        text, name = space_text(source), source
    else:
        raise UnknownNameError("space", source, [*space_names(), "FILE.toml"])
    return parse_spec(text, where=source, name=name, overrides=overrides)


def parse_spec(text: str, *, where: str, name: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Parse the TOML ``text`` of the file or space ``where``; ``name`` is the sweep's where the text gives none.

    Raises:
        SpecError: see :func:`read_spec`.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError: TOML's own, or a number of thousands of digits
        raise SpecError(where, f"is no TOML ({error})") from error
    return spec_of(table, where=where, name=name, overrides=overrides)


def spec_of(table: dict[str, Any], *, where: str, name: str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Return the spec that a parsed TOML table stands for; arguments and errors as in :func:`parse_spec`."""
    table = copy.deepcopy(table)
    table.setdefault("name", name)
    for key, value in (overrides or {}).items():
        section, _, leaf = key.rpartition(".")
        place = table.setdefault(section, {}) if section else table
        if isinstance(place, dict):  # else the validation below names the fault
            place[leaf] = value
    try:
        return Spec.model_validate(table)
    except (ValidationError, RecursionError) as error:
        raise SpecError(where, *_first_fault(error)) from error


def _first_fault(error: ValidationError | RecursionError) -> tuple[str, str]:
    """Return what is wrong, in one line: key, value and what would be right."""
    if isinstance(error, RecursionError):
        return "is nested too deeply", ""
    faults = error.errors(include_url=False)
    fault, place = faults[0], _place(faults[0]["loc"])
    if fault["type"] == "extra_forbidden":
        *section, unknown = map(str, fault["loc"])
        return f"{'.'.join([*section, unknown])}: unknown key", f"valid: {', '.join(_valid_keys(section))}"
    if fault["type"] == "missing":
        return f"{'.'.join(place)}: missing", ""
    # Where a key may hold several kinds of value, each kind says what is wrong: the one that got farthest is meant.
    of_key = [other for other in faults if _place(other["loc"])[: len(place)] == place]
    fault = max(of_key, key=lambda other: len(_place(other["loc"])))
    key = ".".join(_place(fault["loc"]))
    messages = dict.fromkeys(other["msg"] for other in of_key if other["loc"][:-1] == fault["loc"][:-1])
    message = ", or ".join(text.removeprefix("Input should be ") for text in messages)
    message = message.removeprefix("Value error, ") if fault["type"] == "value_error" else f"should be {message}"
    shown = repr(fault["input"])
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return (f"{key}: {shown}" if key else shown if fault["type"] != "value_error" else message), (
        message if key else ""
    )


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that lead to a fault, without pydantic's names for the kinds of value that were tried."""
    kinds = ("literal[", "constrained-", "list[")
    return [str(part) for part in loc if not str(part).startswith(kinds)]


def _valid_keys(section: list[str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {"protocol": ProtocolTable, "resources": Resources, "cluster": Cluster}
    return sorted(tables.get(section[0] if section else "", Spec).model_fields)


def spec_text(spec: Spec, configurations: list[Configuration]) -> str:
    """Return the spec as resolved, as TOML: complete, nothing left to defaults.

    ``None`` has no TOML: a parameter that stands at its default ``None`` is left out and filled in again.
    A list within a configuration is written as a list of one list, since a plain list would be crossed.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment("As resolved by `sweep run`; `sweep resume` goes by this file."))
    for key, value in spec.model_dump(exclude={"configurations", "seeds"}).items():
        document[key] = value
    if Path(spec.data).is_dir():
        document["data"] = str(Path(spec.data).resolve())  # a resume may come from another directory
    if spec.storage and "://" not in spec.storage:
        document["storage"] = str(Path(spec.storage).absolute())
    document["seeds"] = spec.seed_list
    blocks = tomlkit.aot()
    for configuration in configurations:
        table = configuration.to_dict()
        block = tomlkit.table()
        for key in ("optimizer", "scheduler"):
            inline = tomlkit.inline_table()
            inline.update({k: [v] if isinstance(v, list) else v for k, v in table[key].items() if not _has_none(v)})
            block[key] = inline
        block["warmup"] = table["warmup"]
        blocks.append(block)
    for line in HOW_TO_CHANGE:
        document.add(tomlkit.comment(line))
    document["configurations"] = blocks
    return tomlkit.dumps(document)


def _has_none(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(_has_none(item) for item in value))
