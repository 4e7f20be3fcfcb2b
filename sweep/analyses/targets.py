"""The runs that an analysis uses, with their data: from a space or from a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.ledger.ledger import Ledger
from results.ledger.queries import find_run, run_of
from search_spaces import Run
from search_spaces.errors import DataError, SpecError
from search_spaces.labels import configuration_labels
from search_spaces.models import LENET5
from sweep.config.data import load_spec_data
from sweep.config.spec import Spec
from sweep.config.toml import read_spec
from sweep.driver.driver import read_resolved
from sweep.folder.paths import SweepFolder
from sweep.planning.model import plan_model
from sweep.planning.plan import make_runs, resolve_configurations

if TYPE_CHECKING:
    import torch

    from trainables.data.dataset import DataSet


@dataclass(frozen=True)
class Subjects:
    """Runs of one protocol, their data, and the folder for the results."""

    folder: SweepFolder
    spec: Spec
    data: DataSet
    runs: tuple[Run, ...]
    labels: Mapping[str, str]  # configuration id → its short name
    order: tuple[str, ...]  # the ids of all runs that these were chosen from

    def label(self, run: Run) -> str:
        """Return the short name of the run's configuration."""
        return self.labels[run.configuration.configuration_id]

    def only(self, *runs: Run) -> Subjects:
        """Return the same with these runs only."""
        return replace(self, runs=runs)

    def require_lenet5(self, analysis: str) -> None:
        """Refuse runs of another model.

        Raises:
            SpecError: the analysis and the model.
        """
        if self.spec.model != LENET5:
            others = "sweep gradients and sweep lr-range analyse every model"
            raise SpecError(analysis, f"the model of {self.spec.name} is {self.spec.model!r}, not LeNet-5", others)

    def about(self, run: Run, kind: str, device: torch.device) -> dict[str, Any]:
        """Return the description of the run that every analysis stores."""
        import torch

        from trainables.runtime.devices import device_name, library_versions

        return {
            "kind": kind,
            "run_id": run.run_id,
            "label": self.label(run),
            "configuration": run.configuration.to_dict(),
            "seed": run.seed,
            "order": self.order.index(run.run_id),
            "data": self.data.name,
            "synthetic": self.data.synthetic,
            "title": self.data.title,
            "classes": self.data.classes,
            "protocol": run.protocol.to_dict(),
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "versions": library_versions(),
        }


def of_space(source: str | Spec, overrides: Mapping[str, Any], runs_dir: Path, seed: int | None = None) -> Subjects:
    """Return every configuration of a space or a spec file under one seed, the spec's first one by default.

    Raises:
        UserError: a spec or data that cannot be read.
    """
    spec = source if isinstance(source, Spec) else read_spec(source, overrides)
    data = load_spec_data(spec.data, spec.data_options)
    spec, model = plan_model(spec, data.classes)
    examples = len(data.train_labels)
    configurations = resolve_configurations(
        spec, math.ceil(examples / spec.protocol.batch_size), examples, model.layout
    )
    folder = SweepFolder(runs_dir, spec.name)
    folder.check_links()
    one_seed = spec.model_copy(update={"seeds": [spec.seed_list[0] if seed is None else seed]})
    runs = make_runs(one_seed, configurations, data.fingerprint)
    return Subjects(
        folder, spec, data, tuple(runs), configuration_labels(configurations),
        tuple(run.run_id for run in runs),
    )  # fmt: skip


def of_sweep(folder: SweepFolder, run: str | None = None, data: str | None = None) -> Subjects:
    """Return the planned runs of a sweep, or the one that ``run``, an id or the beginning of one, names.

    Args:
        folder: the folder of the sweep.
        run: a run's id, or the beginning of it.
        data: where the data lie now, if not where the sweep's spec says.

    Raises:
        UnknownNameError: no such run.
        DataError: the data are not those that the sweep was trained on.
    """
    spec = read_resolved(folder, {} if data is None else {"data": data})
    with Ledger.open_read_only(folder.ledger) as ledger:
        planned = [run_of(ledger, run_id) for run_id in ledger.statuses()]
        chosen = planned if run is None else [run_of(ledger, find_run(ledger, run))]
    loaded = load_spec_data(spec.data, spec.data_options)
    if chosen and chosen[0].data_fingerprint != loaded.fingerprint:
        raise DataError(
            f"data: {spec.data}: not the data that the sweep {folder.name!r} was trained on (its fingerprint is "
            f"{loaded.fingerprint[:12]}, theirs {chosen[0].data_fingerprint[:12]}); say where those are with --data"
        )
    configurations = list(dict.fromkeys(one.configuration for one in [*planned, *chosen]))
    order = tuple(dict.fromkeys(one.run_id for one in [*planned, *chosen]))
    return Subjects(folder, spec, loaded, tuple(chosen), configuration_labels(configurations), order)
