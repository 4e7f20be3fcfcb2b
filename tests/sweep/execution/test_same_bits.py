"""The two executors give the same bits: in the process of the command, and through Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.sweep.sweeps import frames, run, spec, without_times
from trainables.training.checkpoints import Checkpoints


@pytest.mark.slow
@pytest.mark.ray
def test_the_bits_are_those_of_ray(ray: Any, tmp_path: Path) -> None:
    mine, _ = run(spec(), tmp_path / "mine")
    theirs, _ = run(spec(), tmp_path / "theirs", ray=True)
    runs, epochs = (without_times(frame) for frame in frames(mine))
    other_runs, other_epochs = (without_times(frame) for frame in frames(theirs))
    pd.testing.assert_frame_equal(epochs, other_epochs, check_exact=True)
    assert list(runs["run_id"]) == list(other_runs["run_id"])
    packs = sorted(path.name for path in mine.folder.checkpoints.iterdir())
    assert packs == sorted(path.name for path in theirs.folder.checkpoints.iterdir())
    for pack in packs:
        one, other = (Checkpoints(place.folder.checkpoints / pack).newest() for place in (mine, theirs))
        assert one is not None
        assert other is not None
        for member, twin in zip(one["members"], other["members"], strict=True):
            assert all(torch.equal(value, twin["parameters"][name]) for name, value in member["parameters"].items())
