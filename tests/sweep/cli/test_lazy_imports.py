"""Which large libraries a command has imported when it ends: none that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.folder.paths import SweepFolder
from tests.results.ledger_sweeps import MOMENTUM, PLAIN, climb, write_ledger
from tests.sweep.sweeps import PATIENCE_SECONDS, SPEC, environment

TRACKERS = {"wandb", "mlflow", "tensorboard", "optuna"}
LARGE = TRACKERS | {"torch", "torchvision", "ray", "matplotlib", "scipy.stats", "pandas", "pyarrow", "numpy"}

PROGRAM = """
import contextlib, io, json, sys
from sweep.__main__ import main

large, commands = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found = []
for words in commands:
    sys.argv = ["sweep", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    found.append([name for name in large if name in sys.modules])
print(json.dumps(found))
"""


def imported_after(*commands: list[str], folder: Path) -> list[set[str]]:
    """The large libraries that one process has imported after each of ``commands``, which it runs in turn."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(sorted(LARGE)), json.dumps(commands)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    return [set(names) for names in json.loads(ended.stdout.splitlines()[-1])]


def test_a_command_imports_only_what_it_uses(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 3), climb(31, 3)], PLAIN: [climb(20, 3), climb(21, 3)]}, epochs=3)
    version, wrong, status, ranking = imported_after(
        ["--version"], ["run", "quickstart", "--pack", "x"], ["status", "mine"], ["show", "mine"], folder=tmp_path
    )
    assert version == wrong == set()
    assert not status & (TRACKERS | {"torch", "torchvision", "ray", "matplotlib", "scipy.stats"})
    assert "pandas" in status  # the list is not empty because nothing ran
    assert not ranking & (TRACKERS | {"torch", "torchvision", "ray", "matplotlib"})


DRIVER = """
import sys, types

def record(folder, *_):
    print("imported:", *(name for name in {large!r} if name in sys.modules))

sys.modules["sweep.driver.outputs"] = types.SimpleNamespace(make_outputs=record)
sys.argv = {words!r}
from sweep.__main__ import main
main()
"""


def imported_by_training(folder: Path, *flags: str) -> set[str]:
    """The large libraries that a driver has imported when its last run has ended, before it makes its outputs."""
    (folder / "tiny.toml").write_text(SPEC)
    program = DRIVER.format(large=sorted(LARGE), words=["sweep", "run", "tiny.toml", *flags])
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("imported: ")]
    return set(line.split()[1:])


@pytest.mark.slow
def test_a_driver_that_trains_in_its_process_imports_torch_and_no_other_large_library(tmp_path: Path) -> None:
    assert imported_by_training(tmp_path, "--in-process") == {"torch", "numpy"}


@pytest.mark.slow
@pytest.mark.ray
def test_a_driver_that_trains_with_ray_imports_no_tracker(tmp_path: Path) -> None:
    """Tune counts callbacks for Ray's usage report: it imports MLflow, and wandb, which creates a temporary folder."""
    found = imported_by_training(tmp_path)
    assert {"torch", "ray", "pandas"} <= found
    assert not found & (TRACKERS | {"torchvision", "matplotlib"})
