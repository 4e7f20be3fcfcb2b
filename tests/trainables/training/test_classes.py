"""A data set with another number of classes trains a network with as many outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainables.own_sources import ten_classes
from tests.trainables.rehearsal import Rehearsal
from tests.trainables.small_runs import CPU, FLOAT64, data_of, make_run, options, plain_losses
from trainables.models.lenet import LeNet5, initial_parameters, shapes
from trainables.training.loop import train
from trainables.training.messages import Assignment
from trainables.training.weight_snapshots import SavedWeights, flattened, unflattened


@pytest.mark.parametrize("graphs", [None, Rehearsal()], ids=["eager", "captured"])
def test_a_pack_of_ten_classes_trains_like_a_plain_loop(tmp_path: Path, graphs: Rehearsal | None) -> None:
    """Two runs of a seed against ``nn.Module`` and ``torch.optim``, in float64; the weights are kept and read back."""
    data = data_of(ten_classes(20))
    runs = [make_run("SGD", lr=0.05, momentum=0.9, protocol=FLOAT64), make_run("Adam", lr=0.003, protocol=FLOAT64)]
    weights = SavedWeights(tmp_path)
    reports = list(train(Assignment("pack", runs, 2, frozenset()), data, CPU, options(weights=weights, graphs=graphs)))
    rows = [row for report in reports for row in report.rows]
    sizes = [32, 32, 32, 4]  # 100 images
    for run in runs:
        losses = np.array(plain_losses(run, data, 8)).reshape(2, 4)
        measured = [row.train_loss for row in rows if row.run_id == run.run_id]
        np.testing.assert_allclose(measured, losses @ sizes / 100, rtol=1e-9)
        last = unflattened(weights.read(run.run_id, 2), torch.float64)
        assert {name: tuple(value.shape) for name, value in last.items()} == shapes(10)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_the_weights_below_the_last_layer_do_not_depend_on_the_classes(classes: int) -> None:
    """They are drawn first, from one generator; PyTorch's module has the same shapes."""
    drawn, usual = initial_parameters(4, torch.float32, classes), initial_parameters(4, torch.float32)
    assert {name: tuple(one.shape) for name, one in LeNet5(classes).named_parameters()} == shapes(classes)
    for name, value in drawn.items():
        assert tuple(value.shape) == shapes(classes)[name]
        assert name.startswith("fc3") or torch.equal(value, usual[name])
    back = unflattened(flattened(drawn), torch.float32)
    assert all(torch.equal(back[name], drawn[name]) for name in drawn)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    np.save(tmp_path / "run" / "epoch000001.npy", np.zeros(69_655, np.float32))
    with pytest.raises(ValueError, match="no weights of LeNet-5"):
        SavedWeights(tmp_path).read("run", 1)
