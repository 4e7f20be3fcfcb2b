"""The three sentences of the answer contain the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from results.metrics.power import pairs_needed
from results.reports.registry import report_tables
from results.reports.summary import answer, question, seeds_for_a_test
from results.tables.comparison import NAMED_BEFORE, RATES_CHOSEN
from search_spaces import Configuration
from tests.results.hand_worked import replace_lr, rows_of
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

EXPLORATORY = "exploratory"


def finals(*values: float) -> list[list[float]]:
    return [climb(value) for value in values]


def test_two_seeds_name_the_winner_and_reject_nothing(tmp_path):
    """Finals 30 and 32 against 20 and 24: the differences are 10 and 8."""
    curves = {MOMENTUM: finals(30, 32), ADAM: finals(20, 24)}
    best, difference, significance = answer(sweep_of(tmp_path, curves))
    assert best.startswith("SGD lr=0.01 ")
    assert "10 epochs: 30.0, 32.0 % (n = 2)" in best
    assert "validation accuracy is 10.0, 8.0 pp better than" in difference
    assert "Adam lr=0.001 (paired by seed, 2 pairs, better in 2 of 2)" in difference
    assert significance.startswith("Too few seeds for a significance test: 1 comparison needs at least 6 seeds.")
    assert EXPLORATORY in significance
    needed = [pairs_needed(pp, math.sqrt(2)) for pp in (0.5, 1, 2)]
    assert f"0.5, 1 and 2 pp: {needed[0]:.0f}, {needed[1]:.0f}, {needed[2]:.0f} seeds" in significance
    assert f"`sweep confirm {tmp_path.name}` compares under new seeds" in significance


def test_six_pairs_on_one_side_reject_one_other(tmp_path):
    """p = 2/64 = 0.031, and a family of one."""
    curves = {MOMENTUM: finals(30, 31, 32, 33, 34, 35), ADAM: finals(20, 22, 21, 20, 22, 21)}
    *_, significance = answer(sweep_of(tmp_path, curves))
    assert "significantly better than the other configuration (exact sign-flip test" in significance


def test_six_pairs_are_too_few_for_a_family_of_two(tmp_path):
    """Holm makes 0.031 into 0.062, and 2·2/2^7 = 0.031 is the first that passes."""
    low = finals(20, 22, 21, 20, 22, 21)
    curves = {MOMENTUM: finals(30, 31, 32, 33, 34, 35), ADAM: low, PLAIN: low}
    *_, significance = answer(sweep_of(tmp_path, curves))
    assert significance.startswith("Too few seeds for a significance test: 2 comparisons need at least 7 seeds.")


def test_pairs_on_both_sides_show_nothing(tmp_path):
    """Six pairs could reject; three wins and three losses do not."""
    curves = {MOMENTUM: finals(30, 30, 30, 30, 30, 30), ADAM: finals(25, 25, 25, 31, 31, 31)}
    *_, significance = answer(sweep_of(tmp_path, curves))
    assert "not significantly better or worse than it (exact sign-flip test" in significance
    assert "The comparison is undecided." in significance


def test_one_comparison_with_few_pairs_does_not_suppress_the_others(tmp_path):
    """Seven seeds against seven reject at 2·2/128; the third configuration has one result so far."""
    curves = {MOMENTUM: finals(*range(30, 37)), ADAM: finals(*[20] * 7), PLAIN: [climb(10), *[[]] * 6]}
    *_, significance = answer(sweep_of(tmp_path, curves))
    assert "significantly better than 1 of 2 other configurations (" in significance
    assert "1 of 2 comparisons is without a test" in significance
    assert significance.endswith("; some runs have no result yet.")


def test_the_best_by_validation_can_be_worse_on_test(tmp_path):
    """It was chosen on validation, is behind on test, and the interval has the sign that the words say."""
    curves = {MOMENTUM: finals(30, 30), ADAM: finals(20, 20)}
    tests = {MOMENTUM: [25.0, 26.0], ADAM: [27.0, 27.0]}
    best, difference, significance = answer(sweep_of(tmp_path, curves, tests=tests))
    assert best.startswith("SGD lr=0.01 ")
    assert difference.startswith("Its test accuracy is 2.0, 1.0 pp worse than")
    assert "better in 0 of 2" in difference
    assert "exploratory" not in significance


def test_bounds_of_a_loss_are_turned_with_it(tmp_path):
    """Ten differences, mean 1.9: the t interval of scipy, with the sign that the words have."""
    curves = {MOMENTUM: finals(*[40] * 10), ADAM: finals(*[30] * 10)}
    worse = [21.0, 21, 21, 21, 21, 21, 21, 22, 24, 26]
    _, difference, significance = answer(sweep_of(tmp_path, curves, tests={MOMENTUM: [20.0] * 10, ADAM: worse}))
    interval = stats.ttest_1samp(worse, 20).confidence_interval()
    assert f"accuracy is 1.9 ± {(interval.high - interval.low) / 2:.1f} pp worse" in difference
    assert "It is significantly worse than the other configuration (" in significance
    assert "better than" not in significance


def test_equal_ones_are_neither_ahead_nor_behind(tmp_path):
    _, difference, _ = answer(sweep_of(tmp_path, {MOMENTUM: finals(30, 31), ADAM: finals(30, 31)}))
    assert "equals that of the second best, Adam lr=0.001, in every pair (paired by seed, 2 pairs)" in difference


def test_the_runner_up_is_the_next_by_validation(tmp_path):
    """Not the next in the plan."""
    curves = {PLAIN: finals(10, 10), ADAM: finals(20, 20), MOMENTUM: finals(30, 30)}
    _, difference, _ = answer(sweep_of(tmp_path, curves))
    assert "the second best, Adam lr=0.001 (" in difference


@pytest.mark.parametrize(
    "tests", [None, {MOMENTUM: [29.0, 29.0], ADAM: [19.0, None]}], ids=["none", "one run was not tested"]
)
def test_without_the_whole_test_set_the_answer_is_exploratory(tmp_path, tests):
    _, difference, significance = answer(
        sweep_of(tmp_path, {MOMENTUM: finals(30, 31), ADAM: finals(20, 21)}, tests=tests)
    )
    assert difference.startswith("Its validation accuracy")
    assert EXPLORATORY in significance


def test_one_seed_has_no_interval(tmp_path):
    best, difference, significance = answer(sweep_of(tmp_path, {MOMENTUM: finals(30), ADAM: finals(20)}))
    assert best.endswith("30.00 % (n = 1, so no interval).")
    assert "10.00 pp better than" in difference
    assert "1 pair, better in 1 of 1, one pair, so no interval" in difference
    assert significance.startswith("Too few seeds")


def test_no_seed_in_common_is_no_pair(tmp_path):
    """Each configuration finished under the seed that the other one lacks."""
    curves = {MOMENTUM: [climb(30), []], ADAM: [[], climb(20)]}
    _, difference, significance = answer(sweep_of(tmp_path, curves))
    assert "Adam lr=0.001" in difference
    assert "no seed in common" in difference
    assert significance.startswith("Too few seeds")


def test_diverged_and_dead_runs_give_no_learned_configuration(tmp_path):
    """A dead network and a diverged one."""
    curves = {MOMENTUM: finals(1.2, 1.1), ADAM: finals(30, 30)}
    sentences = answer(sweep_of(tmp_path, curves, diverged={(ADAM, 0): 3, (ADAM, 1): 1}))
    assert sentences[0].startswith("Adam lr=0.001 has the highest validation accuracy") is False
    assert "ended at chance" in sentences[0]
    assert len(sentences) == 2


def test_a_mean_below_twice_chance_is_no_best(tmp_path):
    """One run is above chance, and every mean is below 2 %: no best, no target, no class."""
    sweep = sweep_of(tmp_path, {MOMENTUM: finals(1.9, 1.9), ADAM: finals(2.4, 1.0)})
    assert "ended at chance" in answer(sweep)[0]
    assert sweep.best is None
    assert math.isnan(sweep.target)
    rows = report_tables(sweep)["consolidated"].rows
    assert {row.values.get(key) for row in rows for key in ("speed", "stability", "hit", "epochs_to_target")} == {None}
    assert not {"comparison", "profile"} & report_tables(sweep).keys()


def test_a_lucky_seed_is_not_the_best(tmp_path):
    """One run at 40 % beside nine runs at 30 %."""
    sweep = sweep_of(tmp_path, {MOMENTUM: finals(*[30.0] * 9), ADAM: [climb(40), *[[]] * 8]})
    assert sweep.best is sweep.configurations[0]


def test_a_failed_seed_does_not_exclude_a_configuration(tmp_path):
    """Nine seeds against eight: ranked under the eight common ones."""
    sweep = sweep_of(tmp_path, {MOMENTUM: finals(*[30.0] * 9), ADAM: [*finals(*[40.0] * 8), []]})
    assert sweep.best is sweep.configurations[1]
    assert len(sweep.common_seeds) == 8


def test_families_are_compared_at_their_best_learning_rate(tmp_path):
    """Two optimizers with three rates each: one comparison, not five."""
    curves = {
        replace_lr(base, rate): finals(*[top + rate + 0.1 * seed for seed in range(6)])
        for base, top in ((MOMENTUM, 30), (ADAM, 20))
        for rate in (0.1, 0.2, 0.3)
    }
    sweep = sweep_of(tmp_path, curves)
    (row,) = report_tables(sweep)["comparison"].rows
    assert (row.values["configuration"], row.values["n_rates"]) == ("Adam lr=0.3", 3)
    assert (row.values["verdict"], row.values["won"]) == ("better", "6 of 6")
    assert "significantly better than the other configuration (" in answer(sweep)[2]


def test_settings_without_effect_are_equal_by_theory(tmp_path):
    """Dampening without momentum; the other comparison is not corrected for this row."""
    damped = replace(PLAIN, optimizer_params={**PLAIN.optimizer_params, "dampening": 0.5})
    curves = {PLAIN: finals(*range(30, 36)), damped: finals(*range(30, 36)), ADAM: finals(*range(20, 26))}
    rows = rows_of(report_tables(sweep_of(tmp_path, curves))["comparison"])
    equal, other = rows["SGD dampening=0.5 lr=0.01"].values, rows["Adam lr=0.001"].values
    assert (equal["verdict"], equal["p_value"], equal["p_holm"]) == ("equal by theory", None, None)
    assert (other["verdict"], other["p_holm"]) == ("better", 2 / 64)


def test_a_sweep_with_runs_at_chance_compares_shares(tmp_path):
    """Six of six trained against none: McNemar, and no sign-flip verdict."""
    curves = {MOMENTUM: finals(*[34.0] * 6), ADAM: finals(*[1.0] * 5, 1.1)}
    sweep = sweep_of(tmp_path, curves)
    (row,) = report_tables(sweep)["comparison"].rows
    assert (row.values["test"], row.values["verdict"]) == ("McNemar, exact", "trains more often")
    assert math.isnan(row.values["difference"].low)
    sentences = answer(sweep)
    assert "trained in 6 of 6 runs; the second best, Adam lr=0.001, in 0" in sentences[1]
    assert "It trains significantly more often than the other configuration (exact McNemar test" in sentences[2]


def test_equivalence_is_shown_beside_no_difference(tmp_path):
    near = [30.1, 29.9, 30.1, 29.9, 30.1, 29.9, 30.2]
    for folder, spread, found in (("a", 1, "equal within 0.5 pp"), ("b", 20, "undecided")):
        other = [30 + spread * (value - 30) for value in near]
        sweep = sweep_of(tmp_path / folder, {MOMENTUM: finals(*[30.0] * 7), ADAM: finals(*other)})
        (row,) = report_tables(sweep)["comparison"].rows
        assert (row.values["verdict"], row.values["equivalence"]) == ("no difference shown", found)


def test_one_configuration_is_compared_with_nothing(tmp_path):
    sentences = answer(sweep_of(tmp_path, {ADAM: finals(20, 21)}, synthetic=True))
    assert "no other configuration" in sentences[1]
    assert "synthetic" in sentences[2]
    assert len(sentences) == 3


@pytest.mark.parametrize("curves", [{}, {ADAM: [[], []]}, {ADAM: [climb(20)[:9]]}], ids=["empty", "waiting", "running"])
def test_no_result_is_no_answer(tmp_path, curves):
    assert answer(sweep_of(tmp_path, curves)) == ["No answer: no run has a result yet."]


def test_the_question_counts_what_was_planned(tmp_path):
    """Singular where it is one; the data by their name."""
    one = question(sweep_of(tmp_path / "a", {ADAM: [climb(2, 1)]}, epochs=1, synthetic=True, data_name="s"))
    assert "Adam lr=0.001" in one
    assert "on synthetic images (1 seed, 1 epoch)" in one
    waiting = {Configuration("SGD", {"lr": rate}): [[], [], []] for rate in (0.1, 0.2)}
    several = question(sweep_of(tmp_path / "b", waiting))
    assert "Which of the 2 configurations " in several
    assert "on CIFAR-100 (3 seeds, 10 epochs)" in several
    assert "no data" in question(sweep_of(tmp_path / "c", {}))


def test_the_seeds_that_a_test_needs_are_those_of_its_comparisons(tmp_path):
    """Two pairs cannot reach 5 % in one comparison, which needs 6; with 6 there is no hint."""
    for n, needed in ((2, 6), (6, None)):
        sweep = sweep_of(tmp_path / str(n), {MOMENTUM: [climb(30 + i) for i in range(n)], ADAM: [climb(20)] * n})
        assert seeds_for_a_test(sweep) == needed
    assert seeds_for_a_test(sweep_of(tmp_path / "one", {MOMENTUM: [climb(30)]})) is None
    assert seeds_for_a_test(sweep_of(tmp_path / "none", {MOMENTUM: [[]]})) is None


def test_a_reference_is_what_all_others_are_compared_with(tmp_path):
    """MOMENTUM is the best one, PLAIN the reference: +10 pp in six of six pairs, and Adam 1 pp below."""
    curves = {MOMENTUM: finals(30, 31, 32, 33, 34, 35), PLAIN: finals(20, 21, 22, 23, 24, 25),
              ADAM: finals(19, 20, 21, 22, 23, 24)}  # fmt: skip
    sweep = replace(sweep_of(tmp_path, curves), reference_id=PLAIN.configuration_id)
    best, reference, first, second, significance = answer(sweep)
    assert best.startswith("SGD lr=0.01 momentum=0.9 ")
    assert reference == "The reference is SGD lr=0.01."
    assert first.startswith("SGD lr=0.01 momentum=0.9: validation accuracy 10")
    assert "pp above the reference (6 pairs" in first
    assert "pp below the reference (6 pairs" in second
    assert NAMED_BEFORE in significance
    assert RATES_CHOSEN not in significance
    assert "sweep confirm" not in significance
    table = report_tables(sweep)["comparison"]
    assert [row.values["difference"].value for row in table.rows] == [-10, 1]
    assert NAMED_BEFORE in table.notes


def test_six_pairs_against_a_reference_have_a_verdict_on_the_other(tmp_path):
    curves = {PLAIN: finals(20, 21, 22, 23, 24, 25), MOMENTUM: finals(30, 31, 32, 33, 34, 35)}
    sweep = replace(sweep_of(tmp_path, curves), reference_id=PLAIN.configuration_id)
    _, _, described, significance = answer(sweep)
    assert described.endswith("(6 pairs, significantly better).")
    assert "The reference is significantly worse than the other configuration (" in significance


def test_the_choice_of_a_rate_among_these_runs_is_noted_beside_a_reference(tmp_path):
    faster = replace_lr(ADAM, 0.002)
    curves = {PLAIN: finals(20, 21), ADAM: finals(30, 31), faster: finals(33, 34)}
    sweep = replace(sweep_of(tmp_path, curves), reference_id=PLAIN.configuration_id)
    *_, significance = answer(sweep)
    assert RATES_CHOSEN in significance


def test_a_reference_without_a_result_is_compared_with_nothing(tmp_path):
    sweep = replace(sweep_of(tmp_path, {MOMENTUM: finals(30, 31), ADAM: finals(20, 21)}), reference_id="0123456789")
    assert "no result yet" in answer(sweep)[1]
    assert "comparison" not in report_tables(sweep)


def test_the_level_of_a_look_is_what_a_verdict_needs(tmp_path):
    """Six pairs on one side have p = 0.031: enough at 5 %, too few at the 1.25 % of each of four looks."""
    curves = {PLAIN: finals(20, 21, 22, 23, 24, 25), MOMENTUM: finals(30, 31, 32, 33, 34, 35)}
    fixed = replace(sweep_of(tmp_path, curves), reference_id=PLAIN.configuration_id)
    assert "significantly better" in answer(fixed)[2]
    growing = replace(fixed, max_seeds=30)
    assert "too few seeds" in answer(growing)[2]
    assert "1 comparison needs at least 8 seeds" in answer(growing)[3]
    notes = " ".join(report_tables(growing)["comparison"].notes)
    assert "at 4 looks (10, 15, 22, 30 seeds), each at the level 1.2 %" in notes
