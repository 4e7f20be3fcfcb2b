"""From bytes to fractions of a GPU: what fits, side by side and with its context, and what does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import SpecError
from tests.trainables.small_runs import make_run, tiny_data
from trainables.profiling.gpu_share import HEADROOM, MOST_SHARES, Footprint, probe_footprint, share_of
from trainables.runtime.devices import CONTEXT_BYTES, allocator_fraction, deterministic

GIB = 2**30


@pytest.mark.parametrize(
    ("reserved", "context", "whole", "share"),
    [
        (1 * GIB, GIB // 2, 80 * GIB, 1 / MOST_SHARES),  # 45 would fit
        (8 * GIB, GIB // 2, 80 * GIB, 1 / 7),  # 7 × 10.5 = 73.5
        (30 * GIB, GIB, 80 * GIB, 1 / 2),
        (40 * GIB, GIB, 80 * GIB, 1),
        (0, 80 * GIB, 80 * GIB, 1),  # to the last byte
    ],
)
def test_a_pack_gets_the_smallest_equal_share_that_holds_it(
    reserved: int, context: int, whole: int, share: float
) -> None:
    assert share_of(Footprint(reserved, context, whole), 4) == pytest.approx(share, abs=1e-4)


def test_a_pack_too_large_for_a_whole_gpu_is_refused_with_both_sizes() -> None:
    with pytest.raises(SpecError) as refused:
        share_of(Footprint(70 * GIB, GIB, 80 * GIB), 120)
    assert "resources.gpus_per_trial: 'auto', but a GPU has 80.0 GiB and a pack of 120 runs needs 88.5 GiB" in str(
        refused.value
    )


@given(st.integers(0, 200 * GIB), st.integers(0, 2 * GIB), st.integers(4 * GIB, 200 * GIB))
def test_all_shares_of_a_gpu_fit_on_it_together(reserved: int, context: int, whole: int) -> None:
    """For all measurements: all packs that Ray places on the GPU fit, each with its context."""
    needed = reserved * HEADROOM + (context or CONTEXT_BYTES)
    if needed > whole:
        with pytest.raises(SpecError):
            share_of(Footprint(reserved, context, whole), 1)
        return
    share = share_of(Footprint(reserved, context, whole), 1)
    at_once = round(1 / share)
    assert 0.99 < share * at_once <= 1
    assert share == round(share, 4)  # else Ray would round it
    assert at_once * needed <= whole
    assert at_once == MOST_SHARES or (at_once + 1) * needed > whole


@given(st.integers(GIB // 4, 60 * GIB), st.integers(0, GIB), st.integers(4 * GIB, 200 * GIB))
def test_a_share_admits_the_pack_that_it_was_found_for(reserved: int, context: int, whole: int) -> None:
    """The limit of a trial's process is always above the peak of the probe."""
    if reserved * HEADROOM + (context or CONTEXT_BYTES) > whole:
        return
    assert allocator_fraction(share_of(Footprint(reserved, context, whole), 1), whole, context) * whole >= reserved


def test_a_footprint_that_was_kept_is_read_again_and_nothing_else_is() -> None:
    found = Footprint(3, 2, 9)
    assert Footprint.from_dict({"runs": 4, "share": 0.5, **asdict(found)}) == found
    for broken in ({}, {**asdict(found), "whole": -1}, {**asdict(found), "context": "much"}):
        with pytest.raises(ValueError, match=r"below 0|invalid literal"):
            Footprint.from_dict(broken)  # type: ignore[arg-type]


@given(st.integers(1, MOST_SHARES), st.integers(16 * GIB, 200 * GIB))
def test_what_processes_may_allocate_leaves_room_for_their_contexts(at_once: int, whole: int) -> None:
    fraction = allocator_fraction(1 / at_once, whole)
    assert 0 <= fraction <= 1
    if at_once == 1:
        assert fraction == 1
    elif fraction:
        assert at_once * (fraction * whole + CONTEXT_BYTES) <= whole * (1 + 1e-12)


def test_a_probe_without_a_gpu_reports_this() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(SpecError, match=r"^resources\.gpus_per_trial: 'auto', but PyTorch finds no GPU"):
        share_of(probe_footprint([make_run()], tiny_data()), 1)


def test_a_pack_that_ran_out_of_memory_needs_more_than_there_is() -> None:
    with pytest.raises(SpecError, match=r"a GPU has 80\.0 GiB and a pack of 9 runs needs more;"):
        share_of(Footprint(80 * GIB, 0, 80 * GIB), 9)


@pytest.fixture
def _settings_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.usefixtures("_settings_as_they_were")
def test_on_a_gpu_kernels_are_deterministic_and_float32_is_not_tf32() -> None:
    """PyTorch's default for convolutions is TF32."""
    torch.backends.cudnn.allow_tf32 = True
    deterministic(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    deterministic(torch.device("cuda"))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
