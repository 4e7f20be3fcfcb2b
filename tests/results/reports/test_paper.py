r"""The files for a paper: they compile with pdflatex and bibtex, and say what the ledger says."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from results.reports.paper import (
    BIBLIOGRAPHY,
    CITED_WORKS,
    bibliography,
    methods_paragraph,
    paper_figures,
    write_paper,
)
from results.reports.registry import report_tables
from search_spaces.errors import SweepFolderError
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of


def test_the_methods_name_the_protocol_the_size_and_the_test(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30 + k) for k in range(6)], ADAM: [climb(20 + k) for k in range(6)]})
    text = methods_paragraph(sweep)
    assert r"Adam~\cite{kingma2015adam}" in text
    assert "mini-batches of 128 images, dropout of 0.3, random crops and horizontal flips" in text
    assert "for 10 epochs" in text
    assert "2 configurations" in text
    assert "each under 6 seeds" in text
    assert "exact sign-flip test" in text
    assert "chosen by validation from the same runs" in text


def test_the_methods_name_the_model(tmp_path: Path) -> None:
    lenet = sweep_of(tmp_path, {MOMENTUM: [climb(30)], ADAM: [climb(20)]})
    assert r"We train LeNet-5~\cite{lecun1998gradient} on" in methods_paragraph(lenet)
    other = replace(lenet, protocol={**lenet.protocol, "model": "my_models:net"})
    assert r"We train my\_models:net on" in methods_paragraph(other)
    assert "LeNet-5" not in methods_paragraph(other)


def test_a_diverged_run_changes_the_test(tmp_path: Path) -> None:
    curves = {MOMENTUM: [climb(30) for _ in range(6)], ADAM: [climb(20) for _ in range(6)]}
    sweep = sweep_of(tmp_path, curves, diverged={(ADAM, 0): 3})
    assert "McNemar" in methods_paragraph(sweep)


def test_every_cited_work_is_in_the_bibliography() -> None:
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    assert set(CITED_WORKS.values()) <= set(re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE))
    assert [line for line in bibliography(["holm1979simple", "kingma2015adam,holm1979simple"]).splitlines()
            if line.startswith("@")] == ["@article{holm1979simple,", "@inproceedings{kingma2015adam,"]  # fmt: skip


def test_a_sweep_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepFolderError, match="no run has a result"):
        write_paper(sweep_of(tmp_path, {ADAM: [[]]}), tmp_path / "paper")
    assert not (tmp_path / "paper").exists()


def test_the_figures_show_the_best_six_configurations_and_say_it(tmp_path: Path) -> None:
    rates = [replace(ADAM, optimizer_params={**ADAM.optimizer_params, "lr": 0.001 * (i + 1)}) for i in range(8)]
    sweep = sweep_of(tmp_path, {one: [climb(20 + i), climb(21 + i)] for i, one in enumerate(rates)})
    figure = paper_figures(sweep, report_tables(sweep))["final_accuracy"]
    names = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    finals = {group.label: group.final.mean() for group in sweep.counted}
    assert names == sorted(finals, key=finals.__getitem__)[-6:]
    assert any("6 of 8 configurations" in text.get_text() for text in figure.texts)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_files_compile_in_two_columns(tmp_path: Path) -> None:
    rates = [replace(ADAM, optimizer_params={**ADAM.optimizer_params, "lr": rate}) for rate in (0.0003, 0.001, 0.003)]
    curves = {one: [climb(20 + 3 * i + k / 3, 12) for k in range(6)] for i, one in enumerate([MOMENTUM, *rates])}
    written = write_paper(sweep_of(tmp_path, curves, epochs=12), tmp_path / "paper")
    assert len(written) >= 6
    figure = r"\begin{figure}\includegraphics[width=\linewidth]{%s}\end{figure}"
    figures = "".join(figure % path.stem for path in written if path.suffix == ".pdf")
    document = (
        r"\documentclass[twocolumn]{article}\usepackage{booktabs,longtable,siunitx,graphicx}\begin{document}"
        rf"\input{{methods}}{figures}\onecolumn\input{{table}}\bibliographystyle{{plain}}"
        r"\bibliography{references}\end{document}"
    )
    (tmp_path / "paper" / "article.tex").write_text(document, encoding="utf-8")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    for command in (latex, ["bibtex", "article"], latex, latex):
        done = subprocess.run(
            command, cwd=tmp_path / "paper", capture_output=True, text=True, errors="replace", check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper" / "article.log").read_text(errors="replace")
    assert "undefined" not in log.lower()
    assert re.findall(r"Overfull .hbox.*", log) == []
