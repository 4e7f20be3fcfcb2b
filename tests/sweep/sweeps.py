"""Small sweeps, driven by this process or by a command in its own process.

They train with ``--in-process`` unless a test needs Ray. They end with their ledger unless a test needs more:
tables, figures and the report have separate tests, and would take most of a small sweep's time.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from sweep.__main__ import main
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec
from sweep.driver.driver import DriveOptions, Outcome, drive
from sweep.driver.outputs import make_outputs

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 400  # a bound for a child that hangs; no test passes by it
DATA = "synthetic:n_train=1000,n_test=100,seed=0"
SPEC = f"""
data = "{DATA}"
epochs = 2
seeds = 2
test_epochs = "all"
[protocol]
batch_size = 64
[resources]
pack = 2
cpus_per_trial = 1
max_concurrent = 2
[[configurations]]
optimizer = [{{name = "SGD", lr = 0.05, momentum = 0.9}}, {{name = "Adam", lr = 0.003}}]
scheduler = [{{name = "none"}}, {{name = "CosineAnnealingLR"}}]
"""

COMMAND = """
import sys
from sweep.process.supervisor import supervise

def command():
    if sys.argv[1] in ("run", "resume"):
        import sweep.driver.pack_size, sweep.driver.outputs
        sweep.driver.outputs.make_outputs = lambda folder, *_: folder.report
        {also}
    from sweep.__main__ import main
    main()

if "--in-process" in sys.argv:
    command()
sys.exit(supervise(command))
"""


def spec(text: str = SPEC, name: str = "tiny", **overrides: Any) -> Spec:
    return parse_spec(text, where=f"{name}.toml", name=name, overrides=overrides)


def run(spec: Spec, runs_dir: Path, *, outputs: bool = False, ray: bool = False, **options: Any) -> tuple[Outcome, str]:
    """Drive a sweep from this process; return how it ended and what it printed.

    With ``ray`` it trains on the session's Ray; the test then requests the fixture ``ray``.
    """
    screen = io.StringIO()
    options = {"in_process": not ray, **options}
    outcome = drive(spec, runs_dir, Console(file=screen, width=200), DriveOptions(**options))
    assert outcome is not None
    if outputs:
        make_outputs(outcome.folder)
    return outcome, screen.getvalue()


def command(*words: str | Path, also: str = "pass", ray: bool = False) -> list[str]:
    """Return ``sweep WORDS`` as a separate command; `run` and `resume` end with the ledger.

    They get ``--in-process`` unless ``ray``. ``also`` is a line of Python that runs before them.
    """
    trains = words[0] in ("run", "resume")
    flags = ["--in-process"] if trains and not ray and "--in-process" not in words else []
    return [sys.executable, "-c", COMMAND.format(also=also), *map(str, words), *flags]


def environment() -> dict[str, str]:
    """Return the environment of this process, without the variables of a Ray of another test."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONBREAKPOINT"))}
    return kept | {"PYTHONPATH": str(ROOT)}


def begin(folder: Path, *words: str, also: str = "pass", ray: bool = False) -> subprocess.Popen[str]:
    """Start ``sweep WORDS`` on the sweeps in ``folder``, in a separate session."""
    return subprocess.Popen(
        command(*words, "--runs-dir", folder, also=also, ray=ray), cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip


def finish(folder: Path, *words: str, also: str = "pass", ray: bool = False) -> subprocess.CompletedProcess[str]:
    """Run ``sweep WORDS`` on the sweeps in ``folder`` to its end."""
    return subprocess.run(
        command(*words, "--runs-dir", folder, also=also, ray=ray), cwd=folder, capture_output=True, text=True,
        env=environment(), timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def call(
    words: Sequence[str | Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    columns: int = 200,
) -> subprocess.CompletedProcess[str]:
    """Run ``sweep WORDS`` in this process with the working directory ``folder``."""
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "argv", ["sweep", *map(str, words)])
        patch.setattr(sys, "path", list(sys.path))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
    printed = capfd.readouterr()
    return subprocess.CompletedProcess(list(words), int(ended.value.code or 0), printed.out, printed.err)


def frames(outcome: Outcome) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a run; a row a run and epoch."""
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        return runs_frame(ledger), epochs_frame(ledger)


def rows_of(folder: Path) -> pd.DataFrame:
    """A row a run and epoch of a sweep's folder, without times."""
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        return without_times(epochs_frame(ledger))


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[column for column in frame.columns if "seconds" in column])
