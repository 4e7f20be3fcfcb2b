"""Published benchmarks: two small Parquet files with the runs and epochs of a benchmark, and a file with its facts.

A baseline is a folder with ``runs.parquet``, ``epochs.parquet``, ``facts.json`` and ``sweep.toml``. Those of this
repository are in ``results/baselines``.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from results.ledger.arrays import Recorded, SweepData, sweep_of
from results.ledger.configuration_runs import CURVES
from results.ledger.data_facts import CIFAR100, DataFacts, kept_facts
from results.ledger.ledger import Ledger
from results.ledger.phases import COLUMNS, benchmark_in, read_phases
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SpecError, SweepFolderError, UnknownNameError
from search_spaces.plain_text import counted
from search_spaces.run import TRAINING_VERSION

RUNS, EPOCHS, FACTS, SPEC = "runs.parquet", "epochs.parquet", "facts.json", "sweep.toml"
FILES = (RUNS, EPOCHS, FACTS, SPEC)
ALL = "baselines"
"""In place of a name: every baseline of this repository."""

MEASURED = ("train_loss", "val_loss", "val_acc", "test_loss", "test_acc")
OF_A_SESSION = ("started", "platform", "python", "cpus", "git_commit")
"""Facts of ``provenance.json`` that are published: no host, no path."""

_RUNS = """
    SELECT r.run_id, r.configuration_id, r.configuration, r.seed, r.diverged_epoch, a.members, a.threads, a.device,
           e.pack_size, a.versions
    FROM runs r JOIN epochs e USING (run_id) JOIN attempts a USING (attempt_id) ORDER BY r.run_id, e.epoch
"""


@dataclass(frozen=True)
class Baseline:
    """A published benchmark.

    ``runs`` has one row per run and point: the columns of ``results.ledger.phases.PhaseRow``, the configuration (JSON)
    and seed, the measurements after the last epoch, and the ``members`` of its pack (JSON) and its threads, with which
    the same bits are trained again. ``epochs`` has one row per run and epoch. ``facts`` has ``protocol``, ``data``
    (fingerprint), ``data_name``, ``training_version``, ``epochs``, ``tuning_epochs``, ``versions`` and ``sessions``.
    ``spec`` is the resolved spec.
    """

    name: str
    runs: pd.DataFrame
    epochs: pd.DataFrame
    facts: Mapping[str, Any]
    spec: str

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages that the spec lists in ``[imports]``."""
        return tuple(map(str, tomllib.loads(self.spec).get("imports", {}).get("packages", [])))

    @property
    def data_options(self) -> dict[str, Any]:
        """The options ``labels`` and ``max_images`` of ``load_data`` that the spec has."""
        return {key: value for key, value in tomllib.loads(self.spec).items() if key in ("labels", "max_images")}

    @cached_property
    def sweep(self) -> SweepData:
        """The measurements as a sweep, from which all tables and figures are made.

        Raises:
            SweepFolderError: a column is missing, or has values of another type.
        """
        try:
            return self._sweep()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SweepFolderError(f"{self.name}: is no baseline ({error!r:.80})") from error

    def _sweep(self) -> SweepData:
        facts, first = self.facts, self.runs.drop_duplicates("run_id")
        last = self.runs.groupby("run_id")["epochs"].max()
        rows: list[dict[str, Any]] = []
        for row in first[["run_id", "configuration", "seed", "diverged_epoch"]].to_dict("records"):
            lost = None if pd.isna(row["diverged_epoch"]) else int(row["diverged_epoch"])
            target = int(last[row["run_id"]])
            rows.append(
                {
                    "run_id": row["run_id"], "configuration": row["configuration"], "seed": row["seed"],
                    "diverged_epoch": lost, "target_epochs": target, "data_name": facts["data_name"],
                    "status": "diverged" if lost is not None and lost <= target else "done",
                    "synthetic": facts["synthetic"], "protocol": json.dumps(facts["protocol"]),
                    "data_fingerprint": facts["data"],
                }
            )  # fmt: skip
        epochs = list(self.epochs[["run_id", "epoch", *CURVES]].itertuples(index=False, name=None))
        phases = self.runs[list(COLUMNS)]
        recorded = Recorded(rows, epochs, (), self.spec, phases, DataFacts.from_json(json.dumps(facts["about_data"])))
        return replace(
            sweep_of(recorded, self.name, Path(self.name)),
            devices=tuple(facts["devices"]), threads=tuple(facts["threads"]), pack_sizes=tuple(facts["pack_sizes"]),
            versions=tuple(facts["versions"]),
        )  # fmt: skip


