"""The three sentences: they say what the numbers say."""

from __future__ import annotations

import pytest
from scipy import stats

from results.reports.summary import answer, question
from search_spaces import Configuration
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

EXPLORATORY = "it was chosen on the same data, so this is exploratory"


def finals(*values: float) -> list[list[float]]:
    return [climb(value) for value in values]


def test_two_seeds_name_the_winner_and_reject_nothing(tmp_path):
    """Finals 30 and 32 against 20 and 24: the differences are 10 and 8."""
    curves = {MOMENTUM: finals(30, 32), ADAM: finals(20, 24)}
    winner, difference, sureness = answer(sweep_of(tmp_path, curves))
    interval = stats.ttest_rel([30, 32], [20, 24]).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((9 - 12.7, 9 + 12.7), abs=0.01)
    assert winner == (
        "SGD lr=0.01 came out best after 10 epochs: 31 ± 13 % validation accuracy (95 % interval, n = 2)."
    )
    assert difference == (
        "On the validation set it is 9 ± 13 pp ahead of the runner-up, Adam lr=0.001 "
        "(paired by seed, 2 pairs, won 100 %)."
    )
    assert sureness == (
        "With 2 pairs and 1 comparison no Holm-corrected p can fall below 0.5, so n is too small to reject anything: "
        f"6 seeds are the fewest that can; {EXPLORATORY}; all of it on this task, not in general."
    )


def test_six_pairs_on_one_side_reject_one_other(tmp_path):
    """p = 2/64 = 0.031, and a family of one."""
    curves = {MOMENTUM: finals(30, 31, 32, 33, 34, 35), ADAM: finals(20, 22, 21, 20, 22, 21)}
    *_, sureness = answer(sweep_of(tmp_path, curves))
    assert sureness.startswith("It is shown to be better than 1 of 1 other (exact sign-flip test, Holm-corrected, 5 %)")


def test_six_pairs_are_too_few_for_a_family_of_two(tmp_path):
    """Holm makes 0.031 into 0.062, and 2·2/2^7 = 0.031 is the first that passes."""
    low = finals(20, 22, 21, 20, 22, 21)
    curves = {MOMENTUM: finals(30, 31, 32, 33, 34, 35), ADAM: low, PLAIN: low}
    *_, sureness = answer(sweep_of(tmp_path, curves))
    assert sureness.startswith(
        "With 6 pairs and 2 comparisons no Holm-corrected p can fall below 0.062, so n is too small to reject "
        "anything: 7 seeds are the fewest that can; "
    )


def test_pairs_on_both_sides_show_nothing(tmp_path):
    """Six pairs could reject; three wins and three losses do not."""
    curves = {MOMENTUM: finals(30, 30, 30, 30, 30, 30), ADAM: finals(25, 25, 25, 31, 31, 31)}
    *_, sureness = answer(sweep_of(tmp_path, curves))
    assert sureness.startswith("It is shown to be better than 0 of 1 other (")


def test_one_comparison_of_few_pairs_does_not_silence_the_others(tmp_path):
    """Seven seeds against seven reject at 2·2/128; the third configuration has one result so far."""
    curves = {MOMENTUM: finals(*range(30, 37)), ADAM: finals(*[20] * 7), PLAIN: [climb(10), *[[]] * 6]}
    *_, sureness = answer(sweep_of(tmp_path, curves))
    assert sureness.startswith("It is shown to be better than 1 of 2 others (")
    assert sureness.endswith("on this task, not in general (with some runs still missing).")


def test_the_test_set_may_turn_the_winner_around(tmp_path):
    """It was chosen on validation, is behind on test, and the interval has the sign that the words say."""
    curves = {MOMENTUM: finals(30, 30), ADAM: finals(20, 20)}
    tests = {MOMENTUM: [25.0, 26.0], ADAM: [27.0, 27.0]}
    winner, difference, sureness = answer(sweep_of(tmp_path, curves, tests=tests))
    assert winner.startswith("SGD lr=0.01 came out best")
    assert difference.startswith("On the test set it is 2 ± 6 pp behind the runner-up, Adam lr=0.001 (")  # 1.5 ± 6.35
    assert "won 0 %" in difference
    assert "exploratory" not in sureness


def test_bounds_of_a_loss_are_turned_with_it(tmp_path):
    """From ten pairs on the interval is a bootstrap's, with bounds of its own; behind by 1 to 6 and mostly by 1."""
    curves = {MOMENTUM: finals(*[40] * 10), ADAM: finals(*[30] * 10)}
    tests = {MOMENTUM: [20.0] * 10, ADAM: [21.0, 21, 21, 21, 21, 21, 21, 22, 24, 26]}
    _, difference, sureness = answer(sweep_of(tmp_path, curves, tests=tests))
    shown = difference.partition("it is ")[2].partition(" pp behind")[0]
    value, low, high = (float(word.strip("[],")) for word in shown.split())
    assert value == pytest.approx(1.9, abs=0.05)
    assert 1 <= low < value < high < 6
    assert sureness.startswith("It is shown to be better than 0 of 1 other, and worse than 1 (")


