"""The parameters and buffers of K models as one stack, and the view of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trainables.models.interface import ModelState

CLIP_EPS = 1e-6
"""Added to the norm by ``torch.nn.utils.clip_grad_norm_``."""


class ParameterStack:
    """Each parameter of K models as one leaf ``[K, …]`` with one gradient ``[K, …]``.

    The parameters of member k are the views ``stacked[k]``. An optimizer that updates them in place updates the
    stack, so one forward and backward pass serves K ordinary optimizers. Buffers are stacked too, without gradients.
    """

    def __init__(self, members: Sequence[ModelState], device: torch.device) -> None:
        """``members`` holds the initial state of each of the K models."""
        self.stacked: dict[str, Tensor] = {}
        for name in members[0].parameters:
            leaf = torch.stack([member.parameters[name] for member in members]).to(device).requires_grad_()
            leaf.grad = torch.zeros_like(leaf)
            self.stacked[name] = leaf
        self.buffers: dict[str, Tensor] = {
            name: torch.stack([member.buffers[name] for member in members]).to(device) for name in members[0].buffers
        }
        self._buffers_before: dict[str, Tensor] = {}
        self._views = [self._view(k) for k in range(len(members))]

    def _view(self, k: int) -> dict[str, nn.Parameter]:
        views = {}
        for name, leaf in self.stacked.items():
            assert leaf.grad is not None
            view = nn.Parameter(leaf.detach()[k])
            view.grad = leaf.grad[k]
            views[name] = view
        return views

    def member(self, k: int) -> dict[str, nn.Parameter]:
        """Return the parameters of model k, which share storage and gradients with the stack."""
        return self._views[k]

    def zero_grad(self) -> None:
        """Set all gradients to zero in place: the views of the members stay valid."""
        torch._foreach_zero_([leaf.grad for leaf in self.stacked.values() if leaf.grad is not None])

    @torch.no_grad()
    def clip_gradients(self, most: float) -> None:
        """Scale the gradient of each model so that its norm is at most ``most``, as ``clip_grad_norm_`` does."""
        gradients = [leaf.grad for leaf in self.stacked.values() if leaf.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        factors = (most / (torch.linalg.vector_norm(norms, dim=0) + CLIP_EPS)).clamp(max=1.0)  # [K]
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def member_buffers(self, k: int) -> dict[str, Tensor]:
        """Return the buffers of model k, which share storage with the stack."""
        return {name: stacked[k] for name, stacked in self.buffers.items()}

    def keep_buffers(self) -> None:
        """Keep a copy of the buffers, for :meth:`restore_buffers`."""
        self._buffers_before = {name: buffer.clone() for name, buffer in self.buffers.items()}

    def restore_buffers(self) -> None:
        """Give the buffers their values at :meth:`keep_buffers`."""
        for name, before in self._buffers_before.items():
            self.buffers[name].copy_(before)

    def load_member(
        self, k: int, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None
    ) -> None:
        """Copy ``parameters``, and ``buffers`` unless they are None, into model k."""
        with torch.no_grad():
            for name, view in self._views[k].items():
                view.copy_(parameters[name])
            for name, buffer in (buffers or {}).items():
                self.buffers[name][k].copy_(buffer)

    def check_views(self, k: int, rule: str) -> None:
        """Check that the parameters of model k still share storage with the stack.

        Raises:
            RuntimeError: the optimizer ``rule`` replaced the storage of a parameter.
        """
        for name, leaf in self.stacked.items():
            if self._views[k][name].data_ptr() != leaf[k].data_ptr():
                raise RuntimeError(f"{rule} does not update {name} in place; it cannot train in a pack")
