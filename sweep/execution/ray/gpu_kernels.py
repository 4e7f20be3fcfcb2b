"""The kernels of each pack size on a GPU: as the ledger has them, else as a measurement on a GPU finds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
from search_spaces.models import LENET5
from sweep.config.spec import Spec
from sweep.execution.ray.gpu_task import GpuTaskError, measurement_pays, on_a_gpu
from sweep.planning.plan import Pack
from trainables.data.dataset import DataSet

KEY = "kernels on gpu"
"""Key of the ledger's ``meta``: a JSON object, number of runs in a pack → their name; empty: they were not measured."""


def gpu_kernels(spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> Mapping[int, str]:
    """Return the kernels of LeNet-5's convolutions for the sizes of ``packs`` that were measured in this sweep.

    A size keeps its first choice, because other kernels round differently: also that of a short sweep or of a failed
    measurement, which is the choice without a measurement, and that of packs that an earlier version trained.

    Raises:
        SpecError: a precision that the GPU has not.
        LedgerError: what the ledger keeps cannot be read.
    """
    if not spec.resources.gpus:
        return {}
    kept = _kept(ledger)
    trained = ledger.epochs_recorded()
    begun = {len(pack.runs) for pack in packs if any(trained.get(run_id) for run_id in pack.run_ids)}
    sizes = {len(pack.runs) for pack in packs} - set(kept)
    new, found = sorted(sizes - begun), dict.fromkeys(sorted(sizes), "")
    measured = spec.model == LENET5 and measurement_pays(spec, packs, data)
    if (measured and new) or spec.protocol.precision != "float32":
        from trainables.profiling.gpu_kernels import measured_kernels

        try:
            runs = list(max(packs, key=lambda pack: len(pack.runs)).runs)
            found |= on_a_gpu(measured_kernels, runs, new if measured else [], data)
        except GpuTaskError:
            pass
    if found:
        kept = {**kept, **found}
        ledger.keep(KEY, json.dumps({str(size): name for size, name in sorted(kept.items())}))
    return {size: name for size, name in kept.items() if name}


def _kept(ledger: Ledger) -> dict[int, str]:
    from trainables.models.lenet import CONVOLUTIONS

    text = ledger.kept(KEY)
    try:
        kept = {int(size): name for size, name in json.loads(text or "{}").items()}
        if not all(name in ("", *CONVOLUTIONS) for name in kept.values()):
            raise ValueError(f"kernels that are none of {', '.join(CONVOLUTIONS)}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LedgerError(f"{ledger.path}: its kernels on a GPU cannot be read ({error})") from error
    return kept
