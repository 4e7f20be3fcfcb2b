"""All results of a sweep's analyses, with their tables and figures, without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from results.analyses.activations import CAPTIONS as ACTIVATION_CAPTIONS
from results.analyses.activations import ActivationMaps, activation_figures, activation_table, read_activation_maps
from results.analyses.gradient_figures import GRADIENT_CAPTIONS, gradient_figures
from results.analyses.gradients import GradientCapture, ewma_meaning, gradient_tables, read_gradient_capture
from results.analyses.lr_range import RANGE_CAPTIONS, RangeTest, range_figures, range_table, read_range_test
from results.analyses.trajectory import (
    Trajectory,
    read_trajectory,
    trajectory_caption,
    trajectory_figure,
    trajectory_table,
)
from results.tables.table import Table

PATHS = ".paths.parquet"

NAMES = (
    "gradient_ewma", "gradient_stages", "equivalent_windows", "gradient_noise", "lr_range", "trajectory", "activations",
    *GRADIENT_CAPTIONS, *ACTIVATION_CAPTIONS,
)  # fmt: skip
"""Names of the analyses' tables and figures; a suffix may follow, see :meth:`Analyses.tables`."""

T = TypeVar("T")


@dataclass(frozen=True)
class Analyses:
    """Results of analyses by file: ``<kind>/<stem>.parquet`` in the sweep's ``analyses`` folder."""

    gradients: Mapping[Path, GradientCapture]
    range_tests: Mapping[Path, RangeTest]
    trajectories: Mapping[Path, Trajectory]
    activations: Mapping[Path, ActivationMaps]

    def subset(self, files: Iterable[Path]) -> Analyses:
        """Return the results in ``files``."""
        wanted = set(files)
        parts = (getattr(self, field.name) for field in fields(self))
        return Analyses(*({path: one for path, one in part.items() if path in wanted} for part in parts))

    def tables(self) -> dict[str, Table]:
        """Return every table by name; if there are several of one kind, the name has a suffix for the run."""
        tables: dict[str, Table] = {}
        for suffix, capture in _suffixes(self.gradients):
            tables |= {
                f"{name}{suffix}": table for name, table in gradient_tables(capture, capture.about["beta"]).items()
            }
        if self.range_tests:
            tables["lr_range"] = range_table(list(self.range_tests.values()))
        if self.trajectories:
            tables["trajectory"] = trajectory_table(list(self.trajectories.values()))
        for suffix, maps in _suffixes(self.activations):
            tables[f"activations{suffix}"] = activation_table(maps)
        return tables

    def gradients_by_suffix(self) -> Iterator[tuple[str, GradientCapture]]:
        """Yield every gradient capture with the suffix of its tables' names; see :meth:`tables`."""
        return _suffixes(self.gradients)

    def figures(self) -> dict[str, Figure]:
        """Return every figure by name; see :meth:`tables`."""
        figures: dict[str, Figure] = {}
        for suffix, capture in _suffixes(self.gradients):
            found = gradient_figures(capture, capture.about["beta"])
            figures |= {f"{name}{suffix}": figure for name, figure in found.items()}
        figures |= range_figures(list(self.range_tests.values()))
        for suffix, trajectory in _suffixes(self.trajectories):
            figures[f"trajectory{suffix}"] = trajectory_figure(trajectory)
        for suffix, maps in _suffixes(self.activations):
            figures |= {f"{name}{suffix}": figure for name, figure in activation_figures(maps).items()}
        return figures

    def trajectory_names(self) -> dict[Path, str]:
        """Return the name of every trajectory's figure, by file."""
        suffixes = (suffix for suffix, _ in _suffixes(self.trajectories))
        return {path: f"trajectory{suffix}" for path, suffix in zip(self.trajectories, suffixes, strict=True)}

    def captions(self) -> dict[str, str]:
        """Return the caption of every figure by its name."""
        captions: dict[str, str] = {}
        for suffix, capture in _suffixes(self.gradients):
            captions |= {f"{name}{suffix}": f"{text} {capture.scope}" for name, text in GRADIENT_CAPTIONS.items()}
        captions |= RANGE_CAPTIONS if self.range_tests else {}
        for suffix, trajectory in _suffixes(self.trajectories):
            captions[f"trajectory{suffix}"] = trajectory_caption(trajectory)
        for suffix, _ in _suffixes(self.activations):
            captions |= {f"{name}{suffix}": text for name, text in ACTIVATION_CAPTIONS.items()}
        return captions

    def sentences(self) -> list[str]:
        """Return one or two sentences per gradient capture about the effect of smoothing."""
        return [
            f"{capture.label}, seed {capture.about['seed']}: {ewma_meaning(capture, capture.about['beta'])}"
            for capture in self.gradients.values()
        ]


def is_analysis_output(name: str) -> bool:
    """Return whether a table or figure with this name is from an analysis; see :func:`_suffixes`."""
    return re.fullmatch(rf"({'|'.join(NAMES)})(-.*-?seed-\d+(-[A-Za-z0-9-]+)?)?", name) is not None


def load_analyses(folder: Path) -> Analyses:
    """Read all analyses in a sweep's ``analyses`` folder, which may be empty.

    Raises:
        LedgerError: a file is incomplete or not an analysis.
    """
    return Analyses(
        _read(folder / "gradients", ".parquet", read_gradient_capture),
        _read(folder / "lr-range", ".parquet", read_range_test),
        _read(folder / "trajectory", PATHS, lambda path: read_trajectory(Path(str(path).removesuffix(PATHS)))),
        _read(folder / "activations", ".parquet", read_activation_maps),
    )


def _read(folder: Path, suffix: str, read: Callable[[Path], T]) -> dict[Path, T]:
    found = {path: read(path) for path in sorted(folder.glob(f"[!.]*{suffix}"))}
    return dict(sorted(found.items(), key=lambda item: item[1].about.get("order", 0)))  # type: ignore[attr-defined]


def _suffixes(found: Mapping[Path, T]) -> Iterator[tuple[str, T]]:
    """Yield each result with the suffix of its names: empty for a single one, else label, layer and seed."""
    taken: set[str] = set()
    for path, one in found.items():
        about = one.about  # type: ignore[attr-defined]
        words = [about.get("label", ""), "" if about.get("layer") in (None, "conv1.weight") else about["layer"]]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join([*words, f"seed {about.get('seed', 0)}"])).strip("-.")
        slug = f"{slug}-{_stem(path)}" if slug in taken else slug
        taken.add(slug)
        yield "" if len(found) == 1 else f"-{slug}", one


def _stem(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", path.name.split(".parquet")[0].removesuffix(".paths"))
