"""The study as an article: a template filled with given numbers, tables and figures."""

from __future__ import annotations

import math
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
from results.reports.inline_svg import inline_svg
from results.reports.report import page_template, plain_text, sweep_facts, training_facts
from results.reports.study.claims import claimed_labels
from results.reports.study.sentences import claims_accuracy, claims_distance, claims_on_gradients
from results.reports.study.tables import claimed_adam_table
from results.tables.formats import as_markdown, escape_markdown
from results.tables.table import Table
from search_spaces.plain_text import counted
from search_spaces.plain_text import plain_text as without_control

PARAMETERS, PARAMETERS_PER_CLASS = 61_156, 85
"""Of LeNet-5, without its last layer and in its last layer."""
TITLE = "Optimizers and learning-rate schedules for LeNet-5"

FIGURES: dict[str, str] = {
    "sma_and_ewma": "SMA and EWMA",
    "ewma_on_gradients": "EWMA on real gradients",
    "adam_loss": "Adam, loss",
    "adam_accuracy": "Adam, accuracy",
    "adam_train_and_test": "Adam, training and test",
    "gradients_raw": "raw gradients",
    "gradients_smoothed": "smoothed gradients",
    "gradients_adapted": "adapted gradients",
    "trajectory_sgd": "trajectory of SGD",
    "trajectory_momentum": "trajectory with momentum",
    "trajectory_nesterov": "trajectory with Nesterov's momentum",
    "losses_compared": "losses compared",
    "gradient_stages": "three stages of a gradient",
    "accuracies_compared": "accuracies compared",
    "adam_and_sgd": "Adam and SGD",
    "momentum_and_nesterov": "momentum and Nesterov",
    "trajectory_adam": "trajectory of Adam",
    "trajectories": "all trajectories",
    "scheduler_rates": "learning rates of the schedules",
    "scheduler_accuracies": "accuracies of the schedules",
    "lr_range": "learning-rate range test",
    "activations_conv1": "maps of convolution 1",
    "activations_conv2": "maps of convolution 2",
    "activations_all": "maps of all layers",
}
"""Figure → its title where it is missing. The figures are numbered in the order of the text."""

