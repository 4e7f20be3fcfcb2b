"""`sweep confirm`: the best of each family, under new seeds, against a reference that was named before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import results.metrics.sequential
from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.reports.summary import answer
from results.tables.comparison import Comparisons
from search_spaces import Configuration
from search_spaces.errors import SpecError, SweepFolderError, UnknownNameError
from sweep.config.spec import Spec
from sweep.config.toml import spec_text
from sweep.driver.confirm import DEFAULT_SD, best_of_families, confirmation_spec, power_sentence
from sweep.driver.driver import DriveOptions, read_resolved
from sweep.driver.until_decided import drive_until_decided
from sweep.folder.paths import SweepFolder
from tests.results.hand_worked import replace_lr
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, write_ledger
from tests.sweep.sweeps import call, frames, run, spec

IN_PROCESS = DriveOptions(in_process=True)
FASTER = replace_lr(ADAM, 0.002)
CURVES = {
    PLAIN: [climb(20), climb(22), climb(21)], MOMENTUM: [climb(30), climb(31), climb(32)],
    ADAM: [climb(28), climb(29), climb(30)], FASTER: [climb(33), climb(34), climb(32)],
}  # fmt: skip


def confirmation(folder: SweepFolder, top: int | None, seeds: int | str, changes: dict[str, Any]) -> Spec:
    return confirmation_spec(folder, load_sweep(folder.ledger, folder.name), top, seeds, changes)


def designed(runs_dir: Path, curves: dict[Configuration, list[list[float]]] = CURVES) -> SweepFolder:
    """A finished sweep of three families, with a ledger and a resolved spec; Adam is best at its second rate."""
    folder = SweepFolder(runs_dir, "first")
    folder.create()
    write_ledger(folder.ledger, curves)
    text = spec_text(spec(name="first", epochs=10, seeds=3, test_epochs="all"), list(curves))
    folder.spec.write_text(text)
    return folder


def test_the_best_of_each_family_is_compared_under_seeds_that_were_not_used(tmp_path: Path) -> None:
    found = confirmation(designed(tmp_path), 2, 4, {})
    assert (found.name, found.seed_list, found.test_epochs, found.epochs) == ("first-confirm", [3, 4, 5, 6], "last", 10)
    assert found.expanded() == [FASTER, MOMENTUM]
    assert found.reference == FASTER.configuration_id


def test_all_families_are_ranked_by_validation(tmp_path: Path) -> None:
    data = load_sweep(designed(tmp_path).ledger, "first")
    assert [group.configuration for group in best_of_families(data, 9)] == [FASTER, MOMENTUM, PLAIN]


def test_a_single_family_is_compared_by_its_rates(tmp_path: Path) -> None:
    data = load_sweep(designed(tmp_path, {ADAM: CURVES[ADAM], FASTER: CURVES[FASTER]}).ledger, "first")
    assert [group.configuration for group in best_of_families(data, 9)] == [FASTER, ADAM]


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ({PLAIN: [climb(20)], ADAM: [climb(20)[:4]]}, "sweep resume first"),
        ({PLAIN: [climb(20)]}, "fewer than two"),
        ({PLAIN: [climb(20)], ADAM: [[1.0] * 10]}, "fewer than two"),
    ],
)
def test_a_sweep_without_two_results_to_compare_is_refused(
    tmp_path: Path, curves: dict[Configuration, list[list[float]]], words: str
) -> None:
    with pytest.raises(SweepFolderError, match=words):
        confirmation(designed(tmp_path, curves), None, 4, {})


def test_the_power_is_that_of_the_differences_seen(tmp_path: Path) -> None:
    assert "the largest SD of the paired differences so far" in power_sentence(load_sweep(designed(tmp_path).ledger), 1)
    nothing = power_sentence(load_sweep(designed(tmp_path / "b", {PLAIN: [climb(20)]}).ledger), 1)
    assert f"{DEFAULT_SD:g} pp" in nothing
    assert "needs 23, 8, 4 seeds" in nothing  # as pairs_needed at an SD of 0.8


@pytest.mark.slow
def test_confirmed_for_real_the_first_report_shows_it_and_more_seeds_extend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(spec(epochs=1), tmp_path)

    def confirm(*more: str) -> tuple[int, str, str]:
        words = ["confirm", "tiny", "--in-process", "--runs-dir", tmp_path, *more]
        ended = call(words, tmp_path, monkeypatch, capfd)
        return ended.returncode, ended.stdout, ended.stderr

    assert confirm("--top", "2", "--seeds", "2", "--dry-run")[0] == 0
    folder = SweepFolder(tmp_path, "tiny-confirm")
    assert not folder.path.exists()
    assert confirm("--top", "2", "--seeds", "2")[0] == 0
    with Ledger.open_read_only(folder.ledger) as ledger:
        found = ledger.rows("SELECT DISTINCT seed FROM runs ORDER BY seed", {})
    assert found == [(2,), (3,)]
    page = SweepFolder(tmp_path, "tiny").report.read_text(encoding="utf-8")
    assert "Confirmation under 2 new seeds (tiny-confirm)" in page
    assert page.index('id="first-comparison"') < page.index('id="own-answer"') < page.index('id="table-comparison"')
    assert page.index('id="figure-confirmation"') < page.index('id="own-answer"')
    own = folder.report.read_text(encoding="utf-8")
    assert own.index("Confirmation under 2 new seeds") < own.index('id="first-comparison"') < own.index('id="tables"')
    code, _, error = confirm("--top", "3")
    assert code == 2
    assert "--top" in error
    more = confirmation(SweepFolder(tmp_path, "tiny"), None, 3, {})
    assert (more.seed_list, len(more.configurations)) == ([2, 3, 4], 2)
    ended = call(["confirm", "tiny-confirm", "--runs-dir", tmp_path], tmp_path, monkeypatch, capfd)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_a_reference_is_a_label_or_an_id_and_stays_once_there_are_results(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"reference 'Nobody'.*Adam lr=0.003"):
        run(spec(epochs=1, reference="Nobody"), tmp_path)
    assert not list(tmp_path.iterdir())
    outcome, _ = run(spec(epochs=1, reference="Adam lr=0.003"), tmp_path)
    data = load_sweep(outcome.folder.ledger)
    assert data.reference is not None
    assert data.reference.label == "Adam lr=0.003"
    again = read_resolved(outcome.folder, {})
    assert again.reference == data.reference.configuration_id
    assert run(again, tmp_path)[0].all_done
    for other in ("", "SGD lr=0.05 momentum=0.9"):
        with pytest.raises(SpecError, match="reference"):
            run(spec(epochs=1, reference=other), tmp_path)
    assert len(frames(outcome)[0]) == 8


def test_seeds_are_added_look_by_look_until_every_comparison_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at 2, 3 and 4 seeds: too few for a verdict, so the largest number is trained; a resume adds nothing."""
    monkeypatch.setattr(results.metrics.sequential, "FIRST_LOOK", 2)
    screen = io.StringIO()
    asked = spec(epochs=1, reference="Adam lr=0.003", seeds="auto", max_seeds=4)
    assert asked.looks == (2, 3, 4)
    outcome = drive_until_decided(asked, tmp_path, Console(file=screen, width=200), IN_PROCESS)
    assert outcome is not None
    assert outcome.all_done
    told = [line for line in screen.getvalue().splitlines() if line.startswith("look ")]
    assert [line.split(":")[0] for line in told] == [
        "look 1 of 3, 2 seeds",
        "look 2 of 3, 3 seeds",
        "look 3 of 3, 4 seeds",
    ]
    assert told[0].endswith("1 more seed, 4 more runs")
    assert "after the largest number of seeds" in told[-1]
    data = load_sweep(outcome.folder.ledger)
    assert data.level == pytest.approx(0.05 / 3)
    assert "at 3 looks (2, 3, 4 seeds)" in answer(data)[-1]
    again = drive_until_decided(read_resolved(outcome.folder, {}), tmp_path, Console(file=io.StringIO()), IN_PROCESS)
    assert again is not None
    assert len(again.statuses) == 16


