"""A spec is read as it is meant, reads back as the same runs, and each slip in it is one line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from search_spaces import Configuration, Protocol, Run, space_names
from search_spaces.errors import SpecError, UnknownNameError, UserError
from sweep.config.spec import ProtocolTable, Resources, Spec, parse_spec, read_spec, spec_text
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import DEFAULT_PACK, make_packs, make_runs, resolve_configurations
from trainables.optim.optimizers import OPTIMIZERS, build_optimizer, complete_optimizer
from trainables.optim.schedulers import HIDDEN, LAMBDAS, SCHEDULERS
from trainables.optim.signature import defaults_of

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


def test_overrides_stand_above_the_text_and_beside_what_it_says() -> None:
    text = "epochs = 9\n[resources]\npack = 2\nretries = 7" + BLOCK
    spec = parse(text, **{"resources.pack": 4, "epochs": 3, "protocol.dropout": 0})
    assert (spec.resources.pack, spec.resources.retries, spec.epochs, spec.protocol.dropout) == (4, 7, 3, 0)


def test_an_override_that_cannot_be_is_told_like_a_slip_in_the_text() -> None:
    with pytest.raises(
        SpecError, match=r"^my\.toml: resources\.pack: 0; should be 'auto', or greater than or equal to 1$"
    ):
        parse(BLOCK, **{"resources.pack": 0})
    with pytest.raises(SpecError, match=r"^my\.toml: resources: 3; should be a valid dictionary"):
        parse("resources = 3" + BLOCK, **{"resources.pack": 2})


@pytest.mark.parametrize(("text", "seeds"), [("1", [0]), ("4", [0, 1, 2, 3]), ("[7]", [7]), ("[3, 0, 9]", [3, 0, 9])])
def test_seeds_are_a_number_of_them_or_a_list(text: str, seeds: list[int]) -> None:
    assert parse(f"seeds = {text}{BLOCK}").seed_list == seeds


@pytest.mark.parametrize(
    ("text", "epochs"), [('"last"', {4}), ('"all"', {1, 2, 3, 4}), ("[1, 3]", {1, 3}), ("[2, 2]", {2}), ("[]", set())]
)
def test_the_test_split_is_looked_at_after_the_last_all_or_the_listed_epochs(text: str, epochs: set[int]) -> None:
    assert parse(f"epochs = 4\ntest_epochs = {text}{BLOCK}").test_epoch_set() == epochs


def run_ids(spec: Spec, configurations: list[Configuration]) -> list[str]:
    return [run.run_id for run in make_runs(spec, configurations, "d" * 16)]


def assert_reads_back(spec: Spec) -> None:
    """Check that the resolved text stands for the same runs, and that it leaves nothing to defaults."""
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
    assert set(written) == set(Spec.model_fields)
    assert set(written["protocol"]) == set(type(spec.protocol).model_fields)
    assert set(written["resources"]) == set(type(spec.resources).model_fields)
    assert len(written["configurations"]) == len(configurations)


@pytest.mark.parametrize("epochs", [50, 3])
@pytest.mark.parametrize("name", space_names())
def test_the_resolved_spec_of_a_space_reads_back_as_the_same_runs(name: str, epochs: int) -> None:
    assert_reads_back(read_spec(name, {"epochs": epochs}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_reads_back_as_the_same_runs(name: str) -> None:
    """At its defaults; Adafactor's hold a None, which TOML cannot say."""
    assert_reads_back(parse(f'[[configurations]]\noptimizer = "{name}"'))


