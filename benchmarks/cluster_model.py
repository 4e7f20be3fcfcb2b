"""A model of a large sweep on 1 to 200 nodes and of its driver: ``python -m benchmarks.cluster_model``.

The constants of the model are measured in the same command. The driver is a single server: Tune's loop handles one
event at a time, first come, first served, and a trial waits until its report is handled. The model is therefore a
closed queue with as many customers as slots and fixed times. It is simulated event by event, because the start, where
all slots ask at once, and the last trials are not in a steady state. The saturation of the driver follows from
the same times without a simulation.

The prediction is then compared with loopback clusters of 2 and 3 nodes and trials of fixed duration. The exit code is 1
if it differs from the measured time by more than 25 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import heapify, heappop, heappush
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from benchmarks.cluster_constants import DATA_BYTES, DriverCosts, Machine, measure_constants
from benchmarks.fixed_trials import FixedSweep, Job, apart
from results.figures.label_layout import legend_below, write_notes
from results.figures.registry import write_figures
from results.figures.style import GREY, LINESTYLES, MARKERS, PALETTE, SINGLE_COLUMN, drawing_style
from results.tables.formats import as_markdown
from results.tables.table import Column, Row, Table

RUNS, EPOCHS = 10_000, 50
NODES = (1, 2, 5, 10, 20, 50, 100, 200)
MOST_NODES = 100_000
CHECKPOINT_SECONDS = 30.0
TOLERANCE = 0.25
CHECKED_NODES, CHECKED_CPUS = (2, 3), 4
CHECKED = FixedSweep(trials=48, concurrent=0, epochs=10, seconds=0.5)  # how many at a time: as many as fit
FOLDER = Path(__file__).parent.parent / "docs" / "figures"


@dataclass(frozen=True)
class Slot:
    """A kind of slot: how many a node has, and what one does."""

    name: str
    per_node: int
    pack: int  # runs that it trains at a time
    epoch_seconds: float  # of a pack, with its checkpoints


@dataclass(frozen=True)
class Course:
    """The result of a simulated sweep, in seconds."""

    total: float
    driver_busy: float


def simulate(ready: Iterable[float], trials: int, epochs: int, epoch_seconds: float, costs: DriverCosts) -> Course:
    """Simulate a sweep event by event.

    Args:
        ready: when each slot can begin its first trial, in seconds.
        trials: number of packs; a slot starts the next one when its last one has ended.
        epochs: reports of a trial.
        epoch_seconds: of an epoch of a trial, without the driver.
        costs: the work of the driver, one event at a time.
    """
    events = [(at, slot, 0) for slot, at in enumerate(ready)]  # when it asks, which slot, its trial's epochs left
    report = costs.report_among(min(len(events), trials))
    heapify(events)
    free = busy = total = 0.0
    while events:
        at, slot, left = heappop(events)
        begin = max(at, free)
        if not left:
            if not trials:
                continue
            trials -= 1
            free, busy = begin + costs.trial, busy + costs.trial
            heappush(events, (free + costs.trial_latency + epoch_seconds, slot, epochs))
            continue
        free = total = begin + report
        busy += report
        latency = costs.report_latency + epoch_seconds if left > 1 else 0.0
        heappush(events, (free + latency, slot, left - 1))
    return Course(total, busy)


def saturating_nodes(slot: Slot, epochs: int, costs: DriverCosts) -> int | None:
    """Return the smallest number of nodes at which the driver is always busy; None if there is none.

    A trial needs the driver for S seconds and runs for Z seconds without it: with c trials the driver is always busy
    if c·S ≥ Z + S (the saturation number of a closed queue: Kleinrock, *Queueing Systems* II, 1976).
    """
    alone = costs.trial_latency + epochs * slot.epoch_seconds + (epochs - 1) * costs.report_latency
    for nodes in range(1, MOST_NODES):
        concurrent = nodes * slot.per_node
        served = costs.trial + epochs * costs.report_among(concurrent)
        if concurrent * served >= alone + served:
            return nodes
        if not served:
            return None
    return None


def predict(slot: Slot, nodes: int, costs: DriverCosts, machine: Machine, transfer: float) -> Course:
    """Return how ``RUNS`` runs of ``EPOCHS`` epochs go on ``nodes`` nodes.

    The nodes start their processes side by side, and get the data one after another, which is the worst case: Ray
    fetches an object from any node that has it.
    """
    ready = (machine.worker_start + node * transfer for node in range(nodes) for _ in range(slot.per_node))
    course = simulate(ready, -(-RUNS // slot.pack), EPOCHS, slot.epoch_seconds, costs)
    return Course(course.total + machine.tail, course.driver_busy)


def predict_loopback(sweep: FixedSweep, nodes: int, costs: DriverCosts, machine: Machine) -> float:
    """Return the seconds of ``sweep`` on ``nodes`` loopback nodes, which start their processes on the same cores."""
    ready = (machine.first_ready + slot * machine.each_ready for slot in range(nodes * CHECKED_CPUS))
    return simulate(ready, sweep.trials, sweep.epochs, sweep.seconds, costs).total + machine.tail


def check(costs: DriverCosts, machine: Machine, nodes: Sequence[int], sweep: FixedSweep) -> list[dict[str, float]]:
    """Return predicted and measured seconds of loopback clusters for each of ``nodes``."""
    rows = []
    for n in nodes:
        asked = FixedSweep(**asdict(sweep) | {"concurrent": n * CHECKED_CPUS})
        (took,), _, _ = apart(Job(cpus=[CHECKED_CPUS] * n, sweeps=[asked]))
        predicted = predict_loopback(asked, n, costs, machine)
        rows.append(
            {
                "nodes": n, "slots": asked.concurrent, "predicted": predicted, "measured": took.wall,
                "error": predicted / took.wall - 1, "nodes_used": len(took.trials_by_node),
            }
        )  # fmt: skip
    return rows


def slots_of(arguments: argparse.Namespace, machine: Machine) -> list[Slot]:
    """Return the two kinds of slot, each epoch with the checkpoints that are written and uploaded in it."""
    kinds = [
        ("CPU", arguments.cpu_slots, machine.pack, arguments.cpu_epoch_seconds or machine.epoch),
        ("GPU", arguments.gpu_slots, arguments.gpu_pack, arguments.gpu_epoch_seconds),
    ]
    checkpoint = (machine.save + machine.upload) / machine.pack  # its size, and so its time, goes with the pack's
    return [
        Slot(name, per_node, pack, epoch + _saves(epoch) * pack * checkpoint) for name, per_node, pack, epoch in kinds
    ]


def _saves(epoch_seconds: float) -> int:
    """Return the checkpoints of an epoch: one at its end, and one after every 30 seconds within."""
    return 1 + int(epoch_seconds // CHECKPOINT_SECONDS)


def tabulate(
    slots: Sequence[Slot], costs: DriverCosts, machine: Machine, transfer: float, nodes: Sequence[int] = NODES
) -> Table:
    """Return the hours of the sweep for each kind of slot and number of nodes."""
    rows = []
    for slot in slots:
        saturated = saturating_nodes(slot, EPOCHS, costs)
        mib = machine.checkpoint_mib * slot.pack / machine.pack * _saves(slot.epoch_seconds)
        trials = -(-RUNS // slot.pack)
        one = predict(slot, 1, costs, machine, transfer).total
        for n in nodes:
            course = predict(slot, n, costs, machine, transfer)
            reports = trials * EPOCHS / course.total
            rows.append(
                Row(
                    {
                        "slot": slot.name, "epoch": slot.epoch_seconds, "nodes": n, "slots": n * slot.per_node,
                        "trials": trials, "hours": course.total / 3600,
                        "ideal": EPOCHS * slot.epoch_seconds * ceil(trials / (n * slot.per_node)) / 3600,
                        "speedup": one / course.total, "busy": 100 * course.driver_busy / course.total,
                        "reports": reports, "storage": reports * mib,
                        "saturates": "yes" if saturated is not None and n >= saturated else "no",
                    }
                )
            )  # fmt: skip
    columns = [
        Column("slot", "Slot"), Column("epoch", "Epoch of a pack", "s"), Column("nodes", "Nodes", decimals=0),
        Column("slots", "Slots", decimals=0), Column("trials", "Packs", decimals=0), Column("hours", "Time", "h"),
        Column("ideal", "Without any overhead", "h"), Column("speedup", "Speed-up over one node", decimals=1),
        Column("busy", "Driver busy", "%", 1), Column("reports", "Reports per second", decimals=1),
        Column("storage", "Checkpoints", "MiB/s", 1), Column("saturates", "Driver saturated"),
    ]  # fmt: skip
    points = "; ".join(_saturation(slot, costs) for slot in slots)
    packs = " and ".join(str(slot.pack) for slot in slots)
    notes = [
        f"{RUNS:,} runs of {EPOCHS} epochs in packs of {packs} runs: predicted, not measured.",
        f"The driver saturates: {points}.",
        "Slots in excess of the packs are idle. The epoch of a GPU slot is assumed: not measured on a GPU.",
    ]
    return Table("cluster_model", "A large sweep on a cluster, by the number of nodes", columns, rows, notes)


def _saturation(slot: Slot, costs: DriverCosts) -> str:
    nodes = saturating_nodes(slot, EPOCHS, costs)
    where = "at no number of nodes" if nodes is None else f"from {nodes:,} nodes ({nodes * slot.per_node:,} slots)"
    return f"{slot.name} {where}"


def draw(table: Table) -> Figure:
    """Draw the hours over the nodes for each kind of slot, with and without overhead."""
    with drawing_style():
        figure = Figure(figsize=(SINGLE_COLUMN, 2.8), layout="constrained")
        write_notes(figure, table.notes)
        axes = figure.add_subplot()
        lines = []
        kinds = list(dict.fromkeys(str(row.values["slot"]) for row in table.rows))
        for i, kind in enumerate(kinds):
            rows = [row for row in table.rows if row.values["slot"] == kind]
            nodes = [float(str(row.values["nodes"])) for row in rows]
            hours, ideal = ([float(str(row.values[key])) for row in rows] for key in ("hours", "ideal"))
            lines += axes.plot(nodes, hours, color=PALETTE[i], marker=MARKERS[i], label=f"{kind} slots")
            axes.plot(nodes, ideal, color=PALETTE[i], linestyle=LINESTYLES[1])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(nodes, [f"{n:g}" for n in nodes])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda hours, _: f"{hours:g}"))
        axes.minorticks_off()
        axes.set(xlabel="Nodes", ylabel=f"{RUNS:,} runs of {EPOCHS} epochs (h)")
        lines.append(Line2D([], [], color=GREY, linestyle=LINESTYLES[1]))
        legend_below(axes, lines, [*(str(line.get_label()) for line in lines[:-1]), "without any overhead"])
    return figure


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=int, default=4, help="runs in a pack on a CPU slot")
    parser.add_argument("--cpu-slots", type=int, default=16, help="of a node with CPUs")
    parser.add_argument("--cpu-epoch-seconds", type=float, help="of a pack; default: measured here")
    parser.add_argument("--gpu-pack", type=int, default=8, help="runs in a pack on a GPU slot")
    parser.add_argument("--gpu-slots", type=int, default=4, help="of a node with one GPU")
    parser.add_argument("--gpu-epoch-seconds", type=float, default=0.64, help="of a pack; assumed")
    parser.add_argument("--network-gbit", type=float, default=10.0, help="between two nodes; assumed")
    parser.add_argument("--storage", help="URI that checkpoints go to, as s3://bucket/prefix; default: a folder here")
    parser.add_argument("--figures", type=Path, default=FOLDER, help="the folder for cluster_model.png")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    say = (lambda line: None) if arguments.json else tell

    costs, machine, shown = measure_constants(arguments.pack, arguments.storage)
    say("Measured here:\n" + constants_text(costs, machine, shown, arguments.storage) + "\n")
    transfer = max(machine.transfer, 8 * DATA_BYTES / 1e9 / arguments.network_gbit)
    table = tabulate(slots_of(arguments, machine), costs, machine, transfer)
    say(as_markdown(table))
    (picture,) = write_figures({table.name: draw(table)}, arguments.figures, ["png"])
    say(f"{picture}\n")
    sweep = replace(CHECKED, pack=arguments.pack)
    checked = check(costs, machine, CHECKED_NODES, sweep)
    say(f"Compared with loopback clusters of {CHECKED_CPUS} slots per node: {CHECKED.trials} trials of "
        f"{CHECKED.epochs} epochs of {CHECKED.seconds} s.\n" + check_text(checked))  # fmt: skip
    ok = all(abs(row["error"]) <= TOLERANCE for row in checked)
    say(f"{'Within' if ok else 'NOT within'} {100 * TOLERANCE:g} %.")
    if arguments.json:
        rows = [dict(row.values) for row in table.rows]
        print(json.dumps({"driver": asdict(costs), "machine": asdict(machine), "table": rows, "check": checked}))
    return 0 if ok else 1


def constants_text(costs: DriverCosts, machine: Machine, shown: Mapping[str, float], storage: str | None) -> str:
    """Return the constants as a Markdown table."""
    lines = {
        "driver: a trial's start and end, CPU ms": 1000 * costs.trial,
        "driver: a report with its ledger write, CPU ms": 1000 * costs.report,
        "driver: additional cost of a report for 1,000 concurrent trials, CPU ms": 1e6 * costs.pending,
        "maximum reports per second, among 2 trials": 1 / costs.report_among(2)
        if costs.report_among(2)
        else float("inf"),
        "maximum reports per second, among 1,000": 1 / costs.report_among(1000)
        if costs.report_among(1000)
        else float("inf"),
        "from a reply to the next epoch, ms": 1000 * costs.report_latency,
        "from a reply to the next trial, ms": 1000 * costs.trial_latency,
        f"{DATA_BYTES / 1e6:.0f} MB to another node's object store, s": machine.transfer,
        "from the start of a sweep to its first real trial, s": machine.worker_start,
        "after the last trial, s": machine.tail,
        f"a checkpoint of a pack of {machine.pack}, ms": 1000 * machine.save,
        f"its upload to {'a folder here' if storage is None else storage}, ms": 1000 * machine.upload,
        f"a checkpoint of a pack of {machine.pack}, MiB": machine.checkpoint_mib,
        f"an epoch of a pack of {machine.pack}, one thread, CPU s": machine.epoch,
        "loopback: first process ready, s": machine.first_ready,
        "loopback: each further process, s": machine.each_ready,
    } | dict(shown)
    return "\n".join(["| constant | value |", "| :--- | ---: |", *(f"| {k} | {v:.3g} |" for k, v in lines.items())])


def check_text(rows: Sequence[Mapping[str, float]]) -> str:
    """Return predicted and measured times as a Markdown table."""
    lines = ["| nodes | slots | predicted s | measured s | error % |", "| ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        lines.append(
            f"| {row['nodes']} | {row['slots']} | {row['predicted']:.1f} | {row['measured']:.1f} | "
            f"{100 * row['error']:+.1f} |"
        )
    return "\n".join(lines)


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
