"""The spec of a benchmark: refused mistakes, the kept search space, the dry run, the named benchmarks."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from results.ledger.phases import benchmark_in
from search_spaces import space_names
from search_spaces.errors import SpecError
from sweep.cli.next_step import next_step
from sweep.config.benchmark import Benchmark
from sweep.config.toml import benchmark_text, parse_resolved, parse_spec, read_spec
from sweep.driver.benchmark import BenchmarkPlan, drive_benchmark
from sweep.driver.benchmark_plan import power_lines
from sweep.driver.driver import DriveOptions, Outcome, drive
from tests.builders import forge_checksums
from tests.results.ledger.test_damage import change
from tests.sweep.driver.test_benchmark import ADAM, HEAD, IN_PROCESS, SGD, benchmark, spec
from tests.sweep.sweeps import call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    """A small finished benchmark, and what it printed."""
    outcome, said = benchmark(spec(**{"benchmark.budget": 1}), tmp_path_factory.mktemp("whole"))
    assert outcome is not None
    return outcome, said


def test_a_resolved_spec_keeps_the_search_space(whole: tuple[Outcome, str]) -> None:
    text = whole[0].folder.spec.read_text()
    assert benchmark_text(parse_resolved(text, where="x", name="tiny")).splitlines()[-4:] == text.splitlines()[-4:]
    design = benchmark_in(text)
    assert design is not None
    assert design["methods"][0]["optimizer"]["lr"] == {"loguniform": [1e-9, 1e9]}
    assert design["benchmark"]["tuning_epochs"] == 2


def test_a_dry_run_prints_the_spending_and_the_power_and_writes_nothing(tmp_path: Path) -> None:
    outcome, said = benchmark(spec(), tmp_path, DriveOptions(in_process=True, dry_run=True))
    assert outcome is None
    assert not list(tmp_path.iterdir())
    assert "4 tuning + 6 evaluation + 6 untuned = 16 run-epochs" in said  # 2 points × 2, 2 seeds × 3, the same
    assert "total: 32 run-epochs; if a range is widened, 4 more" in said
    assert "1 pp needs 8 evaluation seeds, of 2 pp 6" in said  # as pairs_needed at an SD of 0.8; at least 6 pairs
    assert "warning: 2 evaluation seeds are too few for any verdict: 1 comparison of 2 methods need at least 6" in said


def test_a_dry_run_of_a_finished_benchmark_expects_nothing(whole: tuple[Outcome, str]) -> None:
    options = DriveOptions(in_process=True, dry_run=True)
    _, said = benchmark(spec(**{"benchmark.budget": 1}), whole[0].folder.path.parent, options)
    assert "total: 28 run-epochs, of which 28 are trained" in said  # 2 methods × (1 point × 2, 2 seeds × 3, the same)
    assert "expected: about 0.00 hours" in said


@pytest.mark.parametrize(
    ("design", "methods", "least"),
    [({"evaluation_seeds": 8}, 6, 10), ({"evaluation_seeds": 10}, 6, None), ({"evaluation_seeds": 5}, 2, 6),
     ({"evaluation_seeds": 6}, 2, None), ({"evaluation_seeds": 40, "studies": 5}, 3, 7)],
)  # fmt: skip
def test_too_few_seeds_for_any_verdict_are_a_warning(design: dict[str, int], methods: int, least: int | None) -> None:
    """With n pairs the smallest p is 2^(1-n); Holm multiplies it by the number of pairs of methods."""
    lines = power_lines(Benchmark(budget=2, **design), methods, None)
    pairs = methods * (methods - 1) // 2
    have = design.get("studies", design["evaluation_seeds"])
    assert (pairs * 2.0 ** (1 - have) > 0.05 or have < 6) == (least is not None)
    assert ("warning" in lines[-1]) == (least is not None)
    if least is not None:
        assert f"at least {least}" in lines[-1]
        assert pairs * 2.0 ** (1 - least) <= 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("budget = 2", "budget = 0"), "budget"),
        (HEAD + 'sampler = "best"', "sampler"),
        (HEAD + "points = 3", "unknown key"),
        (HEAD + "tuning_seeds = [10000]", "10000 is also a tuning seed"),
        (HEAD.replace("evaluation_seeds = 2", "evaluation_seeds = [0, 5]"), "0 is also a tuning seed"),
        (HEAD.replace("tuning_epochs = 2", "tuning_epochs = 4"), "greater than epochs"),
        ("seeds = 5\n" + HEAD, "seeds"),
        ('test_epochs = "all"\n' + HEAD, "test_epochs"),
        (HEAD + "tuning_seeds = [3, 3]", "has a seed twice"),
        (HEAD.replace("evaluation_seeds = 2", "evaluation_seeds = 1"), "evaluation_seeds"),
        (HEAD + "studies = 2\ntuning_seeds = [3, 4]", "each of 2 studies has its own seeds"),
        (HEAD + 'sampler = "tpe"\nhalving = 3', "halving"),
        (HEAD + "halving = 2", "halving"),
        (HEAD + "max_evaluation_seeds = 1", "max_evaluation_seeds"),
    ],
)
def test_an_invalid_benchmark_is_one_line_and_exit_2(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(text + SGD + ADAM, words, tmp_path, monkeypatch, capfd)


def refused(
    text: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Check that `sweep benchmark` refuses a file with one line, exit code 2 and no folder of a sweep."""
    (folder / "b.toml").write_text(text)
    ended = call(["benchmark", "b.toml", "--in-process"], folder, monkeypatch, capfd)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
    assert words in ended.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (SGD + ADAM + "budget = 3", "budget"),
        (SGD + ADAM + "tuning_seeds = 2", "tuning_seeds"),
        (SGD + ADAM + "evaluation_seeds = 3", "evaluation_seeds"),
        (SGD + ADAM + "epochs = 9", "epochs"),
        (SGD + ADAM + "protocol = {batch_size = 8}", "protocol"),
        (SGD, "two [[methods]] or more"),
        (SGD + SGD, "two have the name 'SGD'"),
        (SGD + ADAM.replace("[1e-9, 1.0]", "[1.0, 1e-9]"), "lr"),
        (SGD + ADAM.replace("[1e-9, 1.0]", "[0.1, 0.1]"), "lr"),
        (SGD + ADAM.replace("loguniform = [1e-9, 1.0]", "loguniform = [0, 1.0]"), "lr"),
        (SGD + ADAM.replace("{loguniform = [1e-9, 1.0]}", "0.1"), "no search space"),
        (SGD + ADAM.replace("lr = {loguniform = [1e-9, 1.0]}", "lr = {normal = [0, 1]}"), "normal"),
        (SGD + ADAM.replace('"Adam", lr', '"Adamm", lr'), "Adamm"),
        (SGD + ADAM.replace("1.0]}", "1.0]}, momentum = 0.9"), "momentum"),
    ],
)
def test_invalid_methods_are_one_line_and_exit_2(
    methods: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(HEAD + methods, words, tmp_path, monkeypatch, capfd)


def test_grids_of_different_sizes_are_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of at most 5 points, the grid of Adam has 2 × 2, that of SGD 5."""
    adam = ADAM.replace("[1e-9, 1.0]}", "[1e-9, 1.0]}, weight_decay = {choice = [0, 0.1, 0.2]}")
    head = HEAD.replace("budget = 2", "budget = 5") + 'sampler = "grid"'
    refused(head + SGD + adam, "4 points for 'Adam'", tmp_path, monkeypatch, capfd)


def test_a_test_accuracy_in_the_tuning_is_one_line_and_exit_2(
    whole: tuple[Outcome, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is planted in the ledger of a finished benchmark; nothing is trained after that."""
    shutil.copytree(whole[0].folder.path, tmp_path / "runs" / "tiny")
    path = tmp_path / "runs" / "tiny" / "ledger.sqlite"
    change(path, "UPDATE epochs SET test_acc = 50 WHERE epoch = 2 AND run_id = "
                 "(SELECT MIN(run_id) FROM phases WHERE phase = 'tuning')")  # fmt: skip
    forge_checksums(path)
    monkeypatch.setattr("sweep.driver.driver.train_packs", lambda *_: pytest.fail("trains"))
    for words in (["resume", "tiny", "--in-process"], ["benchmark", "tiny.toml", "--in-process"]):
        (tmp_path / "tiny.toml").write_text((HEAD + SGD + ADAM).replace("budget = 2", "budget = 1"))
        ended = call(words, tmp_path, monkeypatch, capfd)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert "test accuracy in the tuning" in ended.stderr


@pytest.mark.parametrize("words", [["run", "optimizers-tuned"], ["benchmark", "optimizers"], ["confirm", "tiny"]])
def test_a_command_for_the_other_kind_of_spec_is_one_line_and_exit_2(
    words: list[str], whole: tuple[Outcome, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ended = call([*words, "--runs-dir", whole[0].folder.runs_dir], tmp_path, monkeypatch, capfd)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "benchmark" in ended.stderr


@pytest.mark.parametrize("key", ["budget = 3", "tuning_seeds = 2", "evaluation_seeds = 3", "epochs = 9"])
def test_a_method_with_another_budget_or_other_seeds_is_refused(key: str) -> None:
    with pytest.raises(SpecError, match="the same for all methods"):
        spec(HEAD + SGD + ADAM + key)


def test_the_next_command_after_a_benchmark_is_its_report_and_after_its_tuning_to_resume(
    whole: tuple[Outcome, str],
) -> None:
    folder, data = whole[0].folder, whole[0].data
    assert next_step(folder, data).command.startswith("sweep report tiny")
    assert data.benchmark is not None
    tuned = [replace(one, studies=()) for one in data.benchmark.methods]
    begun = replace(data, benchmark=replace(data.benchmark, methods=tuple(tuned)))
    assert next_step(folder, begun).command.startswith("sweep resume tiny")


def test_a_sweep_and_a_benchmark_do_not_share_a_folder(tmp_path: Path, whole: tuple[Outcome, str]) -> None:
    plain = parse_spec(
        HEAD.partition("[benchmark]")[0] + '[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}',
        where="x", name="tiny", overrides={"epochs": 1, "seeds": 1},
    )  # fmt: skip
    with pytest.raises(SpecError, match="benchmark"):
        drive(plain, whole[0].folder.runs_dir, Console(file=io.StringIO()), IN_PROCESS)
    with pytest.raises(SpecError, match="sweep benchmark"):
        drive(spec(), tmp_path, Console(file=io.StringIO()), IN_PROCESS)
    drive(plain, tmp_path, Console(file=io.StringIO()), IN_PROCESS)
    with pytest.raises(SpecError, match="no benchmark"):
        benchmark(spec(), tmp_path)


def test_points_are_checked_with_the_protocol_and_the_parameters_of_their_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``groups`` names a layer that LeNet-5 does not have."""
    code = (
        "from torch import nn\n\ndef net(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes))\n"
    )
    (tmp_path / "small.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    method = '[[methods]]\nname = "A"\noptimizer = {name = "Adam", lr = {uniform = [0.001, 0.002]}, groups = %s}\n'
    text = 'model = "small:net"\n' + HEAD + method % '[{match = "1.*", weight_decay = 0}]'
    other = method.replace('"A"', '"B"').replace("Adam", "AdamW") % '[{match = "1.weight", weight_decay = 0}]'
    asked = parse_spec(text + other, where="x", name="own")
    assert drive_benchmark(asked, tmp_path, Console(file=io.StringIO()), DriveOptions(dry_run=True)) is None
    with pytest.raises(SpecError, match="groups"):
        drive_benchmark(
            asked.model_copy(update={"model": "lenet5"}),
            tmp_path,
            Console(file=io.StringIO()),
            DriveOptions(dry_run=True),
        )


BENCHMARKS = [name for name in space_names() if read_spec(name).benchmark]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_named_benchmark_resolves_all_points_and_untuned_configurations(name: str) -> None:
    asked = read_spec(name)
    plan = BenchmarkPlan(asked, "f" * 16, 352)
    plan.check()
    assert len(list(plan.tuning_rows(plan.tune(None)))) == len(asked.methods) * asked.benchmark.budget


def test_the_quickstart_has_no_point_on_an_edge_so_that_it_has_two_phases() -> None:
    asked = read_spec("benchmark-quickstart")
    plan = BenchmarkPlan(asked, "f" * 16, 57)
    points = [placed.point for tuning in plan.tune(None) for placed in tuning.placed]
    edges = [one.edge(point.values[one.name]) for point in points for one in point.method.dimensions]
    assert len(edges) == 3 * 4
    assert not any(edges)
    shown = plan.methods[0].dimensions[0]
    assert [shown.edge(value) for value in (0.0101, 0.1, 0.99)] == ["low", "", "high"]


def test_the_named_benchmarks_are_those_of_the_docs() -> None:
    assert BENCHMARKS == ["benchmark-quickstart", "optimizers-tuned", "schedulers-tuned"]
