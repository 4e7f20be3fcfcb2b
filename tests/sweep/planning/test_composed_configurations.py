"""Wrappers, combined optimizers and parameter groups in a spec: axes, labels, packs, and refusals in one line."""

from __future__ import annotations

import pytest

from search_spaces import Configuration
from search_spaces.errors import UserError
from search_spaces.labels import configuration_labels
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec, spec_text
from sweep.planning.plan import make_packs, make_runs, resolve_configurations, told_own_packs, told_restarts

OWN = "tests.trainables.composed_rules:"
SAM = f'{{name = "{OWN}SharpnessAware", rho = [0.05, 0.1], base = {{name = "SGD", lr = [0.1, 0.01], momentum = 0.9}}}}'
MUON = '{name = "Muon", lr = [0.02, 0.01], rest = {name = "AdamW", lr = 0.003, betas = [0.8, 0.9]}}'
GROUPS = '{name = "SGD", lr = 0.1, groups = [{match = "1d", weight_decay = 0}, {match = "fc3.*", lr_factor = 0.1}]}'


def spec(optimizer: str, more: str = "") -> Spec:
    return parse_spec(f"epochs = 2\n{more}[[configurations]]\noptimizer = {optimizer}\n", where="s.toml", name="s")


def resolved(optimizer: str, more: str = "") -> list[Configuration]:
    return resolve_configurations(spec(optimizer, more), 8)


def labels(optimizer: str) -> list[str]:
    return list(configuration_labels(resolved(optimizer)).values())


def test_lists_in_a_base_are_crossed_with_those_of_its_wrapper() -> None:
    found = resolved(SAM)
    assert [(c.lr, c.optimizer_params["rho"]) for c in found] == [(0.1, 0.05), (0.01, 0.05), (0.1, 0.1), (0.01, 0.1)]


def test_too_many_lists_in_a_base_are_counted_before_they_are_crossed() -> None:
    with pytest.raises(UserError, match="1,000,000 configurations"):
        spec(f'{{name = "{OWN}LooksAhead", base = {{name = "SGD", lr = {{logspace = [0.1, 1], n = 1000000}}}}}}')


def test_a_sampler_in_a_base_is_drawn() -> None:
    text = f'{{name = "{OWN}LooksAhead", base = {{name = "SGD", lr = {{loguniform = [0.001, 1]}}}}}}\nsamples = 3'
    assert len({c.lr for c in resolved(text)}) == 3


def test_labels_show_both_optimizers_and_the_rate() -> None:
    assert labels(SAM)[0] == "SharpnessAware(SGD) lr=0.1 rho=0.05"
    assert labels(MUON)[0] == "Muon+AdamW lr=0.02"
    assert labels(GROUPS) == ["SGD lr=0.1 groups=[(1d weight_decay=0) (fc3.* lr_factor=0.1)]"]


def test_the_rate_of_a_base_is_the_rate_of_its_wrapper_in_tables() -> None:
    columns = resolved(SAM)[0].columns()
    assert (columns["optimizer"], columns["optimizer.lr"]) == (f"{OWN}SharpnessAware(SGD)", 0.1)
    assert columns["optimizer.base.momentum"] == 0.9
    first, second = resolved(SAM)[:2]
    assert first.without_lr() == second.without_lr()


def test_an_expression_is_relative_to_the_rate_of_the_base() -> None:
    found = resolved(f'{SAM}\nscheduler = {{name = "OneCycleLR", max_lr = "2 lr"}}')
    assert [c.scheduler_params["max_lr"] for c in found[:2]] == [0.2, 0.02]


@pytest.mark.parametrize("optimizer", [SAM, MUON, GROUPS])
def test_the_resolved_spec_reads_back_as_the_same_configurations(optimizer: str) -> None:
    found = resolved(optimizer)
    assert resolved_again(found, optimizer) == found


def resolved_again(found: list[Configuration], optimizer: str) -> list[Configuration]:
    again = parse_spec(spec_text(spec(optimizer), found), where="s.toml", name="s")
    return resolve_configurations(again, 8)


