"""Text from a spec as plain text: control characters are shown as escapes."""

from __future__ import annotations

import unicodedata

CONTROL = ("Cc", "Cs", "Co", "Cn")
"""Unicode categories that XML, terminals or fonts do not accept: control, surrogate, private and unassigned."""
BIDI = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Line separators, and characters that reverse the order of the text after them."""


def plain_text(text: str) -> str:
    r"""Return ``text`` in which every control character is an escape, such as ``\x1b`` or ``\u202e``."""
    return "".join(
        sign.encode("unicode_escape").decode("ascii") if unicodedata.category(sign) in CONTROL or sign in BIDI else sign
        for sign in text
    )
