"""The kernels of a sweep's gradients on a CPU: from the spec, else from its ledger, else from a measurement."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from results.ledger.ledger import Ledger
from search_spaces import Run
from search_spaces.errors import SpecError
from search_spaces.models import LENET5
from sweep.config.spec import Spec
from sweep.driver.pack_size import device_kind
from sweep.planning.planner import NOISE

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

KEY = "resources.kernels"
ROUNDS = 3
"""Measurements of a step with each kind of kernels, in turn; one before them warms up."""
RUNS = 4
"""Runs in the pack that is measured."""


def choose_kernels(spec: Spec, runs: Sequence[Run], ledger: Ledger, data: DataSet) -> tuple[Spec, str]:
    """Return ``spec`` with the chosen kernels in place of `auto`, and a line for the user, empty where nothing is new.

    The measurement is made on this machine, so `auto` on a cluster means PyTorch's kernels. A resumed sweep keeps the
    kernels of its ledger.

    Raises:
        SpecError: the spec asks for compiled kernels, and they cannot be compiled here.
    """
    from trainables.models.compiled_convolutions import CompilerError, library
    from trainables.models.kernels import COMPILED, TORCH

    asked = spec.resources.kernels
    if asked == TORCH or device_kind(spec.resources) == "gpu" or spec.model != LENET5:
        return _with(spec, TORCH), ""
    if asked == COMPILED and spec.cluster.address != "local":
        return spec, ""  # the nodes compile
    try:
        if asked == COMPILED:
            library()
            return spec, ""
        if spec.cluster.address != "local":
            return _with(spec, TORCH), ""
        kept = ledger.kept("kernels")
        if kept is not None and kept in (TORCH, COMPILED):
            if kept == COMPILED:
                library()
            return _with(spec, kept), f"kernels: {kept} (as chosen before)"
        seconds = _measured(runs, data)
    except CompilerError as error:
        if asked == COMPILED or ledger.kept("kernels") == COMPILED:
            raise SpecError(KEY, str(error), 'install a C++ compiler, or use kernels = "torch"') from error
        return _with(spec, TORCH), f"kernels: {TORCH} ({error})"
    chosen = COMPILED if NOISE * seconds[COMPILED] < seconds[TORCH] else TORCH
    ledger.keep("kernels", chosen)
    times = ", ".join(f"{1000 * value:.1f} ms with {name}" for name, value in seconds.items())
    return _with(spec, chosen), f"kernels: {chosen} (probe: a step of {RUNS} runs takes {times})"


def _with(spec: Spec, kernels: str) -> Spec:
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"kernels": kernels})})


def _measured(runs: Sequence[Run], data: DataSet) -> dict[str, float]:
    """Return the median seconds of a step by the kind of kernels, on one thread of this process."""
    import torch

    from trainables.models.kernels import COMPILED, TORCH
    from trainables.profiling.probe import StepTimer

    of_one_seed = [run for run in runs if run.seed == runs[0].seed]
    threads = torch.get_num_threads()
    try:
        timers = {kernels: StepTimer(data, of_one_seed, False, kernels) for kernels in (TORCH, COMPILED)}
        rounds = [{name: timer.seconds(RUNS, 1) for name, timer in timers.items()} for _ in range(1 + ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return {name: statistics.median(seconds[name] for seconds in rounds[1:]) for name in timers}
