"""Where a sweep's numbers come from: versions, commit, devices, command, data."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import SweepFolderError
from sweep.folder.paths import SweepFolder, write_aside

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

PACKAGES = ("lenet-sweep", "torch", "torchvision", "numpy", "ray", "pandas", "scipy", "matplotlib", "pyarrow")


def package_versions() -> dict[str, str | None]:
    """Return the installed version of every package that matters; None where one is missing."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_commit(folder: Path) -> str | None:
    """Return the commit that ``folder`` stands at, with ``-dirty`` after it where files changed; None outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def write_provenance(
    folder: SweepFolder, data: DataSet, resources: dict[str, float], packing: Mapping[str, Any]
) -> None:
    """Add this driver's session to ``provenance.json``: a list, the latest last.

    ``resources`` is what the cluster has, ``packing`` how the runs are packed and what that was chosen by.
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
            "cpus": os.cpu_count(),
            "cluster": {key: value for key, value in sorted(resources.items()) if not key.startswith("node:")},
            "versions": package_versions(),
            "git_commit": git_commit(Path(__file__).parent),
            "packing": dict(packing),
            "data": {"name": data.name, "synthetic": data.synthetic, "fingerprint": data.fingerprint},
        }
    )
    write_aside(folder.provenance, json.dumps(sessions, indent=2) + "\n")
