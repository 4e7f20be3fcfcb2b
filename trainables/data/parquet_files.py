"""Images in Parquet files, in the layouts of the Hugging Face Hub.

``train-NNNNN-of-NNNNN.parquet`` (also with a hash at the end), ``train.parquet``, or ``train/NNNN.parquet``, and the
same for ``test``; in the folder, or in its only sub-folder with such files. A column of images is a struct of
``bytes`` (an encoded image) and ``path``. The names of the classes are in ``labels.json`` beside the files, or in the
metadata of the files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.errors import DataError
from trainables.data.files import first_line, is_folder, names_in, read_json, regular_file, text_file
from trainables.data.image_arrays import (
    CLASSES,
    SIDE,
    Images,
    LabelledImages,
    Labels,
    check_class_names,
    check_count,
    check_labels,
    numbered_classes,
)
from trainables.data.image_files import Decoder
from trainables.data.source import ReadOptions, Source

if TYPE_CHECKING:
    import pyarrow.parquet as pq

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("fine_label", "label", "labels", "target")
TITLES = {"fine_label": "CIFAR-100", "coarse_label": "CIFAR-100 (coarse labels)"}
NAMES_FILE = "labels.json"

BATCH_ROWS = 1000
MAX_IMAGE_BYTES = 64 * 1024
"""Largest mean size of an encoded image of 32×32 pixels; a PNG has 2 kB."""

_SHARD = re.compile(r"(?P<part>train|test)-(?P<index>\d{1,18})-of-(?P<count>\d{1,18})(-[0-9a-z]+)?\.parquet")
_NUMBERED = re.compile(r"(?P<index>\d{1,18})\.parquet")


@dataclass(frozen=True)
class Columns:
    """The columns that are read."""

    image: str
    label: str
    cifar100: bool  # the files have both kinds of labels of CIFAR-100

    @property
    def usual(self) -> bool:
        """Whether they are those of CIFAR-100 on the Hub."""
        return self.cifar100 and (self.image, self.label) == ("img", "fine_label")


def find_parquet(folder: Path, options: ReadOptions) -> Source | None:
    """Find Parquet files; see :class:`trainables.data.source.Source`."""
    place = _place(folder)
    if place is None:
        return None
    parts = {part: _shards(place, part) for part in ("train", "test")}
    columns = _columns(parts["train"][0], options.labels)
    rows = sum(_rows(file, columns) for shards in parts.values() for file in shards)
    check_count(rows, options.max_images, str(place))
    inside = "" if place == folder else f" in {place.name}/"
    read = {file.name for shards in parts.values() for file in shards}
    rest = [name for name in names_in(place) if name.endswith(".parquet") and name not in read]
    files = " and ".join(f"{len(shards)} {part}" for part, shards in parts.items())
    return Source(
        title=TITLES.get(columns.label, folder.name) if columns.cifar100 else folder.name,
        taken=f"Parquet files{inside} ({files}), columns {columns.image!r} and {columns.label!r}",
        unread=", ".join(rest[:5]) + (", …" if len(rest) > 5 else ""),
        read=lambda: _read(place, parts, columns),
        key=lambda: f"parquet-{_key(place, parts, columns)}",
    )


def _place(folder: Path) -> Path | None:
    """Return the folder with the Parquet files: ``folder``, or its only sub-folder that has some; else None."""
    if _has_parquet(folder):
        return folder
    inside = [folder / name for name in names_in(folder) if is_folder(folder / name)]
    found = [path for path in inside if _has_parquet(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:10])
        raise DataError(f"{folder}: several of its folders hold Parquet files ({names}); name one of them")
    return found[0] if found else None


def _has_parquet(folder: Path) -> bool:
    names = names_in(folder)
    return any(name.endswith(".parquet") for name in names) or any(
        name in names and is_folder(folder / name) and any(_NUMBERED.fullmatch(one) for one in names_in(folder / name))
        for name in ("train", "test")
    )


def _shards(folder: Path, part: str) -> list[Path]:
    """Return the files of one part in order. A missing shard is an error: training would use less data."""
    names = names_in(folder)
    sharded = [match for name in names if (match := _SHARD.fullmatch(name)) and match["part"] == part]
    inside = names_in(folder / part) if part in names and is_folder(folder / part) else []
    numbered = [match for name in inside if (match := _NUMBERED.fullmatch(name))]
    single = f"{part}.parquet"
    layouts = [text for text, found in ((f"{part}-*-of-*.parquet", sharded), (f"{part}/NNNN.parquet", numbered),
                                        (single, single in names)) if found]  # fmt: skip
    if not layouts:
        has = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise DataError(
            f"{folder}: no {part}-*-of-*.parquet, {single} or {part}/0000.parquet (it has {has}); copy every train and "
            "test file into this folder"
        )
    if len(layouts) > 1:
        raise DataError(f"{folder}: has {' and '.join(layouts)}; keep one set of {part} files")
    if single in names:
        files = [folder / single]
    else:
        files = _in_order(folder if sharded else folder / part, sharded or numbered, part)
    for file in files:
        regular_file(file)
    return files


def _in_order(folder: Path, matches: Sequence[re.Match[str]], part: str) -> list[Path]:
    """Return the files in the order of their index; every index must occur once."""
    found: dict[int, str] = {}
    for match in matches:
        index = int(match["index"])
        if index in found:
            raise DataError(f"{folder}: {found[index]} and {match.string} are the same shard; keep one set")
        found[index] = match.string
    counts = {int(match["count"]) for match in matches if "count" in match.groupdict()}
    if len(counts) > 1:
        raise DataError(f"{folder}: its {part} shards come from different sets (of {sorted(counts)}); keep one set")
    number = counts.pop() if counts else max(found) + 1
    missing = next(index for index in count() if index not in found)  # at most the number of files
    if missing < number:
        known = found[min(found)]
        raise DataError(f"{folder}: {part} shard {missing} is missing (beside {known}); copy it into this folder")
    return [folder / found[index] for index in sorted(found)]


def _columns(file: Path, labels: str) -> Columns:
    """Return the columns to read from the names in ``file``; ``labels`` as in :class:`ReadOptions`."""
    with _opened(file) as shard:
        names: list[str] = shard.schema_arrow.names
    images = [name for name in IMAGE_COLUMNS if name in names]
    if labels:
        options = {"fine": ("fine_label",), "coarse": ("coarse_label",)}.get(labels, (labels,))
        chosen = [name for name in options if name in names]
    else:
        chosen = [name for name in LABEL_COLUMNS if name in names][: 1 if "fine_label" in names else None]
    has = _shown(names)
    if not images:
        raise DataError(f"{file}: no column 'img' or 'image' ({has}); expected a struct with 'bytes'")
    if not chosen:
        wanted = f"labels = {labels!r}: no such column" if labels else "no column 'fine_label' or 'label'"
        raise DataError(f'{file}: {wanted} ({has}); name the column of the labels, as in labels = "label"')
    for kind, found in (("images", images), ("labels", chosen)):
        if len(found) > 1:
            hint = 'name one, as in labels = "label"' if kind == "labels" else "keep one"
            raise DataError(f"{file}: several columns of {kind} ({', '.join(found)}); {hint}")
    return Columns(images[0], chosen[0], set(TITLES) <= set(names))


def _shown(names: Sequence[str]) -> str:
    return f"it has {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"[:200]


def _key(folder: Path, parts: dict[str, list[Path]], columns: Columns) -> str:
    """Return the SHA-256 (hex) of names and bytes of every file that is read (about 130 MB, 0.1 s), and the columns."""
    files = [*parts["train"], *parts["test"]]
    if NAMES_FILE in names_in(folder):
        text_file(folder / NAMES_FILE)
        files.append(folder / NAMES_FILE)
    with ThreadPoolExecutor() as threads:  # hashlib releases the GIL
        digests = list(threads.map(_file_digest, files))
    lines = [f"{digest}  {file.relative_to(folder).as_posix()}\n" for digest, file in zip(digests, files, strict=True)]
    if not columns.usual:
        lines.append(f"columns {columns.image!r} {columns.label!r}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; make it readable") from error


def _read(folder: Path, parts: dict[str, list[Path]], columns: Columns) -> LabelledImages:
    """Decode every image: 60,000 PNGs in about 10 s, one thread.

    Raises:
        DataError: a column is missing, a file is damaged, an image has another size, a label is out of range.
    """
    class_names = _class_names(folder, parts["train"][0], columns)
    decoder = Decoder()
    read: dict[str, tuple[Images, Labels]] = {}
    for part, files in parts.items():
        shards = [_read_shard(file, columns, decoder) for file in files]
        images = np.concatenate([images for images, _ in shards])
        labels = np.concatenate([labels for _, labels in shards])
        if not len(images):
            raise DataError(f"{folder}: its {part} files hold no rows; copy them again")
        class_names = class_names or numbered_classes(labels, f"{files[0]}, column {columns.label!r}")
        # Per file, so that a message names the file and its row.
        checked = [
            check_labels(found, len(found), f"{file}, column {columns.label!r}", len(class_names))
            for file, (_, found) in zip(files, shards, strict=True)
        ]
        read[part] = images, np.concatenate(checked)
    return LabelledImages(*read["train"], *read["test"], class_names, decoder.notes())


def _class_names(folder: Path, file: Path, columns: Columns) -> tuple[str, ...]:
    """Return the names in ``labels.json`` or in the metadata of ``file``; empty: there are none."""
    classes = CLASSES if columns.cifar100 and columns.label == "fine_label" else None
    if NAMES_FILE in names_in(folder):
        content = read_json(folder / NAMES_FILE)
        if isinstance(content, dict) and columns.label in content:
            return check_class_names(content[columns.label], str(folder / NAMES_FILE), classes)
        if columns.usual:
            raise DataError(f"{folder / NAMES_FILE}: no readable list {columns.label!r}; copy it again")
    with _opened(file) as shard:
        metadata = shard.schema_arrow.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[columns.label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return tuple(f"class {label:02d}" for label in range(CLASSES)) if classes else ()
    return check_class_names(names, f"{file}, metadata of {columns.label!r}", classes)


def _rows(file: Path, columns: Columns) -> int:
    """Return the rows of ``file`` from its metadata; refuse columns that cannot be read, before they are read."""
    import pyarrow as pa

    with _opened(file) as shard:
        schema, metadata = shard.schema_arrow, shard.metadata
        for name in (columns.image, columns.label):
            if schema.names.count(name) != 1:
                wrong = "no column" if name not in schema.names else "more than one column"
                raise DataError(
                    f"{file}: {wrong} {name!r} ({_shown(schema.names)}); expected {columns.image!r} (struct with "
                    f"'bytes') and {columns.label!r}"
                )
        kind = schema.field(columns.image).type
        place = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
        if place < 0 or kind.field(place).type not in (pa.binary(), pa.large_binary()):
            raise DataError(
                f"{file}: column {columns.image!r} is {str(kind)[:80]}; expected a struct with a field 'bytes' that "
                "holds a PNG (binary)"
            )
        if not pa.types.is_integer(schema.field(columns.label).type):
            raise DataError(
                f"{file}: column {columns.label!r} is {str(schema.field(columns.label).type)[:80]}; expected integers"
            )
        groups = (metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        size = max(sum(groups), regular_file(file))
        if size > MAX_IMAGE_BYTES * (metadata.num_rows + 1000):
            raise DataError(
                f"{file}: {size >> 20:,} MB for {metadata.num_rows:,} rows; expected images of {SIDE}×{SIDE} pixels"
            )
        return int(metadata.num_rows)


def _read_shard(file: Path, columns: Columns, decoder: Decoder) -> tuple[Images, Any]:
    """Return the images of one file, and its labels as they are stored."""
    import pyarrow as pa

    labels: list[Any] = []
    with _opened(file) as shard:
        images = np.empty((shard.metadata.num_rows, SIDE, SIDE, 3), np.uint8)
        row = 0
        try:
            for batch in shard.iter_batches(BATCH_ROWS, columns=[columns.image, columns.label]):
                if batch.column(columns.label).null_count:
                    raise DataError(f"{file}: column {columns.label!r} has empty rows; expected a class in each")
                labels.append(batch.column(columns.label).to_numpy(zero_copy_only=False))
                for content in batch.column(columns.image).field("bytes"):
                    images[row] = decoder.decode(content.as_py(), f"{file}, row {row}")
                    row += 1
        except (pa.ArrowException, OSError, IndexError) as error:
            raise DataError(f"{file}: not a readable Parquet file ({first_line(error)}); copy it again") from error
    return images[:row], np.concatenate(labels) if labels else np.empty(0, np.int64)


def _opened(file: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    regular_file(file)
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({first_line(error)}); copy it again") from error
