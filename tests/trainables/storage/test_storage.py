"""Files in a folder or a bucket: complete or missing; temporary faults are retried, others are reported in one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from moto import settings

from search_spaces.errors import SpecError, StorageError
from tests.trainables.s3_server import BUCKET, S3Server
from trainables.storage.addresses import open_storage
from trainables.storage.interface import Storage

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, server: S3Server, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "shared"))
    return open_storage(server.uri(BUCKET, f"sweeps/{request.node.name.partition('[')[0]}"))


def test_what_was_written_is_read_listed_and_deleted(storage: Storage) -> None:
    assert storage.read("a/b") is None
    assert storage.names("a") == []
    for name, content in (("a/b", b"one"), ("a/b", b"two"), ("a/c", b""), ("d", b"\0" * 3_000_000)):
        storage.write(name, content)
        assert storage.read(name) == content
    assert storage.names("a") == ["b", "c"]
    assert storage.names() == ["d"]
    assert storage.below("a").read("b") == b"two"
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.names("a") == ["c"]
    assert storage.read("a") is None  # a folder is no file
    storage.prove()


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/passwd", "", ".hidden", "a//b", "a\n", "a/./b", "~x"])
def test_no_name_leads_out_of_the_storage(storage: Storage, name: str) -> None:
    for act in (storage.read, storage.delete, storage.below, lambda name: storage.write(name, b"")):
        with pytest.raises(StorageError, match="is not a valid file name"):
            act(name)


def test_the_bucket_holds_what_another_client_finds_there(server: S3Server) -> None:
    open_storage(server.uri(BUCKET, "mine/deep")).write("x/y.bin", b"content")
    found = server.client().get_object(Bucket=BUCKET, Key="mine/deep/x/y.bin")
    assert found["Body"].read() == b"content"


def test_a_cancelled_write_leaves_the_old_content(storage: Storage) -> None:
    storage.write("a", b"old")

    def refuse() -> None:
        raise LookupError("not mine")

    with pytest.raises(LookupError):
        storage.write("a", b"new", refuse)
    assert storage.read("a") == b"old"
    assert storage.names() == ["a"]


def test_a_server_that_answers_500_for_a_while_is_asked_again(server: S3Server) -> None:
    storage = open_storage(server.uri(BUCKET, "five"))
    for act in (
        lambda: storage.write("a", b"1"),
        lambda: storage.read("a"),
        storage.names,
        lambda: storage.delete("a"),
    ):
        failed = server.failed
        server.fail_next(3)
        act()
        assert server.failed == failed + 3
    assert storage.read("a") is None


@pytest.mark.slow
def test_a_large_file_is_whole_although_a_part_failed(server: S3Server) -> None:
    """It is uploaded in parts; the second and third requests fail."""
    storage, content = open_storage(server.uri(BUCKET, "large")), os.urandom(12_000_000)
    server.slow_next(1, 0)
    server.fail_next(2)
    storage.write("a", content)
    assert storage.read("a") == content


def test_a_server_that_is_slow_is_waited_for(server: S3Server) -> None:
    storage = open_storage(server.uri(BUCKET, "slow"))
    server.slow_next(2, 1.0)
    storage.write("a", b"1")
    assert storage.read("a") == b"1"


def test_a_server_that_is_gone_is_waited_for(server: S3Server) -> None:
    storage = open_storage(server.uri(BUCKET, "gone"))
    storage.write("a", b"1")
    server.go_away()
    back = threading.Timer(3.0, server.come_back)
    back.start()
    storage.write("a", b"2")
    back.join()
    assert storage.read("a") == b"2"


@pytest.mark.parametrize("listens", [False, True])
def test_a_server_without_an_answer_is_reported_in_one_line(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port, and a port that accepts every request and never answers."""
    monkeypatch.setattr("trainables.storage.s3.SILENCE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not listens:
            silent.close()
        storage = open_storage(f"s3://here/x?endpoint_override=http://127.0.0.1:{port}", patience_seconds=1.0)
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"^s3://here/x/a: no successful answer for 1 s") as told:
            storage.write("a", b"1")
        assert time.monotonic() - began < 30  # a bound for a hang
    assert len(str(told.value).splitlines()) == 1


def test_a_bucket_that_does_not_exist_is_reported_at_once(server: S3Server) -> None:
    with pytest.raises(StorageError, match=r"^s3://nowhere/sweeps/probe-[0-9a-f]+: there is no such bucket"):
        open_storage(server.uri("nowhere")).prove()


def test_unknown_keys_and_keys_without_permission_are_reported_at_once(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from here on the server checks the keys
    for access, secret, told in (
        ("unknown", "x", "the access key is unknown"),
        (key["AccessKeyId"], "wrong", "the secret key does not match the access key"),
        (key["AccessKeyId"], key["SecretAccessKey"], "access denied"),
    ):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(StorageError, match=told) as error:
            open_storage(server.uri(BUCKET)).prove()
        assert len(str(error.value).splitlines()) == 1


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    """A folder, and a FIFO, which is not opened."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    storage = open_storage(str(tmp_path))
    assert [storage.read(name) for name in ("fifo", "folder", "nothing")] == [None] * 3


def test_a_folder_that_cannot_be_written_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/shared/a: (Not a directory|File exists)"):
        open_storage(str(tmp_path / "file" / "shared")).write("a", b"")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://key:secret@here/x", "the address contains credentials"),
        ("s3://x", "is not a valid bucket name"),
        ("s3://UPPER/x", "is not a valid bucket name"),
        ("s3://here/x?allow_bucket_creation=1", "unknown option 'allow_bucket_creation'; valid: endpoint_override"),
        ("hdfs://here/x", "a folder, or s3://bucket/prefix"),
    ],
)
def test_an_invalid_address_is_refused(uri: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        open_storage(uri)


KILLED_WHILE_WRITING = """
import os, signal, sys
from trainables.storage.addresses import open_storage
from trainables.storage.interface import Storage
storage = open_storage(sys.argv[1])
storage.write("a", b"old")
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
storage.write("a", b"new")
"""


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    storage = open_storage(str(tmp_path))
    assert storage.read("a") == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert storage.names() == ["a"]
    storage.clear_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
