"""Statistics of gradients over steps, as pure functions on arrays ``[T, P]``: T steps of P elements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy

from results.metrics.intervals import Estimate
from search_spaces.errors import SpecError

Floats = npt.NDArray[np.float64]

MAX_RANDOMIZED_STEPS = 3000
"""Maximum number of steps for an interval of the noise: random signs need matrices ``[T, T]``."""
RANDOM_SIGN_DRAWS = 400


@dataclass(frozen=True)
class AdamStages:
    """Adam's quantities after each step, all ``[T, P]``, in the paper's notation."""

    m_hat: Floats  # bias-corrected EWMA of the gradients
    v_hat: Floats  # bias-corrected EWMA of their squares
    adapted: Floats  # m̂/(√v̂ + ε): the update is -lr times this


@dataclass(frozen=True)
class SmoothedGradients:
    """Gradients after a bias-corrected EWMA with ``beta``, and the remaining shares of variance in percent."""

    beta: float
    values: Floats  # [T, P]
    share: float  # NaN if the gradients do not vary
    white_noise: float  # of white noise with constant variance
    same_sizes: Estimate  # of white noise with the gradients' variance at each step; 95 % of random signs

    @property
    def verdict(self) -> str:
        """``near``, ``above`` or ``below`` noise of the same sizes; empty without an interval."""
        if not math.isfinite(self.share + self.same_sizes.low):
            return ""
        return "above" if self.share > self.same_sizes.high else "below" if self.share < self.same_sizes.low else "near"


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale; ``b_simple`` is None if the estimate of ‖G‖² is not positive."""

    trace: float  # tr Σ, per example
    mean_square_norm: float  # ‖ḡ‖² of the mean over the M mini-batches
    noise_part: float  # tr Σ/(B·M): the part of it that is noise
    square_norm: float  # ‖G‖², their difference
    b_simple: float | None  # examples


def check_beta(beta: float, where: str = "beta") -> float:
    """Return ``beta`` if it is valid for an EWMA.

    Raises:
        SpecError: it is not in [0, 1).
    """
    if not 0 <= beta < 1:
        raise SpecError(where, f"{beta}", "0 ≤ β < 1")
    return beta


def ewma(g: Floats, beta: float) -> Floats:
    """Return the bias-corrected exponentially weighted moving average over the steps, in the shape of ``g`` ``[T, …]``.

    v_t = β v_{t-1} + (1-β) g_t with v_0 = 0, divided by 1-β^t (Kingma and Ba, *Adam*, 2015, section 3). It equals
    Σ_s β^(t-s) g_s / Σ_s β^(t-s) over the steps s ≤ t, which is the adjusted EWMA of pandas.

    Raises:
        SpecError: β outside [0, 1).
    """
    frame = pd.DataFrame(np.asarray(g, dtype=np.float64))
    average: Floats = frame.ewm(alpha=1 - check_beta(beta), adjust=True).mean().to_numpy().reshape(np.shape(g))
    return average


def equivalent_window(beta: float) -> float:
    """Return the window of the SMA that reduces white noise as much as the EWMA: N = 2/(1-β) - 1.

    Raises:
        SpecError: β outside [0, 1).
    """
    return 2 / (1 - check_beta(beta)) - 1


def half_life(beta: float) -> float:
    """Return the number of steps in which a gradient's weight in the EWMA halves: ln ½/ln β; 0 for β = 0.

    Raises:
        SpecError: β outside [0, 1).
    """
    return math.log(0.5) / math.log(beta) if check_beta(beta) > 0 else 0.0


def sma(g: Floats, window: int) -> Floats:
    """Return the simple moving average over the steps, in the shape of ``g`` ``[T, …]``.

    Each value is the mean of the last ``window`` steps, or of all steps so far if there are fewer.

    Raises:
        SpecError: a window below 1.
    """
    if window < 1:
        raise SpecError("window", f"{window}", "at least 1 step")
    frame = pd.DataFrame(np.asarray(g, dtype=np.float64))
    mean: Floats = frame.rolling(window, min_periods=1).mean().to_numpy().reshape(np.shape(g))
    return mean


def adam_stages(g: Floats, beta1: float, beta2: float, eps: float) -> AdamStages:
    """Return Adam's stages of the gradients ``[T, P]`` (Kingma and Ba, *Adam*, 2015, algorithm 1).

    Raises:
        SpecError: β₁ or β₂ outside [0, 1).
    """
    squares = np.asarray(g, dtype=np.float64) ** 2
    m_hat, v_hat = ewma(g, beta1), ewma(squares, beta2)
    denominator = np.sqrt(v_hat) + eps
    # With ε = 0, an element whose gradients are all zero is 0/0; its update is 0.
    adapted = np.divide(m_hat, denominator, out=np.zeros_like(m_hat), where=denominator > 0)
    return AdamStages(m_hat, v_hat, adapted)


def mean_variance(x: Floats) -> float:
    """Return each element's variance over the steps (ddof = 1), averaged over the elements of ``x`` ``[T, P]``."""
    return float(np.var(x, axis=0, ddof=1, dtype=np.float64).mean())


def peak(x: Floats) -> float:
    """Return the largest absolute value in ``x``."""
    return float(np.abs(x).max())


def value_range(x: Floats) -> tuple[float, float]:
    """Return the lowest and the highest value in ``x``."""
    return float(x.min()), float(x.max())