TABLES: dict[str, str] = {
    "equivalent_windows": "the equivalent windows",
    "gradient_ewma": "the smoothed gradients",
    "gradient_noise": "the gradient noise scale",
    "gradient_stages": "the stages of a gradient",
    "adam": "Adam by epoch",
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
"""Table → its title where it is missing."""

CLAIMED_ONLY = ("convergence", "stability", "profile")
"""Tables that the article shows only for the study's four optimizers."""

ALSO_IN_SECTION_1 = ("convergence", "stability")
"""Tables whose columns `consolidated`, in section 1.1, has for every configuration."""

SYMBOLS = {
    "StepLR": {"step_size": "$s$", "gamma": r"$\gamma$"},
    "MultiStepLR": {"milestones": "epochs", "gamma": r"$\gamma$"},
    "ReduceLROnPlateau": {"factor": "$f$", "patience": "`patience`"},
    "CyclicLR": {"base_lr": r"$\eta_{\min}$", "max_lr": r"$\eta_{\max}$", "step_size_up": "$s$",
                 "cycle_momentum": "`cycle_momentum`"},
    "LambdaLR": {"lr_lambda": "function", "decay": "$d$"},
    "CosineAnnealingLR": {"T_max": "$T$", "eta_min": r"$\eta_{\min}$"},
}  # fmt: skip
"""Scheduler → the parameters in its formula, in the article's notation."""

PROSE_COLUMNS = ("Effect", "Detail")  # headings of columns with sentences, whose lines may break


@dataclass(frozen=True)
class ArticleFigure:
    """A figure of the article: the text of its SVG, and the path of its PNG relative to ``article.md``."""

    name: str
    caption: str
    svg: str
    png: str


class _RawMarkdown(str):
    """Text that is Markdown; all other values of the template are escaped."""


def article_markdown(
    sweep: SweepData,
    tables: Mapping[str, Table],
    figures: Mapping[str, ArticleFigure],
    *,
    sentences: Mapping[str, str],
    commands: Sequence[str],
    versions: Mapping[str, str],
) -> str:
    """Return the article as Markdown with formulas between dollars, without reading or writing a file.

    Args:
        sweep: the measured data.
        tables: tables of the sweep and of the analyses by name; the article names missing ones.
        figures: by name; those that are not in :data:`FIGURES` are omitted.
        sentences: ``answer``, ``ewma_meaning``, and sentences to print below a table or figure, by its name.
        commands: command lines that reproduce the numbers.
        versions: library → version.
    """
    content = _Content(sweep, tables, figures, sentences)
    share = sweep.protocol.get("val_fraction")
    text = _environment().get_template("article.md.j2").render(
        title=TITLE, name=sweep.name, data=sweep.data_title, synthetic=sweep.synthetic,
        cifar100=sweep.is_cifar100, classes=sweep.facts.classes,
        parameters=f"{PARAMETERS + PARAMETERS_PER_CLASS * sweep.facts.classes:,}",
        ln_classes=f"{math.log(sweep.facts.classes):.3f}", size=_size(sweep),
        facts=sweep_facts(sweep) | training_facts(sweep), val_percent=f"{100 * share:g}" if share else "",
        augment=sweep.protocol.get("augment"), caveats=sweep.caveats(), has=content.has, table=content.table,
        figures=content.figures, sentence=content.sentence, scheduler=lambda name: _parameters(sweep, name),
        claims_accuracy=claims_accuracy(tables.get("claimed"), sweep),
        claims_distance=claims_distance(tables.get("claimed"), sweep),
        claims_on_gradients=claims_on_gradients(tables), seed_limitation=_seed_limitation(sweep), commands=commands,
        fenced=_code_block, versions=plain_text("", versions) if versions else "",
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text)


def article_html(markdown: str, figures: Mapping[str, ArticleFigure], title: str) -> str:
    """Return the article as a self-contained HTML page: formulas as MathML, figures as inline SVG.

    Args:
        markdown: the result of :func:`article_markdown`.
        figures: the same figures; any other image is replaced by its alternative text.
        title: title of the window.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable(["link", "autolink", "reference"])  # the article has no links
    dollarmath_plugin(reader, allow_labels=False, allow_space=False, renderer=_mathml)
    tokens = reader.parse(markdown)
    by_path = {figure.png: figure for figure in figures.values()}
    body = reader.renderer.render(list(_page_tokens(tokens, by_path)), reader.options, {})
    return page_template("article.html.j2").render(title=title, body=Markup(body))


class _Content:
    """Tables, figures and sentences by name for the template; tables and figures are numbered in the order of use."""

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
        self._claimed = claimed_labels(sweep)
        self._shown = self._drawn = 0

    def has(self, name: str) -> bool:
        """Return whether there is a table of this name with at least one row."""
        return name in self._tables and bool(self._tables[name].rows)

    def table(self, name: str) -> str:
        """Return the table with its number and its sentence, or a line that it is missing."""
        if not self.has(name):
            return _RawMarkdown(f"*Not measured yet: the table of {TABLES[name]}.*")
        self._shown += 1
        table = self._claimed_only(name) if name in CLAIMED_ONLY else self._tables[name]
        notes = [note for note in table.notes if note != self._sentences.get("ewma_meaning")]  # the text has it
        numbered = replace(table, caption=f"Table {self._shown}. {table.caption}", notes=notes)
        return _paragraphs(_escape_article(as_markdown(numbered).rstrip()), self.sentence(name))

    def figures(self, *names: str) -> str:
        """Return the figures with their numbers, and a line for the missing ones."""
        available = [name for name in names if name in self._figures]
        missing = [FIGURES[name] for name in names if name not in self._figures]
        return _paragraphs(
            *(text for name in available for text in (self._figure(name), self.sentence(name))),
            f"*Figures that are not measured yet: {'; '.join(missing)}.*" if missing else "",
        )

    def sentence(self, key: str) -> str:
        """Return a given sentence, or an empty text."""
        return _RawMarkdown(_markdown(self._sentences.get(key, "")))

    def _figure(self, name: str) -> str:
        self._drawn += 1
        figure, number = self._figures[name], self._drawn
        of_study = re.match(r"(Figure \d+ of the study): *", figure.caption)
        caption = figure.caption[of_study.end() :] if of_study else figure.caption
        caption = caption[:1].upper() + caption[1:] + (f" ({of_study[1]}.)" if of_study else "")
        return f"![Figure {number}]({quote(figure.png)})\n\n**Figure {number}.** {_markdown(caption)}"

    def _claimed_only(self, name: str) -> Table:
        table = self._tables[name]
        rows = [row for row in table.rows if row.values.get("configuration") in self._claimed]
        if not rows or len(rows) == len(table.rows):
            return table
        note = (
            f"Only the study's {len(rows)} of {len(table.rows)} configurations; targets are those of the whole sweep."
        )
        if name in ALSO_IN_SECTION_1:
            note += " Section 1.1 has all of them."
        return replace(table, rows=rows, notes=[note, *table.notes])


def _environment() -> Environment:
    """Return the environment of Markdown templates; values are escaped unless they are Markdown."""
    return Environment(
        loader=PackageLoader("results.reports", "templates"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, _RawMarkdown) else _markdown(value),
    )  # fmt: skip


def _markdown(value: object) -> str:
    return _escape_article(escape_markdown(without_control(str(value), keep="\n\t")))


def _escape_article(text: str) -> str:
    """Escape the syntax of formulas, entities and links in ``text``."""
    for sign, escaped in {"&": "&amp;", "$": "&#36;", "~": "&#126;", "](": r"]\(", "]:": r"]\:"}.items():
        text = text.replace(sign, escaped)
    return text


def _paragraphs(*texts: str) -> _RawMarkdown:
    return _RawMarkdown("\n\n".join(text for text in texts if text))


def _code_block(lines: Sequence[str]) -> _RawMarkdown:
    text = "\n".join(without_control(" ".join(line.splitlines()), keep="\t") for line in lines)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return _RawMarkdown(f"{fence}console\n{text}\n{fence}")


def _parameters(sweep: SweepData, scheduler: str) -> str:
    """Return a scheduler's parameters in the sweep, in the article's notation; different values joined by ``or``."""
    groups = [group.columns for group in sweep.configurations if group.columns["scheduler"] == scheduler]
    if not groups:
        return "not in this sweep"
    words = []
    for key, symbol in SYMBOLS.get(scheduler, {}).items():
        name = f"scheduler.{key}"
        values = dict.fromkeys(plain_text("", columns[name]) for columns in groups if name in columns)
        words += [f"{symbol} = {' or '.join(map(_markdown, values))}"] if values else []
    return _RawMarkdown("; ".join(words) or "–")


def _size(sweep: SweepData) -> str:
    seeds = {seed for group in sweep.configurations for seed in group.seeds}
    runs = sum(len(group.run_ids) for group in sweep.configurations)
    epochs = f"{counted(sweep.epochs, 'epoch')}{' each' if runs > 1 else ''}"
    configurations = counted(len(sweep.configurations), "configuration")
    return f"{configurations} under {counted(len(seeds), 'seed')}, {counted(runs, 'run')} of {epochs}"


def _seed_limitation(sweep: SweepData) -> str:
    counts = {int(group.counted.sum()) for group in sweep.counted}
    if not counts:
        return "No run has a result yet."
    few, many = min(counts), max(counts)
    if many == 1:
        return "There is one result per configuration, so the variation over seeds is not measured."
    n = counted(many, "seed") if few == many else f"{few} to {many} seeds"
    return f"There are {n} per configuration. The intervals assume that results are normally distributed over seeds."


def _mathml(formula: str, options: Mapping[str, Any]) -> str:
    return convert(formula, display="block" if options["display_mode"] else "inline")


def _page_tokens(tokens: Sequence[Token], by_path: Mapping[str, ArticleFigure]) -> Iterator[Token]:
    """Turn images with their captions into figures, and put every table into a labelled frame that scrolls."""
    heading, drawn, closing = "", 0, ""
    for i, token in enumerate(tokens):
        if token.type == "inline" and (figure := _figure_in(token, by_path)):
            drawn += 1
            svg = inline_svg(figure.svg, prefix=f"svg{drawn}-", label=figure.caption)
            yield _html(f'<div class="card">{svg}</div>')
        elif token.type == "paragraph_open" and _figure_in(tokens[i + 1], by_path):
            yield _html("<figure>")
        elif token.type == "paragraph_close" and _figure_in(tokens[i - 1], by_path):
            closing = "figure"
        elif closing == "figure":  # the paragraph after an image is its caption
            yield _html("<figcaption>")
            closing = "figcaption"
        elif closing == "figcaption" and token.type == "paragraph_close":
            yield _html("</figcaption></figure>")
            closing = ""
        elif token.type == "table_open":
            prose = any(cell.content in PROSE_COLUMNS for cell in tokens[i : i + 20])
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
                if child.type == "image":  # no such figure: keep its alternative text
                    child.type = "text"
            yield token


def _figure_in(token: Token, by_path: Mapping[str, ArticleFigure]) -> ArticleFigure | None:
    """Return the figure of a paragraph that consists of one image."""
    images = token.children or []
    if token.type != "inline" or len(images) != 1 or images[0].type != "image":
        return None
    return by_path.get(unquote(str(images[0].attrs["src"])))


def _html(text: str) -> Token:
    return Token("html_block", "", 0, content=f"{text}\n")
