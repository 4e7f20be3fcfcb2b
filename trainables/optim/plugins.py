"""What a spec names as ``module:attribute``: imported from an installed package or the working directory alone.

A sweep's folder may come from anybody, so nothing in one is ever imported. It is told by its ledger: a folder that
holds one is a sweep's, with all that lies below.
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
MEND = "name a module:attribute of an installed package, or of a file in the working directory"


def import_named(name: str, where: str) -> Any:
    """Return the object that ``module:attribute`` names.

    Where a module lies is looked at before it is run, that of every package above it, too.

    Raises:
        SpecError: no such module, one of Python's own, one in a sweep's folder, or one that breaks off.
        UnknownNameError: the module has no such attribute; the line lists those that it has.
    """
    module, _, attribute = name.partition(":")
    _check_place(module, name, where)
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        raise SpecError(where, f"cannot import {name!r} ({_one_line(error)})", MEND) from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        public = [known for known in vars(found) if not known.startswith("_")]
        raise UnknownNameError(f"attribute of {module}", attribute, public, where) from error


def in_sweep_folder(path: Path) -> bool:
    """Tell whether ``path`` lies in a sweep's folder, as it is written or once its links are followed."""
    written = Path(os.path.abspath(path))  # noqa: PTH100  Path.resolve follows links, Path.absolute keeps `..`
    places = (place for start in (written, written.resolve()) for place in (start, *start.parents))
    return any(os.path.lexists(place / LEDGER) for place in places)


def leave_sweep_folders() -> None:
    """Take every place in a sweep's folder off Python's path: an optional library could be looked for there."""
    sys.path[:] = [place for place in sys.path if not in_sweep_folder(Path(place))]


def _check_place(module: str, name: str, where: str) -> None:
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise SpecError(where, f"{name!r} is Python's own", MEND)
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # a package is run before a module in it is looked for
        try:
            spec = importlib.util.find_spec(".".join(parts[:depth]))
        except (Exception, SystemExit) as error:  # the package above it is run here, and may raise anything
            raise SpecError(where, f"cannot import {name!r} ({_one_line(error)})", MEND) from error
        if spec is None:
            raise SpecError(where, f"cannot import {name!r} (no module named {'.'.join(parts[:depth])!r})", MEND)
        for place in _places(spec):
            if in_sweep_folder(Path(place)):
                raise SpecError(
                    where, f"{name!r} would come from {place}, in a sweep's folder: nothing there is run", MEND
                )


def _places(spec: ModuleSpec) -> Iterator[str]:
    if spec.has_location and spec.origin:
        yield spec.origin
    yield from spec.submodule_search_locations or ()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
