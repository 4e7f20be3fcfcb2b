"""The command line: exit codes, one line for a user error, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.reports.registry import report_tables
from search_spaces import space_names
from sweep.driver.driver import Outcome
from sweep.folder.paths import SweepFolder
from tests.builders import attempt_of, row_of, two_by_two_runs
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, write_ledger
from tests.sweep.sweeps import call

ROOT = Path(__file__).parents[3]
DATA = "synthetic:n_train=1000,n_test=100"
COMMANDS = (
    "run", "resume", "confirm", "benchmark", "show", "runs", "query", "export", "report", "compare", "baseline",
    "challenge", "list", "status", "logs", "stop", "cancel", "rm", "study", "gradients", "lr-range", "trajectory",
    "activations", "spaces", "doctor",
)  # fmt: skip
PATIENCE_SECONDS = 120
PACK = "1" * 16

Sweep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Run ``sweep`` with these arguments in an empty folder, in this process."""
    return lambda *arguments: call(arguments, tmp_path, monkeypatch, capfd)


def test_the_command_is_a_process_with_the_same_exit_code_and_line(sweep: Sweep, tmp_path: Path) -> None:
    words = ["run", "quikstart"]
    found = subprocess.run(
        [sys.executable, "-m", "sweep", *words], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    here = sweep(*words)
    assert (found.returncode, found.stdout, found.stderr) == (here.returncode, here.stdout, here.stderr)
    assert found.returncode == 2


SLIPS = [
    (["frobnicate"], "No such command 'frobnicate'"),
    (["run"], "Missing argument 'SPACE|FILE.toml'"),
    (
        ["run", "quikstart"],
        "unknown space 'quikstart' (did you mean quickstart?); valid: FILE.toml, benchmark-quickstart, full",
    ),
    (["run", "quickstart", "--epochs", "many"], "Invalid value for '--epochs'"),
    (["run", "quickstart", "--epochs", "-1"], "quickstart: epochs: -1; should be greater than or equal to 1"),
    (["run", "quickstart", "--pack", "x"], "Invalid value for '--pack': 'x' is not a whole number, 'auto' or"),
    (
        ["run", "quickstart", "--pack", "2.5"],
        "Invalid value for '--pack': '2.5' is not a whole number, 'auto' or",
    ),
    (
        ["run", "quickstart", "--pack", "0"],
        "resources.pack: 0; should be 'auto' or 'probe', or greater than",
    ),
    (
        ["resume", "nosuch", "--cpus-per-trial", "x"],
        "Invalid value for '--cpus-per-trial': 'x' is not a number or 'auto'",
    ),
    (["run", "quickstart", "--cpus-per-trial", "nan"], "resources.cpus_per_trial: nan; should be 'auto', or "),
    (["run", "quickstart", "--gpus-per-trial", "some"], "Invalid value for '--gpus-per-trial': 'some' is not a number"),
    (["run", "quickstart", "--gpus-per-trial", "1.5"], "a fraction up to 1, or a whole number"),
    (["run", "quickstart", "--track", "tensorbored"], "unknown tracker 'tensorbored' (did you mean tensorboard?)"),
    (["study", "--track", "tensorbored"], "unknown tracker 'tensorbored' (did you mean tensorboard?)"),
    (["run", "quickstart", "--name", "../up"], "name: '../up' cannot name a folder"),
    (["run", "quickstart", "--data", "nowhere"], "data: 'nowhere': neither a known name nor an existing folder"),
    (["gradients"], "gradients: needs either --space or --sweep"),
    (["gradients", "--sweep", "mine"], "--sweep: mine has several runs; give one with --run"),
    (["gradients", "--space", "optimizers", "--beta", "1"], "beta: 1.0; 0 ≤ β < 1"),
    (["gradients", "--space", "optimizers", "--beta", "-0.1"], "beta: -0.1; 0 ≤ β < 1"),
    (
        ["gradients", "--space", "optimizers", "--data", DATA, "--layer", "conv3.weight"],
        "unknown layer 'conv3.weight' (did you mean conv2.weight?); valid: conv1.bias, conv1.weight",
    ),
    (
        ["gradients", "--space", "optimizers", "--data", DATA, "--batches", "1"],
        "batches: 1; 2 (the variance needs two)",
    ),
    (
        ["gradients", "--space", "optimizers", "--run", "ab"],
        "--run: ab needs a sweep; give it with --sweep",
    ),
    (["gradients", "--sweep", "mine", "--run", "ab", "--seed", "1"], "--seed: 1 cannot be combined with --run"),
    (["lr-range", "optimizers", "--steps", "1"], "--steps: 1; 2 (one for each bound) to 100,000"),
    (["lr-range", "optimizers", "--steps", "1000000000"], "--steps: 1000000000; 2 (one for each bound) to 100,000"),
    (["gradients", "--space", "optimizers", "--batches", "1000000000"], "batches: 1000000000; 2"),
    (["lr-range", "optimizers", "--from", "10", "--to", "0.1"], "--from: 10 is not below --to 0.1"),
    (["lr-range", "optimizers", "--from", "0"], "--from: 0; a learning rate is a finite number above 0"),
    (["trajectory", "nothing"], "no sweep 'nothing' in runs"),
    (["activations", "nothing", "abc"], "no sweep 'nothing' in runs"),
    (["study", "--epochs", "0"], "epochs: 0; should be greater than or equal to 1"),
    (["run", "missing.toml"], "missing.toml: cannot be read (No such file or directory)"),
    (["run", "torn.toml"], "torn.toml: is not valid TOML"),
    (["run", "optimizer.toml"], "unknown optimizer 'Adamm' (did you mean Adam?); valid: ASGD, Adadelta"),
    (
        ["run", "parameter.toml"],
        "optimizer.momentun: unknown parameter; valid: dampening = 0, lr = 0.001, momentum = 0",
    ),
    (["status", "nosuch"], "no sweep 'nosuch' in runs; existing sweeps: none"),
    (["status", "--watch"], "--watch: needs the name of a sweep; sweep status NAME --watch"),
    (["status", "/nowhere/mine", "--watch"], "/nowhere/mine: no sweep has been published there"),
    (["status", "s3://Bad_Bucket/mine"], "storage: 'Bad_Bucket' is not a valid bucket name"),
    (["stop", "nosuch"], "no sweep 'nosuch' in runs"),
    (["cancel", "/nowhere/mine"], "/nowhere/mine is not running"),
    (["resume", "nosuch"], "no sweep 'nosuch' in runs"),
    (["logs", "nosuch", "0123"], "no sweep 'nosuch' in runs"),
    (["export", "nosuch"], "no sweep 'nosuch' in runs"),
    (["spaces", "nosuch"], "unknown space 'nosuch'; valid: benchmark-quickstart, full, learning-rates"),
]


@pytest.mark.parametrize(("arguments", "told"), SLIPS, ids=[" ".join(arguments) for arguments, _ in SLIPS])
def test_a_mistake_is_exit_two_with_one_line_and_nothing_written(
    arguments: list[str], told: str, sweep: Sweep, tmp_path: Path
) -> None:
    block = f'data = "{DATA}"\n[[configurations]]\noptimizer = '
    (tmp_path / "torn.toml").write_text("epochs = \n")
    (tmp_path / "optimizer.toml").write_text(block + '"Adamm"')
    (tmp_path / "parameter.toml").write_text(block + '{name = "SGD", momentun = 0.9}')
    before = sorted(tmp_path.parent.rglob("*"))
    found = sweep(*arguments)
    assert found.returncode == 2
    assert all(line.endswith(" ...") for line in found.stdout.splitlines())  # what was tried before the mistake
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith("sweep: ")
    assert told in found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.fixture
def begun(tmp_path: Path) -> SweepFolder:
    """A sweep of four runs in ``runs/begun``, one of them done."""
    runs = two_by_two_runs()
    folder = SweepFolder(tmp_path / "runs", "begun")
    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(runs, 1, data_name="cifar100", synthetic=False)
        ledger.start(PACK, [runs[0].run_id])
        ledger.record([attempt_of(runs[:1], pack_id=PACK)], [row_of(runs[0], 1)], {})
        ledger.complete(PACK)
    folder.logs.mkdir()
    folder.pack_log(PACK).write_text("what the trial said\n")
    return folder


def test_an_unknown_format_is_exit_two_before_anything_is_written(sweep: Sweep, begun: SweepFolder) -> None:
    found = sweep("export", "begun", "--format", "csv,xlsx")
    assert (found.returncode, found.stdout) == (2, "")
    valid = found.stderr.removeprefix("sweep: unknown format 'xlsx'; valid: ").strip().split(", ")
    assert {"csv", "html", "json", "md", "parquet", "tex"} <= set(valid)
    assert not begun.tables.exists()


def test_the_files_for_a_paper_are_written(sweep: Sweep, begun: SweepFolder) -> None:
    found = sweep("export", "begun", "--paper")
    assert (found.returncode, found.stderr) == (0, "")
    names = {Path(line).name for line in found.stdout.splitlines()}
    assert {"table.tex", "methods.tex", "references.bib", "final_accuracy.pdf"} <= names
    assert {path.name for path in begun.paper.iterdir()} == names


def test_a_dry_run_lists_at_most_twenty_packs(sweep: Sweep, tmp_path: Path) -> None:
    rates = ", ".join(f"{rate / 1000}" for rate in range(1, 31))
    spec = f'data = "{DATA}"\nepochs = 1\nseeds = 1\n[resources]\npack = 1\n[[configurations]]\n'
    (tmp_path / "many.toml").write_text(f'{spec}optimizer = {{name = "SGD", lr = [{rates}]}}\n')
    found = sweep("run", str(tmp_path / "many.toml"), "--dry-run")
    assert found.returncode == 0
    assert found.stdout.count("  pack ") == 20
    assert "and 10 more packs" in found.stdout


def test_the_tables_are_exported_in_the_given_formats(sweep: Sweep, begun: SweepFolder) -> None:
    found = sweep("export", "begun", "--format", "csv, json")
    assert (found.returncode, found.stderr) == (0, "")
    nouns = ["epochs", "runs", *report_tables(load_sweep(begun.ledger))]
    assert {"consolidated", "fairness"} < set(nouns)
    written = sorted(f"{noun}.{suffix}" for noun in nouns for suffix in ("csv", "json"))
    assert sorted(found.stdout.split()) == [f"runs/begun/tables/{name}" for name in written]
    assert sorted(path.name for path in begun.tables.iterdir()) == written


def test_the_status_is_for_readers_and_for_programs(sweep: Sweep, begun: SweepFolder) -> None:
    assert sweep("status").stdout == sweep("list").stdout
    assert sweep("status", "begun").stdout.startswith("begun: 1 done, 3 pending of 4 runs, 25 % of the epochs\n")
    one, every = (json.loads(sweep("status", *name, "--json").stdout) for name in (["begun"], []))
    assert every == [one]
    assert (one["done"], one["pending"], one["best_val_acc"]) == (1, 3, 20.0)


def test_a_log_is_printed_as_it_is(sweep: Sweep, begun: SweepFolder) -> None:
    assert sweep("logs", "begun", two_by_two_runs()[0].run_id).stdout == "what the trial said\n"


def test_status_without_sweeps_says_how_to_begin(sweep: Sweep, tmp_path: Path) -> None:
    found = sweep("status")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "no sweeps in runs; to start one: sweep run quickstart\n"
    assert json.loads(sweep("status", "--json").stdout) == []
    assert not list(tmp_path.iterdir())


def test_the_spaces_are_listed_with_their_run_counts(sweep: Sweep) -> None:
    """Configurations × seeds, counted by hand from the catalogue."""
    counts = {
        "full": (260, 3), "learning-rates": (24, 3), "momentum": (14, 3), "optimizers": (4, 3), "quickstart": (8, 2),
        "schedulers": (26, 3), "study": (24, 3),
    }  # fmt: skip
    found = sweep("spaces")
    assert (found.returncode, found.stderr) == (0, "")
    pattern = r"(\S+) +(\d+) runs \((\d+) configurations × (\d+) seeds\)"
    lines = found.stdout.splitlines()
    benchmarks = [line for line in lines if "benchmark:" in line]
    assert [line.split()[0] for line in benchmarks] == ["benchmark-quickstart", "optimizers-tuned", "schedulers-tuned"]
    assert "6 methods × 12 points" in benchmarks[1]
    listed = [re.match(pattern, line) for line in lines if line not in benchmarks]
    assert [match and match.groups() for match in listed] == [
        (name, str(n * seeds), str(n), str(seeds)) for name, (n, seeds) in counts.items()
    ]


@pytest.mark.parametrize("name", ["momentum", "study"])
def test_a_space_is_printed_as_its_file_to_be_edited(name: str, sweep: Sweep) -> None:
    found = sweep("spaces", name)
    assert name in space_names()
    assert found.stdout == (ROOT / "search_spaces" / "catalogue" / f"{name}.toml").read_text(encoding="utf-8")
    assert "configurations" in tomllib.loads(found.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command(arguments: list[str], sweep: Sweep) -> None:
    """Also without arguments."""
    found = sweep(*arguments)
    assert (found.returncode, found.stderr) == (0, "")
    listed = re.findall(r"^│ ([a-z-]+)  +[A-Z]", found.stdout.partition("─ Run ")[2], re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["spaces"], ["status"]])
def test_what_trains_nothing_imports_neither_torch_nor_ray(arguments: list[str], tmp_path: Path) -> None:
    """The process prints the modules that it has imported at its end; help needs no pandas, either."""
    heavy = {"torch", "ray"} | ({"pandas", "numpy"} if arguments[-1] == "--help" else set())
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted(m for m in sys.modules if '.' not in m), file=sys.stderr))\n"
        f"sys.argv = ['sweep', *{arguments!r}]\n"
        "from sweep.__main__ import main\nmain()"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    imported = set(re.findall(r"'(\w+)'", found.stderr))
    assert {"sweep", "typer"} <= imported
    assert heavy.isdisjoint(imported)