def white_noise_share(steps: int, beta: float, corrected: bool = True, sizes: Floats | None = None) -> float:
    """Return the share of white noise's variance over T = ``steps`` that remains after the EWMA: tr(Wᵀ C W)/(T-1).

    W ``[T, T]`` is the (bias-corrected) filter as a matrix and C the centring matrix. For T → ∞ the share of the
    uncorrected filter is (1-β)/(1+β). For noise with variance ``sizes`` ``[T]`` at each step it is
    Σ_s (Wᵀ C W)_ss sizes_s/((1-1/T) Σ_s sizes_s). It is smaller for noise that grows, because the first averages, which
    have few values and are the least smooth, are then of small values.

    (Wᵀ C W)_ss = Σ_t W_ts² - (Σ_t W_ts)²/T are sums over the columns of W, which are filters too: no matrix is needed.

    Raises:
        SpecError: β outside [0, 1), or fewer than 2 steps.
    """
    if steps < 2:
        raise SpecError("steps", f"{steps}", "at least 2")
    sizes = np.ones(steps) if sizes is None else sizes
    scale = _corrections(steps, beta)[::-1] if corrected else np.ones(steps)  # the last step first
    sums = scipy.signal.lfilter([1 - beta], [1, -beta], scale)
    squares = scipy.signal.lfilter([(1 - beta) ** 2], [1, -(beta**2)], scale**2)
    diagonal = (squares - sums**2 / steps)[::-1]
    return float(diagonal @ sizes / ((1 - 1 / steps) * sizes.sum()))


def squared_deviations(g: Floats) -> Floats:
    """Return the squared norm of each step's deviation from the mean over the steps ``[T]``, of ``g`` ``[T, P]``."""
    deviations = g - g.mean(axis=0, dtype=np.float64)
    sizes: Floats = np.einsum("tp,tp->t", deviations, deviations)
    return sizes


def random_sign_shares(g: Floats, beta: float, draws: int = RANDOM_SIGN_DRAWS, seed: int = 0) -> Floats:
    """Return the remaining shares of variance after the corrected EWMA under random signs of the steps, one per draw.

    A random sign keeps the size of each step's deviation from the mean and removes the correlation between steps. The
    spread of these shares shows how far the share of ``g`` ``[T, P]`` can be from that of white noise of the same
    sizes by chance (a sign-flip test; Winkler et al., *Permutation inference for the general linear model*, 2014).
    Shuffling the steps is not valid: gradients grow at the start of training, and shuffling moves the large ones.
    A draw in which all steps become equal has no share and is excluded. Memory: a few matrices ``[T, T]``.

    Raises:
        SpecError: β outside [0, 1).
    """
    steps = len(g)
    filters = ewma(np.eye(steps), beta)
    centred = filters - filters.mean(axis=0)
    deviations = g - g.mean(axis=0, dtype=np.float64)
    gram = deviations @ deviations.T
    left = centred.T @ centred * gram  # Wᵀ C W, element by element with the Gram matrix
    whole = gram * (np.eye(steps) - 1 / steps)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, steps))
    remaining = np.einsum("ds,ds->d", signs @ left, signs)
    variance = np.einsum("ds,ds->d", signs @ whole, signs)
    varies = variance > 1e-9 * np.trace(gram)
    shares: Floats = remaining[varies] / variance[varies]
    return shares


def smooth_gradients(g: Floats, beta: float) -> SmoothedGradients:
    """Return the gradients ``[T, P]`` after the corrected EWMA, with their remaining variance and that of white noise.

    Raises:
        SpecError: β outside [0, 1).
    """
    values = ewma(g, beta)
    raw, steps = mean_variance(g), len(values)
    line = 100 * white_noise_share(steps, beta)
    if raw == 0:
        return SmoothedGradients(beta, values, math.nan, line, Estimate(math.nan, math.nan, math.nan, 0))
    low = high = math.nan
    if steps <= MAX_RANDOMIZED_STEPS:
        shares = random_sign_shares(g, beta, RANDOM_SIGN_DRAWS)
        low, high = (100 * float(bound) for bound in np.quantile(shares, [0.025, 0.975]))
    sized = 100 * white_noise_share(steps, beta, sizes=squared_deviations(g))
    share = 100 * mean_variance(values) / raw
    return SmoothedGradients(beta, values, share, line, Estimate(sized, low, high, RANDOM_SIGN_DRAWS))


def noise_scale(batch_size: int, batches: int, trace_covariance: float, mean_square_norm: float) -> NoiseScale:
    """Return the simple noise scale B_simple = tr Σ/‖G‖² of McCandlish et al. 2018, section 2.2.

    From M mini-batches of B examples at fixed weights: tr Σ ≈ B·tr Ĉov(g_B), and ‖G‖² ≈ ‖ḡ‖² - tr Σ/(B·M), because
    the noise of the mean increases its norm.

    Args:
        batch_size: B, in examples.
        batches: M.
        trace_covariance: tr Ĉov(g_B), ddof = 1.
        mean_square_norm: ‖ḡ‖².
    """
    trace = batch_size * trace_covariance
    noise_part = trace_covariance / batches
    square_norm = mean_square_norm - noise_part
    b_simple = trace / square_norm if square_norm > 0 else None
    return NoiseScale(trace, mean_square_norm, noise_part, square_norm, b_simple)


def _corrections(steps: int, beta: float) -> Floats:
    """Return 1/(1-β^t) for t = 1 … ``steps``, ``[T]``."""
    corrections: Floats = 1 / (1 - check_beta(beta) ** np.arange(1, steps + 1))
    return corrections