def test_equal_ones_are_neither_ahead_nor_behind(tmp_path):
    _, difference, _ = answer(sweep_of(tmp_path, {MOMENTUM: finals(30, 31), ADAM: finals(30, 31)}))
    assert "it is 0.00 ± 0 pp apart from the runner-up, Adam lr=0.001 (paired by seed, 2 pairs, won 50 %)" in difference


def test_the_runner_up_is_the_next_by_validation(tmp_path):
    """Not the next in the plan."""
    curves = {PLAIN: finals(10, 10), ADAM: finals(20, 20), MOMENTUM: finals(30, 30)}
    _, difference, _ = answer(sweep_of(tmp_path, curves))
    assert "the runner-up, Adam lr=0.001 (" in difference


@pytest.mark.parametrize(
    "tests", [None, {MOMENTUM: [29.0, 29.0], ADAM: [19.0, None]}], ids=["none", "one run was not tested"]
)
def test_without_the_whole_test_set_the_answer_is_exploratory(tmp_path, tests):
    _, difference, sureness = answer(sweep_of(tmp_path, {MOMENTUM: finals(30, 31), ADAM: finals(20, 21)}, tests=tests))
    assert difference.startswith("On the validation set")
    assert EXPLORATORY in sureness


def test_one_seed_has_no_interval(tmp_path):
    winner, difference, sureness = answer(sweep_of(tmp_path, {MOMENTUM: finals(30), ADAM: finals(20)}))
    assert winner.endswith("30.00 % validation accuracy (n = 1, so no interval).")
    assert "10.00 pp ahead of" in difference
    assert "1 pair, won 100 %, one pair, so no interval" in difference
    assert sureness.startswith("With 1 pair and 1 comparison no Holm-corrected p can fall below 1, so n is too small")


def test_no_seed_in_common_is_no_pair(tmp_path):
    """Each configuration finished under the seed that the other one lacks."""
    curves = {MOMENTUM: [climb(30), []], ADAM: [[], climb(20)]}
    _, difference, sureness = answer(sweep_of(tmp_path, curves))
    assert difference == (
        "The runner-up, Adam lr=0.001, shares no seed with it, so the two cannot be compared in pairs."
    )
    assert sureness.startswith("With 0 pairs")


def test_at_chance_nothing_has_won(tmp_path):
    """A dead network and a diverged one."""
    curves = {MOMENTUM: finals(1.2, 1.1), ADAM: finals(30, 30)}
    sentences = answer(sweep_of(tmp_path, curves, diverged={(ADAM, 0): 3, (ADAM, 1): 1}))
    assert sentences[1] == "All of its runs ended at chance: nothing has been learned yet."
    assert len(sentences) == 3


def test_a_best_one_at_chance_is_no_winner(tmp_path):
    """Another configuration has one run above chance, and a lower mean."""
    sentences = answer(sweep_of(tmp_path, {MOMENTUM: finals(1.9, 1.9), ADAM: finals(2.4, 1.0)}))
    assert sentences[1] == "All of its runs ended at chance: nothing has been learned yet."


def test_one_configuration_is_compared_with_nothing(tmp_path):
    sentences = answer(sweep_of(tmp_path, {ADAM: finals(20, 21)}, synthetic=True))
    assert sentences[1:] == [
        "There is no other configuration to compare it with.",
        "It says something about this task only, not in general (on synthetic data, which is not CIFAR-100).",
    ]


@pytest.mark.parametrize("curves", [{}, {ADAM: [[], []]}, {ADAM: [climb(20)[:9]]}], ids=["empty", "waiting", "running"])
def test_no_result_is_no_answer(tmp_path, curves):
    assert answer(sweep_of(tmp_path, curves)) == ["No run has a result yet, so there is no answer."]


def test_the_question_counts_what_was_planned(tmp_path):
    """Singular where it is one; the data as they are."""
    assert question(sweep_of(tmp_path / "a", {ADAM: [climb(2, 1)]}, epochs=1, synthetic=True, data_name="s")) == (
        "Which of 1 configuration trains LeNet-5 best on s (made from a seed), over 1 seed and 1 epoch, and how sure "
        "is that?"
    )
    waiting = {Configuration("SGD", {"lr": rate}): [[], [], []] for rate in (0.1, 0.2)}
    assert question(sweep_of(tmp_path / "b", waiting)) == (
        "Which of 2 configurations trains LeNet-5 best on cifar100, over 3 seeds and 10 epochs, and how sure is that?"
    )
    assert "0 configurations trains LeNet-5 best on no data" in question(sweep_of(tmp_path / "c", {}))
