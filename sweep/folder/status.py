"""The status of a sweep, as a program reads it (:class:`SweepStatus`) and as a user reads it (:func:`status_lines`)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from search_spaces.plain_text import counted

STATES = ("done", "running", "pending", "interrupted", "diverged", "failed")
"""The states of a run."""
MAX_SECONDS = 1e9
"""The longest time that is shown; a file can have any number."""
ENDED = "ended"
"""The last phase of a process that runs a sweep."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class NodeStatus(_Record):
    """A node of the cluster, and how many trials it has room for."""

    node: str
    host: str
    address: str
    cpus: float
    gpus: float
    slots: int


class ClusterSlots(_Record):
    """The nodes, and how many of their slots are used."""

    nodes: list[NodeStatus] | None = None
    slots_used: int | None = None
    slots: int | None = None


class Rate(_Record):
    """The speed of training; None before the first epoch."""

    rate: float | None = None  # run-epochs per second
    seconds_left: float | None = None


class RunCounts(_Record):
    """How many runs are in each state, the share of trained epochs, and the best run."""

    runs: int = 0
    done: int = 0
    running: int = 0
    pending: int = 0
    interrupted: int = 0
    diverged: int = 0
    failed: int = 0
    epochs_done: int | None = None
    epochs_share: float = 0.0
    best_val_acc: float | None = None  # percent
    best_run: str | None = None  # run id
    best_name: str | None = None  # configuration and seed

    def count(self, state: str) -> int:
        """Return how many runs are in ``state``, one of :data:`STATES`."""
        return int(getattr(self, state))


class DriverStatus(Rate, ClusterSlots):
    """The process that runs a sweep; what it has not published is None."""

    driver: str
    host: str
    pid: int
    since: str
    phase: str


class LiveStatus(DriverStatus, RunCounts):
    """What the process that runs a sweep publishes in ``control/status.json``, every few seconds and at its end.

    The counts and the slots are set once training has started. ``ended_by`` is set at the end: ``stop`` or ``cancel``
    (a request from another terminal), ``signal``, ``error`` or ``done``.
    """

    published_at: float
    ended_by: str | None = None

    def run_counts(self) -> dict[str, Any]:
        """Return the fields of :class:`RunCounts`; empty if they have not been published yet."""
        return self.model_dump(include=set(RunCounts.model_fields)) if "runs" in self.model_fields_set else {}

    def of_driver(self) -> DriverStatus:
        """Return the part about the process."""
        return DriverStatus(**self.model_dump(include=set(DriverStatus.model_fields)))


class FailedRun(_Record):
    """A run that failed, with the last line of its error."""

    run_id: str
    error: str
    name: str = ""  # configuration and seed


class SweepIdentity(_Record):
    """Which sweep it is, and on which data."""

    name: str = ""
    folder: str = ""
    data: str = ""
    synthetic: bool = False


class SweepStatus(RunCounts, SweepIdentity):
    """The status of a sweep, the same for its folder and for its storage."""

    resume: str = ""  # the command that resumes it
    driver: DriverStatus | None = None  # None: it is not running
    failures: list[FailedRun] = []

    def seen_with(self, driver: DriverStatus | None) -> SweepStatus:
        """Return it with the process that runs the sweep; without one, its running runs are interrupted."""
        if driver is not None:
            return self.model_copy(update={"driver": driver})
        interrupted = self.interrupted + self.running
        return self.model_copy(update={"driver": None, "interrupted": interrupted, "running": 0})


class UnreadableSweep(_Record):
    """A sweep whose status cannot be read, and why."""

    name: str
    folder: str
    problem: str


def duration(seconds: float) -> str:
    """Return ``seconds`` as text: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds > MAX_SECONDS:
        return "more than 30 years"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def status_lines(status: SweepStatus | UnreadableSweep) -> list[str]:
    """Return ``status`` as text, one fact per line."""
    if isinstance(status, UnreadableSweep):
        return [f"{status.name}: {status.problem}"]
    counts = ", ".join(f"{status.count(state)} {state}" for state in STATES if status.count(state)) or "no runs"
    lines = [
        f"{status.name}: {counts} of {counted(status.runs, 'run')}, {100 * status.epochs_share:.0f} % of the epochs"
    ]
    lines.append(f"  data: {status.data}" + (" (generated images, not CIFAR-100)" if status.synthetic else ""))
    if status.best_run:
        lines.append(
            f"  best so far: {status.best_val_acc:.2f} % validation accuracy, {status.best_name or status.best_run}"
        )
    if status.driver:
        lines.append(f"  {driver_line(status.driver)}")
    lines += [
        f"  failed: {failure.name + ', ' if failure.name else ''}run {failure.run_id}: {failure.error}"
        for failure in status.failures
    ]
    if (status.pending or status.interrupted) and not status.driver:
        lines.append(f"  to continue: {status.resume}")
    if status.failed:
        lines.append(f"  to retry the failed runs: {status.resume} --retry-failed")
    return lines


def driver_line(driver: DriverStatus) -> str:
    """Return the process that runs a sweep, its phase and its speed in one line."""
    parts = [f"{driver.phase}: pid {driver.pid} on {driver.host} since {driver.since}"]
    if driver.nodes is not None:
        nodes = len(driver.nodes)
        parts += [counted(nodes, "node"), f"{driver.slots_used} of {driver.slots} slots used"]
    if driver.rate is not None:
        parts.append(f"{driver.rate:.2f} run-epochs/s")
    if driver.seconds_left is not None:
        parts.append(f"about {duration(driver.seconds_left)} left")
    return ", ".join(parts)