def test_a_dry_run_prints_runs_packs_and_hours_and_creates_nothing(sweep: Sweep, tmp_path: Path) -> None:
    """8 configurations × 2 seeds: two packs of four a seed."""
    found = sweep("run", "quickstart", "--dry-run", "--data", DATA)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[0] == f"sweep quickstart: 16 runs (8 configurations × 2 seeds), 6 epochs each, on {DATA}"
    chosen = "; the pack size is chosen when the sweep starts"
    assert lines[1] == f"0 of them are finished, 16 are left, in 4 packs of up to 4{chosen}"
    assert re.match(r"expected: about \d+\.\d\d CPU-hours in total", lines[2])
    packs = [re.fullmatch(r"  pack [0-9a-f]{16}: (.+)", line) for line in lines[3:]]
    members = [match[1].split("; ") for match in packs if match]
    assert [len(names) for names in members] == [4, 4, 4, 4] == [4] * len(packs)
    assert len({name for names in members for name in names}) == 16
    assert all(len({name.rpartition(" seed ")[2] for name in names}) == 1 for names in members)
    assert not list(tmp_path.iterdir())


def test_flags_override_the_spec(sweep: Sweep) -> None:
    flags = ["--data", DATA, "--epochs", "2", "--seeds", "1", "--pack", "3", "--name", "mine"]
    found = sweep("run", "quickstart", "--dry-run", *flags)
    lines = found.stdout.splitlines()
    assert lines[0] == f"sweep mine: 8 runs (8 configurations × 1 seed), 2 epochs each, on {DATA}"
    assert lines[1] == "0 of them are finished, 8 are left, in 4 packs"
    packs = [line.partition(": ")[2].split("; ") for line in lines[3:]]
    assert [len(names) for names in packs] == [2, 2, 2, 2]
    assert [{"Cosine" in name for name in names} for names in packs] == [{False}, {False}, {True}, {True}]


