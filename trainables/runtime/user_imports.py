"""Objects that a spec names as ``module:attribute``: only from installed packages and the working directory.

The folder of a sweep may come from another person, so no code in it is imported. A folder with a ledger is the folder
of a sweep, with all its sub-folders.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from search_spaces.errors import SpecError, UnknownNameError, shown

LEDGER = "ledger.sqlite"
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages; the one of a virtual environment may be in the working directory."""
HINT = "use a module:attribute of a file in the working directory or of an installed package"


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
        raise SpecError(where, f"cannot import {shown(name)} ({_one_line(error)})", HINT) from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        package = module.partition(".")[0]  # its own names, not those that it imports from other libraries
        public = [
            known
            for known, value in vars(found).items()
            if not known.startswith("_") and str(getattr(value, "__module__", "")).partition(".")[0] == package
        ]
        raise UnknownNameError(f"attribute of {module}", attribute, public, where) from error


def check_named(name: str, packages: Collection[str], where: str) -> None:
    """Refuse ``module:attribute`` in a package that the author of the spec does not list. Nothing is imported.

    Allowed are PyTorch, modules in the working directory, and ``packages``. A spec of another person can otherwise
    call any function that is installed.

    Raises:
        SpecError: the name, and the package to list.
    """
    package = name.partition(":")[0].partition(".")[0]
    if package == "torch" or package in packages or package in sys.stdlib_module_names:
        return  # a module of the standard library is refused when it is imported
    try:
        spec = importlib.util.find_spec(package)
    except (Exception, SystemExit):
        return  # the import reports it
    if spec is not None and not all(_in_working_directory(Path(place)) for place in _places(spec)):
        raise SpecError(
            where, f"{shown(name)} is not in the working directory, and {package} is not listed",
            f'if you trust it, add to the spec: [imports] packages = ["{package}"]',
        )  # fmt: skip


def _in_working_directory(place: Path) -> bool:
    here = Path.cwd().resolve()
    found = place.resolve()
    return found.is_relative_to(here) and INSTALLED.isdisjoint(found.relative_to(here).parts)


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
        raise SpecError(where, f"{shown(name)} is a module of Python's standard library", HINT)
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # Python executes a package before it searches for a module in it
        try:
            spec = importlib.util.find_spec(".".join(parts[:depth]))
        except (Exception, SystemExit) as error:  # this executes the parent package, which may raise anything
            raise SpecError(where, f"cannot import {shown(name)} ({_one_line(error)})", HINT) from error
        if spec is None:
            missing = shown(".".join(parts[:depth]))
            raise SpecError(where, f"cannot import {shown(name)} (no module named {missing})", HINT)
        for place in _places(spec):
            if in_sweep_folder(Path(place)):
                raise SpecError(
                    where, f"{shown(name)} would be imported from {place}, which is in the folder of a sweep", HINT
                )


def _places(spec: ModuleSpec) -> Iterator[str]:
    if spec.has_location and spec.origin:
        yield spec.origin
    yield from spec.submodule_search_locations or ()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
