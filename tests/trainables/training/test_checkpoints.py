"""A checkpoint is complete or missing; no file in its folder can run code."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.runtime.fault_injection import VARIABLE
from trainables.training.checkpoints import (
    KEPT,
    MAGIC,
    OWNER,
    CheckpointError,
    Checkpoints,
    SupersededError,
    parse_checkpoint,
)

ROOT = Path(__file__).parents[3]


def state(epoch: int, step: int = 0) -> dict[str, Any]:
    return {"epoch": epoch, "step_in_epoch": step, "weights": torch.arange(1000.0) + epoch}


def test_the_newest_of_two_is_read_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "pack")
    for epoch, step in ((0, 40), (1, 0), (1, 7), (2, 0)):
        checkpoints.save(state(epoch, step))
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest["epoch"], newest["step_in_epoch"]) == (2, 0)
    assert torch.equal(newest["weights"], torch.arange(1000.0) + 2)
    assert len(list((tmp_path / "pack").iterdir())) == KEPT


def test_without_a_folder_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nothing").newest() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_after_damage_the_previous_checkpoint_is_used(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    path = tmp_path / checkpoints.save(state(2))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest["epoch"] == 1


def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_temporary_file(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    (tmp_path / "epoch000002-step00000000.ckpt").mkdir()  # a rename onto a folder fails
    with pytest.raises(OSError, match="epoch000002"):
        checkpoints.save(state(2))
    assert not list(tmp_path.glob("*.tmp"))
    assert parse_checkpoint((tmp_path / "epoch000001-step00000000.ckpt").read_bytes()) is not None


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def test_a_planted_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one with a valid checksum."""
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": Malicious()}, tmp_path / "payload")
    for payload in (pickle.dumps(Malicious()), (tmp_path / "payload").read_bytes()):
        path = tmp_path / "epoch000009-step00000000.ckpt"
        path.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
        assert parse_checkpoint(path.read_bytes()) is None
        assert Checkpoints(tmp_path).newest() is None
    assert not (tmp_path / "planted").exists()


def valid(payload: bytes) -> bytes:
    """Return a file with ``payload`` and a valid checksum."""
    return MAGIC + hashlib.sha256(payload).digest() + payload


