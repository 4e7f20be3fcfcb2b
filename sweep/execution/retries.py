"""The rules for packs that fail: which are retried, with what, and which are split into single runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from results.ledger.ledger import Ledger
from sweep.execution.executor import Round
from sweep.execution.failure import Failure
from sweep.planning.plan import Pack

MOST_LOST_NODES = 10
"""How often a pack may lose its node, twice in a row without an epoch between, before that counts as its failure."""

MOST_WAITS = 10
"""How often a pack may run out of memory, without an epoch between, before it fails."""
FIRST_WAIT_SECONDS = 5.0
MOST_WAIT_SECONDS = 60.0


class Retries:
    """Collects the packs that failed and are retried, and returns them as further rounds.

    The first round gives every pack one retry, from its checkpoint. A pack that fails twice in a row, without an epoch
    between, is split: its runs are trained one by one, so that a run that crashes its process does not affect others. A
    pack that ran out of GPU memory gets a larger share of the GPU. A pack that ran out of the machine's memory stays
    whole, because another program may use it: it waits, and is retried with fewer trials at a time. A single run
    has ``retries`` retries in all.
    """

    def __init__(self, ledger: Ledger, epochs: int, retries: int) -> None:
        self._ledger = ledger
        self._epochs = epochs
        self._retries = retries
        self._rounds: list[Round] = []
        self._lost_nodes: Counter[str] = Counter()  # id of a pack → how often
        self._waits: Counter[str] = Counter()  # id of a pack → how often it ran out of memory without progress

    def first_round(self, packs: Sequence[Pack], gpus: float) -> Round:
        """Return the round that the sweep begins with."""
        return Round(tuple(packs), min(1, self._retries), gpus)

    def next_round(self) -> Round | None:
        """Return the next packs to retry, all that have the same conditions; None where there are none."""
        if not self._rounds:
            return None
        first = self._rounds[0]
        alike = [one for one in self._rounds if _conditions(one) == _conditions(first)]
        self._rounds = [one for one in self._rounds if _conditions(one) != _conditions(first)]
        return Round(
            tuple(pack for one in alike for pack in one.packs),
            *_conditions(first),
            most_at_a_time=min((one.most_at_a_time for one in alike if one.most_at_a_time), default=0),
            wait_seconds=max(one.wait_seconds for one in alike),
        )

    def decide(self, now: Round, pack: Pack, failure: Failure, progressed: bool, running: int = 1) -> str | None:
        """Decide about a pack whose retries in the round ``now`` are used up; return the line for the user.

        ``running`` is the number of trials that ran, this one included.

        None: it failed for good. A split is written to the ledger at once, so that a later driver keeps it.
        """
        gpus = now.gpus_per_trial
        if not self._retries:
            return None
        if failure.lost_node and self._lost_nodes[pack.pack_id] < MOST_LOST_NODES:
            self._lost_nodes[pack.pack_id] += 1
            self._rounds.append(Round((pack,), 1, gpus, now.last))
            return "its node was lost: it is retried from its last checkpoint"
        if progressed:
            self._waits[pack.pack_id] = 0
        if failure.out_of_memory and self._waits[pack.pack_id] < MOST_WAITS:
            return self._wait_for_memory(now, pack, running)
        if now.last:
            return None
        if progressed:
            self._rounds.append(Round((pack,), 1, gpus))
            return "it had trained an epoch since it failed before: it is retried from its last checkpoint"
        if failure.out_of_gpu_memory and 0 < gpus < 1:
            more = min(1.0, 2 * gpus)
            self._rounds.append(Round((pack,), 0, more))
            return f"out of GPU memory: it is retried with {more:g} of a GPU"
        if len(pack.runs) > 1 and failure.may_be_one_run:
            singles = self._split(pack)
            self._rounds.append(Round(tuple(singles), self._retries, gpus, last=True))
            return "its runs are trained one by one"
        if self._retries > 1:
            self._rounds.append(Round((pack,), self._retries - 2, gpus, last=True))
            return "it is retried at the end"
        return None

    def _wait_for_memory(self, now: Round, pack: Pack, running: int) -> str:
        """Retry ``pack`` later, with half as many trials at a time; return the line for the user."""
        seconds = min(FIRST_WAIT_SECONDS * 2 ** self._waits[pack.pack_id], MOST_WAIT_SECONDS)
        self._waits[pack.pack_id] += 1
        most = max(1, min(running, now.most_at_a_time or running) // 2)
        self._rounds.append(Round((pack,), 1, now.gpus_per_trial, now.last, most, seconds))
        trials = "one trial" if most == 1 else f"{most} trials"
        return (
            f"the pack stays whole and is retried from its last checkpoint, after {seconds:g} s at the earliest, "
            f"{trials} at a time; to use less memory: --max-concurrent {most}, or for a new sweep a smaller --pack"
        )

    def _split(self, pack: Pack) -> Sequence[Pack]:
        """Return the runs of ``pack`` that have no result yet, each as a pack of one, also for every later driver."""
        finished = self._ledger.finished(pack.run_ids, self._epochs)
        singles = [Pack((run,)) for run in pack.runs if run.run_id not in finished]
        self._ledger.split_pack(pack.pack_id, [(single.pack_id, single.run_ids) for single in singles])
        return singles


def _conditions(one: Round) -> tuple[int, float, bool]:
    return one.retries, one.gpus_per_trial, one.last
