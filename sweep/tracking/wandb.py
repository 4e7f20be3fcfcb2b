"""Weights & Biases, in its offline mode: `wandb sync` uploads the folders. A run has our run id as its id."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb
from wandb.proto import wandb_internal_pb2

from sweep.tracking.backend import Written
from sweep.tracking.tracked_run import METRICS, Epoch, TrackedRun

FILE_HEADER_BYTES, BLOCK_BYTES = 7, 32_768
RECORD_HEADER = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""Kinds of a record in LevelDB's log format: a whole one, and the parts of a longer one."""


class WandbBackend:
    """Writes offline runs: project = sweep, group = configuration."""

    def __init__(self, folder: Path, sweep: str) -> None:
        self._folder = folder
        self._sweep = sweep
        self._runs: dict[str, Any] = {}

    def written(self, run: TrackedRun) -> Written:
        """Read the offline files of a run; the end of one whose writer was killed is left out."""
        found: Written = {}
        for place in self._places(run):
            for epoch, values in offline_history(place / f"run-{run.run_id}.wandb"):
                found.setdefault(epoch, {}).update(values)
        return found

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        """Log the metrics of an epoch."""
        self._opened(run).log({**epoch.values, "epoch": epoch.epoch}, step=epoch.epoch, commit=True)

    def remove(self, run: TrackedRun) -> None:
        """Remove the offline folders of a run."""
        if run.run_id in self._runs:
            self._runs.pop(run.run_id).finish()
        for place in self._places(run):
            shutil.rmtree(place)

    def end(self, run: TrackedRun, status: str) -> None:
        """Finish the run."""
        if run.run_id in self._runs:
            self._runs.pop(run.run_id).finish(exit_code=0 if status in ("done", "diverged") else 1)

    def close(self) -> None:
        """Finish all runs."""
        while self._runs:
            self._runs.popitem()[1].finish()
        self._remove_links()

    def _places(self, run: TrackedRun) -> list[Path]:
        return sorted(self._folder.glob(f"wandb/offline-run-*-{run.run_id}"))

    def _opened(self, run: TrackedRun) -> Any:
        if run.run_id not in self._runs:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._runs[run.run_id] = wandb.init(
                mode="offline", project=self._sweep, group=run.label, name=run.name, id=run.run_id, resume="allow",
                tags=[tag[:64] for tag in (run.sweep, run.data, f"seed {run.seed}")], config=run.parameters,
                dir=str(self._folder), reinit="create_new",
                settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True),
            )  # fmt: skip
            self._remove_links()
        return self._runs[run.run_id]

    def _remove_links(self) -> None:
        """Remove W&B's links to logs in the user's cache: a link that leads out of a sweep's folder is refused."""
        for path in self._folder.rglob("*"):
            if path.is_symlink():
                path.unlink(missing_ok=True)


def offline_history(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the epoch and the metrics of each complete history record of an offline run."""
    for content in _log_records(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") != "history":
            continue
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if isinstance(items.get("epoch"), int):
            yield items["epoch"], {name: float(items[name]) for name in METRICS if name in items}


def _log_records(path: Path) -> Iterator[bytes]:
    """Yield the complete records of a file in LevelDB's log format, after the header of a W&B file."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    place, parts = FILE_HEADER_BYTES, b""
    while True:
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < RECORD_HEADER.size:
            place += left  # a header never spans two blocks
        if place + RECORD_HEADER.size > len(content):
            return
        _, length, kind = RECORD_HEADER.unpack_from(content, place)
        place += RECORD_HEADER.size
        if kind not in (FULL, FIRST, MIDDLE, LAST) or place + length > len(content):
            return
        parts = (b"" if kind in (FULL, FIRST) else parts) + content[place : place + length]
        place += length
        if kind in (FULL, LAST):
            yield parts
