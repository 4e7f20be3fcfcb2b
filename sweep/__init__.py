"""Runs sweeps: the command line, and the Python interface.

``import sweep`` provides the names in ``__all__``; see :mod:`sweep.api`. Heavy libraries are imported at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.api import Analysis, Sweep, activations, confirm, gradients, load, lr_range, run, trajectory

__all__ = ["Analysis", "Sweep", "activations", "confirm", "gradients", "load", "lr_range", "run", "trajectory"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sweep' has no attribute {name!r}")
    from sweep import api

    return getattr(api, name)
