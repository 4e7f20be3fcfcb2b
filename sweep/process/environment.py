"""What the command line needs of its environment, checked before a library is imported.

This module imports the standard library only: another module of the name of one of this program's packages may lie on
Python's path.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

PACKAGES = ("search_spaces", "trainables", "results", "sweep")
USER_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""The variables in which ``getpass.getuser`` finds the name of the user."""


def environment_problem() -> str | None:
    """Return what prevents the command line from working, as one line for the user; None if nothing does."""
    own = Path(__file__).resolve().parents[2]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != own / package / "__init__.py":
            where = origin or "a folder without __init__.py"
            return f"{where} hides the package `{package}` of this program; rename it, or change PYTHONPATH"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the working directory was deleted; change to another folder"
    try:
        Path.home()
    except RuntimeError:
        return "this user has no home directory; set HOME to a folder that you can write"
    return None


def name_the_user() -> None:
    """Set ``USER`` to the number of the user if it has no name: libraries refuse to start without one."""
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        if not any(os.environ.get(name) for name in USER_VARIABLES):
            os.environ["USER"] = str(os.getuid())
