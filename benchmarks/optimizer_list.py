"""The verified list in ``docs/optimizers.md``: ``python -m benchmarks.optimizer_list [--write]``.

Every optimizer of :data:`~benchmarks.published_optimizers.PUBLISHED` trains two epochs in float64, in a pack with
another run, and is compared with a plain loop that uses the unmodified class. It is also trained with two
interruptions. Optimizers of packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.published_optimizers import PUBLISHED, Published
from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import UserError
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.optim.needs import REASONS, need_of
from trainables.optim.optimizers import complete_optimizer, optimizer_class
from trainables.optim.planning_trial import why_not_resumed
from trainables.optim.validation import complete_configuration
from trainables.runtime.seeding import seeded_globals
from trainables.training.batches import Batches
from trainables.training.checkpoints import Checkpoints
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment

CPU = torch.device("cpu")
PROTOCOL = Protocol(batch_size=16, dtype="float64")
EPOCHS = 2
Losses = list[tuple[float, float]]
"""Training and validation loss of each epoch."""
STOPS = (3, 6)
"""Steps after which a training is stopped, and stopped again: in the first and in the second epoch of seven steps."""
LARGEST_DIFFERENCE = 1e-9
PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"
MARKS = ("<!-- begin of the list -->\n", "<!-- end of the list -->\n")


@dataclass(frozen=True)
class Checked:
    """What was found about an optimizer."""

    published: Published
    refused: str = ""  # the line that a sweep prints; empty: it trains
    restarts: str = ""  # why it does not resume exactly; empty: it does
    own_pack: str = ""  # why its runs do not share a pack; empty: they do
    difference: float = math.nan  # largest relative difference of a loss from the plain loop
    own_difference: float = math.nan  # that of the plain loop from itself, with weights that differ by 1e-15
    resumed: bool = False  # whether every loss after a stop had the same bits

    def row(self) -> str:
        """Return the row of the table."""
        how = f"refused: {self.refused}" if self.refused else "restarts" if self.restarts else "exact resume"
        sensitive = f"the plain loop itself changes by {self.own_difference:.0e} with weights that differ by 1e-15"
        found = (
            self.restarts, self.own_pack and f"own pack: {self.own_pack}",
            "" if math.isnan(self.own_difference) else sensitive,
        )  # fmt: skip
        notes = "; ".join(note for note in found if note)
        difference = "" if math.isnan(self.difference) else f"{self.difference:.0e}"
        package = f"{self.published.package} {version(self.published.package)}"
        return f"| {package} | `{self.published.title}` | {how.replace('|', '/')} | {difference} | {notes} |"


def data() -> DataSet:
    """Return 100 images to train on, in six batches of 16 and a smaller one, and 28 to validate on."""
    return load_data("synthetic:n_train=128,n_test=100,seed=1", val_fraction=0.5)


def without_compilation(published: Published) -> None:
    """Switch off the compilation of heavyball's steps, which takes minutes; the package has this setting."""
    if published.module == "heavyball":
        importlib.import_module("heavyball").utils.compile_mode = None


def check(published: Published, images: DataSet) -> Checked:
    """Train ``published`` in a pack and in a plain loop, and stop and resume it."""
    without_compilation(published)
    steps = math.ceil(len(images.train_labels) / PROTOCOL.batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            asked = Configuration(published.name, published.params)
            found = complete_configuration(asked, EPOCHS, steps, "list", [published.module], PROTOCOL)
            reason = why_not_resumed(found, torch.float64, "list")
            own_pack = REASONS.get(need_of(found), "")
        except UserError as error:
            return Checked(published, refused=str(error).removeprefix("list: "))
        found = replace(found, cannot_resume=reason)
        ours = trained(found, images)
        theirs = plain_losses(published, images)
        difference, own = largest_difference(ours, theirs), math.nan
        if difference > LARGEST_DIFFERENCE:
            own = largest_difference(plain_losses(published, images, 1e-15), theirs)
        resumed = not reason and trained(found, images, STOPS) == ours
        return Checked(published, "", reason, own_pack, difference, own, resumed)


def largest_difference(one: Losses, other: Losses) -> float:
    """Return the largest relative difference of a loss."""
    pairs = [pair for ours, theirs in zip(one, other, strict=True) for pair in zip(ours, theirs, strict=True)]
    return max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)


