"""The runs that one process trains together as one stacked model, each with its own optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces import Run
from trainables.data import augmentation
from trainables.models.interface import Model
from trainables.models.kernels import COMPILED, TORCH
from trainables.models.lenet import CLASSES
from trainables.models.parameter_stack import ParameterStack
from trainables.models.registry import build_model
from trainables.models.stacked_lenet import StackedLeNet5
from trainables.optim.learner import Learner
from trainables.runtime.devices import use_precision
from trainables.training.batches import Batch, Split
from trainables.training.cuda_graphs import Graphs
from trainables.training.member import Member
from trainables.training.messages import AttemptInfo, EpochMetrics
from trainables.training.steps import make_step
from trainables.training.weight_average import WeightAverage

MICRO_BATCH = 64
"""Examples in one pass on a CPU, so that its values fit into the cache; the gradients add up to the batch's."""
EVALUATION_BATCH = 250


class Pack:
    """K ≥ 1 runs of one protocol, trained as one model. One run is a pack of one."""

    def __init__(
        self, runs: Sequence[Run], steps_per_epoch: int, device: torch.device, graphs: Graphs | None = None,
        classes: int = CLASSES, kernels: str = TORCH,
    ) -> None:  # fmt: skip
        """Start every run from its seed's weights. ``graphs`` says how its step is captured; None: as fits ``device``.

        ``kernels`` are those of the convolutions (:func:`usable_kernels`).

        Raises:
            SpecError: an optimizer or scheduler that refuses its parameters, or a precision that ``device`` has not.
        """
        self.runs = list(runs)
        self.device = device
        self.protocol = runs[0].conditions
        use_precision(device, self.protocol.precision)
        self.dtype: torch.dtype = getattr(torch, self.protocol.dtype)
        self.epoch = 0  # completed epochs
        self.step_in_epoch = 0  # completed steps of the next one
        self.epoch_seconds = 0.0  # spent on these steps
        self.model = build_model(self.protocol, classes, runs[0].seed)
        self._fast_model = StackedLeNet5(classes, compiled=True) if kernels == COMPILED else self.model
        if len({run.seed for run in runs}) > 1 and not isinstance(self.model, StackedLeNet5):
            raise ValueError(f"a pack of {self.model.name} has runs of one seed")
        states = {seed: self.model.initial_state(seed, self.dtype) for seed in {run.seed for run in runs}}
        self.stack = ParameterStack([states[run.seed] for run in runs], device)
        self.members = [self._member(k, run, steps_per_epoch) for k, run in enumerate(runs)]
        decay = self.protocol.ema_decay
        self.average = WeightAverage(self.stack, decay) if decay else None
        self.loss_sum = torch.zeros(len(runs), dtype=torch.float64, device=device)
        self.correct_sum = torch.zeros(len(runs), dtype=torch.int64, device=device)
        self.step_losses = torch.zeros_like(self.loss_sum)  # [K], means over the batch of the present step
        self.attempts: list[AttemptInfo] = []  # the present one last
        self.clips = self.protocol.grad_clip_norm > 0
        self._views_checked = False
        self._step = make_step(self, steps_per_epoch, graphs)

    def _member(self, k: int, run: Run, steps_per_epoch: int) -> Member:
        learner = Learner(
            run.configuration, self.stack.member(k), run.seed, round(run.configuration.warmup * steps_per_epoch),
            decay_on=run.protocol.weight_decay_on,
        )  # fmt: skip
        return Member(run, learner)

    @property
    def next_step(self) -> tuple[int, int]:
        """The epoch (from 1) and the step in it (from 0) that come next."""
        return self.epoch + 1, self.step_in_epoch

    @property
    def alive(self) -> list[Member]:
        """The members that have not diverged."""
        return [member for member in self.members if member.diverged_epoch is None]

    def train_step(self, batch: Batch, before_step: Callable[[Pack], None] | None = None) -> None:
        """Take one optimizer step of every member that has not diverged on ``batch``.

        ``before_step`` is called when the batch's gradients are complete, before the optimizers use them.
        """
        self._step.compute_gradients(batch)
        if before_step is not None:
            before_step(self)
        self._step.update()
        if self.average is not None:
            self.average.update()
        if not self._views_checked:
            self.check_views()
            self._views_checked = True
        self.step_in_epoch += 1

    def training_mode(self) -> None:
        """Give all runs the weights that are trained; with an average, and some optimizers, others are evaluated."""
        if self.average is not None:
            self.average.evaluate(False)
        for member in self.members:
            member.learner.training_mode()

    def evaluation_mode(self) -> None:
        """Give all runs the weights that are evaluated and stored."""
        for member in self.members:
            member.learner.evaluation_mode()
        if self.average is not None:
            self.average.evaluate(True)

    def check_views(self) -> None:
        """Check that every optimizer still updates its run's part of the stack.

        Raises:
            RuntimeError: an optimizer replaced the storage of a parameter, whose weights would no longer change.
        """
        for k, run in enumerate(self.runs):
            self.stack.check_views(k, run.configuration.optimizer)

    def measure(self, batch: Batch) -> Tensor:
        """As :meth:`backward`; the losses are also added to the epoch's, and kept as means of this step."""
        if any(member.learner.need != "gradients" for member in self.members):
            self.stack.keep_buffers()
        losses, correct = self.backward(batch)
        self.loss_sum += losses
        self.correct_sum += correct
        torch.div(losses, batch.labels.shape[1], out=self.step_losses)
        return losses

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leave the gradients of the mean loss over ``batch`` in the stack.

        Returns:
            The summed losses ``[K]`` and the numbers of correct predictions ``[K]``.
        """
        B = batch.labels.shape[1]
        self.stack.zero_grad()
        losses, correct = torch.zeros_like(self.loss_sum), torch.zeros_like(self.correct_sum)
        examples = MICRO_BATCH if self._step.splits_batches and self.model.splits_batches else B
        for start in range(0, B, examples):
            part = batch.part(start, start + examples)
            logits = self._logits(part)
            loss = _cross_entropy_sums(logits, part.labels, self.protocol.label_smoothing)
            (loss.sum() / B).backward()
            losses += loss.detach()
            correct += _correct(logits, part.labels)
        return losses, correct

    def differentiable_gradients(self, k: int, batch: Batch) -> list[Tensor]:
        """Return the gradients of run k on ``batch``, with their graph (``create_graph``)."""
        views = self.stack.member(k)
        buffers = {name: stacked[k : k + 1] for name, stacked in self.stack.buffers.items()}
        logits = self._logits(batch.of_run(k), {name: view[None] for name, view in views.items()}, buffers)
        loss = _cross_entropy_sums(logits, batch.of_run(k).labels, self.protocol.label_smoothing)
        mean = loss.sum() / batch.labels.shape[1]
        return list(torch.autograd.grad(mean, list(views.values()), create_graph=True))

    def _logits(
        self, batch: Batch, parameters: Mapping[str, Tensor] | None = None, buffers: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return the logits of the stack, or of models with ``parameters`` and ``buffers``."""
        images = augmentation.normalise(batch.images, self.dtype)
        shared = images[0] if len(images) == 1 else images
        stacked = self.stack.stacked if parameters is None else parameters
        own = self.stack.buffers if buffers is None else buffers
        model = self._fast_model if parameters is None else self.model  # compiled gradients have no graph
        return model.train_logits(stacked, own, shared, batch.masks, batch.draws)

    def clip_gradients(self) -> None:
        """Scale each run's gradient to the protocol's largest norm; nothing is done where it has none."""
        if self.clips:
            self.stack.clip_gradients(self.protocol.grad_clip_norm)

    def freeze_non_finite(self, losses: Tensor) -> None:
        """Freeze every run whose loss (``[K]``) is not finite: it diverged in the present epoch."""
        if bool(torch.isfinite(losses).all()):
            return
        for member, loss in zip(self.members, losses.tolist(), strict=True):
            if member.diverged_epoch is None and not math.isfinite(loss):
                member.diverged_epoch = self.epoch + 1

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return mean loss ``[K]`` and accuracy ``[K]`` in percent on ``split``, without dropout or augmentation."""
        return evaluate(self.stack.stacked, split, self._fast_model, self.stack.buffers)

    def state_dict(self, *, resumes: bool = True) -> dict[str, Any]:
        """Return all that training needs to continue, member by member, as tensors and plain values.

        Without ``resumes`` it has no state of optimizers and schedules: training cannot continue from it.
        """
        loss_sums, correct_sums = self.loss_sum.tolist(), self.correct_sum.tolist()
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "epoch_seconds": self.epoch_seconds,
            "resumes": resumes,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "members": [
                {
                    "run_id": member.run.run_id,
                    "parameters": {name: view.detach() for name, view in self.stack.member(k).items()},
                    **({"buffers": self.stack.member_buffers(k)} if self.stack.buffers else {}),
                    **(member.learner.state_dict() if resumes else {}),
                    **({"average": self.average.state_dict(k)} if resumes and self.average is not None else {}),
                    "rows": [dict(vars(row)) for row in member.rows],
                    "diverged_epoch": member.diverged_epoch,
                    "rates": member.lrs,
                    "loss_sum": loss_sums[k],
                    "correct_sum": correct_sums[k],
                }
                for k, member in enumerate(self.members)
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what :meth:`state_dict` returned for the same runs in the same order."""
        self.epoch, self.step_in_epoch = state["epoch"], state["step_in_epoch"]
        self.epoch_seconds = state["epoch_seconds"]
        self.attempts = [AttemptInfo.from_dict(attempt) for attempt in state["attempts"]]
        for k, (member, saved) in enumerate(zip(self.members, state["members"], strict=True)):
            if saved["run_id"] != member.run.run_id:
                raise ValueError(f"the state is of run {saved['run_id']}, not of {member.run.run_id}")
            member.learner.load_state_dict(saved)
            self.stack.load_member(k, saved["parameters"], saved.get("buffers"))
            if self.average is not None:
                self.average.load_state_dict(k, saved["average"])
            member.rows = [EpochMetrics(**row) for row in saved["rows"]]
            member.diverged_epoch = saved["diverged_epoch"]
            member.lrs = list(saved["rates"])
            self.loss_sum[k] = saved["loss_sum"]
            self.correct_sum[k] = saved["correct_sum"]
        self._step.state_loaded()


