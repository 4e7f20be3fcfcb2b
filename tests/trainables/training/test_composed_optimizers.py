"""Closures, wrappers, parameter groups and combined optimizers train in a pack as in a plain loop, and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from search_spaces import Protocol, Run
from tests.trainables import composed_rules
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options
from tests.trainables.training.test_resume import assert_deaths_leave_no_trace
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.optim.planning_trial import why_not_resumed
from trainables.training.batches import Batches
from trainables.training.cuda_graphs import NoGraphs
from trainables.training.loop import train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

pytestmark = pytest.mark.usefixtures("one_thread")
OWN = "tests.trainables.composed_rules:"
SGD = {"name": "SGD", "lr": 0.05, "momentum": 0.9}


def groups_of(model: LeNet5) -> list[dict[str, Any]]:
    """What the groups of the case below mean, by hand."""
    of = dict(model.named_parameters())
    vectors = [tensor for name, tensor in of.items() if name.endswith("bias")]
    rest = [of["conv1.weight"], of["conv2.weight"], of["fc1.weight"], of["fc2.weight"]]
    return [
        {"params": rest},
        {"params": vectors, "weight_decay": 0.0},
        {"params": [of["fc3.weight"]], "lr": 0.005},
    ]


def muon_and_adamw(model: LeNet5) -> list[torch.optim.Optimizer]:
    dense = [model.fc1.weight, model.fc2.weight, model.fc3.weight]
    others = [tensor for tensor in model.parameters() if tensor.dim() != 2]
    return [torch.optim.Muon(dense, lr=0.02), torch.optim.AdamW(others, lr=0.003)]


CASES: dict[str, tuple[str, dict[str, Any], Callable[[LeNet5], Any]]] = {
    "SAM": (
        f"{OWN}SharpnessAware", {"rho": 0.1, "base": SGD},
        lambda model: composed_rules.SharpnessAware(model.parameters(), torch.optim.SGD, 0.1, lr=0.05, momentum=0.9),
    ),
    "LBFGS": (
        "LBFGS", {"lr": 0.1, "max_iter": 3},
        lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3),
    ),
    "Hessian": (f"{OWN}Curvature", {"lr": 0.1}, lambda model: composed_rules.Curvature(model.parameters(), 0.1)),
    "wrapper": (
        f"{OWN}LooksAhead", {"base": SGD},
        lambda model: composed_rules.LooksAhead(torch.optim.SGD(model.parameters(), 0.05, 0.9)),
    ),
    "groups": (
        "AdamW",
        {
            "lr": 0.01, "weight_decay": 0.1,
            "groups": [{"match": "1d", "weight_decay": 0.0}, {"match": "fc3.*", "lr_factor": 0.5}],
        },
        lambda model: torch.optim.AdamW(groups_of(model), lr=0.01, weight_decay=0.1),
    ),
    "Muon": ("Muon", {"lr": 0.02, "rest": {"name": "AdamW", "lr": 0.003}}, muon_and_adamw),
    "names": (
        f"{OWN}ByName", {"lr": 0.1}, lambda model: composed_rules.ByName(model.named_parameters(), 0.1),
    ),
    "model": (f"{OWN}OfModel", {"lr": 0.1}, lambda model: composed_rules.OfModel(model, 0.1)),
    "flag": (
        f"{OWN}NeedsFlag",
        {"lr": 0.05, "groups": [{"match": "1d", "twice": False}, {"match": "matrices", "twice": True}]},
        lambda model: torch.optim.SGD(
            [
                {"params": [tensor for tensor in model.parameters() if tensor.dim() == 1], "lr": 0.05},
                {"params": [tensor for tensor in model.parameters() if tensor.dim() > 1], "lr": 0.1},
            ]
        ),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on, in three batches of 32 and a last one of 4; 100 to validate on."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def run_of(case: str, protocol: Protocol = FLOAT64, **kwargs: Any) -> Run:
    name, params, _ = CASES[case]
    return make_run(name, protocol=protocol, steps_per_epoch=4, **params, **kwargs)


def plain_losses(case: str, data: DataSet, clip: float = 0.0, epochs: int = 2) -> list[float]:
    """The training losses of an ordinary loop, with the closure that PyTorch documents."""
    batches = Batches(data, [0], FLOAT64, CPU)
    model = LeNet5(data.classes).double()
    model.load_state_dict(initial_parameters(0, torch.float64, data.classes))
    built = CASES[case][2](model)
    optimizers = built if isinstance(built, list) else [built]
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for step in range(batches.steps):
            batch = batches.batch(epoch + 1, step)
            assert batch.masks is not None
            images, masks = augmentation.normalise(batch.images[0], torch.float64), [mask[0] for mask in batch.masks]

            @torch.enable_grad()
            def closure() -> torch.Tensor:
                model.zero_grad()
                loss = F.cross_entropy(model(images, (masks[0], masks[1])), batch.labels[0])  # noqa: B023
                loss.backward(create_graph=case == "Hessian")
                if clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                return loss

            first = closure()
            for optimizer in optimizers:
                optimizer.step(closure if case in ("SAM", "LBFGS") else None)
            total += first.item() * len(images)
        losses.append(total / batches.examples)
    return losses


def trained(runs: list[Run], data: DataSet, **kwargs: Any) -> list[list[float]]:
    """The training losses of each run, by epoch."""
    reports = list(train(Assignment("p", runs, 2, frozenset()), data, CPU, options(**kwargs)))
    rows = [row for report in reports for row in report.rows]
    return [[row.train_loss for row in rows if row.run_id == run.run_id] for run in runs]


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_run_in_a_pack_of_two_trains_as_the_plain_loop(case: str, few: DataSet) -> None:
    runs = [run_of(case), make_run("SGD", lr=0.1, seed=1, protocol=FLOAT64)]
    assert trained(runs, few)[0] == pytest.approx(plain_losses(case, few), rel=1e-9)


def test_two_runs_with_closures_share_a_pack_correctly(few: DataSet) -> None:
    """Each computes the gradients of the other one again; a pack of one only saves time."""
    ours = trained([run_of("SAM"), run_of("LBFGS")], few)
    assert ours[0] == pytest.approx(plain_losses("SAM", few), rel=1e-9)
    assert ours[1] == pytest.approx(plain_losses("LBFGS", few), rel=1e-9)


def test_the_gradients_of_both_passes_are_clipped(few: DataSet) -> None:
    run = run_of("SAM", Protocol(batch_size=32, dtype="float64", grad_clip_norm=0.3))
    assert trained([run], few)[0] == pytest.approx(plain_losses("SAM", few, 0.3), rel=1e-9)


@pytest.mark.parametrize("case", ["SAM", "Hessian", "Muon"])
def test_a_gpus_step_takes_them_outside_of_its_graph(case: str, few: DataSet) -> None:
    assert trained([run_of(case)], few, graphs=NoGraphs())[0] == pytest.approx(plain_losses(case, few), rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_planning_trial_finds_that_it_resumes_exactly(case: str) -> None:
    run = run_of(case)
    assert why_not_resumed(run.configuration, torch.float32, "here") == ""


@pytest.mark.parametrize(
    "cases", [("SAM", "wrapper", "groups", "Muon"), pytest.param(("LBFGS", "Hessian"), marks=pytest.mark.slow)]
)
def test_a_resume_gives_the_same_bits(cases: tuple[str, ...], few: DataSet) -> None:
    """Within the first epoch, at its end, and within the second; the learning rates fall."""
    schedule: dict[str, Any] = {"scheduler": "ExponentialLR", "scheduler_params": {"gamma": 0.5}}
    runs = [run_of(case, Protocol(batch_size=32), **schedule) for case in cases]
    assert_deaths_leave_no_trace(runs, few, [10, 8, 12])


@pytest.mark.parametrize("scheduler", ["OneCycleLR", "CyclicLR"])
def test_a_schedule_keeps_the_proportions_of_the_groups_rates(scheduler: str) -> None:
    params = {"step_size_up": 2} if scheduler == "CyclicLR" else {}
    run = run_of("groups", scheduler=scheduler, scheduler_params=params)
    member = Pack([run], 4, CPU).members[0]
    rates = []
    for _ in range(6):
        first, _, last = (group["lr"] for group in member.optimizer.param_groups)
        assert last == pytest.approx(0.5 * first, rel=1e-12)
        rates.append(first)
        member.optimizer.step()
        member.schedule.after_batch()
    assert len(set(rates)) > 1
