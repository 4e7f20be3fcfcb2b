"""A spec is read correctly, a resolved spec gives the same runs, and each mistake is one line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Configuration, Protocol, Run, space_names
from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec, read_spec, spec_text
from sweep.planning.plan import make_runs, resolve_configurations
from trainables.optim.optimizers import OPTIMIZERS, build_optimizer
from trainables.optim.schedulers import LAMBDAS, SCHEDULERS

STEPS_PER_EPOCH = 352  # 45 000 images in batches of 128
BLOCK = '\n[[configurations]]\noptimizer = {name = "SGD", lr = 0.1, momentum = 0.9}\n'


def parse(text: str, **overrides: Any) -> Spec:
    return parse_spec(text, where="my.toml", name="my", overrides=overrides)


def test_all_but_the_configurations_has_a_default() -> None:
    spec = parse(BLOCK)
    assert (spec.name, spec.data, spec.epochs, spec.seed_list, spec.test_epoch_set()) == (
        "my", "cifar100", 50, [0, 1, 2], {50},
    )  # fmt: skip
    assert spec.shared_protocol == Protocol(128, 0.3, True, 0.1, "float32")
    placed = spec.resources
    assert (placed.pack, placed.cpus_per_trial, placed.gpus_per_trial) == ("auto", "auto", 0)
    assert (placed.max_concurrent, placed.retries) == (0, 2)
    assert spec.expanded() == [Configuration("SGD", {"lr": 0.1, "momentum": 0.9})]


def test_the_file_names_the_sweep_unless_its_text_does(tmp_path: Path) -> None:
    (tmp_path / "tuned.toml").write_text(BLOCK)
    (tmp_path / "named.toml").write_text('name = "other"' + BLOCK)
    assert read_spec(str(tmp_path / "tuned.toml")).name == "tuned"
    assert read_spec(str(tmp_path / "named.toml")).name == "other"
    assert read_spec(str(tmp_path / "named.toml"), {"name": "third"}).name == "third"


def test_overrides_replace_values_of_the_text_and_keep_the_others() -> None:
    text = "epochs = 9\n[resources]\npack = 2\nretries = 7" + BLOCK
    spec = parse(text, **{"resources.pack": 4, "epochs": 3, "protocol.dropout": 0})
    assert (spec.resources.pack, spec.resources.retries, spec.epochs, spec.protocol.dropout) == (4, 7, 3, 0)


def test_an_invalid_override_is_reported_like_a_mistake_in_the_text() -> None:
    with pytest.raises(SpecError, match=r"^my\.toml: resources\.pack: 0; should be 'auto' or 'probe', or greater than"):
        parse(BLOCK, **{"resources.pack": 0})
    with pytest.raises(SpecError, match=r"^my\.toml: resources: 3; should be a valid dictionary"):
        parse("resources = 3" + BLOCK, **{"resources.pack": 2})


@pytest.mark.parametrize(("text", "seeds"), [("1", [0]), ("4", [0, 1, 2, 3]), ("[7]", [7]), ("[3, 0, 9]", [3, 0, 9])])
def test_seeds_are_a_number_of_them_or_a_list(text: str, seeds: list[int]) -> None:
    assert parse(f"seeds = {text}{BLOCK}").seed_list == seeds


@pytest.mark.parametrize(
    ("text", "epochs"), [('"last"', {4}), ('"all"', {1, 2, 3, 4}), ("[1, 3]", {1, 3}), ("[2, 2]", {2}), ("[]", set())]
)
def test_the_test_split_is_evaluated_after_the_last_all_or_the_listed_epochs(text: str, epochs: set[int]) -> None:
    assert parse(f"epochs = 4\ntest_epochs = {text}{BLOCK}").test_epoch_set() == epochs


def run_ids(spec: Spec, configurations: list[Configuration]) -> list[str]:
    return [run.run_id for run in make_runs(spec, configurations, "d" * 16)]


def assert_reads_back(spec: Spec) -> None:
    """Check that the resolved text gives the same runs, and that it has a value for every default."""
    configurations = resolve_configurations(spec, STEPS_PER_EPOCH)
    text = spec_text(spec, configurations)
    again = parse(text)
    found = resolve_configurations(again, STEPS_PER_EPOCH)
    assert [c.key for c in found] == [c.key for c in configurations]
    assert run_ids(again, found) == run_ids(spec, configurations)
    assert again.test_epoch_set() == spec.test_epoch_set()
    settings_of = {"configurations", "seeds"}
    assert again.model_dump(exclude=settings_of) == spec.model_dump(exclude=settings_of)
    assert again.seed_list == spec.seed_list
    written = tomllib.loads(text)
    assert set(written) == set(Spec.model_fields) - {"benchmark", "methods"}
    assert set(written["protocol"]) == set(type(spec.protocol).model_fields)
    assert set(written["resources"]) == set(type(spec.resources).model_fields)
    assert len(written["configurations"]) == len(configurations)


@pytest.mark.parametrize("epochs", [50, 3])
@pytest.mark.parametrize("name", [name for name in space_names() if not read_spec(name).benchmark])
def test_the_resolved_spec_of_a_space_reads_back_as_the_same_runs(name: str, epochs: int) -> None:
    assert_reads_back(read_spec(name, {"epochs": epochs}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_reads_back_as_the_same_runs(name: str) -> None:
    """At its defaults; one default of Adafactor is None, which TOML does not have."""
    assert_reads_back(parse(f'[[configurations]]\noptimizer = "{name}"'))


REQUIRED = {
    "StepLR": "step_size = 2", "MultiStepLR": "milestones = [1, 3]", "ExponentialLR": "gamma = 0.9",
    "LambdaLR": f"lr_lambda = {list(LAMBDAS)}", "CosineAnnealingWarmRestarts": "T_0 = 2",
    "MultiplicativeLR": 'lr_lambda = "tests.trainables.own_rules:falls"',
    "SequentialLR": (
        'schedulers = ["ConstantLR", {name = "MultiStepLR", milestones = ["0.5 epochs", 3]}], milestones = [1]'
    ),
    "ChainedScheduler": 'schedulers = [{name = "ExponentialLR", gamma = 0.9}, "LinearLR"]',
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_reads_back_as_the_same_runs(name: str) -> None:
    required = f", {REQUIRED[name]}" if name in REQUIRED else ""
    assert_reads_back(parse(f'{BLOCK}scheduler = {{name = "{name}"{required}}}\nwarmup = [0, 0.5]'))


def test_lists_and_what_the_user_chose_read_back_too() -> None:
    assert_reads_back(
        parse("""
