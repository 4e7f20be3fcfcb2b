"""A synthetic data set with the shape of CIFAR-100, for machines without internet and for quick trials.

It has twenty superclasses of five classes. A superclass has a colour and a coarse texture, a class adds a fine
texture. An image is a random window of the picture of its class, possibly mirrored, with random shading, contrast,
brightness, a covered rectangle and noise: a network can learn the classes but not memorise the images.

All arithmetic is on integers: the same seed and sizes give the same bits on every machine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError
from trainables.data.image_arrays import CLASSES, SIDE, Images, LabelledImages, Labels, check_count

NAME = "synthetic"
SUPERCLASSES = 20

# Half-widths of the random values, in grey levels 0..255. The first three distinguish classes, the others hide them.
COLOUR = 64
COARSE = 64
FINE = 48
VEIL = 32
BRIGHTNESS = 16
NOISE = 16
PATCH = 16  # the longest side of a covered rectangle, in pixels

CANVAS = 48  # the side of the picture of a class; an image is a 32-pixel window of it
CHUNK = 1000  # images generated at once, to limit the memory

Integers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class SyntheticSpec:
    """The options of ``synthetic:n_train=…,n_test=…,seed=…``; ``n_train`` includes the validation images."""

    n_train: int = 4000
    n_test: int = 1000
    seed: int = 0


def is_synthetic(source: str) -> bool:
    """Return whether ``source`` names synthetic data; its options may be malformed."""
    return source == NAME or source.startswith(f"{NAME}:")


def parse_synthetic(source: str) -> SyntheticSpec:
    """Read ``synthetic`` or ``synthetic:n_train=4000,n_test=1000,seed=0``, any subset in any order.

    Raises:
        DataError: an option that is unknown, given twice, or not an integer in its range.
    """
    defaults = asdict(SyntheticSpec())
    valid = ", ".join(f"{name} (default {value})" for name, value in defaults.items())
    values: dict[str, int] = {}
    _, colon, text = source.partition(":")
    for option in text.split(",") if colon else []:
        name, equals, value = (part.strip() for part in option.partition("="))
        if name not in defaults:
            raise DataError(f"data source {source!r}: unknown option {name!r}; valid: {valid}")
        if not equals:
            raise DataError(f"data source {source!r}: option {name!r} has no value; write {name}={defaults[name]}")
        if name in values:
            raise DataError(f"data source {source!r}: option {name!r} is given twice; remove one")
        most = 4000 if name == "seed" else 18  # int() refuses more digits with another exception
        if len(value) > most:
            raise DataError(f"data source {source[:60]!r}: {name} has {len(value)} digits; expected at most {most}")
        least = 0 if name == "seed" else 1
        if not (value.isascii() and value.isdigit()) or int(value) < least:
            raise DataError(f"data source {source!r}: {name} = {value!r}; expected a whole number of at least {least}")
        values[name] = int(value)
    return SyntheticSpec(**values)


def check_size(source: str, max_images: int) -> SyntheticSpec:
    """Read ``source`` as :func:`parse_synthetic` does, and refuse more than ``max_images`` images."""
    spec = parse_synthetic(source)
    check_count(spec.n_train + spec.n_test, max_images, f"data source {source!r}")
    return spec


def make_synthetic(spec: SyntheticSpec) -> LabelledImages:
    """Generate the images of ``spec``: every class has ``n // 100`` images of each part, or one more."""
    # Separate streams: the pictures do not depend on the sizes, nor the test part on the training part.
    streams = [np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(spec.seed).spawn(3)]
    pictures = _class_pictures(streams[0])
    train_images, train_labels = _make_part(pictures, spec.n_train, streams[1])
    test_images, test_labels = _make_part(pictures, spec.n_test, streams[2])
    per_group = CLASSES // SUPERCLASSES
    names = tuple(f"texture {label // per_group:02d}{'abcde'[label % per_group]}" for label in range(CLASSES))
    return LabelledImages(train_images, train_labels, test_images, test_labels, names)


