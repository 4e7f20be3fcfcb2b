"""Trajectories: the paths of one seed's runs on the plane that holds most of them, over the loss on that plane.

Li et al., *Visualizing the Loss Landscape of Neural Nets* (2018), section 7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.analyses.file_format import SYNTHETIC_NOTE, read_analysis, write_analysis
from results.figures.label_layout import legend_below, name_points, write_notes
from results.figures.style import INK, LIGHT_GREY, RC, Look, colour_of
from results.tables.table import Column, Row, Table, Value
from search_spaces.errors import LedgerError

Array = npt.NDArray[np.float64]

KIND = "trajectory"
LEVELS = 14
"""Contours of the surface: one for each equal share of its points."""
LOW_COLOUR, HIGH_COLOUR = "#f7f7f7", "#8c8c8c"  # greys: colours are the paths'
PATH_COLUMNS = ("epoch", "x", "y", "val_loss", "length_so_far", "distance_from_start")
HALO: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=2.2, foreground="white")]
LONGEST_AXIS = 5.0  # inches
HIGHEST_AXIS = 3.6  # inches
SLIVER = 1 / 3
"""Ratio of the surface's sides below which its axes are not drawn to the same scale."""


@dataclass(frozen=True)
class PathOfRun:
    """One run's path: n moments, ``epoch`` 0 being its start."""

    run_id: str
    label: str
    epoch: npt.NDArray[np.int64]  # [n]
    x: Array  # [n], along the first direction, L2 in weight space
    y: Array  # [n], along the second
    val_loss: Array  # [n], on the surface's images; NaN where unknown
    length_so_far: Array  # [n], of the path in all dimensions, L2
    distance_from_start: Array  # [n], in all dimensions, L2


@dataclass(frozen=True)
class Trajectory:
    """The paths of one or more runs of one seed on one plane, and the loss on it."""

    paths: Sequence[PathOfRun]
    explained: tuple[float, float]  # share of the variance of all paths' points along x and y
    xs: Array  # [G]
    ys: Array  # [H]
    loss: Array  # [H, G]
    about: Mapping[str, Any]


def trajectory_files(stem: Path) -> tuple[Path, Path]:
    """Return the file of the paths and that of the surface."""
    return stem.with_name(f"{stem.name}.paths.parquet"), stem.with_name(f"{stem.name}.surface.parquet")


def write_trajectory(stem: Path, trajectory: Trajectory) -> list[Path]:
    """Write a trajectory as two files beside each other, whose names begin with ``stem``'s; return them.

    Raises:
        OSError: the folder cannot be written.
    """
    paths_file, surface_file = trajectory_files(stem)
    about = {**trajectory.about, "kind": KIND, "explained": list(trajectory.explained)}
    y, x = np.meshgrid(trajectory.ys, trajectory.xs, indexing="ij")
    write_analysis(surface_file, {"x": x.ravel(), "y": y.ravel(), "loss": trajectory.loss.ravel()}, about)
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([np.full(len(path.epoch), getattr(path, name)) for path in trajectory.paths])
        for name in ("run_id", "label")
    }
    columns |= {name: np.concatenate([getattr(path, name) for path in trajectory.paths]) for name in PATH_COLUMNS}
    write_analysis(paths_file, columns, about)
    return [paths_file, surface_file]


def read_trajectory(stem: Path) -> Trajectory:
    """Read what :func:`write_trajectory` wrote under ``stem``.

    Raises:
        LedgerError: a file is missing, torn, of another analysis, or of another trajectory than the other one.
    """
    paths_file, surface_file = trajectory_files(stem)
    paths, surface = read_analysis(paths_file), read_analysis(surface_file)
    if paths.about.get("kind") != KIND:
        raise LedgerError(f"{paths_file}: is of kind {paths.about.get('kind')}, no trajectory")
    if paths.about != surface.about:
        raise LedgerError(
            f"{surface_file}: is of another trajectory than {paths_file.name}; delete both, make it again"
        )
    try:
        run_ids = paths.columns["run_id"]
        members = []
        for run_id in dict.fromkeys(run_ids.tolist()):
            rows = np.flatnonzero(run_ids == run_id)
            columns = [paths.columns[name][rows] for name in PATH_COLUMNS]
            members.append(PathOfRun(run_id, str(paths.columns["label"][rows[0]]), *columns))
        xs, ys = np.unique(surface.columns["x"]), np.unique(surface.columns["y"])
        loss = surface.columns["loss"].reshape(len(ys), len(xs))
        first, second = paths.about["explained"]
    except (KeyError, ValueError) as error:
        raise LedgerError(f"{paths_file}: is no whole trajectory ({error}); delete it and make it again") from error
    return Trajectory(members, (first, second), xs, ys, loss, paths.about)


