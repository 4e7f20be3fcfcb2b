"""A GPU's training step, on a CPU: captured and replayed as a CUDA graph, it trains as the eager step does."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Protocol, Run
from tests.trainables.rehearsal import HostLookError, NoHostLooks, Rehearsal
from tests.trainables.small_runs import CPU, FLOAT64, options
from tests.trainables.training.test_resume import VARIANTS, members_of, rows_of, run_of
from trainables.data.dataset import DataSet, load_data
from trainables.optim.optimizers import OPTIMIZERS
from trainables.optim.schedulers import SCHEDULERS
from trainables.training.batches import Batches
from trainables.training.checkpoints import Checkpoints
from trainables.training.cuda_graphs import WARM_UPS, Graphs, NoGraphs
from trainables.training.loop import train
from trainables.training.messages import Assignment, EpochMetrics
from trainables.training.multi_tensor import KERNELS, GroupedOptimizers, can_be_captured
from trainables.training.pack import Pack
from trainables.training.steps import GraphedStep

STEPS = 3 * 4
"""Three epochs of three full batches and a smaller one: the full ones' second and third epoch are replayed."""


@pytest.fixture(autouse=True)
def _a_cpu_counts_as_capturable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch's capturable arithmetic refuses CPU tensors by a list of devices; nothing in it needs a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module in pkgutil.iter_modules(torch.optim.__path__, "torch.optim."):
        found = importlib.import_module(module.name)
        if hasattr(found, "_get_capturable_supported_devices"):
            monkeypatch.setattr(found, "_get_capturable_supported_devices", lambda supports_xla=True: ["cpu", "cuda"])
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on: three batches of 32 and a last one of 4; 100 to validate on."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def every_variant(scheduler: str = "none", **kwargs: Any) -> list[Run]:
    return [
        run_of(name, scheduler, params=params, **kwargs) for name in OPTIMIZERS for params in VARIANTS.get(name, [{}])
    ]


def trained(runs: Sequence[Run], data: DataSet, graphs: Graphs | None, steps: int = STEPS) -> tuple[Pack, list[Any]]:
    """Train without evaluation; return the pack and the loss of every step and run."""
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, CPU)
    pack = Pack(runs, batches.steps, CPU, graphs)
    losses = []
    for index in range(steps):
        epoch, step = divmod(index, batches.steps)
        pack.step_in_epoch = step
        pack.train_step(batches.batch(epoch + 1, step))
        losses.append(pack.step_losses.tolist())
    return pack, losses


def largest_difference(one: Pack, other: Pack, k: int) -> float:
    pairs = zip(one.stack.member(k).values(), other.stack.member(k).values(), strict=True)
    return max(float((a.detach().double() - b.detach().double()).abs().max()) for a, b in pairs)


def stepped(runs: Sequence[Run], grouped: bool, updates: int = 20) -> list[torch.Tensor]:
    """Return every run's weights ``[P]`` after updates with given gradients: together, or each by its own optimizer."""
    pack = Pack(runs, updates, CPU)
    together = GroupedOptimizers(
        list(enumerate(pack.members)), torch.tensor([member.schedule.lr for member in pack.members])
    )
    rng = torch.Generator().manual_seed(0)
    for _ in range(updates):
        for k in range(len(runs)):
            for view in pack.stack.member(k).values():
                assert view.grad is not None
                view.grad.copy_(0.01 * torch.randn(view.shape, generator=rng, dtype=torch.float64))
        if grouped:
            together.step()
        else:
            for member in pack.members:
                member.optimizer.step()
    return [torch.cat([view.detach().flatten() for view in pack.stack.member(k).values()]) for k in range(len(runs))]


def rates_and_variants(name: str, protocol: Protocol) -> list[Run]:
    """Two rates and two seeds of each variant of an optimizer."""
    return [
        run_of(name, "none", protocol, seed=seed, lr=lr, params=params)
        for params in VARIANTS.get(name, [{}])
        for seed, lr in ((0, 0.003), (1, 0.003), (0, 0.001))
    ]


