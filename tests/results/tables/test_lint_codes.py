"""The codes of the lint and their page."""

from __future__ import annotations

import re
from pathlib import Path

from results.tables.benchmark_lint import BENCHMARK_CHECKS
from results.tables.fairness import CHECKS, OF_CHOSEN_CONFIGURATIONS
from results.tables.lint_codes import LINT_CODES, LINT_PAGE, anchor_of

ROOT = Path(__file__).parents[3]


def test_every_code_has_a_check_and_a_paragraph_that_names_it() -> None:
    text = (ROOT / LINT_PAGE).read_text(encoding="utf-8")
    paragraphs = dict(re.findall(r"^### (LS\d{3})\n(.+?)(?=\n\n|\Z)", text, re.M | re.S))
    assert list(paragraphs) == sorted(paragraphs) == list(LINT_CODES) == [*CHECKS, *BENCHMARK_CHECKS]
    for code, paragraph in paragraphs.items():
        assert paragraph.lower().startswith(f"**{LINT_CODES[code]}.**".lower())
        assert len(re.findall(r"\. ", paragraph.replace("\n", " "))) >= 2, code  # what, why, what to do
    assert set(OF_CHOSEN_CONFIGURATIONS) < set(CHECKS)


def test_a_code_keeps_its_meaning() -> None:
    """A code of a published report must be found under the same heading."""
    assert anchor_of("LS003") == "docs/lint.md#ls003"
    assert LINT_CODES["LS001"] == "equal numbers of learning rates"
    assert LINT_CODES["LS107"] == "several studies"
