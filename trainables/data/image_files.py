"""Decoding of encoded images (PNG, JPEG, BMP, PPM) to 32×32 RGB."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np

from search_spaces.errors import DataError
from trainables.data.files import first_line
from trainables.data.image_arrays import SIDE, Images

FORMATS = ("PNG", "JPEG", "BMP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")

SMALL_SIDE = 28
"""Side of the images of MNIST and Fashion-MNIST, which get a black margin of 2 pixels, as in LeCun et al. 1998."""

EXPECTED = f"{SIDE}×{SIDE} RGB or grey (or {SMALL_SIDE}×{SMALL_SIDE}, which gets a black margin)"


@dataclass
class Decoder:
    """Decodes images and counts those that were changed."""

    images: int = 0
    grey: int = 0
    padded: int = 0

    def decode(self, content: object, where: str) -> Images:
        """Return one encoded image as uint8 ``[32, 32, 3]``. Threads do not help: for this size Pillow holds the GIL.

        The size is read from the header before any pixel is decoded.

        Raises:
            DataError: the content is not an image, or has another size or mode.
        """
        from PIL import Image

        if not content:
            raise DataError(f"{where}: the image is empty; expected {EXPECTED}")
        if not isinstance(content, bytes):
            raise DataError(f"{where}: the image is {type(content).__name__}; expected the bytes of a PNG")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a size that is refused below
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    found = f"{image.width}×{image.height} {image.mode}"
                    if image.size in ((SIDE, SIDE), (SMALL_SIDE, SMALL_SIDE)):
                        if image.mode == "P" and "transparency" not in image.info:
                            return self.to_rgb(np.asarray(image.convert("RGB")))
                        if image.mode in ("RGB", "L"):
                            return self.to_rgb(np.asarray(image))
        except Image.DecompressionBombError as error:
            raise DataError(f"{where}: the image is too large ({first_line(error)}); expected {EXPECTED}") from error
        except Exception as error:  # Pillow raises many kinds: SyntaxError for a broken PNG, struct.error, …
            raise DataError(
                f"{where}: not a readable PNG or JPEG ({first_line(error)}); copy the file again"
            ) from error
        raise DataError(f"{where}: the image is {found}; expected {EXPECTED}")

    def to_rgb(self, pixels: Images) -> Images:
        """Return one image, ``[S, S]`` or ``[S, S, 3]`` with S of 32 or 28, as ``[32, 32, 3]``."""
        self.images += 1
        if pixels.ndim == 2:
            self.grey += 1
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        if len(pixels) == SMALL_SIDE:
            self.padded += 1
            margin = (SIDE - SMALL_SIDE) // 2
            pixels = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)))
        return pixels

    def notes(self) -> tuple[str, ...]:
        """Return what was done to the images."""
        return change_notes(self.images, self.grey, self.padded)


def change_notes(images: int, grey: int, padded: int) -> tuple[str, ...]:
    """Return one note for each kind of change: how many of ``images`` were grey, and how many got a margin."""

    def those(count: int) -> str:
        return "all images" if count == images else f"{count:,} of {images:,} images"

    notes = []
    if grey:
        notes.append(f"{those(grey)} grey, repeated to three channels")
    if padded:
        notes.append(f"{those(padded)} {SMALL_SIDE}×{SMALL_SIDE}, with a black margin to {SIDE}×{SIDE}")
    return tuple(notes)


def planes_to_rgb(pixels: Images) -> Images:
    """Return grey images ``[N, 28, 28]`` or ``[N, 32, 32]`` as ``[N, 32, 32, 3]``."""
    margin = (SIDE - pixels.shape[1]) // 2
    square = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)))
    return np.repeat(square[..., None], 3, axis=3)