@pytest.mark.parametrize("name", KERNELS)
def test_grouped_optimizers_equal_torch_optim_over_many_steps(name: str) -> None:
    """Compared with each run's own, as ``torch.optim`` makes it: a rate in float32 differs from the eighth digit on."""
    runs = rates_and_variants(name, FLOAT64)
    for together, alone in zip(stepped(runs, True), stepped(runs, False), strict=True):
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_grouped_optimizers_keep_the_parameter_groups_of_each_run(name: str) -> None:
    """Biases have no decay; in the second list of runs they have."""
    ends = []
    for protocol in (replace(FLOAT64, weight_decay_on="matrices"), FLOAT64):
        runs = [run_of(name, "none", protocol, seed=seed, params={"weight_decay": 0.3}) for seed in (0, 1)]
        ends.append(stepped(runs, True))
        for together, alone in zip(ends[-1], stepped(runs, False), strict=True):
            torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)
    assert float((ends[0][0] - ends[1][0]).abs().max()) > 1e-4


def test_a_captured_step_clips_gradients(few: DataSet) -> None:
    protocol = replace(FLOAT64, grad_clip_norm=0.1, label_smoothing=0.1, ema_decay=0.9, weight_decay_on="matrices")
    runs = [run_of("SGD", "none", protocol, seed=seed, lr=0.1, params={"weight_decay": 0.1}) for seed in (0, 1)]
    graphs = Rehearsal()
    captured, losses = trained(runs, few, graphs)
    eager, same = trained(runs, few, NoGraphs())
    assert losses == same
    assert graphs.captures == 3
    assert captured.average is not None
    assert eager.average is not None
    for name, average in captured.average.other.items():
        assert torch.equal(average, eager.average.other[name])
    gradient = torch.cat([view.grad.flatten() for view in captured.stack.member(1).values() if view.grad is not None])
    assert float(gradient.norm()) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("name", ["NAdam", "RAdam"])
def test_what_a_capture_would_round_too_much_stays_outside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = rates_and_variants(name, FLOAT64)
    monkeypatch.setitem(KERNELS, name, KERNELS["RMSprop"])
    pairs = zip(stepped(runs, True), stepped(runs, False), strict=True)
    assert max(float((together - alone).abs().max()) for together, alone in pairs) > 1e-7


def test_a_captured_step_gives_the_bits_of_one_that_is_not(few: DataSet) -> None:
    """All optimizers in one pack, each with another schedule."""
    names = ["none", *SCHEDULERS]
    runs = [replace_schedule(run, names[i % len(names)]) for i, run in enumerate(every_variant(seed=0))]
    graphs = Rehearsal()
    captured, losses = trained(runs, few, graphs)
    eager, same = trained(runs, few, NoGraphs())
    assert losses == same
    assert all(largest_difference(captured, eager, k) == 0 for k in range(len(runs)))
    assert graphs.captures == 2
    assert graphs.replays == (3 * 3 - WARM_UPS) + (STEPS - WARM_UPS)  # of gradients, of updates


def replace_schedule(run: Run, scheduler: str) -> Run:
    choice = run.configuration
    return run_of(choice.optimizer, scheduler, params={k: v for k, v in choice.optimizer_params.items() if k != "lr"})


