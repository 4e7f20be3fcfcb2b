"""Any content of a TOML file gives a plan or one line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from search_spaces import Configuration
from search_spaces.errors import UserError
from search_spaces.labels import configuration_labels
from sweep.config.spec import ProtocolTable, Resources, Spec
from sweep.config.toml import parse_spec, spec_text
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import DEFAULT_PACK, make_packs, make_runs, resolve_configurations
from tests.sweep.config.test_spec import REQUIRED
from trainables.optim.optimizers import OPTIMIZERS, complete_optimizer
from trainables.optim.schedulers import HIDDEN, SCHEDULERS
from trainables.optim.signature import defaults_of


def parse(text: str) -> Spec:
    return parse_spec(text, where="my.toml", name="my")


def run_ids(spec: Spec, configurations: list[Configuration]) -> list[str]:
    return [run.run_id for run in make_runs(spec, configurations, "d" * 16)]


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
OWN = "tests.trainables.own_rules:"
OWN_OPTIMIZERS = st.sampled_from(
    [OWN + name for name in (
        "Plain", "Lookahead", "Noisy", "NumPyState", "ArrayState", "Leaves", "NeedsClosure", "NoRate", "NoneRate",
        "Nothing", "falls", "MovesLate",
    )] + ["pip:main", "torch.optim:SGD", "torch.optim:LBFGS", "torch:nn", "numpy:pi"]
)  # fmt: skip
OWN_SCHEDULERS = st.one_of(
    st.sampled_from([OWN + "KeepsALambda", OWN + "HidesState", "torch.optim.lr_scheduler:OneCycleLR", "pip:main"]).map(
        lambda name: {"name": name}
    ),
    st.builds(
        lambda name, function: {"name": name, "lr_lambda": function},
        st.sampled_from(["LambdaLR", "MultiplicativeLR"]),
        st.sampled_from([OWN + name for name in ("falls", "numpy_factor", "raises", "Plain", "nothing")]) | NESTED,
    ),
    st.builds(
        lambda name, parts, milestones: {"name": name, "schedulers": parts} | milestones,
        st.sampled_from(["SequentialLR", "ChainedScheduler"]),
        st.lists(
            st.sampled_from(["ConstantLR", "LinearLR", "StepLR", "none", "CyclicLR", OWN + "HidesState"]) | NESTED,
            max_size=3,
        )
        | NESTED,
        st.just({}) | st.builds(lambda value: {"milestones": value}, st.lists(st.integers(0, 4), max_size=2) | NESTED),
    ),
)
OWN_CODE = st.builds(
    lambda optimizer, scheduler, optional: {
        "epochs": 3, "configurations": [{"optimizer": optimizer, "scheduler": scheduler | optional}],
    },
    st.builds(lambda name, rest: rest | {"name": name}, OWN_OPTIMIZERS | st.just("SGD"),
              st.dictionaries(st.sampled_from(["lr", "k", "growth"]), st.just(0.1) | NESTED, max_size=2)),
    OWN_SCHEDULERS | st.just({"name": "none"}),
    st.just({}) | st.builds(lambda value: {"interval": value}, st.sampled_from(["batch", "epoch"]) | NESTED),
)  # fmt: skip
"""Specs with classes and functions of a user, and with schedulers that are made of others."""
NEARLY_VALID = st.builds(lambda place, value: with_one_value(*place, value), st.sampled_from(OPTIONAL), NESTED)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(table=SPECS | NEARLY_VALID | VALID_BUT_FOR_A_TABLE)
@example(table={"name": "a\nb", "configurations": [{"optimizer": {"name": "SGD", "lr": -1}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": 10**400}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": {"logspace": [1e-300, 1.7e308], "n": 3}}}]})
@example(table={"configurations": [{"optimizer": {"name": "SGD", "lr": {"loguniform": [1, 10**400]}}}]})
@example(table={"configurations": [{"optimizer": "SGD", "warmup": 10**400}]})
def test_any_toml_file_works_or_is_one_line(table: dict[str, Any]) -> None:
    """Wrong types, NaN, huge numbers, other alphabets, line breaks, nesting: a whole plan, never another exception."""
    assert_plan_or_one_line(table)


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(table=SPECS | NEARLY_VALID | VALID_BUT_FOR_A_TABLE | OWN_CODE)
def test_ten_thousand_specs_each_work_or_are_one_line(table: dict[str, Any]) -> None:
    """The same for many more, also with code of a user. It takes some minutes."""
    assert_plan_or_one_line(table)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(table=OWN_CODE)
def test_code_of_a_user_works_or_is_one_line(table: dict[str, Any]) -> None:
    assert_plan_or_one_line(table)


def assert_plan_or_one_line(table: dict[str, Any]) -> None:
    """Check that the spec gives a whole plan with unique labels, or one line of limited length."""
    text = tomlkit.dumps(table)
    told: str = ""
    found: list[Configuration] = []
    try:
        spec = parse(text)
        found = resolve_configurations(spec, 10)
        runs = make_runs(spec, found, "d" * 16)
        packs = make_packs(runs, (), {}, spec.resources.pack if isinstance(spec.resources.pack, int) else DEFAULT_PACK)
        assert sorted(run_id for pack in packs for run_id in pack.run_ids) == sorted(run.run_id for run in runs)
        assert spec.save_weights_every >= 0
        assert all(1 <= epoch <= spec.epochs for epoch in spec.test_epoch_set())
        assert run_ids(parse(spec_text(spec, found)), found) == [run.run_id for run in runs]
        SweepFolder(Path("runs"), spec.name)
    except UserError as error:
        found = []
        told = str(error)
    assert bool(found) != bool(told)
    assert told.isprintable()  # so it is one line without terminal escapes
    assert len(told) < 300, told
    assert len(set(configuration_labels(found).values())) == len(found)
    assert len({c.key for c in found}) == len(found)