def trained(configuration: Configuration, images: DataSet, stops: Sequence[int] = ()) -> Losses:
    """Return training and validation loss of each epoch, in a pack with another run.

    After each number of steps in ``stops`` the training is stopped and resumed from its checkpoint.
    """
    other = replace(
        configuration, optimizer="SGD", optimizer_params=complete_optimizer("SGD", {"lr": 0.1}, "optimizer")
    )
    runs = [Run(one, seed, PROTOCOL, "list") for seed, one in enumerate((configuration, other))]
    assignment = Assignment("list", runs, EPOCHS, frozenset(), resumes=not configuration.cannot_resume)
    with tempfile.TemporaryDirectory() as place:
        for steps in [*stops, 0]:
            left = chain([False] * (steps - 1), [True], repeat(False)) if steps else repeat(False)
            options = TrainOptions(checkpoints=Checkpoints(Path(place)), asked_to_stop=partial(next, left))
            reports = list(train(assignment, images, CPU, options))
            rows = [row for report in reports for row in report.rows if row.run_id == runs[0].run_id]
    return [(row.train_loss, row.val_loss) for row in rows]


def plain_losses(published: Published, images: DataSet, noise: float = 0.0) -> Losses:
    """Return training and validation loss of each epoch of one ordinary model and the unmodified class.

    Random numbers of a step are drawn as in a sweep. ``noise`` is the relative change of the initial weights.
    """
    batches = Batches(images, [0], PROTOCOL, CPU)
    model = LeNet5(images.classes).double()
    model.load_state_dict(initial_parameters(0, torch.float64, images.classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + noise)
    found = optimizer_class(published.name, "list", wraps="base" in published.params)
    with seeded_globals(CPU, 0, "optimizer"):
        optimizers = published.build(found, model)
    val_images, val_labels = (torch.from_numpy(part) for part in (images.val_images, images.val_labels))
    need = need_of(Configuration(published.name, complete_optimizer(published.name, published.params, "list")))
    losses = []
    _mode(optimizers, "train")
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for step in range(batches.steps):
            closure = _closure(model, batches, epoch, step, create_graph=need == "graph")
            total += closure().item() * batches.batch(epoch, step).labels.shape[1]
            with seeded_globals(CPU, 0, "optimizer", epoch, step):
                for optimizer in optimizers:
                    optimizer.step(*([closure] if need == "closure" else []))
        _mode(optimizers, "eval")
        with torch.no_grad():
            logits = model(augmentation.normalise(val_images, torch.float64))
            losses.append((total / batches.examples, F.cross_entropy(logits, val_labels).item()))
        _mode(optimizers, "train")
    return losses


def _closure(
    model: LeNet5, batches: Batches, epoch: int, step: int, *, create_graph: bool
) -> Callable[[], Tensor]:  # fmt: skip
    batch = batches.batch(epoch, step)
    assert batch.masks is not None
    images, masks = augmentation.normalise(batch.images[0], torch.float64), (batch.masks[0][0], batch.masks[1][0])

    @torch.enable_grad()
    def closure() -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(model(images, masks), batch.labels[0])
        loss.backward(create_graph=create_graph)
        return loss

    return closure


def _mode(optimizers: Any, mode: str) -> None:
    for optimizer in optimizers:
        if callable(getattr(optimizer, mode, None)):
            getattr(optimizer, mode)()


def installed() -> list[Published]:
    """Return the entries whose packages are installed."""
    return [one for one in PUBLISHED if importlib.util.find_spec(one.module) is not None]


def table(checked: list[Checked]) -> str:
    """Return the list as Markdown."""
    head = (
        "| package | optimizer | after an interruption | largest difference | notes |\n| --- | --- | --- | --- | --- |"
    )
    return "\n".join([head, *(one.row() for one in checked), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the list into docs/optimizers.md")
    parser.add_argument("names", nargs="*", help="only entries whose names contain one of these")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images, checked = data(), []
    for one in installed():
        if not asked.names or any(name in one.name for name in asked.names):
            checked.append(check(one, images))
            print(checked[-1].row(), "" if checked[-1].resumed else "(no exact resume)", flush=True)
    if asked.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        PAGE.write_text(f"{before}{MARKS[0]}{table(checked)}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
