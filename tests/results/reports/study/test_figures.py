"""The study's figures: the right configurations of a real ledger, under the study's names; none where they lack."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from results.figures.style import PALETTE
from results.ledger.arrays import SweepData
from results.reports.study.figures import (
    STUDY_FIGURES,
    relabelled_subset,
    study_figure_tables,
    study_figures,
    study_styles,
)
from results.tables.table import Table
from search_spaces import Configuration
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

NESTEROV = Configuration("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0, "nesterov": True})
ADAM_FIGURES = {"adam_loss", "adam_accuracy", "adam_train_and_test"}


def scheduled(scheduler: str, lr: float, **params: object) -> Configuration:
    return Configuration(
        "SGD", {"lr": lr, "momentum": 0.9, "dampening": 0, "nesterov": False}, scheduler, params or {"gamma": 0.1}
    )


STEP = {lr: scheduled("StepLR", lr) for lr in (0.01, 0.1)}
INVERSE = scheduled("LambdaLR", 0.03, lr_lambda="inverse_time")


def study(folder: Path, **facts: object) -> SweepData:
    """Every kind of configuration of the study, two seeds each: constant 0.1 and StepLR 0.01 are not the best rates."""
    finals = {
        PLAIN: 10.0, MOMENTUM: 20.0, NESTEROV: 22.0, ADAM: 24.0,
        scheduled("none", 0.1): 5.0, STEP[0.01]: 18.0, STEP[0.1]: 30.0, INVERSE: 26.0,
    }  # fmt: skip
    curves = {configuration: [climb(final), climb(final + 1)] for configuration, final in finals.items()}
    return sweep_of(folder, curves, **facts)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepData:
    return study(tmp_path_factory.mktemp("study"))


def lines(table: Table, key: str = "value") -> dict[str, list[object]]:
    """Each line's values by epoch."""
    found: dict[str, list[object]] = {}
    for row in table.rows:
        found.setdefault(str(row.values["configuration"]), []).append(row.values[key])
    return found


def test_a_whole_study_has_every_figure_in_the_study_s_order(sweep: SweepData):
    assert list(study_figures(sweep)) == [
        "adam_loss", "adam_accuracy", "adam_train_and_test", "losses_compared", "accuracies_compared", "adam_and_sgd",
        "momentum_and_nesterov", "scheduler_rates", "scheduler_accuracies",
    ]  # fmt: skip
    numbers = [spec.caption.split()[1] for spec in STUDY_FIGURES.values() if spec.caption.startswith("Figure")]
    assert numbers == ["3", "4", "5", "12"]


def test_the_four_optimizers_have_the_study_s_names_and_settings(sweep: SweepData):
    tables = study_figure_tables(sweep)
    found = lines(tables["accuracies_compared"])
    means = {"SGD": 10.5, "SGD + momentum": 20.5, "SGD + Nesterov": 22.5, "Adam": 24.5}
    assert {name: values[-1] for name, values in found.items()} == pytest.approx(means)
    assert list(lines(tables["losses_compared"])) == list(means)
    assert list(lines(tables["adam_and_sgd"])) == ["SGD", "Adam"]
    assert list(lines(tables["momentum_and_nesterov"])) == ["SGD + momentum", "SGD + Nesterov"]
    assert not any("Adam" in note for note in tables["momentum_and_nesterov"].notes)


def test_a_scheduler_is_shown_at_its_own_best_rate(sweep: SweepData):
    tables = study_figure_tables(sweep)
    found = lines(tables["scheduler_accuracies"])
    means = {"constant, lr=0.01": 20.5, "StepLR, lr=0.1": 30.5, "inverse_time, lr=0.03": 26.5}
    assert {name: values[-1] for name, values in found.items()} == pytest.approx(means)
    assert list(lines(tables["scheduler_rates"])) == list(means)


def test_the_rates_are_those_that_were_used(tmp_path: Path):
    table = study_figure_tables(study(tmp_path, measured={"lr": 0.04, "lr_first": 0.06, "lr_last": 0.02}))[
        "scheduler_rates"
    ]
    line = [(row.values["epoch"], row.values["value"]) for row in table.rows][:4]
    assert line == [(0, 0.06), (1, 0.02), (1, 0.06), (2, 0.02)]


