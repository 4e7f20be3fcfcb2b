"""The operation count of the throughput benchmark, against PyTorch's counter; its ways to train have these names."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.throughput import (
    COMPARED,
    ROUND_COLUMNS,
    configurations,
    evaluation_flops,
    report,
    training_flops,
)
from search_spaces import expand
from trainables.models.lenet import LeNet5

IMAGES = 4


def counted(train: bool) -> int:
    """Count the floating-point operations of LeNet-5 on a few images, as PyTorch does."""
    model = LeNet5()
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.zeros(IMAGES, 3, 32, 32))
        if train:
            logits.sum().backward()
    return int(counter.get_total_flops())


def test_the_floating_point_operations_are_those_that_pytorch_counts() -> None:
    assert evaluation_flops(IMAGES) == counted(train=False)
    assert training_flops(IMAGES) == counted(train=True)


def test_a_step_of_128_images_has_416_million_of_them() -> None:
    assert training_flops(128) == pytest.approx(416e6, rel=0.01)


def test_packs_of_one_train_every_second_rate_of_the_others() -> None:
    every, some = (expand(configurations(step), "space") for step in (1, COMPARED))
    assert len(every) == 16
    assert [one.key for one in some] == [one.key for one in every[COMPARED - 1 :: COMPARED]]


def test_the_report_has_a_line_a_round_and_the_median() -> None:
    rows = [dict.fromkeys(ROUND_COLUMNS, float(number)) for number in (1, 3, 8)]
    summary = {key: {"median": 3.0, "least": 1.0, "most": 8.0} for key in ROUND_COLUMNS}
    found = {
        "rounds": rows, "summary": summary, "num_workers": 0, "probe_ms": {0: 30.0, 1: 40.0},
        "flops": 166e9, "training_flops": 146e9,
    }  # fmt: skip
    lines = report(found).splitlines()
    assert "| 3 | 8 | 8 | 8 | 8 | 8 | 8 | 8 |" in lines
    assert "| median | 3 | 3 | 3 | 3 | 3 | 3 | 3 |" in lines
    assert any("166.0 GFLOP, of which 146.0 are training" in line for line in lines)
