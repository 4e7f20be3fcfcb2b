"""MLflow: one experiment for a sweep, one MLflow run for each run, found by the tag with its run id."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from sweep.tracking.backend import Written
from sweep.tracking.tracked_run import METRICS, Epoch, TrackedRun

RUN_TAG = "lenet_sweep.run_id"
STATUSES = {"done": "FINISHED", "diverged": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
"""State of a run → MLflow's status; any other state is RUNNING."""
LONGEST_PARAMETER = 500
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's page of the experiment shows training runs, not traces of language models."""


class MlflowBackend:
    """Writes to the SQLite store in the sweep's folder, or to the server that ``MLFLOW_TRACKING_URI`` names."""

    def __init__(self, store: Path, sweep: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        store.parent.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store}")
        artifacts = (store.parent / "mlflow-artifacts").as_uri()
        found = self._client.get_experiment_by_name(sweep)
        self._experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(sweep, artifact_location=artifacts, tags=EXPERIMENT_TAGS)
        )
        self._ids: dict[str, str] = {}  # run id → MLflow's id
        self._ends: dict[str, int] = {}  # run id → end of its last epoch, in Unix milliseconds

    def written(self, run: TrackedRun) -> Written:
        """Read the metrics of a run."""
        found = self._client.search_runs([self._experiment], f"tags.`{RUN_TAG}` = '{run.run_id}'", max_results=1)
        if not found:
            return {}
        self._ids[run.run_id] = found[0].info.run_id
        self._client.update_run(found[0].info.run_id, "RUNNING")
        metrics: Written = {}
        for name in METRICS:
            for metric in self._client.get_metric_history(found[0].info.run_id, name):
                metrics.setdefault(metric.step, {})[name] = metric.value
                self._ended(run, metric.timestamp)
        return metrics

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        """Log the metrics of an epoch in one batch."""
        milliseconds = int(1000 * epoch.time)
        metrics = [Metric(name, value, milliseconds, epoch.epoch) for name, value in epoch.values.items()]
        self._ended(run, milliseconds)
        self._client.log_batch(self._id(run, int(1000 * epoch.begun)), metrics=metrics)

    def remove(self, run: TrackedRun) -> None:
        """Delete the run."""
        self._ends.pop(run.run_id, None)
        if (found := self._ids.pop(run.run_id, None)) is not None:
            self._client.delete_run(found)

    def end(self, run: TrackedRun, status: str) -> None:
        """Set the status of the run. It ends with its last epoch, also if it is exported later."""
        if run.run_id in self._ids and status in STATUSES:
            self._client.set_terminated(self._ids[run.run_id], STATUSES[status], self._ends.get(run.run_id))

    def close(self) -> None:
        """Do nothing: every call is written at once."""

    def _ended(self, run: TrackedRun, milliseconds: int) -> None:
        self._ends[run.run_id] = max(milliseconds, self._ends.get(run.run_id, 0))

    def _id(self, run: TrackedRun, begun: int) -> str:
        """Return MLflow's id of the run, which begins at ``begun``, in Unix milliseconds, if it is new."""
        if run.run_id not in self._ids:
            tags = {RUN_TAG: run.run_id, **run.tags}
            made = self._client.create_run(self._experiment, begun, tags, run.name)
            parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in run.parameters.items()]
            self._client.log_batch(made.info.run_id, params=parameters, tags=[RunTag("group", run.label)])
            self._ids[run.run_id] = made.info.run_id
        return self._ids[run.run_id]
