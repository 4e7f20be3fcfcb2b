"""torchvision, or one line that says why there is none.

torchvision registers its operators with the torch that it was compiled against. Beside another torch (a CUDA build
next to a CPU build, say) its import dies with ``operator torchvision::nms does not exist``, which tells a user
nothing; so it is imported through here, and only where it is used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from search_spaces.errors import EnvironmentMismatchError

MEND = "pip install -c constraints.txt torch torchvision"


def import_torchvision(submodule: str = "") -> ModuleType:
    """Return ``torchvision``, or ``torchvision.<submodule>``.

    Raises:
        EnvironmentMismatchError: torchvision is missing, or was built for another torch.
    """
    name = f"torchvision.{submodule}" if submodule else "torchvision"
    try:
        return importlib.import_module(name)
    # What a mismatch raises depends on how far the import came: RuntimeError (no such operator), OSError
    # (a shared library that does not link), AttributeError (a half-initialised module).
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise EnvironmentMismatchError(
            f"torchvision {_version('torchvision')} does not work beside torch {_version('torch')} ({reason}); "
            f"mend: {MEND}"
        ) from error


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"
