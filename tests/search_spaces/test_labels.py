"""Labels of configurations are unique, and tell a class from another of the same name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Configuration
from search_spaces.labels import configuration_labels

RATES = st.floats(1e-6, 1, allow_nan=False)
NAMES = st.sampled_from(["SGD", "Adam", "mine:Adam", "other.module:Adam"])


@given(st.lists(st.tuples(NAMES, RATES), min_size=1, max_size=12))
def test_labels_are_unique_for_any_rates_and_classes(rows: list[tuple[str, float]]) -> None:
    found = list(dict.fromkeys(Configuration(name, {"lr": lr}) for name, lr in rows))
    labels = configuration_labels(found)
    assert len(set(labels.values())) == len(found)


def test_rates_that_differ_in_the_ninth_digit_have_different_labels() -> None:
    rates = (0.1, 0.100000001)
    found = [Configuration("SGD", {"lr": lr}) for lr in rates]
    assert list(configuration_labels(found).values()) == ["SGD lr=0.1", "SGD lr=0.100000001"]


def test_two_classes_of_one_name_are_shown_with_their_modules() -> None:
    found = [Configuration(name, {"lr": 0.1}) for name in ("Adam", "mine:Adam", "mine:Lion")]
    assert list(configuration_labels(found).values()) == ["Adam lr=0.1", "mine:Adam lr=0.1", "Lion lr=0.1"]
