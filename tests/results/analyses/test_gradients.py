"""A capture is read back from its file unchanged, and its tables agree with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.analyses import gradients
from results.analyses.file_format import write_analysis
from results.analyses.gradient_figures import GRADIENT_CAPTIONS, gradient_figures
from results.analyses.gradient_plot_data import band_table, element_table
from results.analyses.gradients import (
    GradientCapture,
    ewma_meaning,
    gradient_tables,
    gradient_writer,
    read_gradient_capture,
)
from results.metrics.gradients import Floats, adam_stages, sma
from results.reports.study.tables import with_claims
from search_spaces.errors import LedgerError, SpecError

Make = Callable[..., GradientCapture]
NOISE = {"batch_size": 16, "batches": 4, "trace_covariance": 3.0, "mean_square_norm": 2.0}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a capture of given gradients, as if Adam had trained on them, and read it."""

    def write(gradients: Floats, noise: dict[str, Any] | None = None, **about: Any) -> GradientCapture:
        said = {
            "run_id": "r1", "label": "Adam", "seed": 3, "data": "cifar100", "synthetic": False,
            "configuration": {
                "optimizer": {"name": "Adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0},
                "scheduler": {"name": "none"}, "warmup": 0,
            },
            "layer": "conv1.weight", "layer_shape": [2, gradients.shape[1] // 2], "batch_size": 16, "beta": 0.9,
            **about,
        }  # fmt: skip
        updates = -0.01 * adam_stages(gradients, 0.9, 0.999, 1e-8).adapted
        weights = np.cumsum(np.vstack([np.zeros_like(updates[:1]), updates]), axis=0)
        with gradient_writer(tmp_path / "g.parquet", said) as writer:
            for t, gradient in enumerate(gradients):
                writer.record(t + 1, 1 + t // 10, gradient, weights[t], 4.6 - t)
            writer.record(len(gradients) + 1, 99, np.full_like(gradients[0], np.nan), weights[-1], np.nan)
            writer.finish(noise or {"layer": NOISE, "all": NOISE})
        return read_gradient_capture(tmp_path / "g.parquet")

    return write


def noise_of(steps: int = 100, elements: int = 6) -> Floats:
    return np.random.default_rng(5).normal(size=(steps, elements))


@pytest.mark.parametrize("buffered", [1, 50, 10**6])
def test_a_capture_is_read_back_however_its_rows_were_written(
    make: Make, monkeypatch: pytest.MonkeyPatch, buffered: int
) -> None:
    monkeypatch.setattr(gradients, "MAX_BUFFERED_VALUES", buffered)
    found = make(noise_of(23))
    np.testing.assert_array_equal(found.gradients, noise_of(23))
    assert found.weights.shape == (23, 6)
    assert (found.weights[0] == 0).all()
    assert np.isfinite(found.weights_after).all()
    assert found.losses.tolist() == [4.6 - t for t in range(23)]
    assert found.epochs.tolist() == [1 + t // 10 for t in range(23)]
    assert found.about["noise"] == {"layer": NOISE, "all": NOISE}


def test_another_analysis_is_not_read_as_gradients(tmp_path: Path) -> None:
    write_analysis(tmp_path / "other.parquet", {"lr": np.arange(3)}, {"kind": "lr-range"})
    with pytest.raises(LedgerError, match=r"other\.parquet: holds the analysis 'lr-range', not 'gradients'"):
        read_gradient_capture(tmp_path / "other.parquet")


def test_the_ewma_table_has_a_row_for_every_beta_once(make: Make) -> None:
    capture = make(noise_of())
    rows = [row.values["gradients"] for row in gradient_tables(capture, 0.95)["gradient_ewma"].rows]
    assert rows == ["raw", *(f"EWMA β = {beta}" for beta in (0.9, 0.95, 0.99, 0.999))]
    assert len(gradient_tables(capture)["gradient_ewma"].rows) == 4


def test_shares_and_cuts_are_of_the_raw_gradients(make: Make) -> None:
    """Two steps of one element, 0 and 2: variance 2; at β = 0.5, corrected, they become 0 and 4/3: variance 8/9."""
    rows = gradient_tables(make(np.array([[0.0, 0.0], [2.0, 2.0]])), 0.5)["gradient_ewma"].rows
    raw, half = rows[0].values, rows[1].values
    assert (raw["variance"], raw["peak"], raw["low"], raw["high"]) == (2.0, 2.0, 0.0, 2.0)
    assert half["variance"] == pytest.approx(8 / 9)
    assert half["share_left"] == pytest.approx(100 * 4 / 9)
    assert half["cut"] == pytest.approx(100 * 5 / 9)
    assert half["peak_cut"] == pytest.approx(100 / 3)


def test_the_studys_claims_are_shown_only_beside_its_own_capture(make: Make) -> None:
    def claims(capture: GradientCapture, beta: float = 0.9) -> list[Any]:
        stages = with_claims(gradient_tables(capture, beta)["gradient_stages"], capture, beta)
        return [row.values.get("claimed_variance") for row in stages.rows]

    assert claims(make(noise_of())) == [0.347, 0.119, 0.893]
    others = [make(noise_of(99)), make(noise_of(), layer="conv2.weight"), make(noise_of(), synthetic=True)]
    assert [claims(other) for other in others] == [[None] * 3] * 3
    assert claims(make(noise_of()), 0.95) == [None] * 3


def test_recomposed_updates_are_compared_with_the_weights(make: Make) -> None:
    """The weights were moved by Adam's formulas at lr = 0.01; with another rate, the table shows the difference."""
    (note,) = [note for note in gradient_tables(make(noise_of()))["gradient_stages"].notes if "recomposed" in note]
    assert float(note.split("at most ")[1].split()[0]) < 1e-10
    other = make(noise_of()).about["configuration"]
    other["optimizer"]["lr"] = 0.02
    (note,) = [
        note for note in gradient_tables(make(noise_of(), configuration=other))["gradient_stages"].notes
        if "recomposed" in note
    ]  # fmt: skip
    assert 0.3 < float(note.split("at most ")[1].split()[0]) < 2


@pytest.mark.parametrize("change", [{"scheduler": {"name": "StepLR"}}, {"warmup": 1}, {"optimizer": {"name": "SGD"}}])
def test_updates_that_are_not_plain_adams_are_not_recomposed(make: Make, change: dict[str, Any]) -> None:
    configuration = {**make(noise_of()).about["configuration"], **change}
    notes = gradient_tables(make(noise_of(), configuration=configuration))["gradient_stages"].notes
    assert not any("recomposed" in note for note in notes)


@pytest.mark.parametrize(("own", "eps"), [({"eps": 0.0}, 0.0), ({"eps": None}, 1e-8), ({}, 1e-8), ({"eps": 0.1}, 0.1)])
def test_the_adapted_stage_has_the_runs_own_epsilon(make: Make, own: dict[str, Any], eps: float) -> None:
    """By hand: the first step is g/(|g| + ε)."""
    adam = {"name": "Adam", "lr": 0.01, "betas": [0.9, 0.999], **own}
    choice = {"optimizer": adam, "scheduler": {"name": "StepLR"}, "warmup": 0}
    capture = make(np.full((3, 2), 0.5), configuration=choice)
    assert capture.adapted(0.9).adapted[0] == pytest.approx(np.full(2, 0.5 / (0.5 + eps)), rel=1e-12)
    assert f"ε = {eps:g}" in gradient_tables(capture)["gradient_stages"].notes[0]


def test_noise_that_hides_the_gradient_is_not_resolved(make: Make) -> None:
    """‖ḡ‖² = 2 less 3/4 of noise is 1.25, and 16·3/1.25 = 38.4; with tr Ĉov = 8 nothing is left."""
    hidden = {**NOISE, "trace_covariance": 8.0}
    layer, whole = gradient_tables(make(noise_of(), {"layer": hidden, "all": NOISE}))["gradient_noise"].rows
    assert whole.values["b_simple"] == pytest.approx(38.4)
    assert whole.values["resolved"] == "yes"
    assert layer.values["b_simple"] is None
    assert layer.values["resolved"] == "not resolved with 4 batches"


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6])
def test_gradients_of_any_size_print_two_digits(make: Make, size: float) -> None:
    tables = gradient_tables(make(noise_of() * size, {"layer": {**NOISE, "trace_covariance": 1e4}, "all": NOISE}))
    for table in tables.values():
        table.frame()
        assert all(len(row) == len(table.columns) for row in table.text())
    variances = [float(row[1]) for row in tables["gradient_ewma"].text()]
    exact = [row.values["variance"] for row in tables["gradient_ewma"].rows]
    assert variances == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("rho", "said"),
    [(0.0, "does not distinguish the gradients from white noise"), (0.8, "slow signal"), (-0.6, "tend to change sign")],
)
def test_the_meaning_says_what_the_gradients_are_like(make: Make, rho: float, said: str) -> None:
    gradients = noise_of(100, 200)
    for t in range(1, 100):
        gradients[t] += rho * gradients[t - 1]
    assert said in ewma_meaning(make(gradients))


def test_a_layer_without_gradients_has_tables_and_figures(make: Make) -> None:
    capture = make(np.zeros((5, 4)))
    assert "do not vary" in ewma_meaning(capture)
    assert gradient_tables(capture)["gradient_ewma"].text()[1][2] == "n/a"
    assert set(gradient_figures(capture)) == set(GRADIENT_CAPTIONS)


def test_synthetic_data_are_noted_under_every_table_and_figure(make: Make) -> None:
    capture = make(noise_of(8), synthetic=True)
    note = "Synthetic data (made from a seed): these numbers do not apply to CIFAR-100."
    for table in gradient_tables(capture).values():
        assert note in table.notes
        assert table.data == "cifar100 (made from a seed)"
        assert all(row.run_ids == ("r1",) for row in table.rows)
    for figure in gradient_figures(capture).values():
        assert note in " ".join(text.get_text() for text in figure.texts)


def test_an_invalid_beta_is_refused(make: Make) -> None:
    for ask in (gradient_tables, gradient_figures, ewma_meaning):
        with pytest.raises(SpecError, match="0 ≤ β < 1"):
            ask(make(noise_of(5)), 1.0)


def test_the_element_drawn_is_the_one_of_largest_variance(make: Make) -> None:
    gradients = noise_of(30) * [1, 1, 1, 1, 9, 1]
    table = element_table(make(gradients), 0.9)
    assert "conv1.weight[1, 1]" in table.caption  # element 4 of a [2, 3] layer
    assert [row.values["raw"] for row in table.rows] == gradients[:, 4].tolist()
    assert [row.values["sma"] for row in table.rows] == sma(gradients[:, 4], 19).tolist()


def test_bands_hold_the_range_of_every_step(make: Make) -> None:
    table = band_table(make(noise_of(30)), "raw", 0.9)
    assert [row.values["lowest"] for row in table.rows] == noise_of(30).min(axis=1).tolist()
    assert [row.values["highest"] for row in table.rows] == noise_of(30).max(axis=1).tolist()
    assert sum(column.key.startswith("element_") for column in table.columns) == 3


def test_a_capture_says_which_of_its_batches_are_an_epochs_smaller_last(make: Make) -> None:
    """Of 52 images in batches of 16 the fourth of every epoch holds 4: five times within 20 steps."""
    said = "5 of the 20 mini-batches are the last of an epoch and hold 4 images instead of 16"
    assert any(note.startswith(said) for note in make(noise_of(20), examples=52).notes())
    assert not any("last of an epoch" in note for note in make(noise_of(20), examples=64).notes())
    assert not any("last of an epoch" in note for note in make(noise_of(3), examples=52).notes())
