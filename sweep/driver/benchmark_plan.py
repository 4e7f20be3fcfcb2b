"""The dry run of a benchmark: its runs, its cost, and what differences its evaluation finds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import stdev

from rich.console import Console

from results.ledger.ledger import Ledger
from results.ledger.phases import read_phases
from results.metrics.comparison import ALPHA, min_pairs
from results.metrics.power import pairs_needed
from search_spaces.method import Method
from search_spaces.plain_text import counted
from sweep.config.benchmark import Benchmark
from sweep.config.spec import Spec
from sweep.driver.announcements import tell
from sweep.driver.pack_size import SECONDS_PER_EXAMPLE
from sweep.driver.tuning import extra_count, rungs

DEFAULT_SD = 0.8
"""Assumed SD of paired differences in pp before the evaluation: that of LeNet-5 on CIFAR-100."""

POWER_FOR = (1.0, 2.0)
"""Differences in pp."""


def bracket_epochs(points: int, lengths: Sequence[int]) -> int:
    """Return the epochs that ``points`` of one method spend: at every rung but the last, a third is continued."""
    spent, alive, before = 0, points, 0
    for epochs in lengths:
        spent += alive * (epochs - before)
        alive, before = -(-alive // 3), epochs
    return spent


def tell_benchmark(
    console: Console, spec: Spec, methods: Sequence[Method], ledger: Ledger | None, examples: int
) -> None:
    """Print the runs, the run-epochs, the expected hours and the power; nothing is written."""
    design = spec.benchmark
    assert design is not None
    tuning_seeds, most = len(design.seeds_of_tuning(1)), design.looks[-1]
    lengths = rungs(design, spec.tuning_epochs)
    tuning = bracket_epochs(design.budget, lengths) * tuning_seeds * design.studies
    extra = bracket_epochs(extra_count(design), lengths) * tuning_seeds * design.studies
    evaluation = most * spec.epochs * design.studies
    at_most = "at most " if design.evaluation_seeds == "auto" else ""
    runs = design.budget * tuning_seeds * design.studies
    studies = f"{design.studies} " + ("study" if design.studies == 1 else "studies")
    tell(
        console,
        f"benchmark {spec.name}: {counted(len(methods), 'method')}, {studies}, on {spec.data}",
        f"tuning: each method {counted(design.budget, 'point')} ({design.sampler}) × {counted(tuning_seeds, 'seed')} × "
        f"{counted(lengths[-1], 'epoch')}"
        + (f", halving at {', '.join(map(str, lengths[:-1]))}" if design.halving else "")
        + f": {counted(runs, 'run')}, {tuning:,} run-epochs",
        f"evaluation: each method {at_most}{most} new seeds × {counted(spec.epochs, 'epoch')}, tuned and untuned: "
        f"{2 * most * design.studies} runs, {2 * evaluation:,} run-epochs",
    )
    for method in methods:
        names = ", ".join(dimension.name for dimension in method.dimensions)
        tell(
            console,
            f"  {method.name}: {tuning:,} tuning + {evaluation:,} evaluation + {evaluation:,} untuned = "
            f"{tuning + 2 * evaluation:,} run-epochs; searches {names}",
        )
    total = len(methods) * (tuning + 2 * evaluation)
    trained = min(total, _trained_epochs(ledger))
    measured = _seconds_per_epoch(ledger)
    seconds = measured or examples * SECONDS_PER_EXAMPLE
    basis = "the speed of its runs so far" if measured else "an estimate for one CPU thread"
    tell(
        console,
        f"total: {at_most}{total:,} run-epochs"
        + (f", of which {trained:,} are trained" if trained else "")
        + f"; if a range is widened, {len(methods) * extra:,} more",
        f"expected: about {(total - trained) * seconds / 3600:.2f} hours one after the other ({basis}); divide by the "
        "number of concurrent trials",
        *power_lines(design, len(methods), _seen_sd(ledger)),
    )


def power_lines(design: Benchmark, methods: int, seen: float | None) -> list[str]:
    """Return how many evaluation seeds a difference of 1 pp and of 2 pp needs, and a warning if no test can be passed.

    All pairs of methods are corrected for. With several studies, a pair is two study means, so studies are counted.
    """
    sd, family = seen or DEFAULT_SD, methods * (methods - 1) // 2
    unit, have = ("studies", design.studies) if design.studies > 1 else ("evaluation seeds", design.looks[-1])
    least = min_pairs(family, ALPHA / len(design.looks))
    needed = [max(pairs_needed(difference, sd, family), least) for difference in POWER_FOR]
    origin = "the largest seen so far" if seen else "assumed"
    lines = [
        f"power: 80 % to find a difference of 1 pp needs {needed[0]:g} {unit}, of 2 pp {needed[1]:g} "
        f"(SD of the paired differences {sd:.2g} pp, {origin}; {counted(family, 'comparison')})"
    ]
    if have < least:
        lines.append(
            f"warning: {have} {unit} are too few for any verdict: {counted(family, 'comparison')} of "
            f"{counted(methods, 'method')} need at least {least}"
        )
    return lines


def _trained_epochs(ledger: Ledger | None) -> int:
    return 0 if ledger is None else int(ledger.rows("SELECT COUNT(*) FROM epochs", {})[0][0])


def _seconds_per_epoch(ledger: Ledger | None) -> float | None:
    """Return the mean seconds of one epoch of one run so far."""
    if ledger is None:
        return None
    query = "SELECT AVG((epoch_seconds + eval_seconds) / pack_size) FROM epochs"
    found = ledger.rows(query, {})[0][0]
    return float(found) if found else None


def _seen_sd(ledger: Ledger | None) -> float | None:
    """Return the largest SD of the paired differences between two tuned methods in the evaluation; None without any."""
    if ledger is None:
        return None
    phases = read_phases(ledger).query("phase == 'evaluation'")
    rows = ledger.rows("SELECT r.run_id, r.seed, e.val_acc, e.epoch FROM runs r JOIN epochs e USING (run_id)", {})
    final = {(run_id, epoch): (seed, accuracy) for run_id, seed, accuracy, epoch in rows if accuracy is not None}
    curves: dict[tuple[int, str], dict[int, float]] = {}
    for run_id, study, method, epochs in phases[["run_id", "study", "method", "epochs"]].to_numpy().tolist():
        if found := final.get((run_id, epochs)):
            curves.setdefault((study, method), {})[found[0]] = found[1]
    largest = 0.0
    for (study, name), one in curves.items():
        for (other_study, other_name), other in curves.items():
            if study == other_study and name < other_name:
                differences = [one[seed] - other[seed] for seed in one.keys() & other.keys()]
                largest = max(largest, stdev(differences) if len(differences) > 1 else 0.0)
    return largest or None
