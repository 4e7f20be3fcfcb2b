"""Before a sweep continues, its changes are printed: longer, new, left out, failed, edited by hand."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from results.ledger.ledger import Ledger
from search_spaces import Run
from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec, spec_text
from sweep.driver.changes import announce_changes, spec_edits
from sweep.driver.driver import DriveOptions, drive, read_resolved
from sweep.folder.paths import SweepFolder, write_atomically
from sweep.planning.plan import Pack, make_packs, make_runs, resolve_configurations
from tests.builders import attempt_of, row_of
from trainables.data.dataset import load_data

DATA = "synthetic:n_train=1000,n_test=100,seed=0"
STEPS = 8  # 900 images in batches of 128

TWO = """
[[configurations]]
optimizer = {name = "SGD", lr = [0.05, 0.1]}
scheduler = [{name = "none"}, {name = "CosineAnnealingLR"}]
"""
"""Two rates, each constant and under a cosine that follows the sweep's length."""


def spec(text: str = TWO, **overrides: Any) -> Spec:
    facts = {"data": DATA, "epochs": 10, "seeds": 2, **overrides}
    return parse_spec(text, where="tiny.toml", name="tiny", overrides=facts)


def runs_of(one: Spec, fingerprint: str = "d" * 16) -> list[Run]:
    return make_runs(one, resolve_configurations(one, STEPS), fingerprint)


def train(
    ledger: Ledger, runs: Sequence[Run], epochs: int, failed: Collection[Run] = (), untrained: Collection[Run] = ()
) -> None:
    """Record all ``runs`` in packs of four, as training does."""
    ledger.plan(runs, epochs, data_name="synthetic", synthetic=True)
    packs = make_packs(runs, set(), {}, 4)
    ledger.plan_packs([(pack.pack_id, pack.run_ids) for pack in packs], "auto")
    for pack in packs:
        ledger.start(pack.pack_id, pack.run_ids)
        attempt = f"attempt at {pack.pack_id} to {epochs}"
        members = [run for run in pack.runs if run not in failed and run not in untrained]
        rows = [row_of(run, epoch, attempt_id=attempt) for run in members for epoch in range(1, epochs + 1)]
        ledger.record([attempt_of(list(pack.runs), attempt, pack_id=pack.pack_id)], rows, {})
        ledger.complete(pack.pack_id)
    ledger.fail([run.run_id for run in failed], "ArithmeticError: no")
    ledger.interrupt()


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder = SweepFolder(tmp_path, "tiny")
    folder.create()
    return folder


def announced(folder: SweepFolder, before: Spec, after: Spec) -> list[str]:
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs_of(before), before.epochs)
        return announce_changes(ledger, runs_of(after), after.epochs)


def test_a_new_sweep_and_the_same_again_change_nothing(folder: SweepFolder) -> None:
    with Ledger.create_or_open(folder.ledger) as ledger:
        assert announce_changes(ledger, runs_of(spec()), 10) == []
    assert announced(folder, spec(), spec()) == []


def test_more_epochs_extend_the_constant_rates_and_make_new_cosines(folder: SweepFolder) -> None:
    """Two rates under two seeds: four runs of each kind."""
    assert announced(folder, spec(), spec(epochs=20)) == [
        "extends 4 runs from 10 to 20 epochs: SGD lr=0.05, SGD lr=0.1",
        "adds 4 new runs, whose schedule depends on the 20 epochs: "
        "SGD lr=0.05 · CosineAnnealingLR, SGD lr=0.1 · CosineAnnealingLR; their runs of 10 epochs stay in the ledger",
    ]


def test_more_seeds_add_runs_and_name_the_seeds(folder: SweepFolder) -> None:
    assert announced(folder, spec(), spec(seeds=4)) == [
        "adds 8 runs: SGD lr=0.05, SGD lr=0.1, SGD lr=0.05 · CosineAnnealingLR, SGD lr=0.1 · CosineAnnealingLR "
        "(seeds 2, 3)"
    ]


def test_another_configuration_is_added_and_one_that_went_is_left_out(folder: SweepFolder) -> None:
    before = '[[configurations]]\noptimizer = [{name = "SGD", lr = 0.1}, {name = "Adam", lr = 0.1}]'
    after = '[[configurations]]\noptimizer = [{name = "SGD", lr = 0.1}, {name = "RAdam", lr = 0.1}]'
    assert announced(folder, spec(before), spec(after)) == [
        "adds 2 runs: RAdam lr=0.1",
        "leaves out 2 runs, kept in the ledger: Adam lr=0.1",
    ]


