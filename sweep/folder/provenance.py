"""How a sweep was made: versions, commit, devices, command and data, in ``provenance.json``."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.code_version import code_hash
from search_spaces.errors import SweepFolderError
from sweep.folder.paths import SweepFolder, write_atomically
from sweep.process.cpus import available_cpus, machine_cpus
from trainables.optim.plugins import named_in

if TYPE_CHECKING:
    from search_spaces import Run
    from trainables.data.dataset import DataSet

PACKAGES = ("lenet-sweep", "torch", "torchvision", "numpy", "ray", "pandas", "scipy", "matplotlib", "pyarrow")


def package_versions() -> dict[str, str | None]:
    """Return the installed version of every package in :data:`PACKAGES`; None if it is missing."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_commit(folder: Path) -> str | None:
    """Return the commit checked out in ``folder``, with ``-dirty`` if files were changed; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def own_code(runs: Iterable[Run]) -> dict[str, str]:
    """Return 16 hex digits over the source file of each module that the runs name as ``module:attribute``.

    A module without a source file is left out.
    """
    names: set[str] = set()
    for run in runs:
        names |= {run.protocol.model, *(name for _, name in named_in(run.configuration))}
    hashes = {}
    for module in sorted({name.partition(":")[0] for name in names if ":" in name}):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.has_location and spec.origin:
            hashes[module] = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]
    return hashes


def write_provenance(
    folder: SweepFolder, data: DataSet, resources: dict[str, float], packing: Mapping[str, Any],
    code: Mapping[str, str],
) -> None:  # fmt: skip
    """Append this session to ``provenance.json``.

    ``resources`` are those of the cluster. ``packing`` is the choice of pack size and threads, with its measurements.
    ``code`` is :func:`own_code`.

    Raises:
        SweepFolderError: the file exists and cannot be read.
    """
    sessions: list[dict[str, Any]] = []
    if folder.provenance.exists():
        try:
            sessions = [*json.loads(folder.provenance.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise SweepFolderError(f"{folder.provenance}: cannot be read ({error}); move it away") from error
    sessions.append(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "cpus": machine_cpus(),
            "available_cpus": available_cpus(),
            "cluster": {key: value for key, value in sorted(resources.items()) if not key.startswith("node:")},
            "versions": package_versions(),
            "git_commit": git_commit(Path(__file__).parent),
            "code": code_hash(),
            "own_code": dict(code),
            "packing": dict(packing),
            "data": {
                "name": data.name,
                "title": data.title,
                "classes": data.classes,
                "notes": list(data.notes),
                "synthetic": data.synthetic,
                "fingerprint": data.fingerprint,
            },
        }
    )
    write_atomically(folder.provenance, json.dumps(sessions, indent=2) + "\n")