def saved_by_torch(anything: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(anything, buffer)
    return buffer.getvalue()


SHARES = st.floats(0, 1, exclude_max=True)  # a place in the file, as a share of its length
DAMAGES = st.one_of(
    st.tuples(st.just("cut"), SHARES, st.just(b"")),
    st.tuples(st.just("bit"), SHARES, st.integers(0, 7)),
    st.tuples(st.just("overwritten"), SHARES, st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("inserted"), SHARES, st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("appended"), SHARES, st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("zeroed"), SHARES, st.integers(1, 4096)),
    st.tuples(st.just("replaced"), SHARES, st.binary(max_size=200)),
    st.tuples(st.just("replaced, checksum valid"), SHARES, st.binary(max_size=200)),
)


def damaged(content: bytes, damage: tuple[str, float, Any]) -> bytes:
    kind, share, what = damage
    place = int(share * len(content))
    changed = bytearray(content)
    if kind == "cut":
        del changed[place:]
    elif kind == "bit":
        changed[place] ^= 1 << what
    elif kind == "overwritten":
        changed[place : place + len(what)] = what
    elif kind == "inserted":
        changed[place:place] = what
    elif kind == "appended":
        changed += what
    elif kind == "zeroed":
        changed[place : place + what] = bytes(len(changed[place : place + what]))
    else:
        changed = bytearray(valid(what) if "valid" in kind else what)
    return bytes(changed)


@given(newest=DAMAGES, before=st.none() | DAMAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example writes both files again
def test_no_damaged_checkpoint_is_used(
    tmp_path: Path, newest: tuple[str, float, Any], before: tuple[str, float, Any] | None
) -> None:
    """The previous one is used if it is valid, otherwise none. A change that restores the same bytes is no damage."""
    checkpoints = Checkpoints(tmp_path)
    paths = [tmp_path / checkpoints.save(state(epoch)) for epoch in (1, 2)]
    whole = [path.read_bytes() for path in paths]
    now = [damaged(whole[0], before) if before else whole[0], damaged(whole[1], newest)]
    for path, content in zip(paths, now, strict=True):
        path.write_bytes(content)
    expected = next((epoch for epoch in (2, 1) if now[epoch - 1] == whole[epoch - 1]), None)
    found = checkpoints.take_up()
    assert (None if found is None else found["epoch"]) == expected
    if found is not None and expected is not None:
        assert torch.equal(found["weights"], torch.arange(1000.0) + expected)


@pytest.mark.parametrize("anything", [[1, 2], {"weights": torch.zeros(2)}, None, torch.zeros(3)])
def test_what_is_no_state_is_no_checkpoint(tmp_path: Path, anything: Any) -> None:
    """Even one that torch wrote, with a valid checksum."""
    path = tmp_path / "epoch000003-step00000000.ckpt"
    path.write_bytes(valid(saved_by_torch(anything)))
    assert parse_checkpoint(path.read_bytes()) is None


def test_what_is_only_named_like_a_checkpoint_is_left_alone(tmp_path: Path) -> None:
    """A folder, a user's copy, a link to nowhere: never read, never counted as one that is kept, never removed."""
    (tmp_path / "epoch000009-step00000000.ckpt").mkdir()
    (tmp_path / "epoch000008-step00000000 copy.ckpt").write_bytes(b"mine")
    (tmp_path / "epoch000007-step00000000.ckpt").symlink_to("nowhere")
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save(state(epoch))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest["epoch"] == 3
    ours = {f"epoch00000{epoch}-step00000000.ckpt" for epoch in (2, 3, 7, 9)}
    assert {path.name for path in tmp_path.iterdir()} == ours | {"epoch000008-step00000000 copy.ckpt"}


def test_after_both_were_damaged_new_ones_take_their_place(tmp_path: Path) -> None:
    """The damaged ones are later by name; they must not replace what is written now."""
    checkpoints = Checkpoints(tmp_path)
    for epoch in (4, 5):
        (tmp_path / checkpoints.save(state(epoch))).write_bytes(b"torn")
    assert checkpoints.take_up() is None
    for epoch in (1, 2):
        checkpoints.save(state(epoch))
        newest = checkpoints.newest()
        assert newest is not None
        assert newest["epoch"] == epoch


def test_only_the_process_that_resumes_a_pack_writes_its_checkpoints(tmp_path: Path) -> None:
    """A process that still trains for a dead driver is refused, and leaves no file."""
    orphan, heir = Checkpoints(tmp_path), Checkpoints(tmp_path)
    assert orphan.take_up() is None
    orphan.save(state(1))
    found = heir.take_up()
    assert found is not None
    assert found["epoch"] == 1
    with pytest.raises(SupersededError, match="another process has taken this pack up"):
        orphan.save(state(2))
    heir.save(state(2))
    assert {path.name for path in tmp_path.iterdir()} == {
        OWNER, "epoch000001-step00000000.ckpt", "epoch000002-step00000000.ckpt",
    }  # fmt: skip


def test_reading_a_checkpoint_does_not_change_its_owner(tmp_path: Path) -> None:
    """Activations are read while a sweep trains."""
    owner = Checkpoints(tmp_path)
    owner.take_up()
    owner.save(state(1))
    assert Checkpoints(tmp_path).newest() is not None
    owner.save(state(2))


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
import torch
from trainables.training.checkpoints import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.take_up()
checkpoints.save({"epoch": 1, "step_in_epoch": 0})
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
checkpoints.save({"epoch": 2, "step_in_epoch": 0})
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_process(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*.tmp"))) == 1
    found = Checkpoints(tmp_path).take_up()
    assert found is not None
    assert found["epoch"] == 1
    assert not list(tmp_path.glob("*.tmp"))


PASSES = """
from trainables.runtime.fault_injection import fault_point
for passage in range(1, 4):
    fault_point("here")
    fault_point("there")
    print(passage, flush=True)
"""


@pytest.mark.parametrize(
    ("asked", "passages"), [("", 3), ("there:2:{}", 1), ("there:4:{}", 3), ("elsewhere:1:{}", 3)], ids=str
)
def test_a_fault_point_kills_at_its_passage_and_only_once(tmp_path: Path, asked: str, passages: int) -> None:
    """Without the variable, and once the marker is there, it does nothing."""
    marker = tmp_path / "marker"
    environment = {**os.environ, VARIABLE: asked.format(marker), "PYTHONPATH": str(ROOT)}

    def run() -> tuple[int, int]:
        ended = subprocess.run(
            [sys.executable, "-c", PASSES], env=environment, capture_output=True, text=True, check=False
        )
        return ended.returncode, len(ended.stdout.split())

    assert run() == (0 if passages == 3 else -signal.SIGKILL, passages)
    assert run() == (0, 3)


def test_a_checkpoint_that_cannot_be_read_now_is_not_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be valid: a training from the start would delete it."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"epoch": 1, "step_in_epoch": 0})

    def fails(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        with pytest.raises(CheckpointError, match="epoch000001"):
            checkpoints.newest()
    assert checkpoints.newest() == {"epoch": 1, "step_in_epoch": 0}


def of_a_pack(epoch: int, step: int, rows: int, rates: int, diverged: int | None = None) -> dict[str, Any]:
    member = {
        "rows": [{"epoch": number} for number in range(1, rows + 1)],
        "rates": [0.1] * rates,
        "diverged_epoch": diverged,
    }
    return {"epoch": epoch, "step_in_epoch": step, "members": [member]}


@pytest.mark.parametrize(
    "changed",
    [
        of_a_pack(10**9, 0, rows=2, rates=0),
        of_a_pack(10**9, 0, rows=0, rates=0, diverged=10**9 + 1),
        of_a_pack(3, 0, rows=2, rates=0),
        of_a_pack(2, 10**7, rows=2, rates=5),
        of_a_pack(2, 5, rows=3, rates=5),
        of_a_pack(2, 5, rows=2, rates=5) | {"members": [{}]},
        of_a_pack(2, 5, rows=2, rates=5) | {"members": 3},
    ],
)
def test_a_state_whose_epoch_does_not_match_its_rows_is_not_used(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Its checksum is valid; an epoch of 10^9 would count as the end of the training."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(of_a_pack(2, 1, rows=2, rates=1))
    checkpoints.save(changed)
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest["epoch"], newest["step_in_epoch"]) == (2, 1)


@pytest.mark.parametrize(("epoch", "step"), [(2.0, 0), (True, 0), (7, 0), (2, 3)])
def test_a_state_under_another_files_name_is_not_used(tmp_path: Path, epoch: Any, step: int) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(of_a_pack(1, 0, rows=1, rates=0))
    state = of_a_pack(2, 0, rows=2, rates=0) | {"epoch": epoch, "step_in_epoch": step}
    (tmp_path / "epoch000002-step00000000.ckpt").write_bytes(valid(saved_by_torch(state)))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest["epoch"] == 1


def test_a_diverged_run_has_the_rows_before_its_divergence(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(of_a_pack(5, 3, rows=2, rates=0, diverged=3))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest["epoch"] == 5
