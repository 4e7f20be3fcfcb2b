"""The named spaces: one TOML file each; ``sweep spaces NAME`` prints it as a start for an own spec."""

from __future__ import annotations

from importlib.resources import files

from search_spaces.errors import UnknownNameError

_FOLDER = files("search_spaces") / "catalogue"


def space_names() -> list[str]:
    """Return the names of all spaces, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def space_text(name: str) -> str:
    """Return the TOML of the space ``name``.

    Raises:
        UnknownNameError: there is no such space; the message lists the valid names.
    """
    if name not in space_names():
        raise UnknownNameError("space", name, space_names())
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
