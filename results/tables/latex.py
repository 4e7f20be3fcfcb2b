"""Write a table in LaTeX, for one column of the class ``article``: siunitx aligns numbers, text columns are wrapped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from results.tables.table import Column, Table

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "∞": r"$\infty$", "·": r"$\cdot$", "×": r"$\times$",
    "≥": r"$\geq$", "≤": r"$\leq$", "–": "--", "…": r"\ldots{}", "β": r"$\beta$", "ρ": r"$\rho$", "τ": r"$\tau$",
    "χ": r"$\chi$", "²": r"$^2$", "ö": r"\"o", "é": r"\'e",
}  # fmt: skip
"""Characters that are LaTeX syntax, or that its standard fonts lack → LaTeX code."""

FIRST_NON_LATIN1 = "\u0100"
"""pdfLaTeX stops at such a character unless :data:`LATEX_ESCAPES` has it; its code point is printed instead."""

MAX_COLUMNS = 7
COLUMNS: dict[str, tuple[str, ...]] = {
    "consolidated": (
        "configuration", "final_val_acc", "test_acc", "epochs_to_target", "hits", "seed_sd", "stability"
    ),
    "convergence": ("configuration", "runs", "final_val_acc", "test_acc", "epochs_to_target", "hits", "speed"),
    "stability": ("configuration", "runs", "seed_sd", "tail_sd", "max_drawdown", "diverged", "at_chance"),
    "comparison": ("configuration", "n", "difference", "won", "p_holm", "verdict", "equivalence"),
    "momentum": ("momentum", "dampening", "nesterov", "lr", "runs", "final_val_acc", "seed_sd"),
    "adam": ("configuration", "epoch", "train_loss", "val_loss", "val_acc", "test_loss", "test_acc"),
    "claimed": (
        "configuration", "claimed_accuracy", "test_acc", "claimed_convergence", "epochs_to_target",
        "claimed_stability", "seed_sd",
    ),
}  # fmt: skip
"""Table → its columns in LaTeX. Of any other table, the first :data:`MAX_COLUMNS` printed columns are taken."""

MAX_FLOAT_ROWS = 40
"""A table with more rows is a ``longtable``, which continues on the next page."""
MAX_FLOAT_LINES = 46
"""So is a table with more lines of type, its caption and its notes included: a float does not continue."""
WRAPPING = 1.25
"""Lines of a wrapped text relative to its width: words are not divided."""

PAGE_POINTS = 345.0
"""Width of the text of ``article`` with its default options."""
SEPARATION_POINTS = 2.0
"""LaTeX's ``tabcolsep``: the space at both sides of a column."""
SLACK = 0.97
"""The share of the page that is used: the widths of texts are estimated."""

MAX_WORD = 7
"""Maximum length of another cell in a column of numbers, such as ``n/a``, ``> 50`` or ``< 0.001``."""
NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?")
BREAKS = frozenset("=_(/")
"""Characters of a label after which a line can end."""

NARROW = frozenset("ijltfrI.,:;'!|[]() ")
WIDE = frozenset("mwMW=±×<>∞≥≤%")


