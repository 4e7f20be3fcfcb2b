"""Addresses and tokens that cannot be, each told in one line; what the nodes are sent."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import Configuration
from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.cluster import ANSWER_VARIABLE, check_address, check_reachable, check_token, shipped_modules
from sweep.spec import parse_spec

ROOT = Path(__file__).parent.parent.parent
BLOCK = '\n[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}\n'


def test_rays_client_is_refused_with_the_line_that_does_it_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["sweep", "run", "my space.toml", "--address", "ray://head:10001", "--epochs", "3"]
    )
    with pytest.raises(SpecError) as told:
        check_address("ray://head:10001")
    assert str(told.value).endswith(
        "say: ray job submit --address http://head:8265 --working-dir . -- "
        "python -m sweep run 'my space.toml' --epochs 3 --address auto"
    )


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
    """Nor is a local one opened to the network."""
    for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(EnvironmentMismatchError, match=told):
        check_token("head:6379")
    check_token("local")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    with pytest.raises(EnvironmentMismatchError, match=told):
        check_token("local")


def test_where_nobody_listens_that_is_told_and_nothing_is_made(tmp_path: Path) -> None:
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


def test_a_server_that_is_no_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing: Ray itself would wait for minutes."""
    monkeypatch.setenv(ANSWER_VARIABLE, "8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(EnvironmentMismatchError, match="no Ray cluster answers there") as told:
            check_reachable(f"127.0.0.1:{silent.getsockname()[1]}")
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("seconds", ["soon", "0", "-3", "nan", "inf"])
def test_a_wait_that_is_no_number_of_seconds_is_told(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_spec_of_the_first_version_keeps_its_address() -> None:
    old = parse_spec('[resources]\naddress = "head:6379"\n' + BLOCK, where="sweep.toml", name="old")
    assert old.cluster.address == "head:6379"
    text, overrides = '[resources]\naddress = "head:6379"\n' + BLOCK, {"cluster.address": "other:1"}
    assert parse_spec(text, where="sweep.toml", name="old", overrides=overrides).cluster.address == "other:1"