def test_runs_of_another_version_of_the_training_are_left_out(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}'
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs_of(spec(text)), 10)
        monkeypatch.setattr("search_spaces.run.TRAINING_VERSION", 2)
        lines = announce_changes(ledger, runs_of(spec(text)), 10)
    assert lines == ["adds 2 runs: SGD lr=0.1", "leaves out 2 runs, kept in the ledger: SGD lr=0.1"]


def test_fewer_epochs_have_nothing_to_do(folder: SweepFolder) -> None:
    text = '[[configurations]]\noptimizer = {name = "SGD", lr = [0.05, 0.1]}'
    assert announced(folder, spec(text), spec(text, epochs=4)) == [
        "4 runs already had up to 10 epochs: nothing to train for 4"
    ]


def test_long_lists_are_shortened(folder: SweepFolder) -> None:
    text = '[[configurations]]\noptimizer = {name = "SGD", lr = [1, 2, 3, 4, 5, 6, 7]}'
    assert announced(folder, spec(text), spec(text, epochs=20)) == [
        "extends 14 runs from 10 to 20 epochs: SGD lr=1, SGD lr=2, SGD lr=3, SGD lr=4 and 3 more configurations"
    ]


def contents(folder: SweepFolder) -> dict[str, bytes]:
    """The files in the folder, without those that SQLite keeps while a ledger is read."""
    return {path.name: path.read_bytes() for path in folder.path.iterdir() if not path.name.endswith(("-wal", "-shm"))}


def dry(one: Spec, runs_dir: Path, **how: bool) -> list[str]:
    screen = io.StringIO()
    assert drive(one, runs_dir, Console(file=screen, width=80), DriveOptions(dry_run=True, **how)) is None
    return screen.getvalue().splitlines()


def test_a_dry_run_prints_the_changes_and_writes_nothing(folder: SweepFolder) -> None:
    fingerprint = load_data(DATA, val_fraction=0.1).fingerprint
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs_of(spec(), fingerprint), 10)
    before = contents(folder)
    lines = dry(spec(epochs=20), folder.runs_dir)
    assert lines[1].startswith("0 of them are finished, 8 are left, in 4 packs of up to 4; ")
    assert lines[2] == "  extends 4 runs from 10 to 20 epochs: SGD lr=0.05, SGD lr=0.1"
    assert lines[3].startswith("  adds 4 new runs, whose schedule depends on the 20 epochs: ")
    assert contents(folder) == before


def test_a_failed_run_is_left_out_of_its_pack_and_with_the_flag_the_pack_is_continued(folder: SweepFolder) -> None:
    """A started pack of four constant rates: one run failed, one is done, two were interrupted."""
    text = '[[configurations]]\noptimizer = {name = "SGD", lr = [0.1, 0.2, 0.3, 0.4]}'
    one = spec(text, seeds=1)
    runs = runs_of(one, load_data(DATA, val_fraction=0.1).fingerprint)
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs, 10, failed=runs[:1], untrained=runs[2:])
    lines = dry(one, folder.runs_dir)
    assert lines[1].startswith("1 of them are finished, 2 are left, in 1 pack of up to 4; ")
    again = f"sweep resume tiny --retry-failed --runs-dir {folder.runs_dir}"
    assert lines[2] == f"  1 failed before; to retry: {again}"
    assert lines[-1] == f"  pack {Pack(tuple(runs[2:])).pack_id}: SGD lr=0.3 seed 0; SGD lr=0.4 seed 0"
    lines = dry(one, folder.runs_dir, retry_failed=True)
    assert lines[1].startswith("1 of them are finished, 3 are left, in 1 pack of up to 4; ")
    assert not any("failed" in line for line in lines)
    assert lines[-1].startswith(f"  pack {Pack(tuple(runs)).pack_id}: SGD lr=0.1 seed 0; SGD lr=0.2 seed 0;")


