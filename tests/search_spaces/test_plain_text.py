"""Text of a file or a user in a message: one line, plain, and not too long."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import SpecError, UserError
from search_spaces.plain_text import MAX_MESSAGE, counted, message_line, plain_text


@given(st.text())
def test_no_control_character_is_left_and_no_other_is_changed(text: str) -> None:
    shown = plain_text(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") for char in shown)
    assert plain_text(shown) == shown
    if shown != text:
        assert any(not char.isprintable() for char in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\u202ex", "\\u202ex"),
        ("é · → 中", "é · → 中"),
    ],
)
def test_an_escape_is_that_of_python(text: str, shown: str) -> None:
    assert plain_text(text) == shown
    assert str(UserError(text)) == shown


@given(st.text(max_size=5000))
def test_a_message_is_one_line_of_limited_length(text: str) -> None:
    line = message_line(text)
    assert len(line) <= MAX_MESSAGE
    assert "\n" not in line


@pytest.mark.parametrize("value", ["x" * 3000, ["y"] * 1000, {"k" * 1500: 1}])
def test_a_long_value_is_shortened_and_what_would_be_right_stays(value: object) -> None:
    line = str(SpecError("spec.toml: epochs", f"{value!r}", "a number of epochs, such as 50"))
    assert line.startswith("spec.toml: epochs: ")
    assert line.endswith("; a number of epochs, such as 50")
    assert "characters" in line
    assert len(line) <= MAX_MESSAGE


def test_a_noun_agrees_with_its_number() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2, 2000)] == ["0 seeds", "1 seed", "2 seeds", "2,000 seeds"]