description = "a \\"quoted\\" × line"
seeds = [4, 2]
test_epochs = [1, 50]
[protocol]
batch_size = 64
dropout = 0
augment = false
dtype = "float64"
[resources]
pack = 3
gpus_per_trial = 0.25
[[configurations]]
optimizer = [
    {name = "Adam", lr = 1e-30, betas = [[0.5, 0.9], [0.9, 0.999]]},
    {name = "Adafactor", eps = [[1e-30, 0.01]]},
    {name = "SGD", lr = 1e30},
]
scheduler = {name = "MultiStepLR", milestones = [["0.5 epochs", "0.8 epochs"], [3]]}
""")
    )


@pytest.mark.parametrize(("written", "kind"), [("1", int), ("1.0", float)])
def test_a_rate_keeps_its_type_from_the_text_to_the_optimizer(written: str, kind: type) -> None:
    """Through the resolved text and the message to a trial."""
    spec = parse(f'[[configurations]]\noptimizer = {{name = "SGD", lr = {written}}}')
    (configuration,) = resolve_configurations(spec, 10)
    again = parse_spec(spec_text(spec, [configuration]), where="sweep.toml", name="again")
    (run,) = make_runs(again, resolve_configurations(again, 10), "d")[:1]
    sent = Run.from_dict(json.loads(json.dumps(run.to_dict())))
    assert sent.run_id == Run(configuration, run.seed, run.protocol, "d").run_id
    tensor = torch.nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer("SGD", sent.configuration.optimizer_params, [tensor], "optimizer")
    assert type(optimizer.param_groups[0]["lr"]) is kind


def test_a_count_may_be_written_with_a_point() -> None:
    """PyTorch wants a whole T_0 and whole milestones."""
    text = '{name = "CosineAnnealingWarmRestarts", T_0 = 2.0}, {name = "MultiStepLR", milestones = [[2.0, 4.0]]}'
    restarts, steps = resolve_configurations(parse(f"{BLOCK}scheduler = [{text}]"), 10)
    assert type(restarts.scheduler_params["T_0"]) is int
    assert [type(milestone) for milestone in steps.scheduler_params["milestones"]] == [int, int]


def written_data(data: str) -> str:
    """What the resolved text says of ``data``."""
    spec = parse(BLOCK, data=data)
    return str(tomllib.loads(spec_text(spec, spec.expanded()))["data"])


def test_a_folder_of_data_is_written_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume from another directory finds the same data; what is no folder stays as it is."""
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    for data in ("images", "./images", str(tmp_path / "images")):
        assert written_data(data) == str(tmp_path / "images")
    for data in ("cifar100", "synthetic:n_train=1000,n_test=100,seed=0", "nowhere"):
        assert written_data(data) == data