def baseline_of(ledger: Ledger, name: str = "") -> Baseline:
    """Return a benchmark's ledger as a baseline.

    Raises:
        SweepFolderError: it is no benchmark, it has no evaluation yet, or a run has no result.
    """
    design, phases = benchmark_in(ledger.kept_spec() or ""), read_phases(ledger)
    if design is None or not (phases["phase"] == "evaluation").any():
        raise SweepFolderError(f"{ledger.path}: is no evaluated benchmark; `sweep benchmark` makes one")
    columns = [
        "run_id", "configuration_id", "configuration", "seed", "diverged_epoch", "members", "threads", "device",
        "pack_size", "versions",
    ]  # fmt: skip
    found = pd.DataFrame(ledger.rows(_RUNS, {}), columns=columns)
    about = found.drop_duplicates("run_id", keep="last")[columns[:8]].astype({"diverged_epoch": "Int64"})
    listed = ", ".join(dict.fromkeys([*CURVES, *MEASURED]))
    query = f"SELECT run_id, epoch, {listed} FROM epochs ORDER BY run_id, epoch"
    epochs = pd.DataFrame(ledger.rows(query, {}), columns=["run_id", "epoch", *listed.split(", ")])
    epochs = epochs[epochs["run_id"].isin(phases["run_id"])].reset_index(drop=True)
    finals = epochs[["run_id", "epoch", *MEASURED]].rename(columns={"epoch": "epochs"})
    frame = phases.merge(about, on="run_id", how="left").merge(finals, on=["run_id", "epochs"], how="left")
    without = frame[frame["val_acc"].isna() & ~(frame["diverged_epoch"] <= frame["epochs"]).fillna(value=False)]
    if len(without):
        raise SweepFolderError(
            f"{ledger.path}: {counted(without['run_id'].nunique(), 'run')} of {phases['run_id'].nunique()} without a "
            "result; `sweep resume NAME --retry-failed` first"
        )
    protocol = dict(ledger.protocol() or {})
    (version, data_name, synthetic), *_ = ledger.rows(
        "SELECT DISTINCT training_version, data_name, synthetic FROM runs WHERE planned", {}
    )
    title = kept_facts(ledger)
    facts = {
        "protocol": {key: value for key, value in protocol.items() if key != "data"},
        "data": protocol.get("data", ""), "data_name": Path(data_name).name, "synthetic": bool(synthetic),
        "about_data": asdict(title), "training_version": version, "epochs": design["epochs"],
        "tuning_epochs": design["benchmark"]["tuning_epochs"],
        "versions": [json.loads(text) for text in sorted(set(found["versions"]))],
        "devices": sorted(set(about["device"])), "threads": sorted({int(threads) for threads in about["threads"]}),
        "pack_sizes": sorted({int(size) for size in found["pack_size"]}), "sessions": _sessions(ledger.path),
    }  # fmt: skip
    return Baseline(name, frame, epochs, facts, _without_path(ledger.kept_spec() or "", title.title))


def _sessions(ledger_path: Path) -> list[dict[str, Any]]:
    """Return when and on what the benchmark was run, from its ``provenance.json``; empty without it."""
    try:
        found = json.loads((ledger_path.parent / "provenance.json").read_text(encoding="utf-8"))
        return [{key: session.get(key) for key in OF_A_SESSION} for session in found]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return []


def _without_path(spec: str, title: str) -> str:
    """Return the spec with a name in place of the folder of its data, which is that of one machine."""
    source = str(tomllib.loads(spec).get("data", ""))
    name = "cifar100" if title == CIFAR100 else Path(source).name
    return spec.replace(f"data = {json.dumps(source)}", f'data = "{name}"', 1) if "/" in source else spec


def write_baseline(ledger_path: Path, out: Path) -> list[Path]:
    """Write the baseline of a benchmark to the folder ``out``; return its files.

    Raises:
        SweepFolderError: as in :func:`baseline_of`, or the folder cannot be written.
    """
    with Ledger.open_read_only(ledger_path) as ledger:
        found = baseline_of(ledger)
    return write_files(found, out)


def write_files(baseline: Baseline, out: Path) -> list[Path]:
    """Write the files of a baseline to the folder ``out``; return them.

    Raises:
        SweepFolderError: the folder cannot be written.
    """
    texts = {FACTS: json.dumps(baseline.facts, indent=1, sort_keys=True) + "\n", SPEC: baseline.spec}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with atomic_write(out / name) as path:
                path.write_text(text, encoding="utf-8")
        for name, frame in {RUNS: baseline.runs, EPOCHS: baseline.epochs}.items():
            with atomic_write(out / name) as path:
                frame.to_parquet(path, index=False, compression="zstd")
    except OSError as error:
        raise SweepFolderError(f"{out}: cannot be written ({error.strerror}); give another folder") from error
    return [out / name for name in FILES]


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
        return [read_folder(Path(str(files("results") / "baselines" / name))) for name in published()]
    if (Path(place) / FACTS).is_file():
        return [read_folder(Path(place))]
    if place in published():
        return [read_folder(Path(str(files("results") / "baselines" / place)))]
    raise UnknownNameError("baseline", place, [*([ALL] if published() else []), *published(), "FOLDER"])


def read_folder(folder: Path) -> Baseline:
    """Read the baseline in a folder.

    Raises:
        SweepFolderError: a file is missing or damaged.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        spec = (folder / SPEC).read_text(encoding="utf-8")
        runs, epochs = (pd.read_parquet(folder / name) for name in (RUNS, EPOCHS))
        found = Baseline(folder.resolve().name, runs, epochs, facts, spec)
        _ = found.packages
        return found
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise SweepFolderError(f"{folder}: is no baseline ({error!s:.80})") from error


def check_comparable(
    baseline: Baseline, protocol: Mapping[str, Any], data: str, epochs: int, version: int = TRAINING_VERSION
) -> None:
    """Refuse a comparison of runs with another protocol, other data, another length or another training version.

    Args:
        baseline: the published benchmark.
        protocol: the protocol of the present benchmark.
        data: the fingerprint of its data.
        epochs: the epochs of its evaluation.
        version: its training version.

    Raises:
        SpecError: the first key that differs, with both values.
    """
    then = {**baseline.facts["protocol"], "data": baseline.facts["data"], "epochs": baseline.facts["epochs"],
            "training_version": baseline.facts["training_version"]}  # fmt: skip
    now = {**protocol, "data": data, "epochs": epochs, "training_version": version}
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