def as_latex(table: Table) -> str:
    r"""A table with booktabs rules: ``\input`` it after ``\usepackage{booktabs,longtable,siunitx}``.

    At most :data:`MAX_COLUMNS` columns; a comment names the others.
    """
    chosen, left_out = _choice(table)
    texts = dict(zip((column.key for column in table.printed), zip(*table.text(), strict=True), strict=False))
    columns = [_LatexColumn(column, texts.get(column.key, ())) for column in chosen]
    size_of_type = _layout(columns)
    alignment = "@{}" + "".join(column.specification for column in columns) + "@{}"
    header = " & ".join(column.heading for column in columns) + r" \\"
    body = [_row(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
    caption = rf"\caption{{{latex_text(table.caption)}}}"
    label = rf"\label{{tab:{table.name.replace('_', '-')}}}"
    notes = [rf"\par\smallskip\raggedright {latex_text(note, breaks=True)}" for note in table.notes]
    comment = [f"% Columns that the other formats have: {', '.join(left_out)}"] if left_out else []
    size = [size_of_type, rf"\setlength{{\tabcolsep}}{{{SEPARATION_POINTS:g}pt}}"]
    if len(table.rows) > MAX_FLOAT_ROWS or _lines(table, columns) > MAX_FLOAT_LINES:
        lines = [
            r"\begingroup", *size, rf"\begin{{longtable}}{{{alignment}}}", rf"{caption}{label}\\", r"\toprule", header,
            r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot", *body, r"\end{longtable}", *notes,
            r"\par\endgroup",
        ]  # fmt: skip
    else:
        lines = [
            r"\begin{table}", r"\centering", *size, caption, label, rf"\begin{{tabular}}{{{alignment}}}", r"\toprule",
            header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}",
        ]  # fmt: skip
    return "\n".join([*comment, *lines]) + "\n"


def _choice(table: Table) -> tuple[list[Column], list[str]]:
    """Return the columns for LaTeX, and the keys of the printed columns that are left out."""
    keys = [column.key for column in table.printed]
    wanted = COLUMNS.get(table.name)
    if wanted is None or len(keys) <= MAX_COLUMNS or not set(wanted) <= set(keys):
        wanted = tuple(keys[:MAX_COLUMNS])
    chosen = [column for column in table.printed if column.key in wanted]
    return chosen, [key for key in keys if key not in {column.key for column in chosen}]


@dataclass
class _LatexColumn:
    """A column with its printed texts. ``width`` is in points; it is set by :func:`_layout`."""

    column: Column
    texts: Sequence[str]
    width: float = 0.0

    def __post_init__(self) -> None:
        found = [NUMBER.fullmatch(text) for text in self.texts]
        self.matches = [match for match in found if match]
        self.numeric = bool(self.matches) and all(
            match or len(text) <= MAX_WORD for match, text in zip(found, self.texts, strict=True)
        )

    @property
    def least(self) -> float:
        """The width that a number, or the longest word that cannot be broken, needs."""
        heading = max(_points(word) for word in [*self.column.title.split(), ""]) + 3
        if self.numeric:
            return max(heading, max(map(_points, self.texts)) + 4)
        pieces = (piece for text in self.texts for piece in re.split(r"(?<=[\s=_(/])|(?<=[a-z])(?=[A-Z])", text))
        return max([heading, *(_points(piece) + 5 for piece in pieces)])

    @property
    def ideal(self) -> float:
        """The width without a line break, up to a third of the page."""
        return min(PAGE_POINTS / 3, max([self.least, *map(_points, self.texts)]) + 3)

    @property
    def share(self) -> str:
        return rf"{self.width / PAGE_POINTS:.4f}\linewidth"

    @property
    def specification(self) -> str:
        """The column in the argument of ``tabular``."""
        if not self.numeric:
            return rf">{{\raggedright\hspace{{0pt}}\arraybackslash}}p{{{self.share}}}"
        sign = "-" if any(match[1] for match in self.matches) else ""
        whole, places = (max(len(match[group] or "") for match in self.matches) for group in (2, 3))
        spread = max(len(((match[4] or "") + (match[5] or "")).lstrip("0")) for match in self.matches)
        digits = f"{sign}{whole}.{places}" + (f"({spread})" if spread else "")
        separate = ",separate-uncertainty=true" if spread else ""
        return f"S[table-format={digits}{separate},table-column-width={self.share}]"

    @property
    def heading(self) -> str:
        title = latex_text(self.column.title)
        return rf"{{\parbox[b]{{{self.share}}}{{\centering\hspace{{0pt}}{title}}}}}" if self.numeric else title

    @property
    def cells(self) -> list[str]:
        if not self.numeric:
            return [latex_text(text, breaks=True) for text in self.texts]
        return [
            text.replace("±", r"\pm") if NUMBER.fullmatch(text) else f"{{{latex_text(text)}}}" for text in self.texts
        ]


def _layout(columns: list[_LatexColumn]) -> str:
    """Set the widths: what each column needs, then the rest of the page for texts; return the size of the type."""
    available = SLACK * (PAGE_POINTS - 2 * SEPARATION_POINTS * (len(columns) - 1))
    needed = sum(column.least for column in columns)
    size, scale = (r"\footnotesize", 1.0) if needed <= available else (r"\scriptsize", 7 / 8)
    wishes = [column.ideal - column.least for column in columns]
    rest = max(0.0, available - scale * needed)
    granted = min(1.0, rest / sum(wishes)) if sum(wishes) else 0.0
    for column, wish in zip(columns, wishes, strict=True):
        column.width = min(1.0, available / needed / scale) * scale * column.least + granted * wish
    return size


def _lines(table: Table, columns: Sequence[_LatexColumn]) -> int:
    """Return the estimated number of lines of a table with its caption, its heading and its notes."""
    rows = zip(*(column.texts for column in columns), strict=True)
    widths = [PAGE_POINTS if column.numeric else column.width for column in columns]
    lines = sum(max(map(_wrapped, row, widths)) for row in rows)
    texts = [table.caption, *table.notes]
    return lines + 3 + len(texts) + sum(_wrapped(text, PAGE_POINTS) for text in texts)


def _wrapped(text: str, width: float) -> int:
    points = _points(text)
    return 1 if points <= width else math.ceil(WRAPPING * points / width)


def _points(text: str) -> float:
    """Return the estimated width of a text in points, in ``footnotesize`` (8 pt)."""
    return sum(3.1 if c in NARROW else 7.4 if c in WIDE else 6.4 if c.isupper() else 4.7 for c in text)


def latex_text(text: str, *, breaks: bool = False) -> str:
    """Return ``text`` as LaTeX code; ``breaks`` lets a line end after a sign or within a name of several words."""
    codes = []
    for before, sign in zip(" " + text, text, strict=False):
        if breaks and sign.isupper() and before.islower():
            codes.append(r"\-")
        codes.append(LATEX_ESCAPES.get(sign, sign if sign < FIRST_NON_LATIN1 else f"U+{ord(sign):04X}"))
        if breaks and sign in BREAKS:
            codes.append(r"\allowbreak{}")
    return "".join(codes)


def _row(cells: Sequence[str]) -> str:
    r"""One line of a ``tabular``; ``\\`` in the line before would take a leading bracket or star as its argument."""
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"
