"""The neutral colours of a figure follow the theme of a page; all other colours stay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from results.figures.registry import make_figures, write_figures
from results.figures.style import ON_DARK, ON_LIGHT, PALETTE
from results.figures.theme import NEUTRALS, with_theme
from tests.results.figure_sweeps import made_up_sweep

COLOUR = re.compile(r"(?:fill|stroke): *(#[0-9a-f]{6})", re.IGNORECASE)


@pytest.mark.parametrize(("name", "configurations"), [("validation_accuracy", 8), ("schedulers", 8)])
def test_no_neutral_colour_is_left_and_all_others_are(name: str, configurations: int, tmp_path: Path) -> None:
    figure = make_figures(made_up_sweep(configurations), only=[name])
    write_figures(figure, tmp_path, ["svg"])
    svg = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
    assert "var(" not in svg
    themed = with_theme(svg)
    before, after = set(COLOUR.findall(svg)), set(COLOUR.findall(themed))
    assert before - after == before & set(NEUTRALS)
    assert {"#262626", "#ffffff"} <= before - after
    assert after <= before
    for colour, variable in NEUTRALS.items():
        assert svg.lower().count(f": {colour}") == themed.lower().count(f": var({variable}, {colour})")
    assert re.sub(r"var\(--figure-[a-z]+, (#[0-9a-f]{6})\)", r"\1", themed, flags=re.IGNORECASE) == svg
    kept = {colour.lower() for colour in PALETTE[:2]} if name == "validation_accuracy" else {ON_DARK, ON_LIGHT}
    assert kept <= after


def test_a_figure_has_no_other_neutral_colour(tmp_path: Path) -> None:
    """A colour without a hue that the page cannot replace is unreadable in one of the themes."""
    some = ("validation_accuracy", "final_accuracy", "epochs_to_target", "schedulers", "stability_and_accuracy")
    write_figures(make_figures(made_up_sweep(8), only=some), tmp_path, ["svg"])
    assert len(list(tmp_path.iterdir())) == len(some)
    for path in tmp_path.glob("*.svg"):
        svg = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:fill|stroke): *(?:black|white|#000|#fff)\b", svg), path.name
        grey = {one.lower() for one in COLOUR.findall(svg) if one[1:3].lower() == one[3:5].lower() == one[5:7].lower()}
        assert grey <= {*NEUTRALS, ON_DARK, ON_LIGHT}, path.name