def test_runs_that_need_a_closure_have_a_pack_each_and_the_plan_names_them() -> None:
    configurations = resolved(f'[{SAM}, {{name = "SGD", lr = [0.1, 0.2]}}]')
    packs = make_packs(make_runs(spec(SAM, "seeds = 1\n"), configurations, "d"), set(), {}, 8)
    assert sorted(len(pack.runs) for pack in packs) == [1, 1, 1, 1, 2]
    (line,) = told_own_packs(configurations)
    assert line.startswith(f"{OWN}SharpnessAware(SGD): one run per pack")
    assert "closure" in line
    assert told_restarts(configurations) == []


def test_a_class_of_pytorch_with_a_closure_has_a_pack_of_one() -> None:
    (line,) = told_own_packs(resolved('"LBFGS"'))
    assert line.startswith("LBFGS: one run per pack")


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ('{name = "Muon", lr = 0.1}', r"optimizer\.rest: missing: Muon trains matrices only; .*AdamW"),
        ('{name = "Muon", rest = {lr = 0.1}}', r"optimizer\.rest: .*has no name"),
        (
            '{name = "Muon", rest = {name = "AdamV"}}',
            r"optimizer\.rest: unknown optimizer 'AdamV' \(did you mean Adam",
        ),
        ('{name = "Muon", rest = {name = "AdamW", lrr = 1}}', r"optimizer\.rest\.lrr: unknown parameter"),
        ('{name = "Muon", match = "fc9.*", rest = {name = "AdamW"}}', r"optimizer\.match: 'fc9\.\*' matches no"),
        ('{name = "Muon", match = "*", rest = {name = "AdamW"}}', r"optimizer\.match: '\*' matches all parameters"),
        ('{name = "SGD", base = {name = "SGD"}}', r"optimizer\.base: the class has no parameter for another"),
        (
            f'{{name = "{OWN}NoBase", base = {{name = "SGD"}}}}',
            r"optimizer\.base: the class has no parameter for another optimizer",
        ),
        (f'{{name = "{OWN}LooksAhead"}}', r"LooksAhead' is not a subclass of torch\.optim\.Optimizer; .*base"),
        (f'{{name = "{OWN}LooksAhead", base = {{name = "SGD", lr = -1}}}}', r"optimizer\.base\.lr: -1"),
        ('{name = "SGD", groups = []}', r"optimizer\.groups: \[\]; for example"),
        ('{name = "SGD", groups = [{weight_decay = 0}]}', r"optimizer\.groups\[0\]\.match: None"),
        ('{name = "SGD", groups = [{match = "1d"}]}', r"optimizer\.groups\[0\]: .*changes nothing"),
        ('{name = "SGD", groups = [{match = "1d", lr = 1}]}', r"optimizer\.groups\[0\]\.lr: 1; lr_factor"),
        (
            '{name = "SGD", groups = [{match = "1d", lr_factor = 0}]}',
            r"optimizer\.groups\[0\]\.lr_factor: 0; .*above 0",
        ),
        ('{name = "SGD", groups = [{match = "1d", wd = 0}]}', r"optimizer\.groups\[0\]\.wd: unknown parameter"),
        (
            '{name = "SGD", groups = [{match = "fc9.*", weight_decay = 0}]}',
            r"optimizer\.groups\[0\]\.match: 'fc9\.\*' matches no parameter",
        ),
        ('"SparseAdam"', r"SparseAdam cannot train a run: it accepts sparse gradients only"),
    ],
)
def test_what_cannot_be_is_one_line_with_key_and_hint(optimizer: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        resolved(optimizer)
    assert str(error.value).startswith(("s: ", "s.toml: "))
    assert "\n" not in str(error.value)


def test_clipped_gradients_cannot_be_differentiated() -> None:
    with pytest.raises(UserError, match=r"protocol\.grad_clip_norm: 1\.0, but step\(\) differentiates the gradients"):
        resolved(f'{{name = "{OWN}Curvature"}}', "[protocol]\ngrad_clip_norm = 1\n")
