"""What a sweep's folder shows is of one state: its ledger's."""

from __future__ import annotations

from pathlib import Path

from results.ledger.arrays import load_sweep
from results.reports.export import export
from results.reports.registry import report_tables
from search_spaces import Configuration
from sweep.driver.outputs import make_outputs, report_lead
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


def test_a_report_begins_with_its_own_answer_until_a_confirmation_has_a_result(tmp_path: Path) -> None:
    folder, confirmation = SweepFolder(tmp_path, "a"), SweepFolder(tmp_path, "a-confirm")
    for one in (folder, confirmation):
        one.create()
    two = {ADAM: [climb(20), climb(22)], Configuration("Adam", {"lr": 0.01}): [climb(30), climb(31)]}
    write_ledger(folder.ledger, two)
    write_ledger(confirmation.ledger, {configuration: [[], []] for configuration in two})
    sweep = load_sweep(folder.ledger, "a")
    lead, _ = report_lead(folder, sweep, report_tables(sweep))
    assert (lead.title, lead.figures, lead.of_another_sweep) == ("Answer", ("final_accuracy",), False)
    assert lead.table is not None
    assert lead.table.name == "ranking"
    confirmation.ledger.unlink()
    write_ledger(confirmation.ledger, {configuration: [climb(40), climb(41)] for configuration in two})
    lead, _ = report_lead(folder, sweep, report_tables(sweep))
    assert lead.of_another_sweep
    assert lead.sentences[0].startswith("Adam lr=0.001 has the highest validation accuracy")
    assert "(a-confirm)" in lead.title
    assert lead.table is not None
    assert lead.table.name == "comparison"
