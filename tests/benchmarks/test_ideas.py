"""The ideas for a faster step compute what they would replace."""

from __future__ import annotations

import pytest
import torch

from benchmarks.convolution_ideas import DataGradient, profile
from benchmarks.ideas import Pooling, alternate, packed_weights


@pytest.mark.parametrize("way", ["chunked", "strided", "one_write"])
def test_pooling_in_another_way_has_the_same_gradient(way: str) -> None:
    pooling = Pooling()
    assert torch.equal(getattr(pooling, way)(), pooling.expected)


def test_packed_weights_give_the_same_maps() -> None:
    with torch.no_grad():
        works = packed_weights()
        plain, packed = works["plain"](), works["packed"]()
    assert isinstance(plain, torch.Tensor)
    assert isinstance(packed, torch.Tensor)
    torch.testing.assert_close(packed, plain)


def test_works_are_timed_in_turn_and_the_median_counts() -> None:
    """By a clock that moves only while one of the two works, and once by a lot."""
    now, calls = [0.0], list[str]()

    def work(name: str, seconds: float) -> None:
        calls.append(name)
        now[0] += 100.0 if calls.count(name) == 3 else seconds

    found = alternate({"a": lambda: work("a", 1.0), "b": lambda: work("b", 2.0)}, 5, 1, lambda: now[0])
    assert found == {"a": 1.0, "b": 2.0}
    assert calls == ["a", "b"] * 6


def test_the_tiled_data_gradient_is_that_of_onednn() -> None:
    gradient = DataGradient(2, 6)
    torch.testing.assert_close(gradient.tiled(), gradient.stock(), rtol=1e-4, atol=1e-4)


def test_a_profile_names_the_operators_of_each_work() -> None:
    text = profile({"one": lambda: torch.ones(2).exp(), "other": lambda: torch.ones(2).tanh()})
    assert all(name in text for name in ("one, three steps", "aten::exp", "other, three steps", "aten::tanh"))
