"""The pack size and threads of a sweep: from the spec, else from its ledger, else from step times of a probe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, SpecError
from search_spaces.models import LENET5
from sweep.config.spec import Resources, Spec
from sweep.driver.announcements import Left
from sweep.driver.probe_history import Measured, earlier_times, probe_conditions
from sweep.execution.executor import Executor, ProbeError, StepsToTime
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import DEFAULT_PACK, even_sizes, sort_out
from sweep.planning.planner import StepTimes, choose

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

SECONDS_PER_EXAMPLE = 7e-5
"""Training time of one image of one run on one CPU thread, in packs of four: an estimate."""
PROBE_PAYS_FROM_SECONDS = 60.0
"""A probe takes some seconds, mostly to start its processes; shorter sweeps use default ratios."""
TYPICAL_SECONDS = {1: 0.0139, 4: 0.0320, 8: 0.0568}
"""Runs in a pack → seconds of a step, from benchmarks/LOG.md. Without a probe the planner uses their ratios."""
ONE_BY_ONE: dict[int, float] = {1: 1.0, 8: 8.0}
"""The same for other models, which a CPU computes one after the other."""
LARGEST = {"cpu": 16, "gpu": 256}
"""Largest pack that is probed and chosen: on a CPU, larger packs do not make a run's step faster. On a GPU the memory
and the runs of a seed are the limits."""


@dataclass(frozen=True)
class Packing:
    """The maximum number of runs in a pack, the threads that train it, and the origin of this choice."""

    size: int
    threads: int
    largest_group: int = 0  # largest group of runs when the size was measured; 0: not measured
    times: StepTimes = field(default_factory=StepTimes)
    conditions: Mapping[str, Any] = field(default_factory=dict)  # of the measurement; empty: not for other sweeps
    measured_by: str = ""  # the sweep with the measurement, if it is another one
    origin: str = ""  # for the user; empty if the spec has both values
    chosen: bool = False  # chosen in this session; the ledger does not have it yet

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict; ``step_seconds`` has runs, threads and seconds of every measurement.

        ``conditions`` and ``measured_by`` are left out where they are empty.
        """
        known = {"conditions": dict(self.conditions), "measured_by": self.measured_by}
        return {
            "size": self.size, "threads": self.threads, "largest_group": self.largest_group,
            "step_seconds": self.times.to_list(), **{key: value for key, value in known.items() if value},
        }  # fmt: skip

    @classmethod
    def from_json(cls, text: str, where: object) -> Self:
        """Read the JSON of :meth:`to_dict` from the ledger ``where``.

        Raises:
            LedgerError: it is something else.
        """
        try:
            table = json.loads(text)
            size, threads, largest = (int(table[key]) for key in ("size", "threads", "largest_group"))
            times = StepTimes.from_list(table["step_seconds"])
            if size < 1 or threads < 1:
                raise ValueError("a number below 1")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LedgerError(
                f"{where}: its pack size cannot be read ({error}); give --pack and --cpus-per-trial"
            ) from error
        return cls(size, threads, largest, times, origin="as chosen before")

    def told(self, packs: Sequence[int], at_a_time: int) -> str:
        """Return the line for the user about packs of these sizes."""
        count = f"{len(packs)} pack{'s' * (len(packs) > 1)} of {'up to ' * (len(set(packs)) > 1)}{max(packs)}"
        text = f"{count}, {_threads(self.threads)} each, {min(at_a_time, len(packs))} at a time"
        return f"{text} ({self.origin})" if self.origin else text


def device_kind(resources: Resources) -> str:
    """Return the device of the trials, ``cpu`` or ``gpu``; the ledger has a packing for each."""
    return "gpu" if resources.gpus > 0 else "cpu"


def known_packing(spec: Spec, ledger: Ledger | None) -> tuple[int | None, int | None, Packing | None]:
    """Return the pack size and threads that the spec or the ledger has, and the packing in the ledger.

    Raises:
        LedgerError: what it has cannot be read, and the spec leaves something to it.
    """
    resources = spec.resources
    size = resources.pack if isinstance(resources.pack, int) else None
    free = resources.cpus_per_trial == "auto" and device_kind(resources) == "cpu"
    threads = None if free else resources.threads
    text = ledger.kept_packing(device_kind(resources)) if ledger and not (size and threads) else None
    if ledger is None or text is None:
        return size, threads, None
    kept = Packing.from_json(text, ledger.path)
    return size or kept.size, threads or kept.threads, kept