def _class_pictures(generator: np.random.Generator) -> Integers:
    """Return one picture per class, ``[100, 48, 48, 3]``, centred on 128."""
    per_group = CLASSES // SUPERCLASSES
    colour = generator.integers(-COLOUR, COLOUR + 1, (SUPERCLASSES, 1, 1, 3), dtype=np.int32)
    coarse = _smooth_field(generator, SUPERCLASSES, cells=4, amplitude=COARSE)
    fine = _smooth_field(generator, CLASSES, cells=12, amplitude=FINE)
    return 128 + np.repeat(colour + coarse, per_group, axis=0) + fine


def _smooth_field(generator: np.random.Generator, count: int, cells: int, amplitude: int) -> Integers:
    """Return random colour fields ``[count, 48, 48, 3]``: bilinear between ``cells + 1`` knots per side."""
    knots = generator.integers(-amplitude, amplitude + 1, (count, cells + 1, cells + 1, 3), dtype=np.int32)
    step = CANVAS // cells
    place = np.arange(CANVAS, dtype=np.int32)
    cell, within = place // step, place % step
    down, across = within[:, None, None], within[:, None]
    rows: Integers = knots[:, cell] * (step - down) + knots[:, cell + 1] * down  # [count, 48, cells + 1, 3]
    field: Integers = (rows[:, :, cell] * (step - across) + rows[:, :, cell + 1] * across) // step**2
    return field


def _make_part(pictures: Integers, count: int, generator: np.random.Generator) -> tuple[Images, Labels]:
    labels = generator.permutation(np.arange(count, dtype=np.int64) % CLASSES)
    chunks = [_make_images(pictures, labels[at : at + CHUNK], generator) for at in range(0, count, CHUNK)]
    return np.concatenate(chunks), labels


def _make_images(pictures: Integers, labels: Labels, generator: np.random.Generator) -> Images:
    """Return one image per label, uint8 ``[N, 32, 32, 3]``."""
    count = len(labels)
    span = np.arange(SIDE)
    rows = generator.integers(0, CANVAS - SIDE + 1, (count, 1)) + span
    columns = generator.integers(0, CANVAS - SIDE + 1, (count, 1)) + span
    mirrored = generator.integers(0, 2, (count, 1), dtype=np.bool_)
    columns = np.where(mirrored, columns[:, ::-1], columns)
    pixels = pictures[labels[:, None, None], rows[:, :, None], columns[:, None, :]]  # [N, 32, 32, 3]

    pixels += _smooth_field(generator, count, cells=4, amplitude=VEIL)[:, :SIDE, :SIDE]
    contrast = generator.integers(128, 385, (count, 1, 1, 1), dtype=np.int32)  # in units of 1/256: 0.5 to 1.5
    brightness = generator.integers(-BRIGHTNESS, BRIGHTNESS + 1, (count, 1, 1, 1), dtype=np.int32)
    pixels = 128 + brightness + ((pixels - 128) * contrast >> 8)
    pixels = np.where(_patches(count, generator)[..., None], _greys(count, generator), pixels)
    pixels += generator.integers(-NOISE, NOISE + 1, pixels.shape, dtype=np.int32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _patches(count: int, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return where each image is covered, ``[N, 32, 32]``: a rectangle that may extend past the edge."""
    span = np.arange(SIDE)
    first = generator.integers(-PATCH // 2, SIDE, (2, count, 1))
    extent = generator.integers(0, PATCH + 1, (2, count, 1))
    down, across = (span >= first) & (span < first + extent)  # each [N, 32]
    covered: npt.NDArray[np.bool_] = down[:, :, None] & across[:, None, :]
    return covered


def _greys(count: int, generator: np.random.Generator) -> Integers:
    """Return a random colour for the covered rectangle of each image, ``[N, 1, 1, 3]``."""
    return generator.integers(0, 256, (count, 1, 1, 3), dtype=np.int32)
