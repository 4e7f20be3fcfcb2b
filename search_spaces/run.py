"""One configuration under one seed: the unit that is trained, recorded and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from search_spaces.canonical import content_hash
from search_spaces.configuration import Configuration

TRAINING_VERSION = 1
"""Raised whenever the same run would train to other numbers; a golden-number test asks for it."""


@dataclass(frozen=True)
class Protocol:
    """What every run of a sweep has in common, and what makes two sweeps comparable."""

    batch_size: int = 128
    dropout: float = 0.3
    augment: bool = True
    val_fraction: float = 0.1
    dtype: str = "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as a table."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Protocol:
        """Read what :meth:`to_dict` wrote; keys of a later version are left out."""
        return cls(**{f.name: table[f.name] for f in fields(cls) if f.name in table})


@dataclass(frozen=True)
class Run:
    """A configuration under a seed. Its id is the hash of all that decides its numbers (epochs apart)."""

    configuration: Configuration
    seed: int
    protocol: Protocol
    data_fingerprint: str

    @cached_property
    def run_id(self) -> str:
        """Sixteen hex digits over configuration, seed, protocol, data and ``TRAINING_VERSION``."""
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
        """Return the run as a table that JSON can hold."""
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
