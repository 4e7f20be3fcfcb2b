"""Averages, Adam's stages, what a filter leaves of noise, and the noise scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from results.metrics import gradients as metrics
from search_spaces.errors import SpecError

RNG = np.random.default_rng(7)
G = RNG.normal(size=(60, 4))


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_the_ewma_is_its_corrected_recurrence(beta: float) -> None:
    v, expected = np.zeros(4), []
    for t, g in enumerate(G, start=1):
        v = beta * v + (1 - beta) * g
        expected.append(v / (1 - beta**t))
    np.testing.assert_allclose(metrics.ewma(G, beta), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999])
def test_the_ewma_is_a_weighted_mean_of_all_steps_so_far(beta: float) -> None:
    for t in range(len(G)):
        weights = beta ** np.arange(t, -1, -1.0)
        np.testing.assert_allclose(
            metrics.ewma(G, beta)[t], np.average(G[: t + 1], axis=0, weights=weights), atol=1e-13
        )


def test_averages_keep_the_shape_of_one_element() -> None:
    assert metrics.ewma(G[:, 0], 0.9).tolist() == metrics.ewma(G, 0.9)[:, 0].tolist()
    assert metrics.sma(G[:, 0], 5).tolist() == metrics.sma(G, 5)[:, 0].tolist()


def test_the_ewma_of_float32_is_computed_in_float64() -> None:
    assert metrics.ewma(G.astype(np.float32), 0.9).dtype == np.float64


@pytest.mark.parametrize("window", [1, 5, 60, 200])
def test_the_sma_is_the_mean_of_the_last_steps(window: int) -> None:
    expected = [G[max(0, t + 1 - window) : t + 1].mean(axis=0) for t in range(len(G))]
    np.testing.assert_allclose(metrics.sma(G, window), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("beta", "window"), [(0.9, 19), (0.99, 199), (0.999, 1999)])
def test_the_equivalent_window_leaves_as_much_of_white_noise(beta: float, window: int) -> None:
    """An average of N independent values has 1/N of their variance, the EWMA (1-β)/(1+β)."""
    assert metrics.equivalent_window(beta) == pytest.approx(window)
    assert 1 / window == pytest.approx((1 - beta) / (1 + beta))


def test_after_a_half_life_half_of_the_weight_is_left() -> None:
    assert 0.99 ** metrics.half_life(0.99) == pytest.approx(0.5)
    assert metrics.half_life(0.0) == 0


def test_adams_stages_are_torchs_own() -> None:
    """One parameter, gradients put into its ``grad``: torch's moments and updates, step by step."""
    parameter = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    found = metrics.adam_stages(G, 0.9, 0.999, 1e-8)
    for t, g in enumerate(G):
        corrections = (1 - beta ** (t + 1) for beta in (0.9, 0.999))
        before = parameter.detach().clone()
        parameter.grad = torch.from_numpy(g.copy())
        adam.step()
        np.testing.assert_allclose(adam.state[parameter]["exp_avg"] / next(corrections), found.m_hat[t], rtol=1e-9)
        np.testing.assert_allclose(adam.state[parameter]["exp_avg_sq"] / next(corrections), found.v_hat[t], rtol=1e-9)
        np.testing.assert_allclose(parameter.detach() - before, -0.1 * found.adapted[t], rtol=1e-6, atol=1e-12)


def test_an_element_without_a_gradient_does_not_move_even_without_epsilon() -> None:
    assert (metrics.adam_stages(np.zeros((3, 2)), 0.9, 0.999, 0.0).adapted == 0).all()


def test_variance_peak_and_range_by_hand() -> None:
    x = np.array([[1.0, -5.0], [3.0, -5.0]])  # variances 2 and 0
    assert metrics.mean_variance(x) == 1.0
    assert metrics.peak(x) == 5.0
    assert metrics.value_range(x) == (-5.0, 3.0)


@pytest.mark.parametrize(("beta", "percent"), [(0.9, 7.1), (0.99, 3.5), (0.999, 3.3)])
def test_white_noise_over_a_hundred_steps_leaves_what_the_formula_says(beta: float, percent: float) -> None:
    """The values are those of the definition, computed with the matrix form."""
    W = metrics.ewma(np.eye(100), beta)
    C = np.eye(100) - 1 / 100
    share = metrics.white_noise_share(100, beta)
    assert round(100 * share, 1) == percent
    assert share == pytest.approx(np.trace(W.T @ C @ W) / 99)


def test_white_noise_in_the_limit() -> None:
    assert metrics.white_noise_share(1_000_000, 0.9, corrected=False) == pytest.approx(0.1 / 1.9, rel=1e-4)


