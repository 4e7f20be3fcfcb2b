"""`sweep benchmark … --against BASELINES`: published methods beside those of a benchmark, under the same seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from results.ledger.ledger import Ledger
from results.metrics.intervals import mean_t_interval
from results.reports.baseline import Baseline, baseline_of, check_comparable, read_baselines
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder


def check_against(spec: Spec, place: str) -> list[Baseline]:
    """Return the baselines, if all are comparable with the benchmark ``spec``; nothing is trained.

    Raises:
        UnknownNameError: no such baseline.
        SpecError: a protocol, data, length or training version that differs; both values.
    """
    from trainables.data.dataset import load_data

    found = read_baselines(place)
    fingerprint = load_data(spec.data, **spec.data_options).fingerprint
    for baseline in found:
        check_comparable(baseline, spec.shared_protocol.to_dict(), fingerprint, spec.epochs)
    return found


def against_lines(folder: SweepFolder, place: str) -> list[str]:
    """Return a line for each published method: its test accuracy, and the paired difference to the best method here.

    The best method here is the one with the highest validation accuracy in the evaluation.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        runs, _ = baseline_of(ledger)
    own = runs[runs["phase"] == "evaluation"]
    best = str(own.groupby("method")["val_acc"].mean().idxmax())
    mine = _by_seed(own, best)
    lines = []
    for baseline in read_baselines(place):
        theirs = baseline.runs[baseline.runs["phase"] == "evaluation"]
        for method in dict.fromkeys(theirs["method"]):
            other = _by_seed(theirs, method)
            mean = mean_t_interval(np.asarray(other, dtype=np.float64))
            line = (
                f"{baseline.name}: {method}: test {mean.value:.2f} % ({mean.low:.2f} to {mean.high:.2f}, n = {mean.n})"
            )
            paired = (mine - other).dropna()
            if len(paired) > 1:
                found = mean_t_interval(np.asarray(paired, dtype=np.float64))
                line += (
                    f"; {best} is {found.value:+.2f} pp ({found.low:+.2f} to {found.high:+.2f}) from it, "
                    f"{len(paired)} pairs"
                )
            lines.append(line)
    return lines


def _by_seed(runs: pd.DataFrame, method: str) -> pd.Series[float]:
    return runs[runs["method"] == method].set_index(["study", "seed"])["test_acc"]