@torch.no_grad()
def evaluate(
    parameters: Mapping[str, Tensor], split: Split, model: Model | None = None,
    buffers: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return mean loss ``[K]`` and accuracy ``[K]`` in percent of K models on ``split``, in evaluation mode.

    ``parameters`` and ``buffers`` are those of ``model``, LeNet-5 where it is None, each with a leading ``[K]``.
    """
    model = StackedLeNet5(CLASSES) if model is None else model
    stacked = next(iter(parameters.values()))
    loss = torch.zeros(len(stacked), dtype=torch.float64, device=stacked.device)
    correct = torch.zeros(len(stacked), dtype=torch.int64, device=stacked.device)
    for start in range(0, len(split.labels), EVALUATION_BATCH):
        images = augmentation.normalise(split.images[start : start + EVALUATION_BATCH], stacked.dtype)
        labels = split.labels[None, start : start + EVALUATION_BATCH]
        logits = model.eval_logits(parameters, buffers or {}, images)
        loss += _cross_entropy_sums(logits, labels)
        correct += _correct(logits, labels)
    return loss / len(split.labels), 100.0 * correct.double() / len(split.labels)


def _cross_entropy_sums(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum the cross-entropy over the batch: ``[K, B, C]`` and ``[1 or K, B]`` to ``[K]``."""
    K, B, classes = logits.shape
    flat = labels.expand(K, B).reshape(-1)
    losses = F.cross_entropy(logits.reshape(K * B, classes), flat, reduction="none", label_smoothing=smoothing)
    return losses.view(K, B).sum(1)


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the correct predictions: ``[K, B, C]`` and ``[1 or K, B]`` to ``[K]``."""
    return (logits.detach().argmax(-1) == labels).sum(1)
