"""Activation maps of one run for given images: as a file, as a table of their layers, and as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from results.analyses.file_format import SYNTHETIC_NOTE, read_analysis, write_analysis
from results.figures.label_layout import write_notes
from results.figures.style import DOUBLE_COLUMN, GREY, LIGHT_GREY, RC, SMALL, TEXT
from results.tables.table import Column, Row, Table
from search_spaces.errors import LedgerError

KIND = "activations"
LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2")
MOST_ROWS = 16
"""Images that one figure shows."""

CAPTIONS = {
    "activations_conv1": "Activation maps of conv1: a row an image, then its six channels.",
    "activations_conv2": "Activation maps of conv2: a row an image, then its sixteen channels.",
    "activations_all": "One image through every convolution, ReLU and pooling layer, with all channels.",
}

COLOURS = (
    "Colours are scaled for each image and layer: the scale is the largest absolute value over the layer's channels."
)
WORDS = 1.25  # inches: the column of words
PICTURE = 0.8  # inches: the side of an input image
MARGIN = 0.1  # inches around all of it
GAP = 0.1  # inches between rows, and between an image and its maps
LEAST = 0.48  # inches: the height of a row of three lines of words
TITLE = 0.15  # inches over the first row
KEY_WIDTH = 1.2  # inches
KEYS = 0.36  # inches for the colour keys

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ActivationMaps:
    """What one run makes of N images.

    ``about`` says which run: as every analysis does, and with ``epoch`` (the weights' age), ``split`` and
    ``image_rows`` (where the images stand in the split).
    """

    images: Array  # uint8 [N, 32, 32, 3]
    labels: Array  # int64 [N], the true classes
    predictions: Array  # int64 [N]
    probabilities: Array  # [N] in 0..1, of the predicted class
    maps: dict[str, Array]  # each of LAYERS → [N, C, H, W]
    class_names: tuple[str, ...]
    about: dict[str, Any]


def write_activation_maps(path: Path, maps: ActivationMaps) -> None:
    """Write the maps as one Parquet file: a row an image, a column a layer.

    Raises:
        OSError: the folder cannot be written.
    """
    columns = {
        "image": maps.images, "label": maps.labels, "prediction": maps.predictions, "probability": maps.probabilities,
        **{layer: maps.maps[layer] for layer in LAYERS},
    }  # fmt: skip
    write_analysis(path, columns, {**maps.about, "kind": KIND, "class_names": list(maps.class_names)})


def read_activation_maps(path: Path) -> ActivationMaps:
    """Read what :func:`write_activation_maps` wrote.

    Raises:
        LedgerError: the file is missing, torn, or holds something else.
    """
    file = read_analysis(path)
    if file.about.get("kind") != KIND:
        raise LedgerError(f"{path}: holds {file.about.get('kind')!r}, not {KIND!r}; name a file of activations")
    about = {key: value for key, value in file.about.items() if key not in ("version", "class_names")}
    columns = file.columns
    return ActivationMaps(
        columns["image"], columns["label"], columns["prediction"], columns["probability"],
        {layer: columns[layer] for layer in LAYERS}, tuple(file.about["class_names"]), about,
    )  # fmt: skip


def activation_table(maps: ActivationMaps) -> Table:
    """Return a row a layer: its shape, mean, share of zeros, dead channels, lowest and highest value."""
    rows = []
    for layer in LAYERS:
        values = maps.maps[layer]  # [N, C, H, W]
        zero = values == 0
        rows.append(
            Row(
                {
                    "layer": layer, "shape": _shape(values), "mean": float(values.mean(dtype=np.float64)),
                    "zeros": 100.0 * float(zero.mean()), "channels": values.shape[1],
                    "dead": int(zero.all(axis=(0, 2, 3)).sum()),
                    "lowest": float(values.min()), "highest": float(values.max()),
                },
                (str(maps.about["run_id"]),),
            )
        )  # fmt: skip
    n = len(maps.images)
    made = " (made from a seed)" if maps.about["synthetic"] else ""
    return Table(
        KIND,
        f"Activations of {_run(maps)} over {_images(n)}",
        (
            Column("layer", "Layer"), Column("shape", "Channels × height × width"), Column("mean", "Mean", decimals=3),
            Column("zeros", "Zeros", "%", 1), Column("channels", "Channels"), Column("dead", "Dead channels"),
            Column("lowest", "Lowest", decimals=3), Column("highest", "Highest", decimals=3),
        ),
        rows,
        [
            f"A channel is dead here if it is zero everywhere in {'all of ' if n > 1 else ''}the {_images(n)} given; "
            "others might wake it.",
            *_caveats(maps),
        ],
        data=f"{maps.about['data']}{made}",
    )  # fmt: skip


def activation_figures(maps: ActivationMaps) -> dict[str, Figure]:
    """Draw the maps of both convolutions for up to 16 images, and all layers for the first of them."""
    with matplotlib.rc_context(RC):
        return {
            "activations_conv1": _layer_figure(maps, "conv1", lines=1),
            "activations_conv2": _layer_figure(maps, "conv2", lines=2),
            "activations_all": _all_layers_figure(maps),
        }


def scales(values: Array) -> Array:
    """Return for each image the largest finite absolute value ``[N]`` of a layer's maps ``[N, C, H, W]``."""
    sizes = np.abs(values.astype(np.float64))
    return np.asarray(np.where(np.isfinite(sizes), sizes, 0.0).max(axis=(1, 2, 3)))


def mosaic(channels: Array, lines: int) -> Array:
    """Lay one image's maps ``[C, H, W]`` out in ``lines`` lines, NaN between them, in the channels' order."""
    C, H, W = channels.shape
    across = -(-C // lines)
    gap = max(1, W // 10)
    sheet = np.full((lines * (H + gap) - gap, across * (W + gap) - gap), np.nan)
    for c, channel in enumerate(channels):
        top, left = c // across * (H + gap), c % across * (W + gap)
        sheet[top : top + H, left : left + W] = channel
    return sheet


@dataclass
class _Sheet:
    """A figure whose axes are placed in inches, from the top down: pixels line up, which no layout engine promises."""

    figure: Figure
    top: float = MARGIN  # inches from the figure's upper edge to the next row

    def axes(self, left: float, width: float, height: float, below: float = 0.0) -> Axes:
        """Add axes ``below`` the next row's upper edge; all in inches."""
        w, h = self.figure.get_figwidth(), self.figure.get_figheight()
        return self.figure.add_axes((left / w, 1 - (self.top + below + height) / h, width / w, height / h))


def _sheet(maps: ActivationMaps, height: float, notes: Sequence[str]) -> _Sheet:
    """Return an empty sheet with room for rows of ``height`` inches, and under them for colour keys and notes."""
    figure = Figure(figsize=(DOUBLE_COLUMN, MARGIN + height + KEYS), layout="constrained")
    write_notes(figure, [f"{_run(maps)}.", *notes])
    figure.set_layout_engine("none")  # it has made room for the notes; the rest is placed by hand
    return _Sheet(figure)


def _layer_figure(maps: ActivationMaps, layer: str, lines: int) -> Figure:
    """A row an image: words, the image, the layer's maps in ``lines`` lines."""
    values = maps.maps[layer][:MOST_ROWS]
    n, C = values.shape[:2]
    layer_scales = scales(values)
    sheets = [mosaic(channels, lines) for channels in values]
    left = MARGIN + WORDS + PICTURE + GAP
    width = DOUBLE_COLUMN - MARGIN - left
    height = width * sheets[0].shape[0] / sheets[0].shape[1]
    row = max(height, PICTURE)
    sheet = _sheet(maps, n * (row + GAP) + TITLE, _notes(maps, n))
    sheet.top += TITLE
    for i in range(n):
        _write(sheet.axes(MARGIN, WORDS, row), [*_verdict(maps, i), f"scale {layer_scales[i]:.3g}"])
        _draw_picture(sheet.axes(MARGIN + WORDS, PICTURE, PICTURE, (row - PICTURE) / 2), maps.images[i])
        axes = sheet.axes(left, width, height, (row - height) / 2)
        _draw_maps(axes, sheets[i], layer, layer_scales[i])
        if not i:
            order = f"channels 1 to {C}" if lines == 1 else f"channels 1 to {C // 2} above, {C // 2 + 1} to {C} below"
            axes.set_title(f"{layer}, {order}", loc="left", pad=4)
        sheet.top += row + GAP
    _draw_key(sheet, left, layer)
    return sheet.figure


def _all_layers_figure(maps: ActivationMaps) -> Figure:
    """The first image and what is known of it on top, then a row a layer."""
    sheets = {layer: mosaic(maps.maps[layer][0], 1) for layer in LAYERS}
    left = MARGIN + WORDS
    width = DOUBLE_COLUMN - MARGIN - left
    heights = {layer: width * tiles.shape[0] / tiles.shape[1] for layer, tiles in sheets.items()}
    rows = {layer: max(height, LEAST) for layer, height in heights.items()}
    sheet = _sheet(maps, PICTURE + GAP + sum(row + GAP for row in rows.values()), [COLOURS, *_caveats(maps)])
    _draw_picture(sheet.axes(MARGIN, PICTURE, PICTURE), maps.images[0])
    _write(sheet.axes(left, width, PICTURE), _verdict(maps, 0))
    sheet.top += PICTURE + GAP
    for layer, tiles in sheets.items():
        values = maps.maps[layer][:1]
        (scale,) = scales(values)
        _write(sheet.axes(MARGIN, WORDS, rows[layer]), [layer, _shape(values), f"scale {scale:.3g}"])
        below = (rows[layer] - heights[layer]) / 2
        _draw_maps(sheet.axes(left, width, heights[layer], below), tiles, layer, scale)
        sheet.top += rows[layer] + GAP
    _draw_key(sheet, left, "conv1")
    _draw_key(sheet, left + width / 2, "relu1")
    return sheet.figure


def _draw_picture(axes: Axes, image: Array) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_axis_off()


def _draw_maps(axes: Axes, sheet: Array, layer: str, scale: float) -> None:
    low, colours = _colours(layer)
    axes.imshow(
        np.ma.masked_invalid(sheet), cmap=colours, vmin=low * (scale or 1), vmax=scale or 1, interpolation="nearest"
    )
    axes.set_axis_off()


def _draw_key(sheet: _Sheet, left: float, layer: str) -> None:
    """Draw a bar of the layer's colours, from 0 or minus the scale to the scale."""
    low, colours = _colours(layer)
    axes = sheet.axes(left, KEY_WIDTH, 0.07, below=0.02)
    axes.imshow(np.linspace(low, 1, 256)[None], cmap=colours, aspect="auto", extent=(low, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1] if low else [0, 1], ["−scale", "0", "scale"] if low else ["0", "scale"])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    axes.annotate(
        "convolution" if low else "ReLU, pooling", (1, 0.5), xycoords="axes fraction", xytext=(12, 0),
        textcoords="offset points", va="center", fontsize=SMALL + 0.5,
    )  # fmt: skip


def _colours(layer: str) -> tuple[float, Colormap]:
    """Where the colours of a layer begin, as a share of its scale, and what they are: around 0, or from 0 on."""
    low, name = (-1.0, "RdBu_r") if layer.startswith("conv") else (0.0, "viridis")
    return low, matplotlib.colormaps[name].with_extremes(bad=LIGHT_GREY)


def _write(axes: Axes, words: Sequence[str]) -> None:
    """Write a few lines, the first one bold, the last one grey where it tells the scale."""
    axes.set_axis_off()
    for i, text in enumerate(words):
        axes.annotate(
            text, (0, 0.5), xycoords="axes fraction", xytext=(0, ((len(words) - 1) / 2 - i) * TEXT * 1.35),
            textcoords="offset points", va="center", ha="left", fontsize=TEXT if not i else SMALL,
            fontweight="bold" if not i else "normal", color=GREY if text.startswith("scale") else RC["text.color"],
        )  # fmt: skip


def _verdict(maps: ActivationMaps, i: int) -> list[str]:
    """The true class, the predicted one, and whether they are the same, in words."""
    true, predicted = (maps.class_names[k].replace("_", " ") for k in (maps.labels[i], maps.predictions[i]))
    if not np.isfinite(maps.probabilities[i]):
        return [true, "predicted: nothing,", "not finite"]
    right = "right" if maps.labels[i] == maps.predictions[i] else "wrong"
    return [true, f"predicted: {predicted}", f"{right}, {100 * maps.probabilities[i]:.0f} % sure"]


def _notes(maps: ActivationMaps, shown: int) -> list[str]:
    n = len(maps.images)
    left_out = [f"The first {shown} of {n} images are shown."] if shown < n else []
    return [
        "In bold the true class. How sure: the probability that the network gives to the class predicted.",
        COLOURS,
        *left_out,
        *_caveats(maps),
    ]


def _caveats(maps: ActivationMaps) -> list[str]:
    lost = sum(int((~np.isfinite(values)).sum()) for values in maps.maps.values())
    grey = [f"{lost} values are not finite, and grey in the figures: the run diverged."] if lost else []
    return [*grey, *([SYNTHETIC_NOTE] if maps.about["synthetic"] else [])]


def _run(maps: ActivationMaps) -> str:
    about: Mapping[str, Any] = maps.about
    epoch = f", after epoch {about['epoch']}" if "epoch" in about else ""
    return f"{about['label']}, seed {about['seed']}{epoch}"


def _shape(values: Array) -> str:
    return " × ".join(map(str, values.shape[1:]))


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"
