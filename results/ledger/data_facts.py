"""Facts about a sweep's data that its numbers depend on: the number of classes, and the sizes of the splits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from results.ledger.ledger import Ledger

CIFAR100 = "CIFAR-100"
KEY = "data"


@dataclass(frozen=True)
class DataFacts:
    """The data of a sweep. The defaults are those of ledgers of earlier versions, which have CIFAR-100 only."""

    title: str = CIFAR100  # the name of the data set in a text
    classes: int = 100
    val_images: int | None = None  # None: not recorded
    test_images: int | None = None

    @property
    def chance(self) -> float:
        """Accuracy in percent of a random guess: 100/C for C classes. A diverged run counts as this."""
        return 100 / self.classes

    def to_json(self) -> str:
        """Return the facts as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> DataFacts:
        """Read what :meth:`to_json` wrote; a value of another type is replaced by its default."""
        try:
            stored = json.loads(text or "{}")
        except (ValueError, RecursionError):
            stored = {}
        facts = stored if isinstance(stored, dict) else {}
        title = facts.get("title")
        sizes = {
            key: value
            for key in ("classes", "val_images", "test_images")
            if isinstance(value := facts.get(key), int) and not isinstance(value, bool) and 2 <= value < 2**31
        }
        return cls(title[:200] if isinstance(title, str) and title else CIFAR100, **sizes)


OF_CIFAR100: Final = DataFacts()


def keep_facts(ledger: Ledger, facts: DataFacts) -> None:
    """Store the facts about the data of a sweep in its ledger."""
    ledger.keep(KEY, facts.to_json())


def kept_facts(ledger: Ledger) -> DataFacts:
    """Return the facts about the data; the defaults for a ledger of an earlier version."""
    return DataFacts.from_json(ledger.kept(KEY))