REQUIRED = {
    "StepLR": "step_size = 2", "MultiStepLR": "milestones = [1, 3]", "ExponentialLR": "gamma = 0.9",
    "LambdaLR": f"lr_lambda = {list(LAMBDAS)}", "CosineAnnealingWarmRestarts": "T_0 = 2",
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
    """By way of the resolved text and of the message that a trial gets."""
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


SLIPS = [
    (
        "epoch = 3",
        "my.toml: epoch: unknown key; valid: cluster, configurations, data, description, epochs, name, protocol",
    ),
    ("int = 3", "my.toml: int: unknown key; valid: cluster, configurations, data"),
    (
        "protocol = {lr = 1}",
        "my.toml: protocol.lr: unknown key; valid: augment, batch_size, dropout, dtype, val_fraction",
    ),
    (
        "resources = {pck = 2}",
        "my.toml: resources.pck: unknown key; valid: checkpoint_seconds, cpus_per_trial, gpus_per_trial",
    ),
    ('"a\\nb" = 1', "my.toml: a\\nb: unknown key"),
    ("epochs = 0", "my.toml: epochs: 0; should be greater than or equal to 1"),
    ('epochs = "3"', "my.toml: epochs: '3'; should be a valid integer"),
    ("epochs = 3.5", "my.toml: epochs: 3.5; should be a valid integer"),
    ("epochs = true", "my.toml: epochs: True; should be a valid integer"),
    (f"epochs = {'1' * 400}", "my.toml: epochs: 1111"),
    ("name = 3", "my.toml: name: 3; should be a valid string"),
    ("seeds = -1", "my.toml: seeds: -1; should be greater than or equal to 1, or a valid list"),
    ("seeds = [0, -1]", "my.toml: seeds.1: -1; should be greater than or equal to 0"),
    ("seeds = [1, 2, 1]", "my.toml: seeds: one stands twice"),
    ("seeds = []", "my.toml: seeds: []; should be a valid integer, or List should have at least 1 item"),
    ('seeds = [1, "a"]', "my.toml: seeds.1: 'a'; should be a valid integer"),
    ('test_epochs = "first"', "my.toml: test_epochs: 'first'; should be 'last' or 'all', or a valid list"),
    ("test_epochs = [0]", "my.toml: test_epochs.0: 0; should be greater than or equal to 1"),
    ("test_epochs = [1, 51, 99]", "my.toml: test_epochs: 99 lies beyond the 50 epochs"),
    ("epochs = 3\ntest_epochs = [4]", "my.toml: test_epochs: 4 lies beyond the 3 epochs"),
    ("protocol = 3", "my.toml: protocol: 3; should be a valid dictionary"),
    ("protocol = {dropout = 1}", "my.toml: protocol.dropout: 1; should be less than 1"),
    ("protocol = {dropout = nan}", "my.toml: protocol.dropout: nan; should be less than 1"),
    ("protocol = {val_fraction = 0}", "my.toml: protocol.val_fraction: 0; should be greater than 0"),
    ('protocol = {dtype = "float16"}', "my.toml: protocol.dtype: 'float16'; should be 'float32' or 'float64'"),
    ("protocol = {augment = 1}", "my.toml: protocol.augment: 1; should be a valid boolean"),
    ("resources = {gpus_per_trial = 1.5}", "{'gpus_per_trial': 1.5}; gpus_per_trial: a fraction up to 1, or a whole"),
    ('resources = {gpus_per_trial = "all"}', "my.toml: resources.gpus_per_trial: 'all'; should be 'auto', or a valid"),
    ("resources = {pack = 0}", "my.toml: resources.pack: 0; should be 'auto', or greater than or equal to 1"),
    ('resources = {pack = "all"}', "my.toml: resources.pack: 'all'; should be 'auto', or a valid integer"),
    ("resources = {pack = {a = [[1]]}}", "my.toml: resources.pack: {'a': [[1]]}; should be 'auto', or a valid integer"),
    ("epochs = ", "my.toml: is no TOML (Invalid value (at line 1, column 10))"),
    ("epochs = 1\nepochs = 2", "my.toml: is no TOML (Cannot overwrite a value (at line 2, column 11))"),
    (f"epochs = {'1' * 5000}", "my.toml: is no TOML (Exceeds the limit"),
    (f"data = {'[' * 5000}", "my.toml: is no TOML ("),
]


@pytest.mark.parametrize(("text", "told"), SLIPS, ids=[text[:40] for text, _ in SLIPS])
def test_a_slip_is_one_line_with_file_key_and_value(text: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(text + BLOCK)
    assert told in str(error.value)
    assert str(error.value).startswith("my.toml: ")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs = 3", "my.toml: configurations: missing"),
        ("configurations = 3", "my.toml: configurations: 3; should be a valid list"),
        ("configurations = [3]", "my.toml: configurations.0: 3; should be a valid dictionary"),
        ("configurations = []", "my: configurations: the spec has none; add a [[configurations]] block"),
        ('[[configurations]]\noptimizer = {name = "SGD", lr = nan}', "optimizer.lr: nan is not a finite number"),
        (f'[[configurations]]\noptimizer = {{name = "SGD", lr = {2**63}}}', "lr: a whole number beyond 64 bits"),
        ('[[configurations]]\noptimizer = "SDG"', "unknown optimizer 'SDG' (did you mean SGD?); valid: ASGD, "),
        ('[[configurations]]\noptimizer = "SGD"\nscheduler = "Cosine"', "unknown scheduler 'Cosine'"),
        ('[[configurations]]\noptimizer = "SGD"\nscheduler = "StepLR"', "scheduler.step_size: missing"),
        (BLOCK + 'scheduler = {name = "StepLR", step_size = "1e999 epochs"}', "step_size: '1e999 epochs' is too large"),
        (BLOCK + 'scheduler = {name = "MultiStepLR", milestones = ["x", "0.5 epochs"]}', "scheduler.milestones: 'x'"),
    ],
)
def test_a_slip_in_the_configurations_is_one_line_before_anything_starts(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        resolve_configurations(parse(text), STEPS_PER_EPOCH)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('description = "caf\xe9"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    reasons = {"latin": "it is no UTF-8", "folder": "Is a directory", "missing": "No such file or directory"}
    for name, reason in reasons.items():
        path = str(tmp_path / f"{name}.toml")
        with pytest.raises(SpecError) as error:
            read_spec(path)
        assert str(error.value) == f"{path}: cannot be read ({reason})"


@pytest.mark.parametrize("source", ["quikstart", "", ".", "a" * 5000, "study/"])
def test_what_is_neither_a_file_nor_a_space_is_answered_with_the_spaces(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown space .*; valid: FILE\.toml, full, .*quickstart"):
        read_spec(source)


def test_a_file_is_read_whatever_its_name_ends_in(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(BLOCK)
    assert read_spec(str(tmp_path / "plain")).name == "plain"


SCALARS = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**64), 10**400]),
    st.floats(width=64),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(
        ["SGD", "Adam", "none", "LambdaLR", "0.5 epochs", "2e8 epochs", "steps", "lr", "a:b", "os:path", ":"]
    ),
    st.dates(),
)
SAMPLERS = st.one_of(
    st.fixed_dictionaries({"logspace": st.lists(SCALARS, max_size=2), "n": st.integers(0, 3)}),
    st.dictionaries(st.sampled_from(["loguniform", "uniform", "choice"]), st.lists(SCALARS, max_size=2), max_size=1),
)


