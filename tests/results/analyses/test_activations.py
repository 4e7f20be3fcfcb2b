"""Activation maps: the file has the same bits, the table counts, and the figures match their captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from results.analyses.activations import (
    CAPTIONS,
    LAYERS,
    ActivationMaps,
    activation_figures,
    activation_table,
    mosaic,
    read_activation_maps,
    scales,
    write_activation_maps,
)
from results.analyses.file_format import write_analysis
from search_spaces.errors import LedgerError

SHAPES = {
    "conv1": (6, 28, 28), "relu1": (6, 28, 28), "pool1": (6, 14, 14),
    "conv2": (16, 10, 10), "relu2": (16, 10, 10), "pool2": (16, 5, 5),
}  # fmt: skip
CLASSES = ("apple", "aquarium_fish", *(f"class_{i}" for i in range(2, 100)))


def made_up(n: int = 3, *, synthetic: bool = False) -> ActivationMaps:
    """Maps of n images: the first is predicted correctly, the others are not."""
    rng = np.random.default_rng(0)
    maps = {layer: rng.normal(size=(n, *shape)).astype(np.float32) for layer, shape in SHAPES.items()}
    about = {
        "kind": "activations", "run_id": "run-7", "label": "Adam lr=0.001", "configuration": {}, "seed": 4,
        "data": "cifar100", "synthetic": synthetic, "protocol": {}, "device": "cpu", "threads": 2, "versions": {},
        "epoch": 10, "split": "test", "image_rows": list(range(n)),
    }  # fmt: skip
    return ActivationMaps(
        rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.ones(n, np.int64), np.array([1] + [0] * (n - 1)),
        np.full(n, 0.25, np.float32), maps, CLASSES, about,
    )  # fmt: skip


def words_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_gives_back_the_same_bits(tmp_path: Path, dtype: type):
    maps = made_up()
    maps = replace(maps, maps={layer: values.astype(dtype) for layer, values in maps.maps.items()})
    maps.maps["conv2"][0, 0, 0, :3] = [np.nan, np.inf, -0.0]
    write_activation_maps(tmp_path / "new" / "maps.parquet", maps)
    found = read_activation_maps(tmp_path / "new" / "maps.parquet")
    assert (found.about, found.class_names, list(found.maps)) == (maps.about, CLASSES, list(LAYERS))
    arrays = [(getattr(found, key), getattr(maps, key)) for key in ("images", "labels", "predictions", "probabilities")]
    for one, other in [*arrays, *((found.maps[layer], maps.maps[layer]) for layer in LAYERS)]:
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_a_file_of_another_analysis_is_refused(tmp_path: Path):
    write_analysis(tmp_path / "other.parquet", {"x": np.arange(3)}, {"kind": "gradients"})
    with pytest.raises(LedgerError, match=r"other\.parquet: holds the analysis 'gradients', not 'activations'"):
        read_activation_maps(tmp_path / "other.parquet")


def test_the_table_counts_zeros_and_dead_channels():
    maps = made_up(2)
    relu = np.zeros((2, 16, 10, 10), np.float32)
    relu[0, :3] = 2.0  # three channels are active for the first image
    relu[1, 2:4] = 4.0  # one of them, and a fourth, for the second: 12 of 16 are zero for both
    table = activation_table(replace(maps, maps={**maps.maps, "relu2": relu}))
    row = next(row for row in table.rows if row.values["layer"] == "relu2")
    assert row.values == {
        "layer": "relu2", "shape": "16 × 10 × 10", "mean": pytest.approx((3 * 2 + 2 * 4) / 32),
        "zeros": pytest.approx(100 * 27 / 32), "channels": 16, "dead": 12, "lowest": 0.0, "highest": 4.0,
    }  # fmt: skip
    assert [row.values["layer"] for row in table.rows] == list(LAYERS)
    assert {row.run_ids for row in table.rows} == {("run-7",)}
    assert (table.name, table.data) == ("activations", "cifar100")
    assert "Adam lr=0.001, seed 4, after epoch 10" in table.caption


def test_a_scale_is_the_largest_absolute_value_of_an_image_s_layer():
    values = np.zeros((3, 2, 2, 2), np.float32)
    values[0, 1, 0, 1] = -3.0
    values[0, 0, 0, 0] = 2.0
    values[1, 0, 1, 1] = 0.5
    values[2, 0, 0, :] = [np.inf, 7.0]
    assert scales(values).tolist() == [3.0, 0.5, 7.0]


def test_a_mosaic_keeps_every_pixel_in_the_channels_order():
    channels = np.arange(4 * 2 * 2, dtype=np.float64).reshape(4, 2, 2)
    nan = np.nan
    expected = [
        [0, 1, nan, 4, 5],
        [2, 3, nan, 6, 7],
        [nan, nan, nan, nan, nan],
        [8, 9, nan, 12, 13],
        [10, 11, nan, 14, 15],
    ]
    np.testing.assert_array_equal(mosaic(channels, 2), expected)
    np.testing.assert_array_equal(mosaic(channels, 1)[0], [0, 1, nan, 4, 5, nan, 8, 9, nan, 12, 13])


@pytest.mark.parametrize(("given", "shown"), [(1, 1), (16, 16), (17, 16)])
def test_there_is_a_row_for_each_image_up_to_sixteen(given: int, shown: int):
    figures = activation_figures(made_up(given))
    assert list(figures) == list(CAPTIONS)
    for name in ("activations_conv1", "activations_conv2"):
        figure = figures[name]
        pictures = [axes for axes in figure.axes if axes.images and axes.images[0].get_array().shape == (32, 32, 3)]
        assert len(pictures) == shown
        assert (f"The first 16 of {given} images are shown" in words_of(figure)) == (given > 16)


def test_maps_are_drawn_on_their_image_s_own_scale():
    maps = made_up(2)
    figure = activation_figures(maps)["activations_conv1"]
    drawn = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 2]
    for i in range(2):
        largest = float(np.abs(maps.maps["conv1"][i]).max())
        assert drawn[i].get_clim() == pytest.approx((-largest, largest))
        assert f"scale {largest:.3g}" in words_of(figure)
    every = activation_figures(maps)["activations_all"]
    limits = [axes.images[0].get_clim() for axes in every.axes if axes.images][1:7]
    assert [low == 0 for low, _ in limits] == [layer.startswith(("relu", "pool")) for layer in LAYERS]


def test_the_text_has_the_prediction_and_its_correctness():
    words = words_of(activation_figures(made_up(2))["activations_conv2"])
    assert "predicted: aquarium fish\ncorrect, p = 25 %" in words
    assert "predicted: apple\nwrong, p = 25 %" in words


def test_synthetic_data_is_noted_everywhere():
    for synthetic in (True, False):
        maps = made_up(1, synthetic=synthetic)
        figures = activation_figures(maps).values()
        texts = [" ".join(activation_table(maps).notes), *(" ".join(words_of(figure).split()) for figure in figures)]
        assert ["these numbers do not apply to CIFAR-100" in text for text in texts] == [synthetic] * 4


def test_a_run_that_diverged_is_drawn_with_what_is_left():
    maps = made_up(2)
    lost = {layer: np.full_like(values, np.nan) for layer, values in maps.maps.items()}
    dead = replace(maps, maps=lost, probabilities=np.full(2, np.nan, np.float32))
    figures = activation_figures(dead)
    for figure in figures.values():
        figure.draw_without_rendering()
        assert "not finite" in words_of(figure)
    assert activation_table(dead).text()[0][2] == "n/a"


@pytest.mark.parametrize("n", [1, 3, 16])
def test_no_text_overlaps_another_or_is_outside(n: int):
    for name, figure in activation_figures(made_up(n, synthetic=True)).items():
        figure.draw_without_rendering()
        texts = list(figure.texts)
        for axes in figure.axes:
            titles = [text for text in axes.get_children() if isinstance(text, Text) and text not in axes.texts]
            texts += [*axes.texts, *titles, *(axes.get_xticklabels() if axes.axison else [])]
        boxes = [Text.get_window_extent(text) for text in texts if text.get_text()]
        assert len(boxes) > 5
        for i, box in enumerate(boxes):
            assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0, name
            for other in boxes[:i]:
                overlap = matplotlib.transforms.Bbox.intersection(box, other)
                assert overlap is None or min(overlap.width, overlap.height) <= 1, name


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    activation_figures(made_up(1))
    assert dict(matplotlib.rcParams) == before