@pytest.mark.parametrize(
    "optimizer", ["SGD", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Adam", "NAdam"))]
)
def test_every_schedule_reaches_a_captured_step(optimizer: str, few: DataSet) -> None:
    """Whole training with evaluation: a captured training has the rows and the rates of a plain one."""
    params = {"momentum": 0.9} if optimizer == "SGD" else {}
    runs = [
        run_of(optimizer, scheduler, FLOAT64, warmup=0.5 * (i % 2), params=params)
        for i, scheduler in enumerate(("none", *SCHEDULERS), start=optimizer == "SGD")
    ]
    assignment = Assignment("pack", runs, 3, frozenset({3}))
    by_graphs = [
        [row for report in train(assignment, few, CPU, options(graphs=graphs)) for row in report.rows]
        for graphs in (Rehearsal(), None)
    ]
    for row, plain in zip(*by_graphs, strict=True):
        assert [getattr(row, key) for key in ("lr", "lr_first", "lr_last")] == [
            getattr(plain, key) for key in ("lr", "lr_first", "lr_last")
        ]
        for key in ("train_loss", "val_loss"):
            assert getattr(row, key) == pytest.approx(getattr(plain, key), abs=1e-6)
        assert row.val_acc == pytest.approx(plain.val_acc, abs=0.5)


@pytest.mark.parametrize("scheduler", ["CyclicLR", "OneCycleLR"])
@pytest.mark.parametrize(("optimizer", "key"), [("SGD", "momentum"), ("Adam", "betas")])
def test_a_cycled_momentum_moves_and_is_used(scheduler: str, optimizer: str, key: str, few: DataSet) -> None:
    """It stays outside the capture: the weights are, bit for bit, those of the run's own optimizer."""
    run = run_of(optimizer, scheduler, lr=0.05, params={"momentum": 0.9} if optimizer == "SGD" else {})
    batches = Batches(few, [0], run.protocol, CPU)
    packs = [Pack([run], batches.steps, CPU, graphs) for graphs in (Rehearsal(), None)]
    seen = []
    for index in range(10):
        epoch, step = divmod(index, batches.steps)
        for pack in packs:
            pack.step_in_epoch = step
            pack.train_step(batches.batch(epoch + 1, step))
        seen.append(packs[0].members[0].optimizer.param_groups[0][key])
    assert len(set(seen)) > 4
    assert largest_difference(*packs, 0) == 0
    assert not can_be_captured(packs[0].members[0])


def test_a_capture_would_freeze_a_cycled_momentum(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with the run inside the capture, the weights differ."""
    run = run_of("SGD", "CyclicLR", lr=0.05, params={"momentum": 0.9})
    outside, _ = trained([run], few, Rehearsal(), 6)
    monkeypatch.setattr("trainables.training.steps.can_be_captured", lambda member: True)
    inside, _ = trained([run], few, Rehearsal(), 6)
    assert largest_difference(outside, inside, 0) > 1e-5


@pytest.mark.parametrize("name", KERNELS)
def test_a_class_is_captured_exactly_where_torch_asks_for_no_value(name: str, few: DataSet) -> None:
    pack, _ = trained([run_of(name, "none", params=params) for params in VARIANTS.get(name, [{}])], few, NoGraphs(), 2)
    assert all(can_be_captured(member) for member in pack.members)
    grouped = GroupedOptimizers(list(enumerate(pack.members)), torch.full((len(pack.runs),), 0.003))
    with NoHostLooks():
        grouped.step()


@pytest.mark.parametrize("name", ["Adafactor", "Adagrad"])
def test_what_asks_for_values_stays_outside(name: str, few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, _ = trained([run_of(name, "none")], few, NoGraphs(), 2)
    assert not can_be_captured(pack.members[0])
    monkeypatch.setitem(KERNELS, name, {"foreach": True})
    grouped = GroupedOptimizers([(0, pack.members[0])], torch.full((1,), 0.003))
    with pytest.raises(HostLookError), NoHostLooks():
        grouped.step()


def test_no_step_of_an_epoch_makes_the_host_wait(few: DataSet) -> None:
    """Batches, gradients, updates, rates that change with every step, and a run that diverges on the way."""
    runs = [run_of(name, "none", seed=i % 2, warmup=1) for i, name in enumerate(KERNELS)]
    runs += [run_of("SGD", "none", lr=1e30), run_of("SGD", "OneCycleLR", params={"momentum": 0.9})]
    batches = Batches(few, [run.seed for run in runs], runs[0].protocol, CPU)
    pack = Pack(runs, batches.steps, CPU, Rehearsal())
    pack.train_step(batches.batch(1, 0))  # makes the groups: PyTorch reads their rates
    with NoHostLooks():
        for index in range(1, STEPS):
            epoch, pack.step_in_epoch = divmod(index, batches.steps)
            pack.train_step(batches.batch(epoch + 1, pack.step_in_epoch))
    assert not torch.isfinite(pack.loss_sum[len(KERNELS)])
    assert torch.isfinite(pack.loss_sum).sum() == len(runs) - 1


def test_an_eager_step_on_the_same_batches_makes_the_host_wait(few: DataSet) -> None:
    """The test above can fail."""
    run = run_of("SGD", "none")
    batches = Batches(few, [0], run.protocol, CPU)
    pack = Pack([run], batches.steps, CPU)
    with pytest.raises(HostLookError), NoHostLooks():
        pack.train_step(batches.batch(1, 0))


def test_the_studys_updates_take_few_launches(few: DataSet) -> None:
    """Ten parameters a run, one launch a run for SGD and two for Adam; seeds of one configuration share theirs."""
    runs = [
        run_of("SGD", "none", seed=seed, lr=lr, params={"momentum": 0.9}) for lr in (0.01, 0.03) for seed in (0, 1, 2)
    ]
    runs += [run_of("Adam", "none", seed=seed) for seed in (0, 1, 2)]
    pack, _ = trained(runs, few, NoGraphs(), 1)
    grouped = GroupedOptimizers(list(enumerate(pack.members)), torch.full((len(runs),), 0.01))
    assert grouped.alike == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with NoHostLooks() as together:
        grouped.step()
    with NoHostLooks() as apart:
        for member in pack.members[:6]:
            member.optimizer.step()
    assert together.launches <= 2 + 2
    assert apart.launches >= 6 * 10


def test_every_step_of_an_epoch_has_a_row_of_rates_that_no_later_step_overwrites(few: DataSet) -> None:
    """An asynchronous copy may still read the row of an earlier step; the host waits at the end of the epoch only."""
    pack, _ = trained([run_of("SGD", "none", warmup=1)], few, NoGraphs(), steps=4)
    rates = pack.members[0].lrs
    assert len(set(rates)) == 4
    step = pack._step
    assert isinstance(step, GraphedStep)
    assert step._rows[:, 0].tolist() == torch.tensor(rates, dtype=torch.float32).tolist()


def test_seeds_whose_schedules_depend_on_their_losses_have_separate_rates(few: DataSet) -> None:
    runs = [run_of("SGD", "ReduceLROnPlateau", seed=seed) for seed in (0, 1)]
    pack = Pack(runs, 4, CPU)
    assert GroupedOptimizers(list(enumerate(pack.members)), torch.zeros(2)).alike == [[0], [1]]


def test_a_diverged_run_is_frozen_at_the_epochs_end_and_the_others_continue(few: DataSet) -> None:
    runs = [run_of("SGD", "none", lr=0.05), run_of("SGD", "none", lr=1e30), run_of("Adam", "none")]
    assignment = Assignment("pack", runs, 3, frozenset())
    graphs = Rehearsal()
    reports = list(train(assignment, few, CPU, options(graphs=graphs)))
    assert reports[-1].diverged == {runs[1].run_id: 1}
    alone = [
        row
        for report in train(replace(assignment, runs=[runs[0], runs[2]]), few, CPU, options(graphs=Rehearsal()))
        for row in report.rows
    ]
    mine = [row for report in reports for row in report.rows]
    assert [row.train_loss for row in mine] == pytest.approx([row.train_loss for row in alone], abs=1e-5)
    assert graphs.captures > 2  # the update of the remaining runs is another one


@pytest.mark.slow
def test_a_death_anywhere_leaves_no_trace_on_a_captured_training(few: DataSet, tmp_path: Path) -> None:
    """A checkpoint holds each run's own state; captured again from it, all bits are the same; its form is a CPU's."""
    names = ["none", *SCHEDULERS]
    runs = [replace_schedule(run, names[i % len(names)]) for i, run in enumerate(every_variant(seed=0))]
    assignment = Assignment("pack", runs, 3, frozenset({3}))
    kept = {place: Checkpoints(tmp_path / place) for place in ("whole", "cut", "plain")}
    whole = [
        r
        for report in train(assignment, few, CPU, options(checkpoints=kept["whole"], graphs=Rehearsal()))
        for r in report.rows
    ]
    rows: list[EpochMetrics] = []
    for steps in (2, 5, 8, 1000):
        rows = []
        looks = iter([False] * (steps - 1) + [True] + [False] * 1000)
        training = train(
            assignment,
            few,
            CPU,
            options(checkpoints=kept["cut"], graphs=Rehearsal(), asked_to_stop=lambda looks=looks: next(looks)),
        )
        for report in training:
            rows.extend(report.rows)
    assert rows_of(rows) == rows_of(whole)
    assert members_of(kept["cut"]) == members_of(kept["whole"])
    list(train(assignment, few, CPU, options(checkpoints=kept["plain"])))
    plain, device = (kept[place].newest() for place in ("plain", "whole"))
    assert plain is not None
    assert device is not None
    for one, other in zip(plain["members"], device["members"], strict=True):
        assert one.keys() == other.keys()
        assert one["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]
        shapes = [
            {
                i: {key: tuple(torch.as_tensor(v).shape) for key, v in kept.items()}
                for i, kept in m["optimizer"]["state"].items()
            }
            for m in (one, other)
        ]
        assert shapes[0] == shapes[1]
