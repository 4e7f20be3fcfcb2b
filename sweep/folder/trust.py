"""Where a user has sent a sweep before: the addresses and storages that its ``sweep.toml`` may name on a resume.

A sweep's folder can come from another person. The cluster at ``cluster.address`` gets the user's token, and files are
written to ``storage``. What the user accepted is therefore recorded outside of the sweep's folder, in the user's state
folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder

ADDRESS, STORAGE = "cluster.address", "storage"
NOT_SENT = {ADDRESS: "local", STORAGE: ""}
"""A key of the spec with a destination → the value that means no destination."""
TRUST = "--trust"


def from_file(typed: Collection[str], *, trust: bool = False) -> frozenset[str]:
    """Return the keys of the destinations whose values come from a file and are not accepted by ``trust``.

    ``typed`` are the keys that the user gave: of the spec, or ``cluster`` for the table as a whole.
    """
    given = {*typed, ADDRESS} if "cluster" in typed else set(typed)
    return frozenset() if trust else frozenset({ADDRESS, STORAGE} - given)


def destinations(spec: Spec) -> dict[str, str]:
    """Return the destinations in ``spec`` by key."""
    found = {ADDRESS: spec.cluster.address, STORAGE: spec.storage}
    if spec.storage and "://" not in spec.storage:
        found[STORAGE] = str(Path(spec.storage).absolute())
    return {key: value for key, value in found.items() if value != NOT_SENT[key]}


def check_trusted(folder: SweepFolder, spec: Spec, from_file: Collection[str], *, resuming: bool = True) -> None:
    """Refuse a destination that a file names and to which this user has not sent the sweep.

    ``from_file`` are the keys whose values come from a file, not from the command line.

    Raises:
        SpecError: the message has the values, and the options that accept them.
    """
    known = _record(folder)
    foreign = {
        key: value
        for key, value in destinations(spec).items()
        if key in from_file and value not in known.get(key, ()) and (resuming or (key == ADDRESS and value != "auto"))
    }
    if not foreign:
        return
    where = str(folder.spec) if resuming else "the spec"
    named = " and ".join(f"{key} = {value!r}" for key, value in foreign.items())
    if resuming:
        place = [] if folder.runs_dir == DEFAULT_RUNS_DIR else ["--runs-dir", str(folder.runs_dir)]
        then = f"to accept: {shlex.join(['sweep', 'resume', folder.name, TRUST, *place])}"
    else:
        then = f"that address gets your token; to accept: add {TRUST}, or --address {shlex.quote(foreign[ADDRESS])}"
    options = {ADDRESS: "--address local", STORAGE: "--storage PLACE"}
    others = " ".join(options[key] for key in foreign)
    raise SpecError(where, f"{named}: you have not sent this sweep there", f"{then}; to choose another: {others}")


def remember(folder: SweepFolder, spec: Spec) -> None:
    """Record that this user accepts the destinations in ``spec``. If the record cannot be written, nothing happens."""
    known, sent = _record(folder), destinations(spec)
    record = {key: sorted({*known.get(key, ()), *([sent[key]] if key in sent else [])}) for key in NOT_SENT}
    if not sent or record == known:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home folder
        path = _path(folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            unfinished.touch(mode=0o600)
            unfinished.write_text(json.dumps({"folder": str(folder.path.resolve()), **record}), encoding="utf-8")


def state_folder() -> Path:
    """``$XDG_STATE_HOME/lenet-sweep``, else ``~/.local/state/lenet-sweep``."""
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named).expanduser() / "lenet-sweep"
    return Path.home() / ".local" / "state" / "lenet-sweep"


def _path(folder: SweepFolder) -> Path:
    key = hashlib.sha256(os.fsencode(folder.path.resolve())).hexdigest()
    return state_folder() / "destinations" / f"{key[:32]}.json"


def _record(folder: SweepFolder) -> Mapping[str, list[str]]:
    """Return the destinations on record, by key; empty if there is no record that only this user can write."""
    try:
        path = _path(folder)
        about = path.lstat()
        if about.st_uid != os.getuid() or about.st_mode & 0o022:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: [str(value) for value in found.get(key, [])] for key in NOT_SENT}
    except (OSError, ValueError, AttributeError, TypeError, RuntimeError):
        return {}
