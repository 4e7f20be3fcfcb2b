"""Trajectories on disk, in the table, and in the figure."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from results.analyses.file_format import write_analysis
from results.analyses.trajectory import (
    RunPath,
    Trajectory,
    contour_levels,
    path_styles,
    read_trajectory,
    trajectory_caption,
    trajectory_figure,
    trajectory_files,
    trajectory_table,
    write_trajectory,
)
from search_spaces.errors import LedgerError


def made_path(label: str, ends_at: tuple[float, float], epochs: int = 6) -> RunPath:
    """A quarter of a turn around the corner below the start, seen from the plane."""
    share = np.linspace(0, 1, epochs + 1)
    x, y = ends_at[0] * share, ends_at[1] * share**2
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    return RunPath(f"id of {label}", label, np.arange(epochs + 1), x, y, 4.6 - share, length, np.hypot(x, y))


def made_trajectory(count: int = 2, height: float = 6.0, **about: Any) -> Trajectory:
    paths = [made_path(f"SGD lr=0.01 momentum=0.{i}", (8 - i, height * (0.6 - 0.3 * i))) for i in range(count)]
    xs, ys = np.linspace(-2, 10, 13), np.linspace(-height / 2, height, 9)
    loss = 4.6 - np.tanh(xs / 8)[None] + 0.05 * ys[:, None] ** 2
    facts = {"data": "cifar100", "synthetic": False, "seed": 3, "kind": "trajectory", "explained": [0.83, 0.12]}
    return Trajectory(paths, (0.83, 0.12), xs, ys, loss, {**facts, **about})


def test_a_trajectory_is_read_back_from_its_two_files(tmp_path: Path) -> None:
    made = made_trajectory(3)
    made.paths[1].val_loss[0] = np.nan
    made.loss[0, -1] = np.inf
    files = write_trajectory(tmp_path / "deep" / "all", made)
    assert [file.name for file in files] == ["all.paths.parquet", "all.surface.parquet"]
    found = read_trajectory(tmp_path / "deep" / "all")
    assert found.explained == made.explained
    assert found.about["seed"] == 3
    for name in ("xs", "ys", "loss"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    for back, path in zip(found.paths, made.paths, strict=True):
        assert (back.run_id, back.label) == (path.run_id, path.label)
        for name in ("epoch", "x", "y", "val_loss", "length_so_far", "distance_from_start"):
            np.testing.assert_array_equal(getattr(back, name), getattr(path, name))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """One of them was made again, and the process ended before the other."""
    write_trajectory(tmp_path / "a", made_trajectory())
    write_trajectory(tmp_path / "b", made_trajectory(seed=4))
    trajectory_files(tmp_path / "b")[1].replace(trajectory_files(tmp_path / "a")[1])
    with pytest.raises(LedgerError, match=r"a\.surface\.parquet: is of another trajectory"):
        read_trajectory(tmp_path / "a")


def test_a_file_of_another_kind_or_without_its_columns_is_named(tmp_path: Path) -> None:
    paths, surface = trajectory_files(tmp_path / "a")
    for about, line in (
        ({"kind": "gradients"}, "holds the analysis 'gradients'"),
        ({"kind": "trajectory"}, "not a complete trajectory"),
    ):
        for file in (paths, surface):
            write_analysis(file, {"x": np.arange(3)}, about)
        with pytest.raises(LedgerError, match=line):
            read_trajectory(tmp_path / "a")
    surface.unlink()
    with pytest.raises(LedgerError, match=r"a\.surface\.parquet"):
        read_trajectory(tmp_path / "a")


def test_the_table_has_lengths_in_all_dimensions_not_in_the_plane() -> None:
    """A 3-4-5 path whose plane shows none of it."""
    flat = RunPath("r1", "SGD lr=0.01", np.arange(3), np.zeros(3), np.zeros(3), np.array([4.6, np.nan, 4.1]),
                     np.array([0.0, 3, 7]), np.array([0.0, 3, 5]))  # fmt: skip
    still = RunPath("r2", "SGD lr=0", np.arange(2), np.zeros(2), np.zeros(2), np.array([np.nan, 4.6]),
                      np.zeros(2), np.zeros(2))  # fmt: skip
    made = made_trajectory()
    table = trajectory_table([Trajectory([flat, still], made.explained, made.xs, made.ys, made.loss, made.about)])
    first, second = table.rows
    assert first.values["length"] == 7
    assert first.values["distance"] == 5
    assert first.values["straightness"] == pytest.approx(5 / 7)
    assert (first.values["explained_x"], first.values["explained_y"]) == pytest.approx((83, 12))
    assert (first.values["loss_start"], first.values["loss_end"]) == (4.6, 4.1)
    assert first.run_ids == ["r1"]
    assert table.text()[1][-3:] == ["n/a", "n/a", "4.600"]
    assert second.values["distance"] == 0


def test_levels_divide_the_surface_into_equal_shares_for_any_corners() -> None:
    rng = np.random.default_rng(0)
    loss = rng.uniform(3, 5, (40, 40))
    loss[0, 0], loss[0, 1], loss[1, 0] = 1e6, np.inf, np.nan
    levels = contour_levels(loss, 10)
    counts, _ = np.histogram(loss[np.isfinite(loss)], levels)
    assert len(counts) == 10
    assert counts.min() > 0.9 * 160
    assert (levels[0], levels[-1]) == (loss[np.isfinite(loss)].min(), 1e6)


def test_a_surface_with_little_relief_has_as_many_levels() -> None:
    """A path on the plateau: 4.600 to 4.608."""
    assert len(contour_levels(np.linspace(4.6, 4.608, 400).reshape(20, 20), 10)) == 11


@pytest.mark.parametrize("loss", [np.full((3, 3), 4.6), np.full((3, 3), np.nan), np.array([[1.0, 1.0 + 1e-9]])])
def test_levels_rise_on_surfaces_without_relief(loss: np.ndarray) -> None:
    levels = contour_levels(loss)
    assert (np.diff(levels) > 0).all()


def drawn_texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().startswith(("start", "epoch", "SGD", "x:"))
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("height", [0.3, 6.0, 30.0], ids=["flat", "even", "tall"])
def test_the_figure_names_starts_ends_and_variance_without_overlap(count: int, height: float) -> None:
    trajectory = made_trajectory(count, height)
    texts = drawn_texts(trajectory_figure(trajectory))
    found = {text.get_text() for text in texts}
    expected = {"start", "epoch 6"} if count == 1 else {"start", *(path.label for path in trajectory.paths)}
    assert expected <= found
    whose = "the path's" if count == 1 else "the paths'"
    assert f"x: 83 %, y: 12 % of {whose} variance" in found
    for one, other in itertools.combinations([Text.get_window_extent(text) for text in texts], 2):
        assert matplotlib.transforms.Bbox.intersection(one, other) is None


def test_colours_are_optimizers_and_line_styles_are_schedulers() -> None:
    """The same rule as in a sweep's own figures. A file of an earlier version has a colour for each path."""
    sgd, adam = {"name": "SGD", "lr": 0.01}, {"name": "Adam", "lr": 0.001}
    chosen = [(sgd, "none"), (sgd, "ExponentialLR"), (adam, "none")]
    made = made_trajectory(3)
    stored = {
        path.run_id: {"optimizer": optimizer, "scheduler": {"name": scheduler}}
        for path, (optimizer, scheduler) in zip(made.paths, chosen, strict=True)
    }
    labels = [path.label for path in made.paths]
    styles = path_styles(replace(made, about={**made.about, "configurations": stored}))
    plain, scheduled, other = (styles[label] for label in labels)
    assert plain.color == scheduled.color != other.color
    assert plain.linestyle == other.linestyle == "-" != scheduled.linestyle
    assert len({path_styles(made)[label].color for label in labels}) == 3


