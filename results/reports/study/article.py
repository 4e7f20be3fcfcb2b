"""The study as an article: a fixed text around numbers, tables and figures that are all handed in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.dollarmath import dollarmath_plugin

from results.ledger.arrays import SweepData
from results.reports.report import asked_facts, inline_svg, page_template, plain_text, trained_facts
from results.reports.study.claims import claimed_labels
from results.reports.study.sentences import claims_accuracy, claims_distance, claims_on_gradients
from results.reports.study.tables import claimed_adam_table
from results.tables.formats import as_markdown, escape_markdown
from results.tables.table import Table

TITLE = "Optimizers and learning-rate schedules for LeNet-5"

FIGURES: dict[str, str] = {
    "sma_and_ewma": "SMA against EWMA",
    "ewma_on_gradients": "EWMA on real gradients",
    "adam_loss": "Adam, loss",
    "adam_accuracy": "Adam, accuracy",
    "adam_train_and_test": "Adam, train against test",
    "gradients_raw": "raw gradients",
    "gradients_smoothed": "smoothed gradients",
    "gradients_adapted": "adapted gradients",
    "trajectory_sgd": "trajectory of SGD",
    "trajectory_momentum": "trajectory with momentum",
    "trajectory_nesterov": "trajectory with Nesterov's momentum",
    "losses_compared": "losses compared",
    # Up to here the numbers are the study's own.
    "gradient_stages": "three stages of a gradient",
    "accuracies_compared": "accuracies compared",
    "adam_and_sgd": "Adam and SGD",
    "momentum_and_nesterov": "momentum and Nesterov",
    "trajectory_adam": "trajectory of Adam",
    "trajectories": "trajectories together",
    "scheduler_rates": "rates that the schedules used",
    "scheduler_accuracies": "accuracies of the schedules",
    "lr_range": "learning-rate range test",
    "activations_conv1": "maps of convolution 1",
    "activations_conv2": "maps of convolution 2",
    "activations_all": "maps of all layers",
}
"""Figure → what it is called where it is missing. A figure's place here is its number, whatever else is there."""

TABLES: dict[str, str] = {
    "equivalent_windows": "the equivalent windows",
    "gradient_ewma": "the smoothed gradients",
    "gradient_noise": "the gradient noise scale",
    "gradient_stages": "the stages of a gradient",
    "adam": "Adam along the way",
    "convergence": "convergence",
    "stability": "stability",
    "profile": "the performance profile",
    "trajectory": "the trajectories",
    "schedulers": "the schedules",
    "lr_range": "the learning-rate range test",
    "activations": "the activations",
    "consolidated": "all configurations",
    "comparison": "the best configuration against the others",
    "claimed": "the claims on four optimizers",
    "claimed_adam": "the claims on Adam by epoch",
    "fairness": "the fairness lint",
}
"""Table → what it is called where it is missing."""

OF_THE_FOUR = ("convergence", "stability", "profile")
"""Tables that the article shows for the study's four optimizers only."""

IN_SECTION_8 = ("convergence", "stability")
"""Those that `consolidated`, in section 8, sums up for every configuration."""

SYMBOLS = {
    "StepLR": {"step_size": "$s$", "gamma": r"$\gamma$"},
    "MultiStepLR": {"milestones": "epochs", "gamma": r"$\gamma$"},
    "ReduceLROnPlateau": {"factor": "$f$", "patience": "`patience`"},
    "CyclicLR": {"base_lr": r"$\eta_{\min}$", "max_lr": r"$\eta_{\max}$", "step_size_up": "$s$",
                 "cycle_momentum": "`cycle_momentum`"},
    "LambdaLR": {"lr_lambda": "function", "decay": "$d$"},
    "CosineAnnealingLR": {"T_max": "$T$", "eta_min": r"$\eta_{\min}$"},
}  # fmt: skip
"""Scheduler → the parameters that its formula has, in the article's letters."""

PROSE = ("What it does", "Detail")  # headings of columns of sentences, which may break

NUMBERS = {name: number for number, name in enumerate(FIGURES, start=1)}


@dataclass(frozen=True)
class ArticleFigure:
    """A figure as the article shows it: the text of its SVG, and its PNG's path as seen from ``article.md``."""

    name: str
    caption: str
    svg: str
    png: str


class _Written(str):
    """Text that is Markdown already; whatever else the template is handed is escaped."""


