"""Work in a separate process that has a whole GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.errors import UserError
from sweep.config.spec import Spec
from sweep.execution.ray.nodes import last_line
from sweep.planning.plan import Pack

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

GPU_PATIENCE_SECONDS = 120.0
"""How long the work waits for a whole GPU; other jobs may use the cluster."""

PAYS_FROM_RUN_STEPS = 500_000
"""A measurement takes some seconds, mostly to start its process; these are the run-steps of about a minute."""


def measurement_pays(spec: Spec, packs: Sequence[Pack], data: DataSet) -> bool:
    """Return whether the training of ``packs`` is long enough for a measurement before it."""
    steps = spec.epochs * len(data.train_labels) / spec.protocol.batch_size
    return steps * sum(len(pack.runs) for pack in packs) >= PAYS_FROM_RUN_STEPS


class GpuTaskError(Exception):
    """Work on a GPU that did not end, in one line."""


def on_a_gpu(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run ``work`` in a separate process that has a whole GPU, and return its result.

    Raises:
        GpuTaskError: no GPU was free in time, or the process failed.
        UserError: raised by ``work``.
    """
    import ray

    task = ray.remote(num_gpus=1, max_calls=1, max_retries=0)(work).remote(*arguments)
    try:
        return ray.get(task, timeout=GPU_PATIENCE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        raise GpuTaskError(f"no GPU was free within {GPU_PATIENCE_SECONDS:g} seconds") from None
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError):
            raise cause from error
        raise GpuTaskError(last_line(error)) from error