def choose_packing(
    spec: Spec, left: Left, folder: SweepFolder, ledger: Ledger, data: DataSet, executor: Executor, cost: float = 1.0
) -> tuple[Packing, int]:
    """Return how the runs that are left are packed, and how many packs are trained at a time; ``executor`` is open.

    ``cost`` is that of the model, relative to LeNet-5.

    A new sweep uses the step times of an earlier sweep beside ``folder``, where the conditions are the same. With the
    pack size ``probe`` it measures.

    A resumed sweep uses the packing of its ledger and does not probe again, except where its groups of runs are larger
    than those of the probe: a sweep that started with one configuration would otherwise train its next twenty one at a
    time. The number of threads never changes, because started packs depend on it.

    Raises:
        LedgerError: what the ledger has cannot be read.
        SpecError: no node has room for the threads that the sweep was started with.
    """
    resources, places = spec.resources, executor.slots()
    size, threads, kept = known_packing(spec, ledger)
    begun, groups = sort_out(left.wanted, left.finished, ledger.packs(str(size or "")))
    largest = max(map(len, groups), default=0)
    if not isinstance(resources.pack, int) and kept and largest > kept.largest_group:
        size = None
    cpus = {threads: resources.cpus} if threads else {}
    if resources.cpus_per_trial == "auto":
        cpus = {count: float(count) for count in ([threads] if threads else doubled(places.most_threads))}
    slots = {count: at_a_time for count, asked in cpus.items() if (at_a_time := places.at_a_time(resources, asked))}
    if not slots:
        raise SpecError(
            "resources.cpus_per_trial",
            f"this sweep's packs are trained on {_threads(max(cpus))}, the largest node has {places.most_threads} CPUs",
            f"--cpus-per-trial {places.most_threads} (another rounding), or a larger node",
        )  # fmt: skip
    if size and threads:
        return Packing(size, threads, origin=kept.origin if kept else ""), slots[threads]

    most = min(largest, LARGEST[device_kind(resources)])
    sizes = [size] if size else list(range(1, most + 1)) or [DEFAULT_PACK]
    loads, counts = [len(pack.runs) for pack in begun], [len(group) for group in groups]
    origin, earlier, times = "", None, StepTimes()
    conditions: dict[str, Any] = {}
    if len(sizes) > 1 or len(slots) > 1:
        seconds = spec.epochs * len(data.train_labels) * SECONDS_PER_EXAMPLE * cost
        is_short = seconds * sum(loads + counts) / max(slots.values()) < PROBE_PAYS_FROM_SECONDS
        if is_short and resources.pack != "probe":
            origin = "default: the sweep is too short for a probe"
        else:
            like = max(groups, key=len) if groups else begun[0].runs[:1]
            measured = doubled(sizes[-1]) if len(sizes) > 1 else [_largest_pack(loads, counts, sizes[0])]
            steps = StepsToTime(
                like, measured, {count: cpus[count] for count in slots}, sum(loads + counts), resources.kernels
            )
            if spec.cluster.address == "local" and device_kind(resources) == "cpu":
                conditions = probe_conditions(steps, slots, data)
            if conditions and resources.pack != "probe" and not ledger.targets():  # only for a new sweep
                earlier = earlier_times(folder, steps, conditions)
            try:
                times = earlier.times if earlier else executor.probe(places, resources, data, steps)
            except ProbeError as error:
                origin = f"the probe failed: {error}"
    if times.seconds:
        timed = {count: at_a_time for count, at_a_time in slots.items() if times.knows(count)}
        chosen, on = choose(counts, loads, times, timed, that_fit(sizes, times))
        origin = _earlier(earlier) if earlier else _measured(times, chosen, on)
    else:
        conditions = {}
        one = min(slots)
        ratios = TYPICAL_SECONDS if spec.model == LENET5 else ONE_BY_ONE
        typical = StepTimes({(runs, one): seconds for runs, seconds in ratios.items()})
        chosen, on = choose(counts, loads, typical, {one: slots[one]}, sizes)
    known = largest if times.seconds and not size else 0
    measured_by = earlier.sweep if earlier else ""
    return Packing(chosen, on, known, times, conditions, measured_by, origin, chosen=True), slots[on]


def that_fit(sizes: Sequence[int], times: StepTimes) -> Sequence[int]:
    """Return the sizes up to the largest one that was measured: larger packs did not fit into the memory."""
    return [size for size in sizes if size <= times.sizes[-1]] if len(sizes) > 1 else sizes


def doubled(most: int) -> list[int]:
    """Return 1, 2, 4, … and ``most``: the sizes or numbers of threads to measure."""
    return [count for count in (1 << i for i in range(11)) if count < most] + [most]


def _largest_pack(loads: Sequence[int], groups: Sequence[int], size: int) -> int:
    return max([*loads, *(part for group in groups for part in even_sizes(group, size))])


def _measured(times: StepTimes, size: int, threads: int) -> str:
    """Return the result of a probe in one line: the chosen size and single runs, or the numbers of threads."""
    if times.sizes[0] > 1 or times.sizes == [1]:
        (runs,) = times.sizes
        by = [f"{1000 * seconds:.1f} ms on {_threads(count)}" for (_, count), seconds in sorted(times.seconds.items())]
        return f"probe: a step of {runs} run{'s' * (runs > 1)} takes {', '.join(by)}"
    other = size if size > 1 else times.sizes[-1]
    alone, packed = (1000 * times.of(runs, threads) / runs for runs in (1, other))
    return f"probe: a run's step takes {alone:.1f} ms alone, {packed:.1f} in packs of {other}"


def _earlier(earlier: Measured) -> str:
    return f"step times of the sweep {earlier.sweep}; --pack probe measures them again"


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
