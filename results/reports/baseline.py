"""Published benchmarks: one small Parquet file with every run of a benchmark, and a file with its facts.

A baseline is a folder with ``runs.parquet``, ``facts.json`` and ``sweep.toml``. Those of this repository are in
``results/baselines``.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from results.ledger.ledger import Ledger
from results.ledger.phases import benchmark_in, read_phases
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SpecError, SweepFolderError, UnknownNameError
from search_spaces.run import TRAINING_VERSION

RUNS, FACTS, SPEC = "runs.parquet", "facts.json", "sweep.toml"
ALL = "baselines"
"""In place of a name: every baseline of this repository."""

MEASURED = ("train_loss", "val_loss", "val_acc", "test_loss", "test_acc")

_QUERY = """
    SELECT r.run_id, r.configuration_id, r.configuration, r.seed, r.diverged_epoch, a.members, a.threads, a.device,
           e.epoch, e.train_loss, e.val_loss, e.val_acc, e.test_loss, e.test_acc
    FROM runs r JOIN epochs e USING (run_id) JOIN attempts a USING (attempt_id)
"""


@dataclass(frozen=True)
class Baseline:
    """A published benchmark.

    ``runs`` has one row per run and point: the columns of ``results.ledger.phases.PhaseRow``, the configuration (JSON)
    and seed, the measurements after the last epoch, and the ``members`` of its pack (JSON) and its threads, with which
    the same bits are trained again. ``facts`` has ``protocol``, ``data`` (fingerprint), ``data_name``,
    ``training_version``, ``epochs``, ``tuning_epochs`` and ``versions``. ``packages`` are those that its spec lists in
    ``[imports]``.
    """

    name: str
    runs: pd.DataFrame
    facts: Mapping[str, Any]
    packages: tuple[str, ...] = ()


def baseline_of(ledger: Ledger) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the runs and the facts of a benchmark's ledger.

    Raises:
        SweepFolderError: it is no benchmark, or it has no evaluation yet.
    """
    design, phases = benchmark_in(ledger.kept_spec() or ""), read_phases(ledger)
    if design is None or not (phases["phase"] == "evaluation").any():
        raise SweepFolderError(f"{ledger.path}: is no evaluated benchmark; `sweep benchmark` makes one")
    rows = ledger.rows(_QUERY, {})
    columns = ["run_id", "configuration_id", "configuration", "seed", "diverged_epoch", "members", "threads", "device"]
    measured = pd.DataFrame(rows, columns=[*columns, "epoch", *MEASURED])
    about = measured.drop_duplicates("run_id", keep="last")[columns].astype({"diverged_epoch": "Int64"})
    finals = measured[["run_id", "epoch", *MEASURED]].rename(columns={"epoch": "epochs"})
    frame = phases.merge(about, on="run_id", how="left").merge(finals, on=["run_id", "epochs"], how="left")
    protocol = dict(ledger.protocol() or {})
    (version,), *_ = ledger.rows("SELECT DISTINCT training_version FROM runs WHERE planned", {})
    (data_name,), *_ = ledger.rows("SELECT DISTINCT data_name FROM runs WHERE planned", {})
    versions = [json.loads(text) for (text,) in ledger.rows("SELECT DISTINCT versions FROM attempts ORDER BY 1", {})]
    facts = {
        "protocol": {key: value for key, value in protocol.items() if key != "data"},
        "data": protocol.get("data", ""), "data_name": data_name, "training_version": version,
        "epochs": design["epochs"], "tuning_epochs": design["benchmark"]["tuning_epochs"], "versions": versions,
        "devices": sorted(set(about["device"])), "threads": sorted({int(threads) for threads in about["threads"]}),
    }  # fmt: skip
    return frame, facts


def write_baseline(ledger_path: Path, out: Path) -> list[Path]:
    """Write the baseline of a benchmark to the folder ``out``; return its files.

    Raises:
        SweepFolderError: as in :func:`baseline_of`, or the folder cannot be written.
    """
    with Ledger.open_read_only(ledger_path) as ledger:
        frame, facts = baseline_of(ledger)
        spec = ledger.kept_spec() or ""
    texts = {FACTS: json.dumps(facts, indent=1, sort_keys=True) + "\n", SPEC: spec}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with atomic_write(out / name) as path:
                path.write_text(text, encoding="utf-8")
        with atomic_write(out / RUNS) as path:
            frame.to_parquet(path, index=False)
    except OSError as error:
        raise SweepFolderError(f"{out}: cannot be written ({error.strerror}); give another folder") from error
    return [out / name for name in (RUNS, FACTS, SPEC)]


def published() -> list[str]:
    """Return the names of the benchmarks in ``results/baselines``."""
    place = files("results") / "baselines"
    folders = [entry for entry in place.iterdir() if entry.is_dir()] if place.is_dir() else []
    return sorted(entry.name for entry in folders if (entry / FACTS).is_file())


def read_baselines(place: str) -> list[Baseline]:
    """Return the baselines that ``place`` names: ``baselines`` (all published ones), the name of one, or a folder.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if place == ALL and published():
        return [_read(Path(str(files("results") / "baselines" / name))) for name in published()]
    if (Path(place) / FACTS).is_file():
        return [_read(Path(place))]
    if place in published():
        return [_read(Path(str(files("results") / "baselines" / place)))]
    raise UnknownNameError("baseline", place, [ALL, *published(), "FOLDER"])


def _read(folder: Path) -> Baseline:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        listed = tomllib.loads((folder / SPEC).read_text(encoding="utf-8")).get("imports", {}).get("packages", [])
        return Baseline(folder.name, pd.read_parquet(folder / RUNS), facts, tuple(map(str, listed)))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise SweepFolderError(f"{folder}: is no baseline ({error!s:.80})") from error


def check_comparable(baseline: Baseline, protocol: Mapping[str, Any], data: str, epochs: int) -> None:
    """Refuse a comparison of runs with another protocol, other data, another length or another training version.

    Args:
        baseline: the published benchmark.
        protocol: the protocol of the present benchmark.
        data: the fingerprint of its data.
        epochs: the epochs of its evaluation.

    Raises:
        SpecError: the first key that differs, with both values.
    """
    then = {**baseline.facts["protocol"], "data": baseline.facts["data"], "epochs": baseline.facts["epochs"],
            "training_version": baseline.facts["training_version"]}  # fmt: skip
    now = {**protocol, "data": data, "epochs": epochs, "training_version": TRAINING_VERSION}
    for key in dict.fromkeys([*then, *now]):
        if then.get(key) != now.get(key):
            raise SpecError(
                key, f"{now.get(key)!s:.20}, but the baseline {baseline.name!r} has {then.get(key)!s:.20}",
                "results with the same value are comparable",
            )  # fmt: skip


def prediction_interval(values: list[float]) -> tuple[float, float]:
    """Return the interval that contains one further normal value with 95 %: mean ± t(97.5 %, n-1)·SD·√(1 + 1/n)."""
    import scipy.stats

    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(scipy.stats.t.ppf(0.975, n - 1)) * sd * math.sqrt(1 + 1 / n)
    return mean - half, mean + half
