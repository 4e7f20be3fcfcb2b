"""Activation maps of one run for given images: file format, table and figures."""

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

from results.analyses.file_format import SYNTHETIC_NOTE, data_label, read_analysis, write_analysis
from results.figures.label_layout import figure_text, write_notes
from results.figures.style import DOUBLE_COLUMN, GREY, INK, LIGHT_GREY, SMALL, TEXT, drawing_style
from results.tables.table import Column, Row, Table
from search_spaces.errors import LedgerError
from search_spaces.plain_text import counted

KIND = "activations"
LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2")
MAX_IMAGES = 16
"""Maximum number of images in one figure."""

CAPTIONS = {
    "activations_conv1": "Activation maps of conv1, one row per image: the image and its six channels.",
    "activations_conv2": "Activation maps of conv2, one row per image: the image and its sixteen channels.",
    "activations_all": "Activation maps of one image after each convolution, ReLU and pooling layer, all channels.",
}

SCALE_NOTE = (
    "Colours are scaled for each image and layer: the scale is the largest absolute value over the layer's channels."
)
TEXT_WIDTH = 1.25  # inches: the column of lines_of_text
IMAGE_SIDE = 0.8  # inches: the side of an input image
MARGIN = 0.1  # inches around the figure's content
GAP = 0.1  # inches between rows, and between an image and its maps
MIN_ROW_HEIGHT = 0.48  # inches: the height of a row of three lines of lines_of_text
TITLE_HEIGHT = 0.15  # inches above the first row
KEY_WIDTH = 1.2  # inches
KEY_HEIGHT = 0.36  # inches for the colour keys

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ActivationMaps:
    """Activation maps of one run for N images.

    ``about`` is the metadata of every analysis, with ``epoch`` (of the weights), ``split`` and ``image_rows`` (indices
    of the images in the split).
    """

    images: Array  # uint8 [N, 32, 32, 3]
    labels: Array  # int64 [N], the true classes
    predictions: Array  # int64 [N]
    probabilities: Array  # [N] in 0..1, of the predicted class
    maps: dict[str, Array]  # each of LAYERS → [N, C, H, W]
    class_names: tuple[str, ...]
    about: dict[str, Any]


def write_activation_maps(path: Path, maps: ActivationMaps) -> None:
    """Write the maps as one Parquet file: one row per image, one column per layer.

    Raises:
        OSError: the folder cannot be written.
    """
    columns = {
        "image": maps.images, "label": maps.labels, "prediction": maps.predictions, "probability": maps.probabilities,
        **{layer: maps.maps[layer] for layer in LAYERS},
    }  # fmt: skip
    write_analysis(path, columns, {**maps.about, "kind": KIND, "class_names": list(maps.class_names)})


def read_activation_maps(path: Path) -> ActivationMaps:
    """Read a file of :func:`write_activation_maps`.

    Raises:
        LedgerError: the file is missing, incomplete, or of another analysis.
    """
    file = read_analysis(path)
    if file.about.get("kind") != KIND:
        raise LedgerError(f"{path}: holds the analysis {file.about.get('kind')!r}, not {KIND!r}")
    about = {key: value for key, value in file.about.items() if key not in ("version", "class_names")}
    columns = file.columns
    return ActivationMaps(
        columns["image"], columns["label"], columns["prediction"], columns["probability"],
        {layer: columns[layer] for layer in LAYERS}, tuple(file.about["class_names"]), about,
    )  # fmt: skip


def activation_table(maps: ActivationMaps) -> Table:
    """Return one row per layer: shape, mean, share of zeros, dead channels, lowest and highest value."""
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
    return Table(
        KIND,
        f"Activations of {_run_text(maps)} over {_images(n)}",
        (
            Column("layer", "Layer"), Column("shape", "Channels × height × width"), Column("mean", "Mean", decimals=3),
            Column("zeros", "Zeros", "%", 1), Column("channels", "Channels"), Column("dead", "Dead channels"),
            Column("lowest", "Lowest", decimals=3), Column("highest", "Highest", decimals=3),
        ),
        rows,
        [
            f"Dead channel: zero everywhere in {_all_images(n)}. Other images may activate it.",
            *_caveats(maps),
        ],
        data=data_label(maps.about),
    )  # fmt: skip


