"""TensorBoard: one folder for each configuration, in it one for each seed, with an event file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from sweep.tracking.backend import Written
from sweep.tracking.tracked_run import METRICS, Epoch, TrackedRun

LONGEST_LABEL = 120
MOST_OPEN = 200
"""Most event files that are open at a time."""


class TensorBoardBackend:
    """Writes event files with ``torch.utils.tensorboard``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def place(self, run: TrackedRun) -> Path:
        """Return the folder of a run; TensorBoard shows its path as the run's name."""
        label = re.sub(r"[^A-Za-z0-9 ._=+()-]", "_", run.label)[:LONGEST_LABEL].strip(" .")
        return self._folder / f"{label} [{run.configuration_id[:8]}]" / f"seed {run.seed}"

    def written(self, run: TrackedRun) -> Written:
        """Read the event files of a run; the end of one whose writer was killed is left out."""
        place = self.place(run)
        if not place.is_dir():
            return {}
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(place), size_guidance={"scalars": 0}, purge_orphaned_data=False)
        events.Reload()
        found: Written = {}
        for tag in set(events.Tags()["scalars"]) & set(METRICS):
            for event in events.Scalars(tag):
                found.setdefault(event.step, {})[tag] = event.value
        return found

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        """Append the metrics of an epoch to the run's event file."""
        writer = self._writer(run)
        for name, value in epoch.values.items():
            writer.add_scalar(name, value, epoch.epoch, walltime=epoch.time)
        writer.flush()

    def remove(self, run: TrackedRun) -> None:
        """Remove the folder of a run."""
        if run.run_id in self._writers:
            self._writers.pop(run.run_id).close()
        shutil.rmtree(self.place(run), ignore_errors=True)

    def end(self, run: TrackedRun, status: str) -> None:
        """Close the event file; TensorBoard has no status."""
        if run.run_id in self._writers:
            self._writers.pop(run.run_id).close()

    def close(self) -> None:
        """Close all event files."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, run: TrackedRun) -> Any:
        if run.run_id not in self._writers:
            from torch.utils.tensorboard import SummaryWriter
            from torch.utils.tensorboard.summary import hparams

            while len(self._writers) >= MOST_OPEN:
                self._writers.pop(next(iter(self._writers))).close()
            place = self.place(run)
            new = not place.is_dir()
            writer: Any = SummaryWriter(str(place))
            if new:
                given = {
                    key: value if isinstance(value, bool | int | float | str) else str(value)
                    for key, value in {**run.parameters, "sweep": run.sweep, "run_id": run.run_id}.items()
                }
                for summary in hparams(given, dict.fromkeys(("val_acc", "test_acc"), 0.0)):
                    writer.file_writer.add_summary(summary)
                writer.add_text("run", "\n".join(f"- {key}: {value}" for key, value in run.tags.items()), 0)
            self._writers[run.run_id] = writer
        return self._writers[run.run_id]
