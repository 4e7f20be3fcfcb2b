"""An environment in which the command line cannot work is one line; a user without a name is accepted."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.process.environment import PACKAGES, environment_problem, name_the_user
from tests.sweep.sweeps import environment


def ended(script: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=cwd, capture_output=True, text=True,
        env=environment() | variables, check=False, timeout=300,
    )  # fmt: skip


def test_a_deleted_working_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    found = ended('cd gone && rmdir ../gone && "$0" -m sweep spaces', tmp_path)
    assert found.returncode == 2
    assert found.stderr.splitlines() == ["sweep: the working directory was deleted; change to another folder"]


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "sweep"])
def test_a_module_on_the_path_that_hides_a_package_is_one_line(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text("raise SystemExit('executed')")
    own = environment()["PYTHONPATH"]
    found = ended('cd / && "$0" -P -m sweep spaces', tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{own}")
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert f"{package}.py hides the package" in line
    assert "PYTHONPATH" in line


def without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: object) -> None:
        raise KeyError(f"uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_directory_the_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_a_name(monkeypatch)
    assert "set HOME" in (environment_problem() or "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert environment_problem() is None


def test_a_user_without_a_name_gets_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_name(monkeypatch)
    monkeypatch.setenv("USER", "")
    name_the_user()
    assert os.environ["USER"] == str(os.getuid())
