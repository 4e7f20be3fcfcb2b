"""The model of a sweep, tried before its runs are packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search_spaces import Configuration
from search_spaces.models import LENET5, model_title
from sweep.config.spec import Spec

if TYPE_CHECKING:
    from trainables.optim.tiny_model import Layout


@dataclass(frozen=True)
class ModelPlan:
    """What planning needs to know about the model of a sweep. The defaults are those of LeNet-5."""

    name: str = LENET5
    parameters: int = 0  # 0: not counted
    cost: float = 1.0  # multiplications of a forward pass, relative to LeNet-5
    alone: str = ""  # why a pack has one run; empty: packs have several
    layout: Layout = ()  # name and number of dimensions of each parameter; empty: LeNet-5's
    cannot_resume: str = ""  # why its runs restart after an interruption; empty: they resume

    def configurations(self, found: Sequence[Configuration]) -> list[Configuration]:
        """Return the configurations, marked if a checkpoint does not hold all state of the model."""
        if not self.cannot_resume:
            return list(found)
        return [replace(one, cannot_resume=one.cannot_resume or self.cannot_resume) for one in found]

    def lines(self) -> list[str]:
        """Return what the user is told: nothing for LeNet-5."""
        if self.name == LENET5:
            return []
        title = model_title(self.name)
        text = f"model {self.name}{f' ({title})' if title != self.name else ''}: {self.parameters:,} parameters, "
        text += f"{self.cost:.3g} times the multiplications of LeNet-5; "
        text += f"one run per pack: {self.alone}" if self.alone else "its runs share packs"
        return [text]


def plan_model(spec: Spec, classes: int) -> tuple[Spec, ModelPlan]:
    """Return ``spec``, with one run per pack if its model requires it, and the plan for the model.

    A model that is not LeNet-5 is tried for a few steps.

    Raises:
        SpecError, UnknownNameError: a model that cannot be trained; nothing has started yet.
    """
    if spec.model == LENET5:
        return spec, ModelPlan()
    from trainables.training.model_trial import try_model

    facts = try_model(spec.shared_protocol, classes, spec.imports.packages, f"{spec.name}: model")
    if facts.alone:
        spec = spec.model_copy(update={"resources": spec.resources.model_copy(update={"pack": 1})})
    return spec, ModelPlan(spec.model, facts.parameters, facts.cost, facts.alone, facts.layout, facts.cannot_resume)