def nested_in(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "name", "ü b", "n"]), inner, max_size=2)


NESTED = st.recursive(SCALARS | SAMPLERS, nested_in, max_leaves=4)
PARAMETERS = ["lr", "momentum", "nesterov", "betas", "eps", "weight_decay", "step_size", "milestones", "gamma", "T_max",
              "T_0", "max_lr", "base_lr", "total_steps", "step_size_up", "patience", "factor", "mode", "start_factor",
              "cycle_momentum", "lr", "foreach", "two\nlines"]  # fmt: skip


def tables(names: list[str]) -> st.SearchStrategy[Any]:
    """Tables that are mostly those of an optimizer or a scheduler, with few parameters, so that grids stay small."""
    parameters = st.dictionaries(st.sampled_from(PARAMETERS), NESTED, max_size=3)
    return st.builds(lambda name, rest: rest | {"name": name}, st.sampled_from(names) | NESTED, parameters)


BLOCKS = st.fixed_dictionaries(
    {"optimizer": tables(list(OPTIMIZERS)) | st.lists(tables(list(OPTIMIZERS)), max_size=2) | NESTED},
    optional={
        "scheduler": tables(list(SCHEDULERS)) | NESTED,
        "warmup": NESTED,
        "samples": st.integers(-1, 3) | NESTED.filter(lambda value: not isinstance(value, int) or abs(value) < 9),
        "sample_seed": NESTED,
    },
)
TOP = (
    "name",
    "description",
    "data",
    "seeds",
    "test_epochs",
    "save_weights_every",
    "protocol",
    "resources",
    "two\nlines",
)
WORDS = st.sampled_from(
    ["auto", "last", "all", "float32", "float64", "local", "synthetic", "../up", "ü" * 200, "\x1b[2J"]
)