def activation_figures(maps: ActivationMaps) -> dict[str, Figure]:
    """Draw the maps of both convolutions for up to 16 images, and all layers for the first of them."""
    with drawing_style():
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
    """Arrange one image's maps ``[C, H, W]`` in ``lines`` lines in the channels' order, with NaN between them."""
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
    """A figure whose axes are placed in inches from the top, so that pixels of different axes are aligned."""

    figure: Figure
    top: float = MARGIN  # inches from the figure's upper edge to the next row

    def axes(self, left: float, width: float, height: float, below: float = 0.0) -> Axes:
        """Add axes ``below`` the next row's upper edge; all in inches."""
        w, h = self.figure.get_figwidth(), self.figure.get_figheight()
        return self.figure.add_axes((left / w, 1 - (self.top + below + height) / h, width / w, height / h))


def _sheet(maps: ActivationMaps, height: float, notes: Sequence[str]) -> _Sheet:
    """Return an empty sheet with space for rows of ``height`` inches, the colour keys and the notes."""
    figure = Figure(figsize=(DOUBLE_COLUMN, MARGIN + height + KEY_HEIGHT), layout="constrained")
    write_notes(figure, [f"{_run_text(maps)}.", *notes])
    figure.set_layout_engine("none")  # the space for the notes is reserved; all axes are placed in inches
    return _Sheet(figure)


def _layer_figure(maps: ActivationMaps, layer: str, lines: int) -> Figure:
    """A row an image: lines_of_text, the image, the layer's maps in ``lines`` lines."""
    values = maps.maps[layer][:MAX_IMAGES]
    n, C = values.shape[:2]
    layer_scales = scales(values)
    sheets = [mosaic(channels, lines) for channels in values]
    left = MARGIN + TEXT_WIDTH + IMAGE_SIDE + GAP
    width = DOUBLE_COLUMN - MARGIN - left
    height = width * sheets[0].shape[0] / sheets[0].shape[1]
    row = max(height, IMAGE_SIDE)
    sheet = _sheet(maps, n * (row + GAP) + TITLE_HEIGHT, _notes(maps, n))
    sheet.top += TITLE_HEIGHT
    for i in range(n):
        _draw_text(sheet.axes(MARGIN, TEXT_WIDTH, row), [*_prediction_lines(maps, i), f"scale {layer_scales[i]:.3g}"])
        _draw_image(sheet.axes(MARGIN + TEXT_WIDTH, IMAGE_SIDE, IMAGE_SIDE, (row - IMAGE_SIDE) / 2), maps.images[i])
        axes = sheet.axes(left, width, height, (row - height) / 2)
        _draw_maps(axes, sheets[i], layer, layer_scales[i])
        if not i:
            order = f"channels 1 to {C}" if lines == 1 else f"channels 1 to {C // 2} above, {C // 2 + 1} to {C} below"
            axes.set_title(f"{layer}, {order}", loc="left", pad=4)
        sheet.top += row + GAP
    _draw_key(sheet, left, layer)
    return sheet.figure


