"""A run: one configuration under one seed. It is the unit that is trained, recorded and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from search_spaces.canonical import content_hash
from search_spaces.configuration import Configuration
from search_spaces.models import LENET5

TRAINING_VERSION = 1
"""Increased when a change makes the same run train to other numbers; a test with golden numbers checks this."""

FIRST_SETTINGS = ("batch_size", "dropout", "augment", "val_fraction", "dtype")
"""The settings that are part of every id."""


@dataclass(frozen=True)
class Protocol:
    """The settings that all runs of a sweep share; sweeps with the same protocol are comparable.

    A configuration may have another batch size. The settings below ``dtype`` are part of an id only where they differ
    from their defaults, so that ids of earlier versions stay valid.
    """

    batch_size: int = 128
    dropout: float = 0.3
    augment: bool = True
    val_fraction: float = 0.1
    dtype: str = "float32"
    grad_clip_norm: float = 0.0  # largest norm of a run's gradient, as in clip_grad_norm_; 0: no clipping
    label_smoothing: float = 0.0  # of the training loss, as in torch.nn.functional.cross_entropy
    ema_decay: float = 0.0  # of the average of the weights that is evaluated; 0: the weights are evaluated
    weight_decay_on: str = "all"  # or matrices: parameters of two or more dimensions
    precision: str = "float32"  # or tf32: products of float32 numbers on a GPU, with 10 bits of mantissa
    model: str = LENET5  # a name of search_spaces.models, or module:factory

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as a table, without later settings at their defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name in FIRST_SETTINGS or getattr(self, field.name) != field.default
        }

    def settings(self) -> dict[str, Any]:
        """Return every setting."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Protocol:
        """Read what :meth:`to_dict` wrote; unknown keys of a later version are ignored."""
        return cls(**{f.name: table[f.name] for f in fields(cls) if f.name in table})


@dataclass(frozen=True)
class Run:
    """A configuration under a seed. Its id is the hash of everything that affects its numbers, except the epochs."""

    configuration: Configuration
    seed: int
    protocol: Protocol
    data_fingerprint: str

    @property
    def conditions(self) -> Protocol:
        """The protocol that this run is trained with: the sweep's, with the batch size of its configuration."""
        size = self.configuration.batch_size
        return replace(self.protocol, batch_size=size) if size else self.protocol

    @cached_property
    def run_id(self) -> str:
        """Sixteen hex digits of the hash of configuration, seed, protocol, data and ``TRAINING_VERSION``."""
        return content_hash(
            {
                "configuration": self.configuration.to_dict(),
                "seed": self.seed,
                "protocol": self.protocol.to_dict(),
                "data": self.data_fingerprint,
                "training_version": TRAINING_VERSION,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the run as a table for JSON."""
        return {
            "run_id": self.run_id,
            "configuration": self.configuration.to_dict(),
            "seed": self.seed,
            "protocol": self.protocol.to_dict(),
            "data_fingerprint": self.data_fingerprint,
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Run:
        """Read what :meth:`to_dict` wrote."""
        return cls(
            Configuration.from_dict(table["configuration"]),
            table["seed"],
            Protocol.from_dict(table["protocol"]),
            table["data_fingerprint"],
        )
