"""The codes of the lint: each one has a paragraph in ``docs/lint.md`` and never changes its meaning."""

from __future__ import annotations

LINT_CODES = {
    "LS001": "equal numbers of learning rates",
    "LS002": "more than one learning rate per optimizer",
    "LS003": "equal tuning per optimizer",
    "LS004": "equal numbers of seeds",
    "LS005": "enough seeds for the comparisons",
    "LS006": "best learning rate inside its grid",
    "LS007": "labels show all settings",
    "LS008": "runs paired by seed",
    "LS009": "learning rate tuned for each scheduler",
    "LS010": "selection on validation only",
    "LS011": "no run without a result",
    "LS012": "one kind of device",
    "LS101": "chosen values inside their ranges",
    "LS102": "equal tuning budgets",
    "LS103": "tuned compared with tuned",
    "LS104": "few diverged points in tuning",
    "LS105": "several tuning seeds",
    "LS106": "test read once",
    "LS107": "several studies",
    "LS108": "evaluation seeds differ from tuning seeds",
    "LS109": "a point for each hyperparameter and more",
}
"""Code → the check that has this code. LS001 to LS099 are those of every sweep, LS101 to LS199 those of a benchmark."""

LINT_PAGE = "docs/lint.md"


def anchor_of(code: str) -> str:
    """Return the address of a code's paragraph within the repository: ``docs/lint.md#ls003``."""
    return f"{LINT_PAGE}#{code.lower()}"
