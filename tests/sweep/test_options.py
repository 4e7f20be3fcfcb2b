"""Values of options that are a number or ``auto``."""

from __future__ import annotations

import math

import pytest
import typer

from sweep.cli.options import number_or_auto, whole_or_auto


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("4", 4), ("0", 0), ("-1", -1)])
def test_whole_or_auto_keeps_auto_and_makes_an_int(text: str, value: int | str) -> None:
    found = whole_or_auto(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("4", 4.0), ("0.25", 0.25), ("inf", math.inf)])
def test_number_or_auto_keeps_auto_and_makes_a_float(text: str, value: float | str) -> None:
    found = number_or_auto(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("parse", "text"), [(whole_or_auto, "0.5"), (whole_or_auto, "Auto"), (number_or_auto, "all"), (number_or_auto, "")]
)
def test_anything_else_is_refused_with_the_value(parse: object, text: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"'{text}' is not a"):
        parse(text)  # type: ignore[operator]