def article_markdown(
    sweep: SweepData,
    tables: Mapping[str, Table],
    figures: Mapping[str, ArticleFigure],
    *,
    sentences: Mapping[str, str],
    commands: Sequence[str],
    versions: Mapping[str, str],
) -> str:
    """Return the article as Markdown with formulas between dollars; it reads and writes nothing.

    Args:
        sweep: what was trained.
        tables: the sweep's tables and the analyses' by name; one that is missing is said to be.
        figures: by name, likewise; those that :data:`FIGURES` does not know are left out.
        sentences: made from numbers elsewhere: ``answer``, ``ewma_meaning``, or what to say below a table or figure,
            under its name.
        commands: one command line an entry that makes these numbers again.
        versions: what the article was made with, by name.
    """
    shelf = _Shelf(sweep, tables, figures, sentences)
    share = sweep.protocol.get("val_fraction")
    text = _environment().get_template("article.md.j2").render(
        title=TITLE, name=sweep.name, data=_data(sweep), synthetic=sweep.synthetic, size=_size(sweep),
        facts=asked_facts(sweep) | trained_facts(sweep), val_percent=f"{100 * share:g}" if share else "",
        augment=sweep.protocol.get("augment"), caveats=sweep.caveats(), has=shelf.has, table=shelf.table,
        figures=shelf.figures, sentence=shelf.sentence, scheduler=lambda name: _parameters(sweep, name),
        claims_accuracy=claims_accuracy(tables.get("claimed"), sweep),
        claims_distance=claims_distance(tables.get("claimed"), sweep),
        claims_on_gradients=claims_on_gradients(tables), seeds_say=_seeds_say(sweep), commands=commands,
        fenced=_fenced, versions=plain_text("", versions) if versions else "",
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text)


def article_html(markdown: str, figures: Mapping[str, ArticleFigure], title: str) -> str:
    """Return the article as one HTML page that fetches nothing: formulas as MathML, figures as inline SVG.

    Args:
        markdown: what :func:`article_markdown` returned.
        figures: the same that it was given; an image that is none of them stays its alternative text.
        title: for the window.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable(["link", "autolink", "reference"])  # the article has none, and nothing in it is to become one
    dollarmath_plugin(reader, allow_labels=False, allow_space=False, renderer=_mathml)
    tokens = reader.parse(markdown)
    by_path = {figure.png: figure for figure in figures.values()}
    body = reader.renderer.render(list(_as_page(tokens, by_path)), reader.options, {})
    return page_template("article.html.j2").render(title=title, body=Markup(body))


class _Shelf:
    """What the template asks for by name: tables in the order in which they are asked for, figures by their number."""

    def __init__(
        self,
        sweep: SweepData,
        tables: Mapping[str, Table],
        figures: Mapping[str, ArticleFigure],
        sentences: Mapping[str, str],
    ) -> None:
        claimed_adam = claimed_adam_table(sweep, tables.get("adam"))
        self._tables = {**tables, **({"claimed_adam": claimed_adam} if claimed_adam else {})}
        self._figures, self._sentences = figures, sentences
        self._studied = claimed_labels(sweep)
        self._shown = 0

    def has(self, name: str) -> bool:
        """Whether there is such a table, with a row in it."""
        return name in self._tables and bool(self._tables[name].rows)

    def table(self, name: str) -> str:
        """The table with its number, and what there is to say of it; or one line that it is missing."""
        if not self.has(name):
            return _Written(f"*Not measured yet: the table of {TABLES[name]}.*")
        self._shown += 1
        table = self._of_the_four(name) if name in OF_THE_FOUR else self._tables[name]
        notes = [note for note in table.notes if note != self._sentences.get("ewma_meaning")]  # stands in the text
        numbered = replace(table, caption=f"Table {self._shown}. {table.caption}", notes=notes)
        return _paragraphs(_tamed(as_markdown(numbered).rstrip()), self.sentence(name))

    def figures(self, *names: str) -> str:
        """The figures with the study's numbers, and one line for those that are missing."""
        there = [name for name in names if name in self._figures]
        missing = [f"Figure {NUMBERS[name]} ({FIGURES[name]})" for name in names if name not in self._figures]
        return _paragraphs(
            *(text for name in there for text in (self._figure(name), self.sentence(name))),
            f"*Not measured yet: {', '.join(missing)}.*" if missing else "",
        )

    def sentence(self, key: str) -> str:
        """A ready-made sentence, or nothing."""
        return _Written(_markdown(self._sentences.get(key, "")))

    def _figure(self, name: str) -> str:
        figure, number = self._figures[name], NUMBERS[name]
        caption = re.sub(r"^Figure \d+( of the study)?[.:]?\s*", "", figure.caption)  # numbered here, below
        caption = caption[:1].upper() + caption[1:]
        return f"![Figure {number}]({quote(figure.png)})\n\n**Figure {number}.** {_markdown(caption)}"

    def _of_the_four(self, name: str) -> Table:
        table = self._tables[name]
        rows = [row for row in table.rows if row.values.get("configuration") in self._studied]
        if not rows or len(rows) == len(table.rows):
            return table
        note = f"The study's own {len(rows)} of {len(table.rows)} configurations; a target is the whole sweep's."
        if name in IN_SECTION_8:
            note += " Section 8 has them all."
        return replace(table, rows=rows, notes=[note, *table.notes])


def _environment() -> Environment:
    """Markdown, in which whatever is filled in reads as it stands unless it is written as Markdown already."""
    return Environment(
        loader=PackageLoader("results.reports", "templates"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, _Written) else _markdown(value),
    )  # fmt: skip


