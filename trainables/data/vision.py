"""The import of torchvision, with a clear error where it does not match torch.

torchvision registers its operators with the torch that it was compiled against. With another torch (for example a
CUDA build of one and a CPU build of the other) its import fails with ``operator torchvision::nms does not exist``.
It is therefore imported through this module, and only where it is used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from search_spaces.errors import EnvironmentMismatchError

INSTALL = "pip install -c constraints.txt torch torchvision"


def import_torchvision(submodule: str = "") -> ModuleType:
    """Return ``torchvision``, or ``torchvision.<submodule>``.

    Raises:
        EnvironmentMismatchError: torchvision is missing or was built for another torch.
    """
    name = f"torchvision.{submodule}" if submodule else "torchvision"
    try:
        return importlib.import_module(name)
    # A mismatch can raise RuntimeError (no such operator), OSError (a shared library that does not link) or
    # AttributeError (a partially initialised module).
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise EnvironmentMismatchError(
            f"torchvision {_version('torchvision')} does not work with torch {_version('torch')} ({reason}); "
            f"run: {INSTALL}"
        ) from error


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"
