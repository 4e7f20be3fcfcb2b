"""What a user can get wrong, one class per cause.

UserError                     one clear line, exit 2, no traceback
├── SpecError                 a key or value of a spec that cannot be (file, key, value, hint)
├── UnknownNameError          a name that is in no registry (lists the valid ones)
├── DataError                 a data source that is missing, torn or of another shape
├── LedgerError               a ledger that is missing, foreign, newer, or in another driver's hands
├── SweepFolderError          a sweep folder that is missing or cannot be written
├── StorageError              a shared folder or a bucket that is missing, closed to us, or does not answer
└── EnvironmentMismatchError  libraries or machines that do not fit each other
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that its maker can mend; its text is the one line that they see."""

    def __init__(self, text: str) -> None:
        """``text`` may quote what a file holds: a line break or a control character in it is shown escaped."""
        super().__init__("".join(char if char.isprintable() else repr(char)[1:-1] for char in text))


class SpecError(UserError):
    """A key or a value of a spec that cannot be."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        """``where`` names file and key, ``problem`` the value, ``hint`` what would be right."""
        super().__init__(f"{where}: {problem}" + (f"; {hint}" if hint else ""))


class UnknownNameError(UserError):
    """A name that stands in no registry."""

    def __init__(self, kind: str, name: object, valid: Iterable[str], where: str = "") -> None:
        """``kind`` is what was looked for (``optimizer``), ``valid`` what could have been said."""
        names = sorted(valid)
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        place = f"{where}: " if where else ""
        super().__init__(f"{place}unknown {kind} {name!r}{hint}; valid: {', '.join(names)}")


class DataError(UserError):
    """A data source that cannot be used: which file, what is wrong, what would mend it."""


class LedgerError(UserError):
    """A ledger that cannot be read or written."""


class SweepFolderError(UserError):
    """A sweep folder that is missing, or that cannot be written."""


class StorageError(UserError):
    """A shared folder or a bucket that is missing, closed to us, or does not answer."""


class EnvironmentMismatchError(UserError):
    """Libraries or machines that do not fit each other."""
