"""Trajectories: paths of runs of one seed on their principal plane, over the loss on this plane.

Li et al., *Visualizing the Loss Landscape of Neural Nets* (2018), section 7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.analyses.file_format import SYNTHETIC_NOTE, columns_of, data_label, read_analysis, write_analysis
from results.figures.configuration_styles import configuration_styles
from results.figures.label_layout import label_points, legend_below, write_notes
from results.figures.style import INK, LIGHT_GREY, Style, Styles, drawing_style, repeated
from results.tables.table import Column, Row, Table, Value
from search_spaces.errors import LedgerError

Array = npt.NDArray[np.float64]

KIND = "trajectory"
MAX_LEVELS = 14
"""Maximum number of contours, at equal quantiles of the loss."""
LOW_COLOUR, HIGH_COLOUR = "#f7f7f7", "#8c8c8c"  # grey, because paths have colours
PATH_COLUMNS = ("epoch", "x", "y", "val_loss", "length_so_far", "distance_from_start")
TEXT_OUTLINE: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=2.2, foreground="white")]
MAX_WIDTH = 5.0  # inches
MAX_HEIGHT = 3.6  # inches
MIN_ASPECT_RATIO = 1 / 3
"""Minimum ratio of the surface's sides for axes of equal scale."""


@dataclass(frozen=True)
class RunPath:
    """Path of one run: n points; ``epoch`` 0 is its start."""

    run_id: str
    label: str
    epoch: npt.NDArray[np.int64]  # [n]
    x: Array  # [n], along the first direction, L2 in weight space
    y: Array  # [n], along the second
    val_loss: Array  # [n], on the surface's images; NaN if unknown
    length_so_far: Array  # [n], of the path in all dimensions, L2
    distance_from_start: Array  # [n], in all dimensions, L2


@dataclass(frozen=True)
class Trajectory:
    """Paths of one or more runs of one seed on one plane, and the loss on it."""

    paths: Sequence[RunPath]
    explained: tuple[float, float]  # share of the variance of all paths' points along x and y
    xs: Array  # [G]
    ys: Array  # [H]
    loss: Array  # [H, G]
    about: Mapping[str, Any]


def trajectory_files(stem: Path) -> tuple[Path, Path]:
    """Return the file of the paths and that of the surface."""
    return stem.with_name(f"{stem.name}.paths.parquet"), stem.with_name(f"{stem.name}.surface.parquet")


def write_trajectory(stem: Path, trajectory: Trajectory) -> list[Path]:
    """Write a trajectory as two files whose names start with that of ``stem``; return them.

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
    """Read the files of :func:`write_trajectory`.

    Raises:
        LedgerError: a file is missing, incomplete or of another analysis, or the files do not belong together.
    """
    paths_file, surface_file = trajectory_files(stem)
    paths, surface = read_analysis(paths_file), read_analysis(surface_file)
    if paths.about.get("kind") != KIND:
        raise LedgerError(f"{paths_file}: holds the analysis {paths.about.get('kind')!r}, not {KIND!r}")
    if paths.about != surface.about:
        raise LedgerError(
            f"{surface_file}: is of another trajectory than {paths_file.name}; delete both and run the analysis again"
        )
    try:
        run_ids = paths.columns["run_id"]
        members = []
        for run_id in dict.fromkeys(run_ids.tolist()):
            rows = np.flatnonzero(run_ids == run_id)
            columns = [paths.columns[name][rows] for name in PATH_COLUMNS]
            members.append(RunPath(run_id, str(paths.columns["label"][rows[0]]), *columns))
        xs, ys = np.unique(surface.columns["x"]), np.unique(surface.columns["y"])
        loss = surface.columns["loss"].reshape(len(ys), len(xs))
        first, second = paths.about["explained"]
    except (KeyError, ValueError) as error:
        raise LedgerError(
            f"{paths_file}: is not a complete trajectory ({error}); delete it and run the analysis again"
        ) from error
    return Trajectory(members, (first, second), xs, ys, loss, paths.about)


def trajectory_table(trajectories: Sequence[Trajectory]) -> Table:
    """Return the table ``trajectory``: length and straightness of each path, in all dimensions.

    One row per trajectory and run: a run on its own plane and on a shared plane has two rows, which differ only in the
    explained variance.
    """
    columns = (
        Column("configuration", "Configuration"), Column("seed", "Seed"), Column("plane", "Plane"),
        Column("epochs", "Epochs"), Column("explained_x", "Variance along x", "%", 1),
        Column("explained_y", "Variance along y", "%", 1), Column("length", "Path length", "L2"),
        Column("distance", "Start to end", "L2"), Column("straightness", "Straightness"),
        Column("loss_start", "Loss at start", decimals=3), Column("loss_end", "Loss at end", decimals=3),
    )  # fmt: skip
    rows = [Row(_values(path, trajectory), [path.run_id]) for trajectory in trajectories for path in trajectory.paths]
    notes = [
        "Lengths and distances are in all dimensions of the weights. Variance: share of the variance of all points on "
        "the plane's paths."
    ]
    notes += [SYNTHETIC_NOTE] if any(one.about.get("synthetic") for one in trajectories) else []
    made = {data_label(one.about) for one in trajectories}
    return Table("trajectory", "Trajectories in weight space", columns, rows, notes, ", ".join(sorted(made)))


def _values(path: RunPath, trajectory: Trajectory) -> dict[str, Value]:
    length, distance = float(path.length_so_far[-1]), float(path.distance_from_start[-1])
    return {
        "configuration": path.label,
        "seed": trajectory.about.get("seed"),
        "plane": "own" if len(trajectory.paths) == 1 else f"of {len(trajectory.paths)} runs",
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
    points = "the path's points" if len(trajectory.paths) == 1 else f"the points of all {len(trajectory.paths)} paths"
    notes = [
        f"Plane: the first two principal components of {points}"
        + (f" under seed {trajectory.about['seed']}." if "seed" in trajectory.about else ".")
        + " Paths are projected on the plane: the loss at a point is that of its projection."
    ]
    return [*notes, SYNTHETIC_NOTE] if trajectory.about.get("synthetic") else notes


def trajectory_caption(trajectory: Trajectory) -> str:
    """Return the caption of :func:`trajectory_figure`."""
    what = "Validation loss on the plane of the first two principal components, with"
    if len(trajectory.paths) == 1:
        return f"{what} the trajectory of {trajectory.paths[0].label}."
    return f"{what} the trajectories of {len(trajectory.paths)} configurations under one seed."


def contour_levels(loss: Array, most: int = MAX_LEVELS) -> Array:
    """Return ascending levels at equal quantiles of the finite values of ``loss``, including its extremes.

    With equal steps, a few very large values would leave one colour for all others. Levels are rounded if they stay
    distinct.
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
    """Return the decimals that keep ``levels``, without the extremes, distinct: at least two."""
    spread = float(levels[-2] - levels[1]) if len(levels) > 3 else float(levels[-1] - levels[0])
    return max(2, math.ceil(-math.log10(spread / len(levels)))) if spread > 0 else 2


