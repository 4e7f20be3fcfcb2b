"""A sweep's folder stays inside the runs folder, and a file in it is written completely or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from search_spaces.errors import SpecError, SweepFolderError
from sweep.driver.driver import read_resolved
from sweep.folder.paths import SweepFolder, sweep_names, write_atomically


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/etc",
        "a\\b",
        ".hidden",
        "-rf",
        "a b",
        "a\nb",
        "a\n",
        "a\0b",
        "ü",
        "$HOME",
        "a;b",
    ],
)
def test_a_name_that_could_lead_out_or_trip_a_shell_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"^name: .* cannot name a folder; use letters") as error:
        SweepFolder(tmp_path, name)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "quickstart", "2024-05-06_lr.v2", "x" * 100, "a..b"])
def test_every_path_of_a_plain_name_lies_in_its_own_folder(tmp_path: Path, name: str) -> None:
    folder = SweepFolder(tmp_path, name)
    inside = [
        folder.spec, folder.ledger, folder.provenance, folder.checkpoints, folder.logs, folder.tables,
        folder.pack_checkpoints("a" * 16), folder.pack_log("a" * 16),
    ]  # fmt: skip
    assert folder.path.resolve().parent == tmp_path.resolve()
    assert all(path.resolve().is_relative_to(folder.path.resolve()) for path in inside)
    assert len({*inside, folder.path}) == len(inside) + 1
    assert not list(tmp_path.iterdir())


def test_the_folder_stays_where_it_was_when_the_working_directory_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = SweepFolder(Path("runs"), "s")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder.create()
    assert (tmp_path / "runs" / "s").is_dir()


def begin(runs_dir: Path, *names: str) -> None:
    for name in names:
        (runs_dir / name).mkdir(parents=True)
        (runs_dir / name / "ledger.sqlite").touch()


def test_a_missing_sweep_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    begin(tmp_path, "zeta", "alpha")
    (tmp_path / "no-sweep").mkdir()
    assert SweepFolder.existing(tmp_path, "alpha").path == tmp_path / "alpha"
    with pytest.raises(SweepFolderError, match=r"no sweep 'no-sweep' in .*: alpha, zeta; "):
        SweepFolder.existing(tmp_path, "no-sweep")


def test_a_runs_folder_that_is_not_there_has_no_sweeps_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SweepFolderError, match="existing sweeps: none"):
        SweepFolder.existing(tmp_path / "runs", "alpha")
    assert sweep_names(tmp_path / "runs") == []
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_no_sweep_could_have_made_is_not_listed(tmp_path: Path) -> None:
    """A renamed copy must not prevent `sweep status` from showing the others."""
    begin(tmp_path, "good", "a copy of good", ".trash")
    assert sweep_names(tmp_path) == ["good"]


def test_a_renamed_folder_is_resumed_under_its_new_name(tmp_path: Path) -> None:
    """Not under the name at its creation: `resume` would continue in another folder, or create one."""
    made = SweepFolder(tmp_path, "before")
    made.create()
    text = 'name = "before"\nepochs = 7\n[[configurations]]\noptimizer = "SGD"\n'
    write_atomically(made.spec, text)
    made.path.rename(tmp_path / "after")
    spec = read_resolved(SweepFolder(tmp_path, "after"), {"resources.pack": 3})
    assert (spec.name, spec.epochs, spec.resources.pack) == ("after", 7, 3)


def test_a_folder_without_its_spec_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"s/sweep\.toml: cannot be read \(No such file or directory\); `sweep run` writes it again$"
    ):
        read_resolved(SweepFolder(tmp_path, "s"), {})


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file stands in the way")
    with pytest.raises(
        SweepFolderError, match=r"runs/s: cannot be created \(Not a directory\); give another --runs-dir"
    ):
        SweepFolder(tmp_path / "runs", "s").create()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the system is simulated, because root may write everywhere."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SweepFolderError, match="cannot be written; give another --runs-dir"):
        SweepFolder(tmp_path, "s").create()


def test_making_a_folder_again_keeps_what_is_in_it(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "s")
    folder.create()
    folder.spec.write_text("kept")
    folder.create()
    assert folder.spec.read_text() == "kept"


def test_an_atomic_write_replaces_the_whole_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text("old, and longer than the new")
    write_atomically(path, "new × …")
    assert path.read_text(encoding="utf-8") == "new × …"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_holds_the_whole_old_file_while_the_new_one_is_renamed_into_place(tmp_path: Path) -> None:
    """The file is another one, not the same one overwritten."""
    path = tmp_path / "sweep.toml"
    path.write_text("old")
    with path.open() as reader:
        write_atomically(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_text_that_cannot_be_written_leaves_the_old_file_and_no_temporary_file(tmp_path: Path) -> None:
    """A lone surrogate fails during the write, after the temporary file was opened."""
    path = tmp_path / "sweep.toml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    """A folder that is not empty cannot be replaced by a file."""
    path = tmp_path / "sweep.toml"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"sweep\.toml"):
        write_atomically(path, "new")
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "inside").is_dir()


@pytest.mark.parametrize("length", [101, 240])
def test_a_name_that_is_too_long_says_its_length_and_the_option(length: int, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        SweepFolder(tmp_path, "n" * length)
    told = str(error.value)
    assert all(word in told for word in (str(length), "100", "--name"))
    assert len(told) < 300
    assert SweepFolder(tmp_path, "n" * 100).name == "n" * 100


@pytest.mark.parametrize("name", ["sweep.toml", "provenance.json", "control/status.json", "checkpoints/a/b", "lock"])
def test_a_fifo_in_a_sweeps_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Reading it would wait for a writer that never comes."""
    folder = SweepFolder(tmp_path, "mine")
    folder.create()
    folder.ledger.touch()
    (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder.path / name)
    for look in (folder.create, folder.check_links, lambda: SweepFolder.existing(tmp_path, "mine")):
        with pytest.raises(SweepFolderError, match=rf"{re.escape(name)}: is a FIFO, socket or device"):
            look()
