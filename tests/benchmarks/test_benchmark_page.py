"""The results in docs/benchmark.md are those of the published benchmark, and come with an installed package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.benchmark_page import MARKS, PAGE, expected_section, main, section_of
from results.reports.baseline import FACTS, FILES, published, write_baseline
from tests.results.ledger_sweeps import TunedMethod, write_benchmark
from tests.results.tables.test_benchmark_lint import SPEC

ROOT = Path(__file__).parents[2]
DESIGN = SPEC.replace("[[methods]]", 'tuning_epochs = 4\nsampler = "qmc"\n[[methods]]', 1)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the results of a designed benchmark; the text outside of the marks is another one."""
    folder = tmp_path_factory.mktemp("page")
    finals = [[33.0, 33.4, 33.2, 33.1, 33.3, 33.2], [34.0, 34.4, 34.2, 34.1, 34.3, 34.2]]
    points = [[[30.0], [31.0], [32.0], [29.0]]]
    untuned = [[31.0, 31.2], [25.0, 25.2]]
    methods = {name: TunedMethod(points, [finals[i]], untuned[i]) for i, name in enumerate("ab")}
    write_benchmark(folder / "ledger.sqlite", methods, spec=DESIGN)
    write_baseline(folder / "ledger.sqlite", folder / "mine")
    (folder / "page.md").write_text(f"before\n{MARKS[0]}old\n{MARKS[1]}after\n")
    main([str(folder / "mine"), "--page", str(folder / "page.md")])
    return folder / "page.md"


def test_the_page_has_the_numbers_of_the_benchmark(page: Path) -> None:
    """6 pairs that differ by 1 pp: p = 2/2⁶; each method: 4 points × 4 epochs, 6 and 2 runs of 4 epochs."""
    text = section_of(page)
    row = next(line for line in text.splitlines() if line.startswith("| a "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2].startswith("33.2")
    assert cells[3] == "31.00, 31.20"
    assert cells[6:8] == ["0.031", "better"]
    assert cells[9] == str(4 * 4 + 6 * 4 + 2 * 4)
    assert "16 run-epochs per method" in text
    assert "In all 96 run-epochs" in text
    assert "With the class defaults, a has the highest accuracy" in text
    assert "[LS107](lint.md#ls107)" in text


def test_writing_again_changes_nothing_and_the_text_outside_of_the_marks_stays(page: Path) -> None:
    before = page.read_bytes()
    main([str(page.parent / "mine"), "--page", str(page)])
    assert page.read_bytes() == before
    assert before.startswith(b"before\n")
    assert before.endswith(b"after\n")


def test_both_figures_are_small_pictures(page: Path) -> None:
    for name in ("evaluation", "tuning_curves"):
        path = page.parent / "figures" / f"benchmark_{name}.png"
        assert f"](figures/{path.name})" in section_of(page)
        assert path.stat().st_size < 200_000
        with Image.open(path) as picture:
            assert len({color for _, color in picture.convert("RGB").getcolors(1 << 20) or []}) > 10


def test_a_page_without_marks_is_refused_and_stays(page: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("text\n")
    with pytest.raises(SystemExit, match="has no lines"):
        main([str(page.parent / "mine"), "--page", str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == "text\n"


def test_the_docs_have_the_results_of_the_published_benchmark() -> None:
    assert section_of(PAGE) == expected_section()


def test_an_installed_package_has_the_files_of_every_published_benchmark() -> None:
    (pattern,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["results"]
    packaged = set((ROOT / "results").glob(pattern))
    folders = {path.parent for path in (ROOT / "results" / "baselines").rglob(FACTS)}
    assert {folder.name for folder in folders} == set(published())
    assert {folder / name for folder in folders for name in FILES} <= packaged
    assert sum(path.stat().st_size for path in packaged) < 2_000_000