def trajectory_figure(trajectory: Trajectory) -> Figure:
    """Draw the paths over filled contours of the loss."""
    width, height, equal = _axes_size(trajectory)
    styles = path_styles(trajectory)
    with drawing_style(axes__grid=False):
        figure = Figure(figsize=(width + 1.6, height + 0.75), layout="constrained")
        notes = _notes(trajectory)
        write_notes(figure, notes if equal else [*notes, "x and y have different scales."])
        axes = figure.add_subplot()
        _draw_surface(axes, trajectory)
        axes.set_aspect("equal" if equal else "auto")
        first, second = (100 * share for share in trajectory.explained)
        paths = "the path's" if len(trajectory.paths) == 1 else "the paths'"
        axes.set_title(f"x: {first:.0f} %, y: {second:.0f} % of {paths} variance", loc="left")
        axes.set(xlabel="First principal component (L2 distance of weights)", ylabel="Second principal component (L2)")
        _draw_paths(axes, trajectory.paths, styles)
        _label_paths(axes, trajectory, styles)
    return figure


def path_styles(trajectory: Trajectory) -> Styles:
    """Return the style of every path: the colour is that of the optimizer, the line style that of the scheduler.

    A file of an earlier version does not have the configurations of several paths: each path has another colour.
    """
    about, stored = trajectory.about, trajectory.about.get("configurations")
    known = stored if isinstance(stored, Mapping) else {}
    alone = about.get("configuration") if len(trajectory.paths) == 1 else None
    return configuration_styles({path.label: columns_of(known.get(path.run_id, alone)) for path in trajectory.paths})


def _axes_size(trajectory: Trajectory) -> tuple[float, float, bool]:
    """Return width and height of the axes in inches, and whether x and y have equal scales."""
    ratio = float((trajectory.ys[-1] - trajectory.ys[0]) / (trajectory.xs[-1] - trajectory.xs[0]))
    if not MIN_ASPECT_RATIO <= ratio <= 1 / MIN_ASPECT_RATIO:
        return MAX_WIDTH, 0.5 * MAX_WIDTH, False
    width = min(MAX_WIDTH, MAX_HEIGHT / ratio)
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


def _draw_paths(axes: Axes, paths: Sequence[RunPath], styles: Mapping[str, Style]) -> None:
    """Draw lines with one dot per epoch, open circles at the starts and larger markers at the ends.

    Lower lines are wider, so that overlapping paths (momentum and Nesterov) are all visible.
    """
    with_markers = repeated(styles[path.label] for path in paths)
    for below, path in zip(range(len(paths) - 1, -1, -1), paths, strict=True):
        style, width = styles[path.label], 1.1 + 1.4 * below
        marker = style.marker if (style.color, str(style.linestyle)) in with_markers else "o"
        axes.plot(path.x, path.y, color="white", linewidth=width + 1.1, zorder=2.5)
        axes.plot(
            path.x, path.y, color=style.color, linestyle=style.linestyle, marker=marker, markersize=width + 2.4,
            linewidth=width, markeredgecolor="white", markeredgewidth=0.5, label=path.label, zorder=3,
        )  # fmt: skip
        axes.plot(
            path.x[-1:], path.y[-1:], color=style.color, marker=style.marker, markersize=6 + 2 * below,
            markeredgecolor="white", markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
        axes.plot(path.x[:1], path.y[:1], color=INK, marker="o", markerfacecolor="none", markersize=6, zorder=5)


def _label_paths(axes: Axes, trajectory: Trajectory, styles: Mapping[str, Style]) -> None:
    """Label both ends of a single path; for several paths label the common start, and add a legend."""
    paths = trajectory.paths
    starts = {(float(path.x[0]), float(path.y[0])) for path in paths}
    points = {"start": starts.pop()} if len(starts) == 1 else {}
    if len(paths) == 1:
        points[f"epoch {paths[0].epoch[-1]}"] = (float(paths[0].x[-1]), float(paths[0].y[-1]))
    else:
        keys = [
            Line2D([], [], color=style.color, linestyle=style.linestyle, marker=style.marker, markersize=5)
            for style in (styles[path.label] for path in paths)
        ]
        legend_below(axes, keys, [path.label for path in paths])
    if not label_points(axes, points):
        return
    for text in axes.texts:
        text.set_path_effects(TEXT_OUTLINE)
        text.set_zorder(6)