def trajectory_table(trajectories: Sequence[Trajectory]) -> Table:
    """Return the table ``trajectory``: how far and how straight each run went, in all dimensions.

    A row a trajectory and run: one that is drawn on its own plane and on a shared one has two, which differ in the
    explained variance alone.
    """
    columns = (
        Column("configuration", "Configuration"), Column("seed", "Seed"), Column("plane", "Plane"),
        Column("epochs", "Epochs"), Column("explained_x", "Variance along x", "%", 1),
        Column("explained_y", "along y", "%", 1), Column("length", "Path length", "L2"),
        Column("distance", "Start to end", "L2"), Column("straightness", "Straightness"),
        Column("loss_start", "Loss at start", decimals=3), Column("loss_end", "Loss at end", decimals=3),
    )  # fmt: skip
    rows = [Row(_values(path, trajectory), [path.run_id]) for trajectory in trajectories for path in trajectory.paths]
    notes = [
        "Lengths and distances are in all dimensions of the weights; the variance is that of all points of the plane's "
        "paths."
    ]
    notes += [SYNTHETIC_NOTE] if any(one.about.get("synthetic") for one in trajectories) else []
    synthetic = {True: " (made from a seed)", False: ""}
    made = {f"{one.about.get('data', '')}{synthetic[bool(one.about.get('synthetic'))]}" for one in trajectories}
    return Table("trajectory", "Paths through weight space", columns, rows, notes, ", ".join(sorted(made)))


def _values(path: PathOfRun, trajectory: Trajectory) -> dict[str, Value]:
    length, distance = float(path.length_so_far[-1]), float(path.distance_from_start[-1])
    return {
        "configuration": path.label,
        "seed": trajectory.about.get("seed"),
        "plane": "its own" if len(trajectory.paths) == 1 else f"of {len(trajectory.paths)} runs",
        "epochs": int(path.epoch[-1]),
        "explained_x": 100 * trajectory.explained[0],
        "explained_y": 100 * trajectory.explained[1],
        "length": length,
        "distance": distance,
        "straightness": distance / length if length else math.nan,
        "loss_start": float(path.val_loss[0]),
        "loss_end": float(path.val_loss[-1]),
    }


def _notes(trajectory: Trajectory) -> list[str]:
    whose = "the path's" if len(trajectory.paths) == 1 else f"all {len(trajectory.paths)} paths'"
    notes = [
        f"The plane is that of the two main directions (PCA) of {whose} points"
        + (f" under seed {trajectory.about['seed']}." if "seed" in trajectory.about else ".")
        + " A path lies near the plane, not in it: the loss under a point is that of its foot."
    ]
    return [*notes, SYNTHETIC_NOTE] if trajectory.about.get("synthetic") else notes


def trajectory_caption(trajectory: Trajectory) -> str:
    """Return the caption of :func:`trajectory_figure`."""
    what = "The validation loss on the plane of the main directions, and on it"
    if len(trajectory.paths) == 1:
        return f"{what} the path of {trajectory.paths[0].label} through weight space."
    return f"{what} the paths of {len(trajectory.paths)} configurations under one seed through weight space."


def contour_levels(loss: Array, most: int = LEVELS) -> Array:
    """Return rising levels that part the finite values of ``loss`` into equal shares, its extremes at the ends.

    Equal shares, not equal steps: a few huge corners would leave one colour for all the rest. Levels are rounded
    to what a reader can read where that keeps them apart.
    """
    known = loss[np.isfinite(loss)]
    if not len(known):
        return np.array([0.0, 1.0])
    raw = np.quantile(known, np.linspace(0, 1, most + 1))
    inner = np.round(raw[1:-1], level_decimals(raw))
    inner = inner[(inner > raw[0]) & (inner < raw[-1])]
    levels = np.unique(np.concatenate([[raw[0]], inner, [raw[-1]]]))
    return levels if len(levels) > 1 else levels[0] + np.array([-0.5, 0.5])


def level_decimals(levels: Array) -> int:
    """Return the decimals that tell ``levels`` apart, without the extremes: two, more where there is little relief."""
    spread = float(levels[-2] - levels[1]) if len(levels) > 3 else float(levels[-1] - levels[0])
    return max(2, math.ceil(-math.log10(spread / len(levels)))) if spread > 0 else 2