@pytest.mark.parametrize(("height", "aspect"), [(6.0, 1.0), (0.3, "auto")])
def test_both_directions_have_one_scale_where_that_makes_no_sliver(height: float, aspect: Any) -> None:
    figure = trajectory_figure(made_trajectory(1, height))
    assert figure.axes[0].get_aspect() == aspect
    noted = any("different scales" in text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    assert noted == (aspect == "auto")


def test_a_surface_with_holes_and_without_relief_is_drawn() -> None:
    holes = made_trajectory()
    holes.loss[:2] = np.nan
    flat = made_trajectory()
    flat.loss[:] = 4.6
    for trajectory in (holes, flat):
        trajectory_figure(trajectory).draw_without_rendering()


def test_synthetic_data_are_noted_in_table_and_figure() -> None:
    trajectory = made_trajectory(synthetic=True, data="synthetic")
    assert "Synthetic data (made from a seed)" in trajectory_table([trajectory]).notes[-1]
    figure = trajectory_figure(trajectory)
    assert any("Synthetic data" in text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def test_the_caption_names_the_run_or_how_many() -> None:
    assert "SGD lr=0.01 momentum=0.0" in trajectory_caption(made_trajectory(1))
    assert "3 configurations" in trajectory_caption(made_trajectory(3))


def test_a_run_on_its_own_plane_and_on_a_shared_one_has_two_rows() -> None:
    rows = trajectory_table([made_trajectory(1), made_trajectory(2)]).rows
    assert [row.values["plane"] for row in rows] == ["own", "of 2 runs", "of 2 runs"]
    assert [row.values["seed"] for row in rows] == [3, 3, 3]
