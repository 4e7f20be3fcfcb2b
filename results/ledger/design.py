"""What a resolved spec fixes about the comparisons of its sweep."""

from __future__ import annotations

import tomllib
from typing import Any


def design_in(spec: str) -> dict[str, Any]:
    """Return what a resolved spec fixes about the comparisons: ``reference_id``, ``max_seeds``, ``lint_ignored``."""
    try:
        found = tomllib.loads(spec)
    except (ValueError, RecursionError):  # a ledger of another program, or one that was changed by hand
        found = {}
    most = found.get("max_seeds", 0)
    benchmark = found.get("benchmark")
    if isinstance(benchmark, dict):
        most = benchmark.get("max_evaluation_seeds", 0) if benchmark.get("evaluation_seeds") == "auto" else 0
    lint = found.get("lint")
    ignored = lint.get("ignore") if isinstance(lint, dict) else None
    return {
        "reference_id": str(found.get("reference", "")),
        "max_seeds": most if isinstance(most, int) and most > 1 else 0,
        "lint_ignored": {str(code): str(reason) for code, reason in ignored.items()}
        if isinstance(ignored, dict)
        else {},
    }
