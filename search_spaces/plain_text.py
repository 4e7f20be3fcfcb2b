"""Text from a file or a user as plain text, for a terminal, a message, a table or a figure."""

from __future__ import annotations

import re
import unicodedata

CONTROL = ("Cc", "Cs", "Co", "Cn")
"""Unicode categories that XML, terminals or fonts do not accept: control, surrogate, private and unassigned."""
DIRECTION = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Line separators, and characters that change the direction of the text after them."""

MAX_VALUE = 80
"""Maximum length of a quoted value in a message."""
MAX_MESSAGE = 800
"""Maximum length of a message."""
LONG_VALUE = re.compile(rf"""(?<!\w)'[^']{{{MAX_VALUE + 1},}}'|"[^"]{{{MAX_VALUE + 1},}}\"""")


def plain_text(text: str, keep: str = "") -> str:
    r"""Return ``text`` in which every control character that is not in ``keep`` is an escape, such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or not _is_control(char) else _escape(char) for char in text)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in CONTROL or char in DIRECTION


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or in the plural: ``1 seed``, ``2,000 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def share_of(number: int, total: int, noun: str) -> str:
    """Return a part of several things in words: ``no seed``, ``the seed``, ``2 of 3 seeds``, ``all 3 seeds``."""
    if number == 0:
        return f"no {noun}"
    if total == 1:
        return f"the {noun}"
    if number == total:
        return f"{'both' if total == 2 else f'all {total:,}'} {noun}s"
    return f"{number:,} of {counted(total, noun)}"


def message_line(text: str) -> str:
    """Return the text of a message as one line of plain text; long quoted values and long texts lose their middle."""
    line = LONG_VALUE.sub(_short_value, plain_text(text))
    if len(line) <= MAX_MESSAGE:
        return line
    return f"{line[: MAX_MESSAGE - 250]} … ({len(line) - MAX_MESSAGE + 50} characters left out) … {line[-200:]}"


def _short_value(found: re.Match[str]) -> str:
    value = found[0]
    return f"{value[:MAX_VALUE]}…{value[-1]} ({len(value) - 2} characters)"