def _all_layers_figure(maps: ActivationMaps) -> Figure:
    """Draw the first image with its prediction, then one row per layer."""
    sheets = {layer: mosaic(maps.maps[layer][0], 1) for layer in LAYERS}
    left = MARGIN + TEXT_WIDTH
    width = DOUBLE_COLUMN - MARGIN - left
    heights = {layer: width * tiles.shape[0] / tiles.shape[1] for layer, tiles in sheets.items()}
    rows = {layer: max(height, MIN_ROW_HEIGHT) for layer, height in heights.items()}
    sheet = _sheet(maps, IMAGE_SIDE + GAP + sum(row + GAP for row in rows.values()), [SCALE_NOTE, *_caveats(maps)])
    _draw_image(sheet.axes(MARGIN, IMAGE_SIDE, IMAGE_SIDE), maps.images[0])
    _draw_text(sheet.axes(left, width, IMAGE_SIDE), _prediction_lines(maps, 0))
    sheet.top += IMAGE_SIDE + GAP
    for layer, tiles in sheets.items():
        values = maps.maps[layer][:1]
        (scale,) = scales(values)
        _draw_text(sheet.axes(MARGIN, TEXT_WIDTH, rows[layer]), [layer, _shape(values), f"scale {scale:.3g}"])
        below = (rows[layer] - heights[layer]) / 2
        _draw_maps(sheet.axes(left, width, heights[layer], below), tiles, layer, scale)
        sheet.top += rows[layer] + GAP
    _draw_key(sheet, left, "conv1")
    _draw_key(sheet, left + width / 2, "relu1")
    return sheet.figure


def _draw_image(axes: Axes, image: Array) -> None:
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
    """Return the lower end of a layer's colours as a share of its scale, −1 or 0, and the colour map."""
    low, name = (-1.0, "RdBu_r") if layer.startswith("conv") else (0.0, "viridis")
    return low, matplotlib.colormaps[name].with_extremes(bad=LIGHT_GREY)


def _draw_text(axes: Axes, lines_of_text: Sequence[str]) -> None:
    """Draw lines of text, the first one bold, and the scale in grey."""
    axes.set_axis_off()
    for i, text in enumerate(lines_of_text):
        height = ((len(lines_of_text) - 1) / 2 - i) * TEXT * 1.35
        axes.annotate(
            figure_text(text), (0, 0.5), xycoords="axes fraction", xytext=(0, height),
            textcoords="offset points", va="center", ha="left", fontsize=TEXT if not i else SMALL,
            fontweight="bold" if not i else "normal", color=GREY if text.startswith("scale") else INK,
        )  # fmt: skip


def _prediction_lines(maps: ActivationMaps, i: int) -> list[str]:
    """The true class, the predicted one, and whether they are the same, in lines_of_text."""
    true, predicted = (maps.class_names[k].replace("_", " ") for k in (maps.labels[i], maps.predictions[i]))
    if not np.isfinite(maps.probabilities[i]):
        return [true, "predicted: none", "(not finite)"]
    result = "correct" if maps.labels[i] == maps.predictions[i] else "wrong"
    return [true, f"predicted: {predicted}", f"{result}, p = {100 * maps.probabilities[i]:.0f} %"]


def _notes(maps: ActivationMaps, shown: int) -> list[str]:
    n = len(maps.images)
    left_out = [f"The first {shown} of {n} images are shown."] if shown < n else []
    return [
        "Bold: true class. p: probability of the predicted class.",
        SCALE_NOTE,
        *left_out,
        *_caveats(maps),
    ]


def _caveats(maps: ActivationMaps) -> list[str]:
    not_finite = sum(int((~np.isfinite(values)).sum()) for values in maps.maps.values())
    verb = "is" if not_finite == 1 else "are"
    text = f"{counted(not_finite, 'value')} {verb} not finite (grey in the figures), because the run diverged."
    grey = [text] if not_finite else []
    return [*grey, *([SYNTHETIC_NOTE] if maps.about["synthetic"] else [])]


def _run_text(maps: ActivationMaps) -> str:
    about: Mapping[str, Any] = maps.about
    epoch = f", after epoch {about['epoch']}" if "epoch" in about else ""
    return f"{about['label']}, seed {about['seed']}{epoch}"


def _shape(values: Array) -> str:
    return " × ".join(map(str, values.shape[1:]))


def _all_images(n: int) -> str:
    return "the image" if n == 1 else f"all {n} images"


def _images(n: int) -> str:
    return counted(n, "image")
