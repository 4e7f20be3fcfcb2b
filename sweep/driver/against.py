"""`sweep benchmark … --against BASELINES`: published methods beside those of a benchmark, under the same seeds."""

from __future__ import annotations

from results.reports.baseline import Baseline, check_comparable, read_baselines
from results.reports.received import load_with_received
from results.tables.comparison import SPLIT_NAMES
from results.tables.numbers import estimate_text
from results.tables.standings import evaluation_mean, received_standings, standings
from sweep.config.data import load_spec_data
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder


def check_against(spec: Spec, place: str) -> list[Baseline]:
    """Return the baselines, if all are comparable with the benchmark ``spec``; nothing is trained.

    Raises:
        UnknownNameError: no such baseline.
        SpecError: a protocol, data, length or training version that differs; both values.
    """
    found = read_baselines(place)
    fingerprint = load_spec_data(spec.data, spec.data_options).fingerprint
    for baseline in found:
        check_comparable(baseline, spec.shared_protocol.to_dict(), fingerprint, spec.epochs)
    return found


def against_lines(folder: SweepFolder) -> list[str]:
    """Return a line for each received method: its accuracy, and the paired difference to the best method here."""
    sweep = load_with_received(folder.ledger, folder.name)
    found = standings(sweep)
    received = received_standings(sweep, found) if found is not None else None
    if received is None:
        return list(sweep.benchmark.notes) if sweep.benchmark is not None else []
    lines = []
    for method in received.methods:
        if not method.origin:
            continue
        pair, _, words = received.of_best(method)
        mean = estimate_text(evaluation_mean(method, received.split), 2)
        line = f"{method.name}: {SPLIT_NAMES[received.split]} {mean} %"
        if pair.comparison.n:
            difference = estimate_text(pair.comparison.difference, 2, of="pairs")
            line += f"; {received.best.name} − this: {difference} pp, {pair.comparison.n} pairs: {words}"
        lines.append(line)
    return lines
