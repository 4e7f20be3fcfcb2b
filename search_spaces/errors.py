"""Errors of a user, one class per cause.

UserError                     one line, exit code 2, no traceback
├── SpecError                 an invalid key or value of a spec (file, key, value, hint)
├── UnknownNameError          a name that is not in the registry (with the valid names)
├── DataError                 a data source that is missing, damaged or of another shape
├── LedgerError               a ledger that is missing, of another program or version, or used by another driver
├── SweepFolderError          a sweep folder that is missing or cannot be written
├── StorageError              a shared folder or bucket that is missing, denies access or does not answer
└── EnvironmentMismatchError  libraries or machines that do not match
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from search_spaces.plain_text import message_line

LONGEST_LINE = 299
"""Characters of a line that lists valid names, unless a path in it is longer."""
LEAST_VALID = 100
"""Characters of the list of valid names that are always shown."""
LONGEST_VALUE = 60
"""Characters of a value that a message shows."""


def shown(value: object, most: int = LONGEST_VALUE) -> str:
    """Return ``repr(value)``, or its beginning where it is longer than ``most`` characters."""
    return shortened(repr(value), most)


def shortened(text: str, most: int = LONGEST_VALUE) -> str:
    """Return ``text``, or its beginning where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class UserError(Exception):
    """An error that the user can correct; its text is the line that is printed."""

    def __init__(self, text: str) -> None:
        """``text`` may quote a file: control characters in it are escaped, and long values are shortened."""
        super().__init__(message_line(text))


class SpecError(UserError):
    """An invalid key or value of a spec."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        """``where`` is the file and key, ``problem`` the value and what is wrong, ``hint`` what would be right."""
        super().__init__(f"{where}: {problem}" + (f"; {hint}" if hint else ""))


class UnknownNameError(UserError):
    """A name that is not in the registry."""

    def __init__(self, kind: str, name: object, valid: Iterable[str], where: str = "") -> None:
        """``kind`` is the kind of the name (``optimizer``), ``valid`` the registered names."""
        names = sorted(valid)
        same_letters = [known for known in names if known.lower() == str(name).lower()]
        near = same_letters or difflib.get_close_matches(str(name), names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        place = f"{where}: " if where else ""
        problem = f"{place}unknown {kind} {shown(name)}{hint}; valid: "
        super().__init__(problem + shortened(", ".join(names), max(LEAST_VALID, LONGEST_LINE - len(problem))))


class DataError(UserError):
    """A data source that cannot be used: the file, what is wrong, and how to correct it."""


class LedgerError(UserError):
    """A ledger that cannot be read or written."""


class SweepFolderError(UserError):
    """A sweep folder that is missing, or that cannot be written."""


class StorageError(UserError):
    """A shared folder or bucket that is missing, denies access or does not answer."""


class EnvironmentMismatchError(UserError):
    """Libraries or machines that do not match."""