@pytest.mark.parametrize("growth", [1.0, 30.0])
def test_drawn_noise_leaves_what_the_line_of_its_sizes_says(growth: float) -> None:
    """A Monte Carlo of 20,000 elements, of one size or growing thirtyfold on the way."""
    scale = np.geomspace(1, growth, 50)
    noise = RNG.normal(size=(50, 20_000)) * scale[:, None]
    left = metrics.mean_variance(metrics.ewma(noise, 0.9)) / metrics.mean_variance(noise)
    assert metrics.white_noise_share(50, 0.9, sizes=scale**2) == pytest.approx(left, rel=0.03)


def test_the_line_of_equal_sizes_is_the_line() -> None:
    expected = metrics.white_noise_share(40, 0.9)
    assert metrics.white_noise_share(40, 0.9, sizes=np.full(40, 5.0)) == pytest.approx(expected)


def ar1(rho: float, steps: int = 100, elements: int = 200) -> metrics.Floats:
    x = RNG.normal(size=(steps, elements))
    for t in range(1, steps):
        x[t] += rho * x[t - 1]
    return x


@pytest.mark.parametrize(("rho", "verdict"), [(0.6, "above"), (-0.6, "below")])
def test_the_verdict_distinguishes_autocorrelation_from_reversal(rho: float, verdict: str) -> None:
    assert metrics.smooth_gradients(ar1(rho), 0.9).verdict == verdict


def test_noise_that_grows_is_near_its_own_line_though_far_below_the_common_one() -> None:
    """What real gradients do at the start of training: shares below the line without any reversal."""
    verdicts = []
    for _ in range(40):
        noise = RNG.normal(size=(100, 30)) * np.geomspace(1, 15, 100)[:, None]
        found = metrics.smooth_gradients(noise, 0.99)
        assert found.share < 0.5 * found.white_noise
        verdicts.append(found.verdict)
    assert verdicts.count("near") >= 33  # 38 of 40 in the mean; fewer than 33 come once in thousands


def test_gradients_that_do_not_vary_have_no_share() -> None:
    found = metrics.smooth_gradients(np.zeros((10, 3)), 0.9)
    assert np.isnan(found.share)
    assert found.verdict == ""


def test_the_noise_scale_of_gradients_with_a_known_covariance() -> None:
    """Batches of 16 examples with Σ = diag(4, 1, 0.25) around G = (0.5, 0, 0): tr Σ/‖G‖² = 21."""
    examples = RNG.normal(size=(4000, 16, 3)) * [2.0, 1.0, 0.5] + [0.5, 0, 0]
    means = examples.mean(axis=1)
    trace, square = np.var(means, axis=0, ddof=1).sum(), (means.mean(axis=0) ** 2).sum()
    found = metrics.noise_scale(16, 4000, trace, square)
    assert found.trace == pytest.approx(5.25, rel=0.05)
    assert found.square_norm == pytest.approx(0.25, rel=0.05)
    assert found.b_simple == pytest.approx(21, rel=0.1)


def test_the_means_own_noise_is_taken_from_its_norm() -> None:
    """Over many small captures ‖G‖² comes out right in the mean, where ‖ḡ‖² would be twice too large."""
    means = RNG.normal(0.5, 1, size=(5000, 4, 2))  # 4 batches each: noise adds 2/4 to 0.5
    found = [metrics.noise_scale(1, 4, np.var(m, axis=0, ddof=1).sum(), (m.mean(axis=0) ** 2).sum()) for m in means]
    assert np.mean([scale.mean_square_norm for scale in found]) == pytest.approx(1.0, rel=0.06)
    assert np.mean([scale.square_norm for scale in found]) == pytest.approx(0.5, rel=0.1)


def test_a_mean_within_its_noise_is_not_resolved() -> None:
    """tr Ĉov = 8 over 4 batches adds 2 to a squared norm that is 2 in all."""
    found = metrics.noise_scale(10, 4, 8.0, 2.0)
    assert (found.trace, found.noise_part, found.square_norm, found.b_simple) == (80.0, 2.0, 0.0, None)


@pytest.mark.parametrize("beta", [1.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize(
    "ask",
    [
        lambda beta: metrics.ewma(G, beta),
        metrics.equivalent_window,
        metrics.half_life,
        lambda beta: metrics.adam_stages(G, 0.9, beta, 1e-8),
        lambda beta: metrics.white_noise_share(10, beta),
    ],
)
def test_an_invalid_beta_is_refused(ask: Callable[[float], Any], beta: float) -> None:
    with pytest.raises(SpecError, match=r"beta: .*; 0 ≤ β < 1"):
        ask(beta)