def test_a_run_to_be_retried_stays_so_if_it_is_interrupted_before_it_starts(folder: SweepFolder) -> None:
    runs = runs_of(spec())
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs, 10, failed=runs[:2])
        ids = [run.run_id for run in runs]
        assert ledger.failed(ids, 10) == set(ids[:2])
        ledger.retry(ids[:1])
        assert ledger.failed(ids, 10) == {ids[1]}
        assert [ledger.statuses()[run_id] for run_id in ids[:3]] == ["pending", "failed", "done"]


def written(folder: SweepFolder) -> str:
    """A sweep of eight runs that is all done, with its spec as `sweep` writes it."""
    fingerprint = load_data(DATA, val_fraction=0.1).fingerprint
    one = spec()
    text = spec_text(one, resolve_configurations(one, STEPS))
    with Ledger.create_or_open(folder.ledger) as ledger:
        train(ledger, runs_of(one, fingerprint), 10)
        ledger.keep_spec(text)
    write_atomically(folder.spec, text)
    return text


def resumed(folder: SweepFolder) -> list[str]:
    return dry(read_resolved(folder, {}), folder.runs_dir)


def test_a_spec_as_it_was_written_is_no_edit(folder: SweepFolder) -> None:
    written(folder)
    assert resumed(folder)[0].startswith("sweep tiny: 8 runs")


def test_the_edits_of_a_spec_are_printed_and_applied(folder: SweepFolder) -> None:
    """The schedules of a resolved spec do not depend on its epochs, so all eight runs continue."""
    text = written(folder)
    folder.spec.write_text(text.replace("epochs = 10\n", "epochs = 20\n"))
    lines = resumed(folder)
    assert lines[0].startswith(f"{folder.spec} was edited since sweep wrote it: epochs 10 -> 20; ")
    assert lines[1].startswith("sweep tiny: 8 runs (4 configurations × 2 seeds), 20 epochs each")
    assert lines[3].startswith("  extends 8 runs from 10 to 20 epochs: ")


def test_an_edited_protocol_is_refused_as_everywhere(folder: SweepFolder) -> None:
    text = written(folder)
    folder.spec.write_text(text.replace("batch_size = 128", "batch_size = 64"))
    with pytest.raises(SpecError, match=r"^batch_size: the sweep 'tiny' was started with 128, this command has 64"):
        resumed(folder)


def test_a_spec_that_is_no_text_any_more_is_one_line(folder: SweepFolder) -> None:
    folder.spec.write_bytes(b"\x80\x04\x95 a pickle")
    with pytest.raises(
        SpecError, match=r"sweep\.toml: cannot be read \(it is no UTF-8\); `sweep run` writes it again$"
    ):
        read_resolved(folder, {})


BASE = (
    'epochs = 10\nseeds = [0, 1]\n[protocol]\ndropout = 0.3\n[[configurations]]\noptimizer = {name = "SGD", lr = 1}\n'
)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dropout = 0.3", "dropout = 0.5", ["protocol.dropout 0.3 -> 0.5"]),
        ("seeds = [0, 1]", "seeds = [0, 1, 2]", ["seeds [0, 1] -> [0, 1, 2]"]),
        ("lr = 1}", "lr = 2}", ["configurations[0].optimizer.lr 1 -> 2"]),
        ("lr = 1}", "lr = true}", ["configurations[0].optimizer.lr 1 -> True"]),
        ("epochs = 10\n", "", ["epochs 10 -> nothing"]),
        ("epochs = 10\n", "# mine\nepochs = 10\n", ["nothing but its layout"]),
        ("epochs = 10\n", "epochs =\n", ["it can no longer be read"]),
        ("[[configurations]]", "[[configurations]]\n[[configurations]]", ["configurations 1 -> 2 of them"]),
        ("epochs = 10", "\n".join(f"k{i} = 1" for i in range(9)), None),
    ],
)
def test_the_changes_of_an_edit_are_listed_by_key(old: str, new: str, told: list[str] | None) -> None:
    found = spec_edits(BASE, BASE.replace(old, new))
    if told is None:
        assert len(found) == 5
        assert found[-1] == "and 6 more"
    else:
        assert found == told


def test_a_resolved_spec_says_above_its_configurations_what_to_do_instead() -> None:
    text = spec_text(spec(), resolve_configurations(spec(), STEPS))
    above = text.partition("[[configurations]]")[0].rstrip().splitlines()
    assert above[-1].startswith("# ")
    assert "`sweep run SPACE --epochs 20 --seeds 5`" in above[-1]
    assert len(tomllib.loads(text)["configurations"]) == 4
