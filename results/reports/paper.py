"""A sweep's results for a paper: a table, figures for one column, a paragraph on the methods, and its references."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from results.figures.configuration_styles import sweep_styles
from results.figures.registry import FIGURES, PAPER_FORMAT, draw_figure, figure_tables, write_figures
from results.figures.selection import select_configurations
from results.figures.style import SINGLE_COLUMN, Styles
from results.ledger.arrays import SweepData
from results.metrics.comparison import MCNEMAR, SIGN_FLIP_DRAWN
from results.metrics.equivalence import MARGIN
from results.reports.registry import report_tables
from results.tables.comparison import SPLIT_NAMES, Comparisons, compare_best, notes_on_looks
from results.tables.latex import as_latex, latex_text
from results.tables.table import Table
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError
from search_spaces.models import LENET5, model_title
from search_spaces.plain_text import counted

OF_THE_BEST = ("validation_accuracy", "final_accuracy")
"""Figures of at most :data:`MAX_SHOWN` configurations."""
OF_ALL = ("learning_rates", "momentum")
MAX_SHOWN = 6
TABLE = "consolidated"
BIBLIOGRAPHY = Path(__file__).parent / "templates" / "references.bib"

CITED_WORKS = {
    "SGD": "polyak1964some", "Adam": "kingma2015adam", "AdamW": "loshchilov2019decoupled", "RAdam": "liu2020variance",
    "Adagrad": "duchi2011adaptive", "Adadelta": "zeiler2012adadelta", "Adafactor": "shazeer2018adafactor",
    "Adamax": "kingma2015adam", "RMSprop": "tieleman2012lecture",
    "CosineAnnealingLR": "loshchilov2017sgdr", "CosineAnnealingWarmRestarts": "loshchilov2017sgdr",
    "CyclicLR": "smith2017cyclical",
}  # fmt: skip
"""Optimizer or scheduler of PyTorch → key in the bibliography."""


def write_paper(sweep: SweepData, folder: Path) -> list[Path]:
    r"""Write ``table.tex``, ``methods.tex``, ``references.bib`` and the figures as PDF to ``folder``; return the files.

    The LaTeX files need ``\usepackage{booktabs,longtable,siunitx}``. The figures have the width of one column.

    Raises:
        SweepFolderError: no run has a result, or the folder cannot be written.
    """
    if not sweep.counted:
        raise SweepFolderError(f"{sweep.name}: no run has a result yet; there is nothing for a paper")
    methods = methods_paragraph(sweep)
    tables = report_tables(sweep)
    texts = {
        "methods.tex": methods,
        "references.bib": bibliography(re.findall(r"\\cite\{([^}]*)\}", methods)),
        "table.tex": as_latex(tables[TABLE]),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with atomic_write(folder / name) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
            written.append(folder / name)
    except OSError as error:
        raise SweepFolderError(f"{folder}: cannot be written ({error.strerror})") from error
    return [*written, *write_figures(paper_figures(sweep, tables), folder, (PAPER_FORMAT,))]


def paper_figures(sweep: SweepData, tables: Mapping[str, Table]) -> dict[str, Figure]:
    """Return the figures by name; a curve or an accuracy is shown for the best configurations only."""
    shown = select_configurations(sweep, MAX_SHOWN)
    best = replace(sweep, configurations=shown.configurations)
    styles = sweep_styles(sweep)
    chosen = {name: table for name, table in figure_tables(best).items() if name in OF_THE_BEST}
    drawn = {
        name: _draw(name, replace(table, notes=[*shown.notes, *table.notes]), styles, sweep)
        for name, table in chosen.items()
    }
    for name, table in figure_tables(sweep, tables).items():
        if name in OF_ALL:
            drawn[name] = _draw(name, table, styles, sweep)
    return drawn


def _draw(name: str, table: Table, styles: Styles, sweep: SweepData) -> Figure:
    return draw_figure(replace(FIGURES[name], width=SINGLE_COLUMN), table, styles, sweep)


def methods_paragraph(sweep: SweepData) -> str:
    r"""Return how the sweep was made, as LaTeX: data, protocol, size, choice, test and versions, with ``\cite``."""
    sentences = [_task(sweep), _protocol(sweep), _size(sweep), *_statistics(sweep), _software(sweep)]
    return "\n".join(sentences) + "\n"


def bibliography(citations: Sequence[str]) -> str:
    """Return the BibTeX entries of the cited keys, in alphabetical order."""
    wanted = {key.strip() for citation in citations for key in citation.split(",")}
    entries = re.split(r"\n(?=@)", BIBLIOGRAPHY.read_text(encoding="utf-8").strip())
    by_key = {re.findall(r"@\w+\{([^,]+),", entry)[0]: entry.strip() for entry in entries}
    return "\n\n".join(by_key[key] for key in sorted(wanted)) + "\n"


def _task(sweep: SweepData) -> str:
    facts = sweep.facts
    if sweep.synthetic:
        data = f"synthetic images of {facts.classes} classes, made from a seed"
    else:
        source = r"~\cite{krizhevsky2009learning}" if facts.title.startswith("CIFAR") else ""
        data = f"{latex_text(facts.title)}{source} ({facts.classes} classes)"
    sizes = [(facts.val_images, "validation"), (facts.test_images, "test")]
    known = " and ".join(f"{size:,} {name} images" for size, name in sizes if size is not None)
    model = latex_text(model_title(sweep.model)) + (r"~\cite{lecun1998gradient}" if sweep.model == LENET5 else "")
    return (
        f"We train {model} on {data}."
        + (f" {known[0].upper()}{known[1:]} are held out." if known else "")
        + " The validation images are used for every choice, the test images for none."
    )


def _protocol(sweep: SweepData) -> str:
    protocol = sweep.protocol
    parts = [
        f"mini-batches of {protocol['batch_size']} images",
        f"dropout of {protocol['dropout']:g}" if protocol.get("dropout") else "no dropout",
        "random crops and horizontal flips" if protocol.get("augment") else "no augmentation",
    ]
    others = {
        key: value for key, value in protocol.items()
        if key not in ("batch_size", "dropout", "augment", "val_fraction", "dtype", "data", "model")
    }  # fmt: skip
    parts += [f"{latex_text(key.replace('_', ' '))} {latex_text(str(value))}" for key, value in others.items()]
    return f"All runs use {', '.join(parts)}, and {protocol['dtype']} arithmetic, for {counted(sweep.epochs, 'epoch')}."


def _size(sweep: SweepData) -> str:
    names = dict.fromkeys(
        name
        for group in sweep.configurations
        for name in (group.configuration.optimizer, group.configuration.scheduler)
        if name != "none"
    )
    shown = ", ".join(
        latex_text(name.rpartition(":")[2]) + (rf"~\cite{{{CITED_WORKS[name]}}}" if name in CITED_WORKS else "")
        for name in names
    )
    seeds = sorted({group.n_done for group in sweep.counted})
    number = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"We compare {counted(len(sweep.configurations), 'configuration')} ({shown}), each under {number} "
        f"seed{'' if seeds[-1] == 1 else 's'}. The seed alone determines initial weights, order of the images, "
        "augmentation and dropout, so the configurations are paired by seed."
    )


def _statistics(sweep: SweepData) -> list[str]:
    sentences = [
        r"Means are given with 95\,\% $t$ intervals over seeds, a part of the variance of a "
        r"benchmark~\cite{bouthillier2021accounting}. A diverged run counts as chance."
    ]
    compared = compare_best(sweep)
    if compared is None:
        return sentences
    reference = latex_text(compared.best.label)
    chosen = "which was named before training" if compared.named_before else "chosen by validation from the same runs"
    sentences.append(
        f"The reference is {reference}, {chosen}. Final {SPLIT_NAMES[compared.split]} accuracies are compared with "
        f"{_tests(compared)}, Holm-corrected~\\cite{{holm1979simple}} over "
        f"{counted(len(compared.tested), 'comparison')} at the level {100 * compared.level:.2g}\\,\\%. "
        f"Two configurations are called equal if the 90\\,\\% interval of their difference lies within "
        f"$\\pm$\\,{MARGIN:g} percentage points."
    )
    return [*sentences, *(latex_text(note) for note in notes_on_looks(sweep))]


def _tests(compared: Comparisons) -> str:
    used = {contender.comparison.test for contender in compared.tested}
    exact = "Monte Carlo" if SIGN_FLIP_DRAWN in used else "exact"
    words = [f"a two-sided {exact} sign-flip test on pairs of runs"] if used != {MCNEMAR} else []
    if MCNEMAR in used:
        words.append(r"McNemar's test~\cite{mcnemar1947note} on the shares of runs that trained")
    return " and ".join(words)


def _software(sweep: SweepData) -> str:
    versions = sweep.versions[0] if sweep.versions else {}
    cited = {"torch": r"PyTorch~\cite{paszke2019pytorch}", "ray": r"Ray~\cite{moritz2018ray}"}
    libraries = [f"{name} {latex_text(versions[key])}" for key, name in cited.items() if key in versions]
    text = f"Training used {' and '.join(libraries)}" if libraries else "Training used PyTorch"
    devices = ", ".join(latex_text(device) for device in sweep.devices)
    version = f" {latex_text(versions['lenet-sweep'])}" if "lenet-sweep" in versions else ""
    return text + (f" on {devices}" if devices else "") + f", with lenet-sweep{version}."
