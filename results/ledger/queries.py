"""Queries about one run: the run, the pack that trained it, its losses."""

from __future__ import annotations

import json
from dataclasses import dataclass

from results.ledger.ledger import Ledger
from results.ledger.schema import KERNELS
from search_spaces.configuration import Configuration
from search_spaces.errors import LedgerError, UnknownNameError
from search_spaces.labels import configuration_labels
from search_spaces.run import TRAINING_VERSION, Protocol, Run

MAX_LISTED = 20


@dataclass(frozen=True)
class TrainedPack:
    """The pack that trained a run."""

    pack_id: str
    members: list[str]  # run ids, in the order of the stack
    threads: int
    kernels: str = ""  # of the convolutions; empty: PyTorch's, or not recorded


def find_run(ledger: Ledger, run: str) -> str:
    """Return the id of the run that ``run`` identifies: an id or its beginning, also with the ``r`` of a CSV file.

    Raises:
        UnknownNameError: no run or several runs match; the message lists the candidates.
    """
    ids = [run_id for (run_id,) in ledger.rows("SELECT run_id FROM runs ORDER BY ordinal, seed, run_id", {})]
    beginning = run.removeprefix("r")
    found = [run_id for run_id in ids if run_id.startswith(beginning)]
    if len(found) != 1 or not beginning:
        raise UnknownNameError("run", run, (found or ids)[:MAX_LISTED])
    return str(found[0])


def recorded_run(ledger: Ledger, run_id: str) -> Run:
    """Return the run with this id in the ledger; for a run of another training version, its id today differs.

    Raises:
        KeyError: the ledger has no such run.
    """
    query = "SELECT configuration, seed, protocol, data_fingerprint FROM runs WHERE run_id = :run"
    for configuration, seed, protocol, fingerprint in ledger.rows(query, {"run": run_id}):
        choice, common = Configuration.from_dict(json.loads(configuration)), Protocol.from_dict(json.loads(protocol))
        return Run(choice, seed, common, fingerprint)
    raise KeyError(run_id)


def run_of(ledger: Ledger, run_id: str) -> Run:
    """Return the run with this id, which can be trained again.

    Raises:
        KeyError: the ledger has no such run.
        LedgerError: another version of the training trained it, so its id differs.
    """
    run = recorded_run(ledger, run_id)
    if run.run_id != run_id:
        raise LedgerError(
            f"{ledger.path}: run {run_id} was trained by another training version (this one is {TRAINING_VERSION}); "
            "use the version of lenet-sweep that trained it"
        )
    return run


def pack_of(ledger: Ledger, run_id: str) -> TrainedPack | None:
    """Return the pack that trained a run; None before its start.

    It is the pack of the last report; without a report, the pack that was started last, with one thread.
    """
    reported = """
        SELECT a.pack_id, a.members, a.threads, a.versions FROM epochs e JOIN attempts a USING (attempt_id)
        WHERE e.run_id = :run ORDER BY e.epoch DESC LIMIT 1
    """
    begun = "SELECT p.pack_id, p.members, 1, '{}' FROM runs r JOIN packs p USING (pack_id) WHERE r.run_id = :run"
    found = ledger.rows(reported, {"run": run_id}) or ledger.rows(begun, {"run": run_id})
    if not found:
        return None
    pack_id, members, threads, versions = found[0]
    return TrainedPack(pack_id, json.loads(members), threads, json.loads(versions).get(KERNELS, ""))


def begun_pack_of(ledger: Ledger, run_id: str) -> str | None:
    """Return the id of the pack that was last started with a run, reported or not; None before its start."""
    found = ledger.rows("SELECT pack_id FROM runs WHERE run_id = :run", {"run": run_id})
    return found[0][0] if found else None


def run_names(ledger: Ledger) -> dict[str, str]:
    """Return the name of every run for a user, by run id: its configuration's label and its seed."""
    rows = ledger.rows("SELECT run_id, configuration, seed FROM runs ORDER BY ordinal, seed, run_id", {})
    configurations = {text: Configuration.from_dict(json.loads(text)) for text in dict.fromkeys(row[1] for row in rows)}
    labels = configuration_labels(list(configurations.values()))
    return {
        run_id: f"{labels[configurations[text].configuration_id]}, seed {seed}" for run_id, text, seed in rows
    }  # fmt: skip


def training_rate(ledger: Ledger) -> float | None:
    """Return the measured run-epochs per second of the trials that ended, with their start-up; None without one.

    The seconds are those in which at least one of these trials ran.
    """
    trials = ledger.rows(
        """
        SELECT a.started, a.ended, COUNT(*) FROM attempts a JOIN epochs e USING (attempt_id)
        WHERE a.outcome = 'done' AND a.ended > a.started GROUP BY a.attempt_id ORDER BY a.started
        """,
        {},
    )
    seconds, until = 0.0, float("-inf")
    for started, ended, _ in trials:
        seconds += max(0.0, ended - max(started, until))
        until = max(until, ended)
    return sum(count for _, _, count in trials) / seconds if seconds > 0 else None


def train_losses(ledger: Ledger, run_id: str) -> dict[int, float | None]:
    """Return a run's training loss by epoch."""
    return dict(ledger.rows("SELECT epoch, train_loss FROM epochs WHERE run_id = :run", {"run": run_id}))
