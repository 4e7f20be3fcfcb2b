"""What a spec names by module comes from the working directory or a package, and never from a sweep's folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from results.ledger.ledger import Ledger
from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import SpecError
from sweep.config.toml import parse_spec, spec_text
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import resolve_configurations
from tests.builders import attempt_of, row_of
from tests.sweep.sweeps import call
from trainables.optim.optimizers import optimizer_class
from trainables.optim.plugins import check_allowed
from trainables.optim.schedulers import build_scheduler
from trainables.optim.validation import complete_configuration
from trainables.runtime.user_imports import import_named, in_sweep_folder, leave_sweep_folders

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 120
MODULE = 'import pathlib, torch\npathlib.Path(r"{marker}").touch()\nclass Mine(torch.optim.SGD):\n    pass\n'


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def plant(folder: Path, name: str, marker: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(MODULE.format(marker=marker))


def sweep_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "ledger.sqlite").touch()
    return path


def test_a_module_in_a_sweeps_folder_is_refused_with_its_file_and_is_not_run(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = sweep_folder(tmp_path / "runs" / "s")
    plant(place, "planted_one", marker)
    monkeypatch.syspath_prepend(place)
    with pytest.raises(SpecError) as error:
        optimizer_class("planted_one:Mine", "optimizer")
    assert str(error.value).startswith("optimizer: 'planted_one:Mine'")
    assert f"{place}/planted_one.py" in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize("entry", [".", "../s", "", "../../runs/s/deeper"])
def test_a_module_in_a_sweeps_folder_is_refused_on_a_relative_path(
    entry: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory is the sweep's folder; an empty entry of the path means this folder."""
    place = sweep_folder(tmp_path / "runs" / "s")
    plant(place / "deeper" if "deeper" in entry else place, "planted_two", marker)
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    with pytest.raises(SpecError, match=r"'planted_two:Mine' would be imported from .*, .* folder of a sweep"):
        import_named("planted_two:Mine", "optimizer")
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["namespace", "package", "deeper package", "link to it"])
def test_a_module_in_a_sweeps_folder_is_refused_as_part_of_a_package(
    kind: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `__init__` of a package would run before the module in it is searched."""
    name = f"a_sweep_{kind.replace(' ', '_')}"
    place = sweep_folder(tmp_path / "runs" / name)
    plant(place / "in" if kind == "deeper package" else place, "planted", marker)
    if "package" in kind:
        plant(place, "__init__", marker)
    module = f"{name}.in.planted" if kind == "deeper package" else f"{name}.planted"
    here = tmp_path / "runs"
    if kind == "link to it":
        here = tmp_path / "elsewhere"
        here.mkdir()
        (here / name).symlink_to(place)
    monkeypatch.syspath_prepend(here)
    with pytest.raises(SpecError, match=r"would be imported from .*, which is in the folder of a sweep"):
        import_named(f"{module}:Mine", "optimizer")
    assert not marker.exists()


def test_a_module_beside_the_runs_is_taken(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_folder(tmp_path / "runs" / "s")
    plant(tmp_path, "planted_four", marker)
    monkeypatch.syspath_prepend(tmp_path)
    assert optimizer_class("planted_four:Mine", "optimizer").__name__ == "Mine"
    assert marker.exists()


@pytest.mark.parametrize("name", ["os:removedirs", "antigravity:geohash", "os.path:join", "shutil:rmtree"])
def test_pythons_own_modules_are_neither_imported_nor_called(name: str) -> None:
    with pytest.raises(SpecError, match=f"'{name}' is a module of Python's standard library"):
        build_scheduler("LambdaLR", {"lr_lambda": name}, None, "scheduler")  # type: ignore[arg-type]
    assert "antigravity" not in sys.modules


def configured(key: str, name: str) -> Configuration:
    """A configuration that names ``name`` in ``key``."""
    if key == "optimizer":
        return Configuration(name, {"lr": 0.1})
    if key == "scheduler":
        return Configuration("SGD", {"lr": 0.1}, name)
    part = {"name": "LambdaLR", "lr_lambda": name}
    if key == "scheduler.lr_lambda":
        return Configuration("SGD", {"lr": 0.1}, "LambdaLR", {"lr_lambda": name})
    parts = [part] if key.endswith("lr_lambda") else [{"name": name}]
    return Configuration("SGD", {"lr": 0.1}, "ChainedScheduler", {"schedulers": parts})


KEYS = ("optimizer", "scheduler", "scheduler.lr_lambda", "scheduler.schedulers[0]", "scheduler.schedulers[0].lr_lambda")


@pytest.mark.parametrize("key", KEYS)
def test_an_installed_package_must_be_listed(key: str) -> None:
    """With the key, the package and what to write; the package is not imported."""
    with pytest.raises(SpecError) as error:
        complete_configuration(configured(key, "pip:main"), 3, 5, "my.toml")
    told = str(error.value)
    assert told.startswith(f"my.toml: {key}: 'pip:main'")
    assert 'packages = ["pip"]' in told
    assert len(told) < 300
    check_allowed(configured(key, "pip:main"), ["pip"], "my.toml")
    check_allowed(configured(key, "torch.optim:SGD"), [], "my.toml")


def test_a_package_of_a_virtual_environment_in_the_working_directory_is_an_installed_one(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / ".venv" / "lib" / "python3" / "site-packages"
    plant(site, "planted_installed", marker)
    plant(tmp_path, "planted_beside", marker)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(site), *sys.path])
    check_allowed(configured("optimizer", "planted_beside:Mine"), [], "my.toml")
    with pytest.raises(SpecError, match="planted_installed is not listed"):
        check_allowed(configured("optimizer", "planted_installed:Mine"), [], "my.toml")
    check_allowed(configured("optimizer", "planted_installed:Mine"), ["planted_installed"], "my.toml")
    assert not marker.exists()


def test_what_the_spec_lists_reaches_the_plan_and_the_resolved_file() -> None:
    block = '[[configurations]]\noptimizer = "SGD"\nscheduler = {name = "LambdaLR", lr_lambda = "pip:main"}\n'
    refused = parse_spec(block, where="my.toml", name="my")
    with pytest.raises(SpecError, match="pip is not listed"):
        resolve_configurations(refused, 5)
    listed = parse_spec(f'[imports]\npackages = ["scipy"]\n{block}', where="my.toml", name="my")
    with pytest.raises(SpecError, match="pip is not listed"):
        resolve_configurations(listed, 5)
    text = spec_text(listed, [])
    assert tomllib.loads(text)["imports"] == {"packages": ["scipy"]}
    with pytest.raises(SpecError, match=r"imports\.packages"):
        parse_spec(f'[imports]\npackages = ["a b"]\n{block}', where="my.toml", name="my")


@pytest.mark.parametrize("name", ["numpy:pi", "numpy:array", "torch:nn", "torch.optim:SGD", "numpy:interp"])
def test_what_is_no_plain_function_of_the_epoch_is_no_lr_lambda(name: str) -> None:
    """A number, a built-in, a module, a class, and a Python function that wants more than the epoch."""
    with pytest.raises(SpecError, match=f"^scheduler.lr_lambda: '{name}' is not a function of the epoch$"):
        build_scheduler("LambdaLR", {"lr_lambda": name}, None, "scheduler")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("1 / 0", "division by zero"),
        ("raise SystemExit('bye')", "bye"),
        ("def", "invalid syntax"),
        ("import no_such", "no_such"),
    ],
)
def test_a_module_that_raises_is_one_line(
    body: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaks_off.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "breaks_off", raising=False)
    with pytest.raises(SpecError, match=rf"^optimizer: cannot import 'breaks_off:Mine' \(.*{told}") as error:
        import_named("breaks_off:Mine", "optimizer")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", [":", ":x", ".x:y", "a..b:c", "a b:c", "a\0b:c", "x" * 5000 + ":y", "/etc/passwd:x", "..:x"]
)
def test_an_invalid_module_name_is_one_line(name: str) -> None:
    with pytest.raises(SpecError) as error:
        import_named(name, "optimizer")
    assert len(str(error.value).splitlines()) == 1


def test_the_path_loses_entries_in_a_sweeps_folder_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = sweep_folder(tmp_path / "runs" / "s")
    (place / "sub").mkdir()
    (tmp_path / "link").symlink_to(place)
    monkeypatch.setattr(
        sys, "path", [str(place), str(tmp_path), str(place / "sub"), str(tmp_path / "link"), "/usr/lib"]
    )
    leave_sweep_folders()
    assert sys.path == [str(tmp_path), "/usr/lib"]
    assert in_sweep_folder(place / "sub" / "not-there")
    assert not in_sweep_folder(place.parent)


def finished(runs_dir: Path, optimizer: str) -> SweepFolder:
    """A sweep of one run that is done, whose optimizer is ``optimizer``."""
    folder = SweepFolder(runs_dir, "s")
    folder.create()
    run = Run(Configuration(optimizer, {"lr": 0.1}), 0, Protocol(), "d" * 16)
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan([run], 1, data_name="synthetic", synthetic=True)
        ledger.record([attempt_of([run], pack_id="1" * 16)], [row_of(run, 1)], {})
        ledger.complete("1" * 16)
    folder.spec.write_text(
        f'epochs = 1\nseeds = 1\ndata = "synthetic:n_train=1000,n_test=100"\n'
        f'[[configurations]]\noptimizer = {{name = "{optimizer}", lr = 0.1}}\n'
    )
    return folder


def sweep(*arguments: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """The console script, as a user has it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"LENET_SWEEP_CACHE": str(cache), "COLUMNS": "200"}
    return subprocess.run(
        [Path(sys.executable).with_name("sweep"), *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["status", "s"], ["status"], ["logs", "s", "{run}"], ["export", "s"], ["report", "s"], ["compare", "s", "other"]],
    ids=lambda arguments: arguments[0],
)
def test_verbs_that_only_read_import_nothing_that_a_spec_names(
    arguments: list[str], tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Not even from the working directory, where `run` imports it."""
    plant(tmp_path, "beside", marker)
    folder = finished(tmp_path / "runs", "beside:Mine")
    shutil.copytree(folder.path, folder.path.parent / "other")
    with Ledger.open_read_only(folder.ledger) as ledger:
        (run_id,) = ledger.statuses()
    found = call([word.format(run=run_id) for word in arguments], tmp_path, monkeypatch, capfd)
    assert (found.returncode, found.stderr) == (0, "")
    assert not marker.exists()
    assert "beside" not in sys.modules


@pytest.mark.parametrize("below", [".", pytest.param("deeper", marks=pytest.mark.slow)])
def test_within_a_sweeps_folder_nothing_beside_a_library_is_found_and_nothing_is_trained(
    below: str, tmp_path: Path, marker: Path, cache_folder: Path
) -> None:
    """pandas imports numexpr and bottleneck if they exist, Ray many more: a missing one would be found there."""
    folder = finished(tmp_path / "runs", "planted_here:Mine")
    here = folder.path / below
    for name in ("planted_here", "numexpr", "bottleneck", "cupy", "typer", "torch"):
        plant(here, name, marker)
    runs_dir = str(folder.runs_dir)
    assert sweep("status", "s", "--runs-dir", runs_dir, cwd=here, cache=cache_folder).returncode == 0
    found = sweep("resume", "s", "--runs-dir", runs_dir, cwd=here, cache=cache_folder)
    assert found.returncode == 2
    assert re.fullmatch(r"sweep: \S+: is inside a sweep's folder, .*\n", found.stderr)
    assert not marker.exists()
