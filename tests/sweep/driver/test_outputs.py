"""What a sweep's folder shows is of one state: its ledger's."""

from __future__ import annotations

from pathlib import Path

from results.reports.export import export
from search_spaces import Configuration
from sweep.driver.outputs import make_outputs
from sweep.folder.paths import SweepFolder
from tests.results.ledger_sweeps import climb, write_ledger

ADAM = Configuration("Adam", {"lr": 0.001})


def test_formats_that_were_exported_before_are_written_again(tmp_path: Path) -> None:
    """No LaTeX table of an older state stays beside the new Markdown."""
    folder = SweepFolder(tmp_path, "a")
    folder.create()
    write_ledger(folder.ledger, {ADAM: [climb(20), climb(22)]})
    export(folder.ledger, folder.tables, ["tex", "json"])
    assert "20.0, 22.0" in (folder.tables / "consolidated.tex").read_text()
    folder.ledger.unlink()
    write_ledger(folder.ledger, {ADAM: [climb(40), climb(42)]})
    page = make_outputs(folder)
    for suffix, value in {"csv": "41", "md": "40.0, 42.0", "tex": "40.0, 42.0", "json": "41"}.items():
        assert value in (folder.tables / f"consolidated.{suffix}").read_text(), suffix
    assert not (folder.tables / "consolidated.html").exists()
    assert "40.0, 42.0" in page.read_text(encoding="utf-8")
    assert (folder.figures / "validation_accuracy.svg").exists()