def deep(levels: int) -> st.SearchStrategy[Any]:
    """A value under so many lists, or tables."""
    nest = st.sampled_from([lambda inner: [inner], lambda inner: {"a": inner}])
    return st.builds(lambda value, wrap: _wrapped(value, wrap, levels), SCALARS, nest)


def _wrapped(value: Any, wrap: Callable[[Any], Any], levels: int) -> Any:
    for _ in range(levels):
        value = wrap(value)
    return value


def some_keys(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """A table that has keys of ``model``, with values of any kind: most of them of the wrong one."""
    value = SCALARS | WORDS | st.floats(0, 2) | st.integers(1, 300) | NESTED | deep(30)
    return st.dictionaries(st.sampled_from(sorted(model.model_fields)), value, max_size=3)


SPECS = st.fixed_dictionaries(
    {"configurations": st.lists(BLOCKS, min_size=1, max_size=2) | NESTED | deep(30)},
    optional=dict.fromkeys(TOP, NESTED | WORDS)
    | {"epochs": st.integers(0, 9) | NESTED}
    | {"protocol": some_keys(ProtocolTable) | NESTED, "resources": some_keys(Resources) | NESTED},
)
ONE_BLOCK = {"configurations": [{"optimizer": {"name": "SGD", "lr": 0.1}}]}
VALID_BUT_FOR_A_TABLE = (
    st.builds(lambda table: ONE_BLOCK | {"protocol": table}, some_keys(ProtocolTable))
    | st.builds(lambda table: ONE_BLOCK | {"resources": table}, some_keys(Resources))
    | st.builds(lambda table: table | ONE_BLOCK, some_keys(Spec))
)


def with_one_value(optimizer: str, scheduler: str, key: str, value: Any) -> dict[str, Any]:
    """A spec that is valid but for ``value``, in the parameter ``key``, dotted: this gets as far as PyTorch."""
    block: dict[str, Any] = {"optimizer": {"name": optimizer}, "scheduler": {"name": scheduler}}
    block["scheduler"] |= tomllib.loads(REQUIRED.get(scheduler, ""))
    part, _, parameter = key.partition(".")
    block[part][parameter] = value
    return {"epochs": 3, "configurations": [block]}


OPTIONAL = [
    ("SGD", name, f"scheduler.{key}")
    for name, entry in SCHEDULERS.items()
    for key, default in defaults_of(entry.factory, HIDDEN | entry.hidden).items()
    if default is not Parameter.empty or key in entry.defaults
] + [(name, "none", f"optimizer.{key}") for name in OPTIMIZERS for key in complete_optimizer(name, {}, "here")]
NEARLY_VALID = st.builds(lambda place, value: with_one_value(*place, value), st.sampled_from(OPTIONAL), NESTED)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(table=SPECS | NEARLY_VALID | VALID_BUT_FOR_A_TABLE)
@example(table={"name": "a\nb", "configurations": [{"optimizer": {"name": "SGD", "lr": -1}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": 10**400}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": {"logspace": [1e-300, 1.7e308], "n": 3}}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": {"loguniform": [1, 10**400]}}}]})
@example(table={"configurations": [{"optimizer": "SGD", "warmup": 10**400}]})
def test_whatever_the_toml_holds_it_works_or_is_one_line(table: dict[str, Any]) -> None:
    """Wrong types, NaN, huge numbers, other alphabets, line breaks, nesting: a whole plan, never another exception."""
    text = tomlkit.dumps(table)
    told: str = ""
    found: list[Configuration] = []
    try:
        spec = parse(text)
        found = resolve_configurations(spec, 10)
        runs = make_runs(spec, found, "d" * 16)
        packs = make_packs(runs, (), {}, DEFAULT_PACK if spec.resources.pack == "auto" else spec.resources.pack)
        assert sorted(run_id for pack in packs for run_id in pack.run_ids) == sorted(run.run_id for run in runs)
        assert spec.save_weights_every >= 0
        assert all(1 <= epoch <= spec.epochs for epoch in spec.test_epoch_set())
        assert run_ids(parse(spec_text(spec, found)), found) == [run.run_id for run in runs]
        SweepFolder(Path("runs"), spec.name)
    except UserError as error:
        found = []
        told = str(error)
    assert bool(found) != bool(told)
    assert told.isprintable()  # so it is one line, and nothing that a terminal would obey
    assert len({c.key for c in found}) == len(found)
