"""Checks whether this machine can run a sweep; each check gives one line."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LEAST_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    fine: bool
    seen: str


def examine(runs_dir: Path, data: str | None) -> Iterator[Finding]:
    """Yield the result of every check; a failed one does not stop the others. ``data`` is a data source, or None."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("numpy, pandas, SciPy, Matplotlib", _libraries),
        ("processors", _processors),
        ("GPU", _gpus),
        ("Ray", _ray),
        (f"data {data}" if data else "data", lambda: _data(data) if data else _cached_data()),
        ("disk", lambda: _disk(runs_dir)),
        ("sweep folder", lambda: _writable(runs_dir)),
    ]
    for what, check in checks:
        try:
            yield Finding(what, True, check())
        except Exception as error:  # Ray raises a plain Exception if it does not start in time
            yield Finding(what, False, " ".join(str(error).split()))


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def _torch() -> str:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _torchvision() -> str:
    import torch

    from trainables.data.vision import import_torchvision

    return f"{import_torchvision().__version__}, compatible with torch {torch.__version__}"


def _libraries() -> str:
    import matplotlib
    import numpy
    import pandas
    import scipy

    return ", ".join(module.__version__ for module in (numpy, pandas, scipy, matplotlib))


def _processors() -> str:
    from sweep.process.cpus import available_cpus, cpu_limits, machine_cpus

    usable, there = available_cpus(), machine_cpus()
    limits = [name for name, limit in cpu_limits().items() if limit < there]
    why = f" (limited by: {', '.join(limits)})" if limits else ""
    return f"{usable} of {there} CPUs can be used{why}, {_gigabytes(_memory())} of memory"


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none; sweeps train on the CPU"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{', '.join(names)}; to use it, add --gpus-per-trial auto"


def _ray() -> str:
    from sweep.execution.ray.session import ray_session

    with ray_session("local") as resources:
        import ray

        return f"{ray.__version__} starts, with {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"


def _data(source: str) -> str:
    from trainables.data.dataset import load_data

    data = load_data(source)
    sizes = (
        f"{len(data.train_labels):,} training, {len(data.val_labels):,} validation and {len(data.test_labels):,} test "
        "images"
    )
    return "; ".join([sizes, *data.notes])


def _cached_data() -> str:
    """Return whether CIFAR-100 is in the cache; nothing is downloaded."""
    from trainables.data.cache import DataCache
    from trainables.data.dataset import OFFICIAL_KEY
    from trainables.runtime.cache_folder import default_cache_dir

    cache = DataCache(default_cache_dir())
    found = "is in the cache" if cache.holds(OFFICIAL_KEY) else "is not in the cache; the first sweep downloads it"
    return f"cifar100 {found} ({cache.folder}); synthetic needs no files; check a folder with --data FOLDER"


def _disk(runs_dir: Path) -> str:
    place = _nearest(runs_dir)
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise RuntimeError(f"{_gigabytes(free)} free in {place}; a sweep needs {_gigabytes(LEAST_FREE_BYTES)}")
    return f"{_gigabytes(free)} free in {place}"


def _writable(runs_dir: Path) -> str:
    place = _nearest(runs_dir)
    if not os.access(place, os.W_OK):
        raise RuntimeError(f"{place} is not writable; give another --runs-dir")
    return f"{runs_dir.absolute()} is writable"


def _nearest(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that exists."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