@pytest.mark.slow
def test_a_class_beside_the_spec_is_found_by_the_console_script(tmp_path: Path, cache_folder: Path) -> None:
    """Unlike ``python -m``, a console script begins without the working directory on its path."""
    (tmp_path / "optimizer_of_mine.py").write_text("import torch\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    (tmp_path / "mine.toml").write_text(
        f'data = "{DATA}"\nseeds = 1\n[[configurations]]\noptimizer = {{name = "optimizer_of_mine:Mine", lr = 0.25}}\n'
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(
        [Path(sys.executable).with_name("sweep"), "run", "mine.toml", "--dry-run"],
        cwd=tmp_path, env=environment | {"LENET_SWEEP_CACHE": str(cache_folder)}, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1].endswith(": Mine lr=0.25 seed 0")


def test_a_dry_run_of_the_printed_space_is_the_dry_run_of_the_space(sweep: Sweep, tmp_path: Path) -> None:
    """Printed, saved and read, it gives the same packs of the same runs."""
    (tmp_path / "quickstart.toml").write_text(sweep("spaces", "quickstart").stdout, encoding="utf-8")
    plans = [sweep("run", source, "--dry-run", "--data", DATA).stdout for source in ("quickstart", "quickstart.toml")]
    assert plans[0] == plans[1]
    assert "pack" in plans[0]


def test_a_sweep_ends_with_the_answer_and_the_next_command_with_its_time(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two families under 2 seeds; a confirmation has 2 × 10 runs of 3 epochs, 60 run-epochs at 0.25 per second."""
    curves = {MOMENTUM: [climb(30, 3), climb(31, 3)], ADAM: [climb(20, 3), climb(20, 3)]}
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    write_ledger(folder.ledger, curves, epochs=3)
    with Ledger.open_read_only(folder.ledger) as ledger:
        outcome = Outcome(folder, ledger.statuses(), rate=0.25)
    for module in ("driver", "until_decided"):  # the second one has its own name for it
        monkeypatch.setattr(f"sweep.driver.{module}.drive", lambda *_: outcome)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder, *_: folder.report)
    ended = sweep("run", "quickstart", "--name", "mine", "--seeds", "2")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("sweep mine: loading PyTorch ...\n")
    assert ended.stdout.splitlines()[-1] == f"Next: sweep confirm mine --runs-dir {folder.runs_dir} (about 4 min)"
    assert "2 seeds are too few for a significance test, which needs 6." in ended.stdout
    quiet = sweep("run", "quickstart", "--name", "mine", "--seeds", "2", "--quiet")
    assert ended.stdout.endswith(quiet.stdout)
    assert "loading" not in quiet.stdout
    record = sweep("run", "quickstart", "--name", "mine", "--seeds", "2", "--json")
    assert json.loads(record.stdout)["next"]["seconds"] == 240
    assert "loading PyTorch" in record.stderr


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_second_process_draws_where_there_are_two_cpus(
    cpus: int, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outputs get the function of the second process that draws."""
    folder, given = SweepFolder(tmp_path / "runs", "mine"), []
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 3), climb(31, 3)]}, epochs=3)
    with Ledger.open_read_only(folder.ledger) as ledger:
        outcome = Outcome(folder, ledger.statuses(), rate=0.25)
    monkeypatch.setattr("sweep.driver.until_decided.drive", lambda *_: outcome)
    monkeypatch.setattr("sweep.cli.training.available_cpus", lambda: cpus)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda _, draw: given.append(draw))
    assert sweep("run", "quickstart", "--name", "mine", "--seeds", "2").returncode == 0
    assert [getattr(draw, "__qualname__", None) for draw in given] == ["SecondProcess.draw" if cpus > 1 else None]


@pytest.mark.parametrize(
    "command", [["gradients", "--space", "nothing"], ["lr-range", "nothing"], ["study", "--epochs", "0"]]
)
def test_an_analysis_prints_a_line_before_its_imports(command: list[str], sweep: Sweep) -> None:
    ended = sweep(*command)
    assert ended.returncode == 2
    assert ended.stdout == "loading PyTorch ...\n"
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["gradients"], ["trajectory", "nothing"], ["activations", "nothing", "3f2a"]])
def test_an_analysis_of_nothing_is_refused_before_its_imports(command: list[str], sweep: Sweep) -> None:
    ended = sweep(*command)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