@pytest.mark.parametrize("changes", [{"seeds": "auto"}, {"max_seeds": 5}])
def test_seeds_until_decided_need_a_reference(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="reference"):
        spec(**changes)


def test_a_confirmation_adds_seeds_until_decided(tmp_path: Path) -> None:
    folder = designed(tmp_path)
    found = confirmation(folder, 2, "auto", {})
    assert (found.seed_list, found.max_seeds, found.looks) == (list(range(3, 13)), 30, (10, 15, 22, 30))
    for seeds, changes, words in ((4, {"max_seeds": 20}, "--max-seeds"), (1, {}, "--seeds"), (10**9, {}, "100,000")):
        with pytest.raises(SpecError, match=words):
            confirmation(folder, 2, seeds, changes)


def test_a_sweep_that_is_decided_gets_no_more_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.metrics.sequential, "FIRST_LOOK", 2)
    monkeypatch.setattr(Comparisons, "undecided", ())
    screen = io.StringIO()
    asked = spec(epochs=1, reference="Adam lr=0.003", seeds="auto", max_seeds=4)
    outcome = drive_until_decided(asked, tmp_path, Console(file=screen, width=200), IN_PROCESS)
    assert outcome is not None
    assert len(outcome.statuses) == 8
    assert "look 1 of 3, 2 seeds: 3 of 3 comparisons decided" in screen.getvalue()


def test_a_confirmation_goes_only_where_the_sweep_was_sent(tmp_path: Path) -> None:
    folder = designed(tmp_path)
    folder.spec.write_text(folder.spec.read_text().replace('storage = ""', 'storage = "s3://elsewhere/there"'))
    with pytest.raises(SpecError, match="s3://elsewhere/there"):
        confirmation(folder, 2, 4, {})
    trusted = confirmation_spec(folder, load_sweep(folder.ledger), 2, 4, {}, trust=True)
    assert trusted.storage == "s3://elsewhere/there"
    assert confirmation(folder, 2, 4, {"storage": ""}).storage == ""