def trajectory_figure(trajectory: Trajectory) -> Figure:
    """Draw the paths over filled contours of the loss."""
    width, height, equal = _axes_size(trajectory)
    looks = colour_of([path.label for path in trajectory.paths])
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = Figure(figsize=(width + 1.6, height + 0.75), layout="constrained")
        notes = _notes(trajectory)
        write_notes(figure, notes if equal else [*notes, "x and y are not to the same scale."])
        axes = figure.add_subplot()
        _draw_surface(axes, trajectory)
        axes.set_aspect("equal" if equal else "auto")
        first, second = (100 * share for share in trajectory.explained)
        whose = "the path's" if len(trajectory.paths) == 1 else "the paths'"
        axes.set_title(f"x: {first:.0f} %, y: {second:.0f} % of {whose} variance", loc="left")
        axes.set(xlabel="Along the first direction (L2 distance of weights)", ylabel="Along the second direction (L2)")
        _draw_paths(axes, trajectory.paths, looks)
        _name_paths(axes, trajectory, looks)
    return figure


def _axes_size(trajectory: Trajectory) -> tuple[float, float, bool]:
    """Return width and height of the axes in inches, and whether both directions have the same scale."""
    ratio = float((trajectory.ys[-1] - trajectory.ys[0]) / (trajectory.xs[-1] - trajectory.xs[0]))
    if not SLIVER <= ratio <= 1 / SLIVER:
        return LONGEST_AXIS, 0.5 * LONGEST_AXIS, False
    width = min(LONGEST_AXIS, HIGHEST_AXIS / ratio)
    return width, width * ratio, True


def _draw_surface(axes: Axes, trajectory: Trajectory) -> None:
    levels = contour_levels(trajectory.loss)
    decimals = level_decimals(levels)
    colours = LinearSegmentedColormap.from_list("loss", [LOW_COLOUR, HIGH_COLOUR])
    loss = np.ma.masked_invalid(trajectory.loss)
    filled = axes.contourf(
        trajectory.xs, trajectory.ys, loss, levels=levels, cmap=colours, norm=BoundaryNorm(levels, colours.N)
    )
    axes.contour(trajectory.xs, trajectory.ys, loss, levels=levels, colors="white", linewidths=0.4)
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    bar = figure.colorbar(
        filled, ax=axes, ticks=levels[:: max(1, len(levels) // 8)], spacing="uniform",
        format=lambda loss, _: f"{loss:.{decimals}f}" if loss < 100 else f"{loss:.3g}",
    )  # fmt: skip
    bar.set_label("Validation loss")
    bar.outline.set_edgecolor(LIGHT_GREY)


def _draw_paths(axes: Axes, paths: Sequence[PathOfRun], looks: Mapping[str, Look]) -> None:
    """Draw lines with a dot an epoch, open circles at the starts and larger markers at the ends.

    What is drawn first is drawn wider: paths that lie over one another (momentum, and Nesterov's) are all seen.
    """
    for below, path in zip(range(len(paths) - 1, -1, -1), paths, strict=True):
        look, width = looks[path.label], 1.1 + 1.4 * below
        axes.plot(path.x, path.y, color="white", linewidth=width + 1.1, zorder=2.5)
        axes.plot(
            path.x, path.y, color=look.colour, linestyle=look.dash, marker="o", markersize=width + 2.4,
            linewidth=width, markeredgecolor="white", markeredgewidth=0.5, label=path.label, zorder=3,
        )  # fmt: skip
        axes.plot(
            path.x[-1:], path.y[-1:], color=look.colour, marker=look.marker, markersize=6 + 2 * below,
            markeredgecolor="white", markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
        axes.plot(path.x[:1], path.y[:1], color=INK, marker="o", markerfacecolor="none", markersize=6, zorder=5)


def _name_paths(axes: Axes, trajectory: Trajectory, looks: Mapping[str, Look]) -> None:
    """Name a single path's two ends where they lie; of several the starts there, and the paths in a legend."""
    paths = trajectory.paths
    starts = {(float(path.x[0]), float(path.y[0])) for path in paths}
    points = {"start": starts.pop()} if len(starts) == 1 else {}
    if len(paths) == 1:
        points[f"epoch {paths[0].epoch[-1]}"] = (float(paths[0].x[-1]), float(paths[0].y[-1]))
    else:
        keys = [Line2D([], [], color=looks[p.label].colour, linestyle=looks[p.label].dash, marker=looks[p.label].marker,
                       markersize=5, label=p.label) for p in paths]  # fmt: skip
        legend_below(axes, keys, [path.label for path in paths])
    if not name_points(axes, points):
        return
    for text in axes.texts:
        text.set_path_effects(HALO)
        text.set_zorder(6)