def _markdown(value: object) -> str:
    return _tamed(escape_markdown(str(value)))


def _tamed(text: str) -> str:
    """Take its meaning from what only an article reads: formulas, entities, links. Nothing in ``text`` is meant so."""
    for sign, harmless in {"&": "&amp;", "$": "&#36;", "~": "&#126;", "](": r"]\(", "]:": r"]\:"}.items():
        text = text.replace(sign, harmless)
    return text


def _paragraphs(*texts: str) -> _Written:
    return _Written("\n\n".join(text for text in texts if text))


def _fenced(lines: Sequence[str]) -> _Written:
    text = "\n".join(" ".join(line.splitlines()) for line in lines)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return _Written(f"{fence}console\n{text}\n{fence}")


def _parameters(sweep: SweepData, scheduler: str) -> str:
    """Return what the sweep gave a scheduler, in the article's letters; values that differ have ``or`` between them."""
    groups = [group.columns for group in sweep.configurations if group.columns["scheduler"] == scheduler]
    if not groups:
        return "not in this sweep"
    words = []
    for key, symbol in SYMBOLS.get(scheduler, {}).items():
        name = f"scheduler.{key}"
        values = dict.fromkeys(plain_text("", columns[name]) for columns in groups if name in columns)
        words += [f"{symbol} = {' or '.join(map(_markdown, values))}"] if values else []
    return _Written("; ".join(words) or "–")


def _data(sweep: SweepData) -> str:
    return "CIFAR-100" if sweep.data_name and not sweep.synthetic else sweep.data_label or "no data"


def _size(sweep: SweepData) -> str:
    seeds = {seed for group in sweep.configurations for seed in group.seeds}
    runs = sum(len(group.run_ids) for group in sweep.configurations)
    epochs = f"{_count(sweep.epochs, 'epoch')}{' each' if runs > 1 else ''}"
    configurations = _count(len(sweep.configurations), "configuration")
    return f"{configurations} under {_count(len(seeds), 'seed')}, {_count(runs, 'run')} of {epochs}"


def _seeds_say(sweep: SweepData) -> str:
    counts = {int(group.counted.sum()) for group in sweep.counted}
    if not counts:
        return "No run has a result yet."
    few, many = min(counts), max(counts)
    if many == 1:
        return "There is one result a configuration: how much a result varies from seed to seed was not measured."
    n = f"{many} seeds" if few == many else f"{few} to {many} seeds"
    return f"There are {n} a configuration. Their intervals take it that results are normally distributed over seeds."


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _mathml(formula: str, options: Mapping[str, Any]) -> str:
    return convert(formula, display="block" if options["display_mode"] else "inline")


def _as_page(tokens: Sequence[Token], by_path: Mapping[str, ArticleFigure]) -> Iterator[Token]:
    """Make figures of images with their captions, and give every table a frame to scroll in and a name."""
    heading, drawn, closing = "", 0, ""
    for i, token in enumerate(tokens):
        if token.type == "inline" and (figure := _shown_in(token, by_path)):
            drawn += 1
            svg = inline_svg(figure.svg, prefix=f"svg{drawn}-", label=figure.caption)
            yield _html(f'<div class="card">{svg}</div>')
        elif token.type == "paragraph_open" and _shown_in(tokens[i + 1], by_path):
            yield _html("<figure>")
        elif token.type == "paragraph_close" and _shown_in(tokens[i - 1], by_path):
            closing = "figure"
        elif closing == "figure":  # the paragraph after an image is its caption
            yield _html("<figcaption>")
            closing = "figcaption"
        elif closing == "figcaption" and token.type == "paragraph_close":
            yield _html("</figcaption></figure>")
            closing = ""
        elif token.type == "table_open":
            prose = any(cell.content in PROSE for cell in tokens[i : i + 20])
            yield _html(f'<div class="frame" role="region" aria-label="{escape(heading)}" tabindex="0">')
            token.attrSet("class", "data prose" if prose else "data")
            yield token
        elif token.type == "table_close":
            yield token
            yield _html("</div>")
        else:
            if token.type == "inline" and (tokens[i - 1].type == "heading_open" or token.content.startswith("**Table")):
                heading = "".join(child.content for child in token.children or ())
            if token.type == "paragraph_open" and tokens[i + 1].content.startswith("**Table"):
                token.attrSet("class", "caption")
            if token.type == "bullet_list_open" and tokens[i - 1].type == "table_close":
                token.attrSet("class", "notes")
            for child in token.children or ():
                if child.type == "image":  # of a figure that is not there: its alternative text stays
                    child.type = "text"
            yield token


def _shown_in(token: Token, by_path: Mapping[str, ArticleFigure]) -> ArticleFigure | None:
    """Return the figure of a paragraph that is one image and nothing else."""
    images = token.children or []
    if token.type != "inline" or len(images) != 1 or images[0].type != "image":
        return None
    return by_path.get(unquote(str(images[0].attrs["src"])))


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=f"{text}\n")
