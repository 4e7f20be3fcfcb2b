"""CIFAR-100 in Parquet files, in the layout of the data set's page on the Hugging Face Hub.

``train-NNNNN-of-NNNNN.parquet`` and ``test-NNNNN-of-NNNNN.parquet`` with the columns ``img`` (struct of ``bytes``: a
PNG, and ``path``) and ``fine_label``; ``labels.json`` beside them names the classes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from search_spaces.errors import DataError
from trainables.data.image_arrays import CLASSES, SIDE, Images, LabelledImages, Labels, check_class_names, check_labels

COLUMNS = ("img", "fine_label")
NAMES_FILE = "labels.json"

_SHARD = re.compile(r"(?P<part>train|test)-(?P<index>\d+)-of-(?P<count>\d+)\.parquet")


def has_parquet(folder: Path) -> bool:
    """Return whether ``folder`` holds any Parquet file, and so is this kind of source."""
    return any(folder.glob("*.parquet"))


def parquet_key(folder: Path) -> str:
    """Return the SHA-256 (hex) of names and bytes of every file that ``read_parquet`` reads (about 130 MB, 0.1 s).

    Raises:
        DataError: a shard is missing or cannot be read.
    """
    files = [*_shards(folder, "train"), *_shards(folder, "test")]
    if (folder / NAMES_FILE).exists():
        files.append(folder / NAMES_FILE)
    with ThreadPoolExecutor() as threads:  # hashlib releases the GIL
        digests = list(threads.map(_file_digest, files))
    lines = [f"{digest}  {file.name}\n" for digest, file in zip(digests, files, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_parquet(folder: Path) -> LabelledImages:
    """Decode every image of ``folder``: 60,000 PNGs in about 10 s, one thread.

    Raises:
        DataError: a shard or column is missing, a file is damaged, an image is not 32×32 RGB, a label is out of range.
    """
    names_file = folder / NAMES_FILE
    class_names = _read_names(names_file) if names_file.exists() else tuple(f"class {i:02d}" for i in range(CLASSES))
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "test")
    return LabelledImages(train_images, train_labels, test_images, test_labels, class_names)


def _shards(folder: Path, part: str) -> list[Path]:
    """Return the files of one part in order. A missing shard is an error: training would use less data."""
    found = {}
    counts = set()
    for file in folder.iterdir():
        match = _SHARD.fullmatch(file.name)
        if match and match["part"] == part:
            found[int(match["index"])] = file
            counts.add(int(match["count"]))
    if not found:
        raise DataError(f"{folder}: no {part}-*-of-*.parquet; copy every train and test shard into this folder")
    if len(counts) > 1:
        raise DataError(f"{folder}: its {part} shards come from different sets (of {sorted(counts)}); keep one set")
    missing = sorted(set(range(counts.pop())) - set(found))
    if missing:
        known = found[min(found)].name
        raise DataError(f"{folder}: {part} shard {missing[0]} is missing (beside {known}); copy it into this folder")
    return [found[index] for index in sorted(found)]


def _file_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; make it readable") from error


def _read_names(file: Path) -> tuple[str, ...]:
    try:
        names = json.loads(file.read_text(encoding="utf-8"))["fine_label"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: no readable list 'fine_label' ({_first_line(error)}); copy it again") from error
    return check_class_names(names, str(file))


def _read_part(folder: Path, part: str) -> tuple[Images, Labels]:
    shards = [_read_shard(file) for file in _shards(folder, part)]
    images = np.concatenate([images for images, _ in shards])
    labels = np.concatenate([labels for _, labels in shards])
    if not len(images):
        raise DataError(f"{folder}: its {part} shards hold no rows; copy them again")
    return images, labels


def _read_shard(file: Path) -> tuple[Images, Labels]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as shard:
            columns = shard.schema_arrow.names
            missing = [name for name in COLUMNS if name not in columns]
            if missing:
                raise DataError(
                    f"{file}: no column '{missing[0]}' (it has {', '.join(columns)}); "
                    f"expected 'img' (struct with 'bytes') and 'fine_label'"
                )
            table = shard.read(columns=list(COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({_first_line(error)}); copy it again") from error

    img_type = table.schema.field("img").type
    if not pa.types.is_struct(img_type) or img_type.get_field_index("bytes") < 0:
        raise DataError(f"{file}: column 'img' is {img_type}; expected a struct with a field 'bytes' that holds a PNG")
    if table.column("fine_label").null_count:
        raise DataError(f"{file}: column 'fine_label' has empty rows; expected 0 to {CLASSES - 1} in each")
    labels = check_labels(table.column("fine_label").to_numpy(), len(table), f"{file}, column 'fine_label'")

    images = np.empty((len(table), SIDE, SIDE, 3), np.uint8)
    row = 0
    for chunk in table.column("img").chunks:
        for png in chunk.field("bytes"):
            images[row] = _decode(png.as_py(), f"{file}, row {row}")
            row += 1
    return images, labels


def _decode(png: bytes | None, where: str) -> Images:
    """Return one PNG as uint8 ``[32, 32, 3]``. Threads do not help: for this size Pillow holds the GIL."""
    from PIL import Image

    if not png:
        raise DataError(f"{where}: the image is empty; expected a {SIDE}×{SIDE} RGB PNG")
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.size == (SIDE, SIDE) and image.mode == "RGB":
                return np.asarray(image)
            found = f"{image.width}×{image.height} {image.mode}"
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise DataError(f"{where}: not a readable PNG ({_first_line(error)}); copy the file again") from error
    raise DataError(f"{where}: the image is {found}; expected {SIDE}×{SIDE} RGB")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
