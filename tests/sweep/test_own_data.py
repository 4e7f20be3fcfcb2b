"""A sweep on own data, from the folder to the ledger."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from results.ledger.arrays import load_sweep
from results.ledger.frames import runs_frame
from results.ledger.ledger import Ledger
from results.reports.paper import methods_paragraph
from search_spaces.errors import DataError
from sweep.config.spec import Spec
from sweep.driver.outputs import make_outputs
from sweep.folder.status import status_lines
from sweep.folder.status_source import folder_status
from tests.sweep.sweeps import call, run, spec
from tests.trainables.own_sources import ten_classes, write_class_folders
from trainables.data.image_arrays import MAX_IMAGES

SPEC = """
data = "{folder}"
epochs = 2
seeds = 1
[protocol]
batch_size = 32
[[configurations]]
optimizer = [{{name = "SGD", lr = 0.01}}, {{name = "SGD", lr = 1e30}}]
"""


def test_a_sweep_on_own_data_has_its_number_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken is printed and stored; a diverged run counts as chance of four classes; nothing says CIFAR-100.

    Neither do the tables, the report, and what a paper gets; their figures have separate tests.
    """
    folder = write_class_folders(tmp_path / "mine", ten_classes(30, classes=4))
    outcome, printed = run(spec(SPEC.format(folder=folder), "own"), tmp_path / "runs")
    said = "mine: class folders in train/ and test/, 4 classes"
    assert f"data {folder}: {said}" in printed
    (session,) = json.loads(outcome.folder.provenance.read_text())
    assert (session["data"]["title"], session["data"]["classes"], session["data"]["notes"]) == ("mine", 4, [said])
    sweep = load_sweep(outcome.folder.ledger)
    assert (sweep.facts.classes, sweep.facts.val_images, sweep.facts.test_images) == (4, 12, 8)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert runs_frame(ledger).query("status == 'diverged'")["final_val_acc"].tolist() == [25]
    told = [printed, outcome.folder.spec.read_text(), *sweep.caveats(), *outcome.answer]
    told += status_lines(folder_status(outcome.folder))
    monkeypatch.setattr("sweep.driver.outputs.save_figures", lambda *_, **__: [])
    make_outputs(outcome.folder)
    told.append(methods_paragraph(sweep))
    written = [file for file in outcome.folder.path.rglob("*") if file.suffix in (".md", ".csv", ".html", ".json")]
    assert {file.suffix for file in written} == {".md", ".csv", ".html", ".json"}
    told += [file.read_text() for file in written]
    assert not [text for text in told if "CIFAR" in text]


def test_a_resolved_spec_keeps_how_the_data_are_read() -> None:
    """Older ones have none of these keys."""
    found = spec('labels = "coarse"\nmax_images = 7\nmax_runs = 8\n' + SPEC.format(folder="cifar100"))
    assert found.data_options == {"val_fraction": 0.1, "labels": "coarse", "max_images": 7}
    assert Spec(configurations=[]).data_options == {"val_fraction": 0.1, "labels": "", "max_images": MAX_IMAGES}


def test_a_data_set_that_is_too_large_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("1,000,001,000 images, more than max_images = 1,000,000")):
        run(spec(SPEC.format(folder="synthetic:n_train=1000000000")), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("one", r"data: \S*/one/train, the names of its folders: 1 class names; expected 2 to "),
        ("nowhere", r"data: '\S*/nowhere\S*'.*: neither a known name nor an existing folder; use one of 'cifar100'"),
        ("empty", r"data: \S*/empty: holds no images in a known layout .*; expected "),
        ("synthetic:n_trian=5", r"data: 'synthetic:n_trian=5': unknown option 'n_trian'; valid: "),
        ("one.toml", r"data: '\S*/one\S*'.*: neither a known name nor an existing folder"),
    ],
)
def test_data_that_cannot_be_used_is_one_line_with_key_value_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], data: str, problem: str
) -> None:
    """Exit code 2, and nothing is written."""
    write_class_folders(tmp_path / "one", ten_classes(30, classes=1))
    (tmp_path / "empty").mkdir()
    file = tmp_path / "one.toml"
    file.write_text(SPEC.format(folder=data if ":" in data else tmp_path / data))
    found = call(["run", file, "--in-process"], tmp_path, monkeypatch, capfd)
    assert found.returncode == 2
    assert re.fullmatch(rf"sweep: {problem}.*\n", found.stderr)
    assert not (tmp_path / "runs").exists()
