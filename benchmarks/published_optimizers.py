"""Published optimizers with the parameters under which ``benchmarks.optimizer_list`` checks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Built = Sequence[Any]
"""The optimizers of a plain loop: one, or one for each part of the parameters."""


@dataclass(frozen=True)
class Published:
    """An optimizer of a package, as a spec names it, and the same one as its documentation builds it."""

    package: str  # on PyPI
    name: str  # in a spec
    params: dict[str, Any] = field(default_factory=dict)
    plain: Callable[[type, nn.Module], Built] | None = None  # from class and model; None: cls(parameters, **params)

    @property
    def module(self) -> str:
        """The top-level module."""
        return self.name.partition(":")[0].partition(".")[0] if ":" in self.name else "torch"

    @property
    def title(self) -> str:
        """The class, with the optimizers in it."""
        base, rest = (self.params.get(key, {}).get("name", "") for key in ("base", "rest"))
        return self.name.rpartition(":")[2] + (f"({base})" if base else "") + (f"+{rest}" if rest else "")

    def build(self, found: type, model: nn.Module) -> Built:
        """Return the optimizers of a plain loop."""
        if self.plain is not None:
            return self.plain(found, model)
        params = {key: tuple(value) if isinstance(value, list) else value for key, value in self.params.items()}
        return [found(model.parameters(), **params)]


SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9}


def _around_sgd(found: type, model: nn.Module, **params: Any) -> Built:
    return [found(torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), **params)]


def _with_sgd_class(found: type, model: nn.Module, **params: Any) -> Built:
    return [found(model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9, **params)]


def _muon_groups(found: type, model: nn.Module) -> Built:
    dense = [tensor for tensor in model.parameters() if tensor.dim() == 2]
    others = [tensor for tensor in model.parameters() if tensor.dim() != 2]
    return [found([{"params": others, "use_muon": False}, {"params": dense, "use_muon": True}], lr=0.01)]


def _muon_and_adamw(found: type, model: nn.Module) -> Built:
    dense = [tensor for tensor in model.parameters() if tensor.dim() == 2]
    others = [tensor for tensor in model.parameters() if tensor.dim() != 2]
    return [found(dense, lr=0.02), torch.optim.AdamW(others, lr=0.003)]


def _all(package: str, module: str, names: str, **params: Any) -> list[Published]:
    return [Published(package, f"{module}:{name}", {"lr": 0.01, **params}) for name in names.split()]


PUBLISHED: list[Published] = [
    Published("torch", "LBFGS", {"lr": 0.1, "max_iter": 3}),
    Published("torch", "Muon", {"lr": 0.02, "rest": {"name": "AdamW", "lr": 0.003}}, _muon_and_adamw),
    *_all("lion-pytorch", "lion_pytorch", "Lion"),
    *_all("adabelief-pytorch", "adabelief_pytorch", "AdaBelief", print_change_log=False),
    *_all("came-pytorch", "came_pytorch", "CAME"),
    *_all("adan-pytorch", "adan_pytorch", "Adan"),
    Published("prodigyopt", "prodigyopt:Prodigy"),
    *(Published("dadaptation", f"dadaptation:{name}") for name in ("DAdaptAdam", "DAdaptSGD", "DAdaptLion")),
    *_all("schedulefree", "schedulefree", "SGDScheduleFree AdamWScheduleFree RAdamScheduleFree"),
    Published("schedulefree", "schedulefree:ScheduleFreeWrapper", {"base": SGD}, _around_sgd),
    *_all("timm", "timm.optim", "Lamb Lars Adopt LaProp Mars SGDP Adahessian"),
    Published(
        "timm", "timm.optim:Lookahead", {"k": 2, "base": SGD}, lambda found, model: _around_sgd(found, model, k=2)
    ),
    *_all("torch_optimizer", "torch_optimizer", "AdaBound AdaMod AggMo DiffGrad QHAdam Yogi Ranger SWATS NovoGrad"),
    *_all("torch_optimizer", "torch_optimizer", "Shampoo Adahessian MADGRAD"),
    Published("torch_optimizer", "torch_optimizer:A2GradUni"),
    Published(
        "torch_optimizer", "torch_optimizer:Lookahead", {"k": 2, "base": SGD},
        lambda found, model: _around_sgd(found, model, k=2),
    ),
    *_all("pytorch_optimizer", "pytorch_optimizer", "ADOPT AdEMAMix Kate SOAP StableAdamW Tiger"),
    *_all("pytorch_optimizer", "pytorch_optimizer", "AdaHessian SophiaH ScheduleFreeAdamW Gravity"),
    *_all("pytorch_optimizer", "pytorch_optimizer", "MADGRAD SPAM StableSPAM Conda ScalableShampoo DASH"),
    Published("pytorch_optimizer", "pytorch_optimizer:A2Grad"),
    Published("pytorch_optimizer", "pytorch_optimizer:AliG", {"max_lr": 0.1}),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:SAM", {"base": SGD},
        lambda found, model: _with_sgd_class(found, model),
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:LookSAM", {"base": SGD},
        lambda found, model: _with_sgd_class(found, model),
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:FriendlySAM", {"base": SGD},
        lambda found, model: _with_sgd_class(found, model),
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:WSAM", {"base": SGD},
        lambda found, model: [found(model, model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9)],
    ),
    *_all("pytorch_optimizer", "pytorch_optimizer", "BSAM", num_data=100),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:Lookahead", {"k": 2, "base": SGD},
        lambda found, model: _around_sgd(found, model, k=2),
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:OrthoGrad", {"base": SGD}, _around_sgd,
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:Muon",
        {"lr": 0.01, "groups": [{"match": "2d", "use_muon": True}, {"match": "*", "use_muon": False}]}, _muon_groups,
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:AdaMuon",
        {"lr": 0.01, "groups": [{"match": "2d", "use_muon": True}, {"match": "*", "use_muon": False}]}, _muon_groups,
    ),
    Published(
        "pytorch_optimizer", "pytorch_optimizer:AdamMini", {"lr": 0.01}, lambda found, model: [found(model, lr=0.01)]
    ),
    *_all("pytorch_optimizer", "pytorch_optimizer", "SCION Alice LOMO DistributedMuon"),
    Published("pytorch_optimizer", "pytorch_optimizer:GSAM", {"base": SGD}),
    *(Published("parameterfree", f"parameterfree:{name}") for name in ("COCOB", "KT")),
    *_all("heavyball", "heavyball", "SGD AdamW LaProp AdEMAMix SignLaProp SFAdamW MSAMLaProp Muon Scion SOAP"),
    Published("heavyball", "heavyball:SAMWrapper"),
]  # fmt: skip
"""Every entry of ``docs/optimizers.md``, by package."""
