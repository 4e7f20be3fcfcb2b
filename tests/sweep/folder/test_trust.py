"""A sweep's file sends neither a token nor a row to a place that its user has not accepted."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder
from sweep.folder.trust import ADDRESS, STORAGE, check_trusted, remember, state_folder
from tests.sweep import sweeps

SMALL = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 1
seeds = 1
[[configurations]]
optimizer = [{name = "SGD", lr = 0.05}]
scheduler = [{name = "none"}]
"""


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of another person."""
    runs = tmp_path_factory.mktemp("sender")
    sweeps.run(sweeps.spec(SMALL, name="mine"), runs)
    return runs / "mine"


@pytest.fixture
def received(sender: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """That sweep, as another user got it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(sender, tmp_path / "runs" / "mine")
    return SweepFolder(tmp_path / "runs", "mine")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def edit(folder: SweepFolder, before: str, after: str) -> None:
    text = folder.spec.read_text()
    assert before in text
    folder.spec.write_text(text.replace(before, after))


def test_a_received_address_gets_no_token(
    received: SweepFolder, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    edit(received, 'address = "local"', f'address = "{address}"')
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    told = sweeps.call(["resume", "mine"], received.runs_dir.parent, monkeypatch, capfd)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1
    for part in (ADDRESS, address, "sweep resume mine --trust", str(received.spec)):
        assert part in told.stderr
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_an_address_in_a_spec_file_gets_no_token_before_it_is_accepted(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    (tmp_path / "s.toml").write_text(SMALL.replace("[[conf", f'[cluster]\naddress = "{address}"\n[[conf'))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    told = sweeps.call(["run", "s.toml"], tmp_path, monkeypatch, capfd)
    assert (told.returncode, len(told.stderr.splitlines())) == (2, 1)
    assert "--trust" in told.stderr
    assert f"--address {address}" in told.stderr
    assert not (tmp_path / "runs").exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


def foreign_storage(received: SweepFolder) -> Path:
    """Let the received spec name a storage, an empty folder beside the sweeps; return it."""
    outside = received.runs_dir.parent / "outside"
    outside.mkdir()
    edit(received, 'storage = ""', f'storage = "{outside}"')
    return outside


def test_a_received_storage_is_written_after_it_was_accepted_once(
    received: SweepFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = foreign_storage(received)
    here, resume = received.runs_dir.parent, ["resume", "mine", "--in-process"]
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder, *_: folder.report)
    told = sweeps.call(resume, here, monkeypatch, capfd)
    assert (told.returncode, len(told.stderr.splitlines())) == (2, 1)
    assert str(outside) in told.stderr
    assert "--trust" in told.stderr
    assert list(outside.iterdir()) == []
    told = sweeps.call([*resume, "--trust"], here, monkeypatch, capfd)
    assert told.returncode == 0, told.stderr
    assert (outside / "mine").is_dir()
    told = sweeps.call(resume, here, monkeypatch, capfd)
    assert told.returncode == 0, told.stderr
    for verb in (["trajectory", "mine"], ["activations", "mine", "--run", "0"]):
        assert "have not sent" not in sweeps.call(verb, here, monkeypatch, capfd).stderr


def test_analyses_do_not_use_a_received_storage(
    received: SweepFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = foreign_storage(received)
    (log,) = received.logs.glob("*.log")
    run_id = log.read_text().partition("(run ")[2].partition(")")[0]
    for verb in (["trajectory", "mine"], ["activations", "mine", run_id]):
        told = sweeps.call(verb, received.runs_dir.parent, monkeypatch, capfd)
        assert (told.returncode, "--trust" in told.stderr) == (2, True), (verb, told.stderr)
    assert list(outside.iterdir()) == []


def spec_with(**changed: str) -> Spec:
    return sweeps.spec(SMALL, **{key.replace("__", "."): value for key, value in changed.items()})


def test_what_was_accepted_holds_for_this_folder_and_these_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder, other = SweepFolder(tmp_path, "a"), SweepFolder(tmp_path, "b")
    sent = spec_with(cluster__address="head:6379", storage="s3://bucket/prefix")
    keys = {ADDRESS, STORAGE}
    remember(folder, sent)
    check_trusted(folder, sent, keys)
    check_trusted(folder, spec_with(cluster__address="head:6379"), keys)
    for refused, place in (
        (sent, other),
        (spec_with(cluster__address="evil:6379", storage="s3://bucket/prefix"), folder),
        (spec_with(cluster__address="auto"), folder),
        (spec_with(storage="s3://other/prefix"), folder),
    ):
        with pytest.raises(SpecError, match="--trust"):
            check_trusted(place, refused, keys)
        check_trusted(place, refused, set())  # typed
    remember(folder, spec_with(cluster__address="auto"))
    check_trusted(folder, sent, keys)


def test_the_record_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder, sent = SweepFolder(tmp_path, "a"), spec_with(storage=str(tmp_path))
    before = os.umask(0)
    try:
        remember(folder, sent)
    finally:
        os.umask(before)
    (record,) = [path for path in state_folder().rglob("*") if path.is_file()]
    assert record.stat().st_mode & 0o777 == 0o600
    assert not record.is_relative_to(folder.path)
    record.chmod(0o666)
    with pytest.raises(SpecError):
        check_trusted(folder, sent, {STORAGE})


def test_without_a_place_for_the_record_nothing_is_trusted_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nothing")
    folder, sent = SweepFolder(tmp_path, "a"), spec_with(storage=str(tmp_path))
    remember(folder, sent)
    with pytest.raises(SpecError):
        check_trusted(folder, sent, {STORAGE})
