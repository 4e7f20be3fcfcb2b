"""Invalid addresses and tokens are each one line; what is sent to the nodes."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import Configuration
from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.config.toml import parse_spec
from sweep.driver.driver import _driven
from sweep.execution.ray.cluster import (
    ANSWER_VARIABLE,
    check_address,
    check_reachable,
    check_record_stays,
    check_token,
    shipped_modules,
)
from sweep.folder.paths import SweepFolder
from tests.sweep.sweeps import call

ROOT = Path(__file__).parents[3]
BLOCK = '\n[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}\n'


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["run", "my s.toml", "--address", "ray://head:10001", "--epochs", "3"], "--storage PLACE "),
        (["run", "my s.toml", "--address=ray://head:10001", "--epochs", "3", "--runs-dir", "mine"], "--storage PLACE "),
        (["run", "my s.toml", "--epochs", "3", "--runs-dir", "/shared/runs"], ""),
        (["run", "my s.toml", "--epochs", "3", "--runs-dir=/shared/runs"], ""),
        (["run", "my s.toml", "--epochs", "3", "--storage", "s3://b/p"], ""),
        (["run", "my s.toml", "--epochs", "3", "--storage=s3://b/p"], ""),
    ],
)
def test_rays_client_is_refused_with_the_line_that_does_it_right(
    words: list[str], kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's working directory is removed at its end: the line says how to keep the record."""
    monkeypatch.setattr(sys, "argv", ["sweep", *words])
    with pytest.raises(SpecError) as told:
        check_address("ray://head:10001")
    line = str(told.value).partition("say: ")[2]
    given = shlex.join(word for word in words[4:] if "ray://" not in word and word != "--address")
    assert line.startswith(
        "ray job submit --address http://head:8265 --working-dir . -- python -m sweep run 'my s.toml' "
    )
    assert line.endswith(f" {kept}--address auto")
    assert shlex.split(line)[-2:] == ["--address", "auto"]
    assert given in line


@pytest.mark.parametrize("words", [[], ["--runs-dir", "mine"]])
def test_a_sweep_whose_only_record_would_go_with_the_job_is_refused(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As `ray job submit --working-dir .` runs it, without what keeps the record."""
    job = tmp_path / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    job.mkdir(parents=True)
    (job / "s.toml").write_text('data = "synthetic:n_train=1000,n_test=100,seed=0"' + BLOCK)
    told = call(["run", "s.toml", "--address", "auto", *words], job, monkeypatch, capfd)
    assert told.returncode == 2, told.stderr
    assert told.stderr.startswith(f"sweep: {job / (words[1] if words else 'runs')}: lies in a job's own folder, ")
    assert "give --storage PLACE, or an absolute --runs-dir elsewhere" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert [path.name for path in job.iterdir()] == ["s.toml"]


def test_a_record_that_outlives_the_job_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    job.mkdir(parents=True)
    monkeypatch.chdir(job)
    check_record_stays(Path("runs"), "s3://bucket/prefix")
    check_record_stays(tmp_path / "runs", "")
    monkeypatch.chdir(tmp_path)
    check_record_stays(Path("runs"), "")


def test_a_mistake_is_reported_although_ray_removed_the_jobs_folder(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "runs", "s")
    with pytest.raises(SpecError, match="no such optimizer"), _driven(folder):
        # One step, as a thread of the driver writes status.json into the folder all the time.
        (tmp_path / "runs").rename(tmp_path / "removed")
        raise SpecError("optimizer", "no such optimizer", "another one")


@pytest.mark.parametrize(
    "address", ["", "head", "head:", "head:port", ":6379", "http://head:8265", "head:6379/x", "a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match="local, auto, or HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize("address", ["local", "auto", "head:6379", "10.0.0.1:6379", "[::1]:6379"])
def test_what_is_an_address_is_taken(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE=disabled lets anybody on the network run code"),
        ({"RAY_AUTH_TOKEN_PATH": "/nonexistent/token"}, "no token in RAY_AUTH_TOKEN or /nonexistent/token; make one"),
    ],
)
def test_no_cluster_is_joined_without_a_token(
    environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(EnvironmentMismatchError, match=told):
        check_token("head:6379")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file of another user")
def test_an_address_that_another_user_wrote_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` reads the address from a file that every user of the machine can write."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    file = tmp_path / "ray" / "ray_current_cluster"
    file.write_text("127.0.0.1:6379")
    check_token("auto")
    os.chown(file, 65534, 65534)
    with pytest.raises(EnvironmentMismatchError, match=r"another user.*--address HOST:PORT"):
        check_token("auto")
    check_token("127.0.0.1:6379")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    check_token("auto")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
def test_a_token_that_others_can_read_is_refused(mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    token.chmod(mode)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    with pytest.raises(EnvironmentMismatchError, match=rf"token.*{mode:04o}.*chmod 600") as refused:
        check_token("head:6379")
    assert str(token) in str(refused.value)
    token.chmod(0o600)
    check_token("head:6379")


@pytest.mark.slow
def test_an_address_without_a_server_is_reported_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('data = "synthetic:n_train=1000,n_test=100,seed=0"' + BLOCK)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    told = subprocess.run(
        [sys.executable, "-m", "sweep", "run", "s.toml", "--address", address],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN": "0" * 64, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert told.returncode == 2, told.stderr
    assert told.stderr.startswith(f"sweep: address '{address}': nobody answers there (")
    assert len(told.stderr.splitlines()) == 1
    assert not list((tmp_path / "runs").iterdir())


def test_a_server_that_is_not_ray_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection and sends nothing: Ray itself would wait for minutes."""
    monkeypatch.setenv(ANSWER_VARIABLE, "8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(EnvironmentMismatchError, match="no Ray cluster answers there") as told:
            check_reachable(f"127.0.0.1:{silent.getsockname()[1]}")
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("seconds", ["soon", "0", "-3", "nan", "inf"])
def test_a_wait_that_is_no_number_of_seconds_is_reported(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ANSWER_VARIABLE, seconds)
    with pytest.raises(SpecError, match=f"LENET_SWEEP_ANSWER_SECONDS.*{seconds}.*a number of seconds"):
        check_reachable("auto")


def test_the_nodes_are_sent_what_the_spec_names_out_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a package, a folder without an ``__init__.py``, and nothing that is installed."""
    (tmp_path / "my_file.py").write_text("")
    (tmp_path / "my_folder").mkdir()
    (tmp_path / "my_folder" / "inner.py").write_text("")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    choices = [
        Configuration("my_file:Mine", {"lr": 0.1}),
        Configuration("SGD", {"lr": 0.1}, "LambdaLR", {"lr_lambda": "my_package.inner:curve"}),
        Configuration("my_folder.inner:Mine", {"lr": 0.1}),
        Configuration("torch.optim:Adam", {"lr": 0.1}),
    ]
    ours = [str(ROOT / "search_spaces"), str(ROOT / "trainables")]
    mine = [str(tmp_path / name) for name in ("my_file.py", "my_folder", "my_package")]
    assert shipped_modules(choices) == [*ours, *mine]


def test_an_address_under_resources_is_an_unknown_key() -> None:
    with pytest.raises(SpecError, match=r"my\.toml: resources\.address: unknown key; valid: checkpoint_seconds, cpus"):
        parse_spec('[resources]\naddress = "head:6379"\n' + BLOCK, where="my.toml", name="my")
    assert parse_spec('[cluster]\naddress = "head:6379"\n' + BLOCK, where="my.toml", name="my").cluster.address == (
        "head:6379"
    )
