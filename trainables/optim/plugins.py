"""Objects that a spec names as ``module:attribute``: only from installed packages and the working directory.

The folder of a sweep may come from another person, so no code in it is imported. A folder with a ledger is the folder
of a sweep, with all its sub-folders.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from search_spaces.errors import SpecError, UnknownNameError

LEDGER = "ledger.sqlite"
HINT = "use a module:attribute of an installed package or of a file in the working directory"


def import_named(name: str, where: str) -> Any:
    """Return the object that ``module:attribute`` names.

    The locations of the module and of its parent packages are checked before any of them is executed.

    Raises:
        SpecError: a missing module, one of Python's standard library or in the folder of a sweep, or a failed import.
        UnknownNameError: the module has no such attribute; the message lists its attributes.
    """
    module, _, attribute = name.partition(":")
    _check_place(module, name, where)
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # imported code may raise anything
        raise SpecError(where, f"cannot import {name!r} ({_one_line(error)})", HINT) from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        public = [known for known in vars(found) if not known.startswith("_")]
        raise UnknownNameError(f"attribute of {module}", attribute, public, where) from error


def in_sweep_folder(path: Path) -> bool:
    """Return whether ``path`` is in the folder of a sweep, as written or with its links resolved."""
    written = Path(os.path.abspath(path))  # noqa: PTH100  Path.resolve follows links, Path.absolute keeps `..`
    places = (place for start in (written, written.resolve()) for place in (start, *start.parents))
    return any(os.path.lexists(place / LEDGER) for place in places)


def leave_sweep_folders() -> None:
    """Remove folders of sweeps from Python's path: the import of an optional library would search them."""
    sys.path[:] = [place for place in sys.path if not in_sweep_folder(Path(place))]


def _check_place(module: str, name: str, where: str) -> None:
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise SpecError(where, f"{name!r} is a module of Python's standard library", HINT)
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # Python executes a package before it searches for a module in it
        try:
            spec = importlib.util.find_spec(".".join(parts[:depth]))
        except (Exception, SystemExit) as error:  # this executes the parent package, which may raise anything
            raise SpecError(where, f"cannot import {name!r} ({_one_line(error)})", HINT) from error
        if spec is None:
            raise SpecError(where, f"cannot import {name!r} (no module named {'.'.join(parts[:depth])!r})", HINT)
        for place in _places(spec):
            if in_sweep_folder(Path(place)):
                raise SpecError(
                    where, f"{name!r} would be imported from {place}, which is in the folder of a sweep", HINT
                )


def _places(spec: ModuleSpec) -> Iterator[str]:
    if spec.has_location and spec.origin:
        yield spec.origin
    yield from spec.submodule_search_locations or ()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
