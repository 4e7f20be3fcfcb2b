"""Packs as trials of Ray Tune, a round of them at a time; and what becomes of those that fail."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.ledger.ledger import Ledger
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder
from sweep.folder.snapshot import Snapshots, checkpoint_place, weights_place
from sweep.planning.plan import Pack
from sweep.process.signals import Stopped, Stopping
from sweep.progress.live_view import Progress
from sweep.progress.status_publisher import StatusPublisher
from trainables.data.dataset import DataSet
from trainables.runtime.stop_signal import StopRequest, StopSignal
from trainables.training.loop import Assignment

if TYPE_CHECKING:
    from sweep.execution.ray.ledger_callback import Failure


MOST_TRIALS = 100_000
"""So many may wait on the actor that tells them of the end."""
MOST_LOST_NODES = 10
"""So often a pack may lose its node, twice in a row without an epoch between, before that counts as its failure."""


@dataclass(frozen=True)
class Round:
    """Packs that are trained side by side, each tried again ``retries`` times."""

    packs: tuple[Pack, ...]
    retries: int
    gpus_per_trial: float
    last: bool = False  # whether one that fails has no other chance


class Trials:
    """Trains a round of packs, and gathers the next one from those that failed and have another chance."""

    def __init__(
        self, spec: Spec, data: DataSet, folder: SweepFolder, ledger: Ledger, progress: Progress, stop: Stopping,
        publisher: StatusPublisher, fail_fast: bool, snapshots: Snapshots | None = None,
    ) -> None:  # fmt: skip
        self.retries = 0 if fail_fast else spec.resources.retries
        self._spec = spec
        self._data = data
        self._folder = folder
        self._ledger = ledger
        self._progress = progress
        self._stop = stop
        self._stop_signal = _stop_signal(stop)
        self._publisher = publisher
        self._fail_fast = fail_fast
        self._snapshots = snapshots
        self._rounds: list[Round] = []
        self._lost_nodes: Counter[str] = Counter()  # id of a pack → how often

    def train(self, now: Round) -> None:
        """Train a round.

        Raises:
            Stopped: the end was asked for.
        """
        from ray import tune

        from sweep.execution.ray.ledger_callback import Recorder
        from trainables.ray_trainable import PackTrainable

        self._stop.check(training=0)
        resources = self._spec.resources
        recorder = Recorder(
            self._ledger, self._folder, {pack.pack_id: pack for pack in now.packs}, self._progress, self._stop,
            self._publisher, lambda failure: self._settle(failure, now), self._snapshots,
        )  # fmt: skip
        trainable = tune.with_resources(
            tune.with_parameters(PackTrainable, data=self._data),
            {"cpu": resources.cpus, "gpu": now.gpus_per_trial},
        )
        try:
            with tempfile.TemporaryDirectory(prefix="lenet-sweep-") as scratch:
                tune.Tuner(
                    trainable,
                    param_space={
                        "pack": tune.grid_search([self._config(pack, now.gpus_per_trial)["pack"] for pack in now.packs])
                    },
                    tune_config=tune.TuneConfig(
                        max_concurrent_trials=resources.max_concurrent or None,
                        reuse_actors=True,
                        trial_dirname_creator=lambda trial: trial.trial_id,
                    ),
                    run_config=tune.RunConfig(
                        name="tune",
                        storage_path=str(Path(scratch)),
                        callbacks=[recorder],
                        failure_config=tune.FailureConfig(max_failures=now.retries, fail_fast=self._fail_fast),
                        verbose=0,
                    ),
                ).fit()
        except Exception as error:
            if self._stop.asked:  # whoever asked has ended Ray's processes, too
                raise Stopped from error
            raise
        if self._stop.asked:
            raise Stopped

    def _config(self, pack: Pack, gpus: float) -> dict[str, str]:
        from trainables.ray_trainable import trial_config

        spec, resources = self._spec, self._spec.resources
        return trial_config(
            Assignment(pack.pack_id, pack.runs, spec.epochs, spec.test_epoch_set()),
            checkpoints=checkpoint_place(self._folder, spec, pack.pack_id).uri,
            local=not spec.storage and spec.cluster.address != "local",
            threads=resources.threads,
            gpus=gpus,
            weights=weights_place(self._folder, spec).uri,
            stop_signal=self._stop_signal,
            save_weights_every=spec.save_weights_every,
            checkpoint_seconds=resources.checkpoint_seconds,
        )

    def next_round(self) -> Round | None:
        """Return the next packs that have another chance, all that can be trained alike; None where there are none."""
        if not self._rounds:
            return None
        first = self._rounds[0]
        alike = [one for one in self._rounds if _terms(one) == _terms(first)]
        self._rounds = [one for one in self._rounds if _terms(one) != _terms(first)]
        return Round(tuple(pack for one in alike for pack in one.packs), *_terms(first))

    def _settle(self, failure: Failure, now: Round) -> str | None:
        """Say what becomes of a pack whose attempts in this round are used up; None where it failed for good.

        It is in the ledger at once, so that a driver that dies now leaves it to the next one.
        """
        pack, gpus = failure.pack, now.gpus_per_trial
        if not self.retries:
            return None
        if failure.lost_its_node and self._lost_nodes[pack.pack_id] < MOST_LOST_NODES:
            self._lost_nodes[pack.pack_id] += 1
            self._rounds.append(Round((pack,), 1, gpus, now.last))
            return "its node was lost: it is tried again from its last checkpoint"
        if now.last:
            return None
        if failure.progressed:
            self._rounds.append(Round((pack,), 1, gpus))
            return "it had trained an epoch since it failed before: it is tried again from its last checkpoint"
        if failure.out_of_gpu_memory and 0 < gpus < 1:
            more = min(1.0, 2 * gpus)
            self._rounds.append(Round((pack,), 0, more))
            return f"out of GPU memory: it is tried again with {more:g} of a GPU"
        if failure.may_be_one_run:
            singles = self._take_apart(pack)
            self._rounds.append(Round(tuple(singles), self.retries, gpus, last=True))
            return "its runs are trained one by one"
        if self.retries > 1:
            self._rounds.append(Round((pack,), self.retries - 2, gpus, last=True))
            return "it is tried again at the end"
        return None

    def _take_apart(self, pack: Pack) -> Sequence[Pack]:
        """Return the runs of ``pack`` that have no result yet, each as a pack of one, also for every later driver."""
        finished = self._ledger.finished(pack.run_ids, self._spec.epochs)
        singles = [Pack((run,)) for run in pack.runs if run.run_id not in finished]
        self._ledger.split_pack(pack.pack_id, [(single.pack_id, single.run_ids) for single in singles])
        return singles


def _stop_signal(stop: Stopping) -> str:
    """Return the name of the actor through which ``stop`` reaches the trials; it lives on the driver's own node.

    A name, and no handle: an object more that Ray would miss when its processes are ended with the driver's.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"stop-signal-{uuid.uuid4().hex}"
    actor = (
        ray.remote(StopSignal)
        .options(
            name=name,
            num_cpus=0,
            max_concurrency=MOST_TRIALS,
            scheduling_strategy=here,
            max_restarts=-1,
            max_task_retries=-1,  # no trial starts without it
        )
        .remote()
    )

    def forward(request: StopRequest) -> None:
        with suppress(ray.exceptions.RayError):  # it has gone: so have the trials
            actor.send.remote(request)

    stop.forward = forward
    return name


def _terms(one: Round) -> tuple[int, float, bool]:
    return one.retries, one.gpus_per_trial, one.last
