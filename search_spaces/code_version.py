"""The code that trains, as a hash of its source files."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

PACKAGES = ("search_spaces", "trainables")
"""The packages that decide the numbers of a run."""
SOURCES = (".py", ".cpp")


@cache
def code_hash(root: Path | None = None) -> str:
    """Return 16 hex digits over the source files of :data:`PACKAGES`, as this process imports them.

    Args:
        root: a folder that holds other copies of the packages; None: where this process imports them from.

    Raises:
        FileNotFoundError: a package is missing.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = _imported(package) if root is None else root / package
        files = sorted(path for path in folder.rglob("*") if path.suffix in SOURCES and "__pycache__" not in path.parts)
        if not files:
            raise FileNotFoundError(f"{folder}: no source files")
        for path in files:
            content = path.read_bytes()
            digest.update(f"{package}/{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _imported(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{package}: not found")
    return Path(next(iter(spec.submodule_search_locations)))


def other_copy(folder: Path) -> Path | None:
    """Return the package in ``folder`` that another process would import in place of ours; None if there is none.

    Ray's workers import from the working directory first. A copy with the same content does no harm.
    """
    for package in PACKAGES:
        if (folder / package / "__init__.py").is_file():
            try:
                return None if code_hash(folder) == code_hash() else folder / package
            except OSError:
                return folder / package
    return None