def test_adam_s_loss_shows_test_only_where_every_epoch_was_tested(tmp_path: Path):
    losses = {"train_loss": 3.5, "val_loss": 3.0}
    untested = study_figure_tables(study(tmp_path / "a", measured=losses))["adam_loss"]
    assert lines(untested) == {"Training": [3.5] * 10, "Validation": [3.0] * 10}
    tested = study_figure_tables(study(tmp_path / "b", measured=losses | {"test_loss": 3.2, "test_acc": 21.0}))
    assert lines(tested["adam_loss"]) == {"Training": [3.5] * 10, "Validation": [3.0] * 10, "Test": [3.2] * 10}
    assert list(lines(tested["adam_accuracy"])) == ["Validation", "Test"]
    assert lines(tested["adam_train_and_test"], "held_out") == {"Adam": [21.0] * 10}
    last = study(
        tmp_path / "c", tests={group.configuration: [25.0, 25.0] for group in study(tmp_path / "d").configurations}
    )
    assert list(lines(study_figure_tables(last)["adam_accuracy"])) == ["Validation"]


def test_adam_s_curves_are_of_the_study_s_adam_alone(tmp_path: Path):
    others = [
        Configuration("Adam", {"lr": 0.01, "betas": [0.9, 0.999]}),
        Configuration("Adam", {"lr": 0.001, "eps": 1.0}),
    ]
    ours = Configuration("Adam", {"lr": 0.001, "eps": 1e-8})
    finals = {others[0]: 30.0, others[1]: 40.0, ours: 20.0}
    sweep = sweep_of(tmp_path, {configuration: [climb(final)] for configuration, final in finals.items()})
    table = study_figure_tables(sweep)["adam_accuracy"]
    assert lines(table)["Validation"] == pytest.approx(climb(20.0))
    assert set(table.rows[0].run_ids) == set(sweep.configurations[2].run_ids)


@pytest.mark.parametrize(
    ("configurations", "names"),
    [
        ([ADAM], ADAM_FIGURES),
        ([PLAIN], set()),
        ([MOMENTUM, NESTEROV], {"losses_compared", "accuracies_compared", "momentum_and_nesterov"}),
        ([PLAIN, ADAM], ADAM_FIGURES | {"losses_compared", "accuracies_compared", "adam_and_sgd"}),
        ([MOMENTUM, STEP[0.1]], {"scheduler_rates", "scheduler_accuracies"}),
        ([STEP[0.1], STEP[0.01]], set()),
    ],
)
def test_a_sweep_has_the_figures_that_it_has_configurations_for(
    configurations: list[Configuration], names: set[str], tmp_path: Path
):
    sweep = sweep_of(tmp_path, {configuration: [climb(20.0)] for configuration in configurations})
    assert set(study_figures(sweep)) == names


def test_those_that_lack_are_named(tmp_path: Path):
    sweep = sweep_of(tmp_path, {PLAIN: [climb(10.0)], ADAM: [climb(20.0)], MOMENTUM: [climb(9.0, 10)[:4]]})
    notes = study_figure_tables(sweep)["losses_compared"].notes
    assert "Without a result in this sweep: SGD + momentum, SGD + Nesterov." in notes


def test_only_keeps_the_requested_figures_under_their_new_names(sweep: SweepData):
    labels = [group.label for group in sweep.configurations]
    found = relabelled_subset(sweep, {labels[3]: "b", labels[0]: "a"})
    assert [group.label for group in found.configurations] == ["b", "a"]
    assert [group.configuration for group in found.configurations] == [ADAM, PLAIN]
    assert dataclasses.replace(found, configurations=sweep.configurations) == sweep
    assert [group.label for group in sweep.configurations] == labels
    with pytest.raises(KeyError):
        relabelled_subset(sweep, {"no such": "x"})


def test_the_lines_have_the_colours_and_dashes_of_the_sweep(sweep: SweepData):
    tables = study_figure_tables(sweep)
    for name in ("losses_compared", "adam_and_sgd", "momentum_and_nesterov", "adam_train_and_test"):
        styles = study_styles(sweep, tables[name])
        found = {line: PALETTE.index(style.color) for line, style in styles.items()}
        expected = {"SGD": 0, "SGD + momentum": 1, "SGD + Nesterov": 2, "Adam": 3}
        assert found == {line: expected[line] for line in found}
    schedulers = study_styles(sweep, tables["scheduler_rates"]).values()
    assert {style.color for style in schedulers} == {PALETTE[1]}
    assert len({str(style.linestyle) for style in schedulers}) == 3
    splits = study_styles(sweep, tables["adam_accuracy"]).values()
    assert {style.color for style in splits} == {PALETTE[3]}
    assert len({style.marker for style in splits}) == len(splits)


def test_synthetic_data_is_noted_in_every_figure(tmp_path: Path):
    for figure in study_figures(study(tmp_path, synthetic=True)).values():
        assert "do not apply to CIFAR-100" in " ".join(text.get_text() for text in figure.texts)
