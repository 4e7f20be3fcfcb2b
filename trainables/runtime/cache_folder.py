"""The folder of this user for decoded data sets and compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """``$LENET_SWEEP_CACHE``, else ``$XDG_CACHE_HOME/lenet-sweep``, else ``~/.cache/lenet-sweep``."""
    if own := os.environ.get("LENET_SWEEP_CACHE"):
        return Path(own).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "lenet-sweep"
    return Path.home() / ".cache" / "lenet-sweep"
