"""Keys of the protocol and batch sizes of a space, from the text of a spec to runs, ids, labels and packs."""

from __future__ import annotations

from dataclasses import fields

import pytest

from search_spaces import Protocol
from search_spaces.errors import SpecError
from search_spaces.labels import configuration_labels
from search_spaces.run import FIRST_SETTINGS
from sweep.config.spec import ProtocolTable, Spec
from sweep.config.toml import parse_spec, spec_text
from sweep.planning.plan import make_packs, make_runs, resolve_configurations

SGD = '[[configurations]]\noptimizer = {name = "SGD", lr = [0.1, 0.01], weight_decay = 0.1}\n'
AVERAGING = '[[configurations]]\noptimizer = {name = "tests.trainables.own_rules:Averaging"}\n'
EXAMPLES = 1000


SMALLEST = 'configurations = [{optimizer = "Adam"}]'


def spec(text: str) -> Spec:
    return parse_spec(f"epochs = 2\nseeds = 2\n{text}", where="s.toml", name="s")


def runs_of(text: str) -> list[str]:
    found = spec(text)
    return [run.run_id for run in make_runs(found, resolve_configurations(found, 8, EXAMPLES), "d")]


def test_the_spec_has_every_setting_of_the_protocol() -> None:
    settings = Protocol().settings()
    assert settings.pop("model") == parse_spec(SMALLEST, where="s.toml", name="s").model  # `model` is a top-level key
    assert ProtocolTable().model_dump() == settings
    assert [field.name for field in fields(Protocol)][: len(FIRST_SETTINGS)] == list(FIRST_SETTINGS)


@pytest.mark.parametrize(
    "line",
    ["grad_clip_norm = 1", "label_smoothing = 0.1", "ema_decay = 0.99", 'weight_decay_on = "matrices"'],
)
def test_a_key_of_the_protocol_makes_other_runs_and_its_default_the_same(line: str) -> None:
    plain, key = runs_of(SGD), line.partition(" ")[0]
    assert not set(runs_of(f"[protocol]\n{line}\n{SGD}")) & set(plain)
    default = '"all"' if key == "weight_decay_on" else "0"
    assert runs_of(f"[protocol]\n{key} = {default}\n{SGD}") == plain


ON_A_GPU = "[resources]\ngpus_per_trial = 0.25\n"


def test_tf32_makes_other_runs_and_float32_the_same() -> None:
    plain = runs_of(SGD)
    assert not set(runs_of(f'[protocol]\nprecision = "tf32"\n{ON_A_GPU}{SGD}')) & set(plain)
    assert runs_of(f'[protocol]\nprecision = "float32"\n{ON_A_GPU}{SGD}') == plain


@pytest.mark.parametrize("resources", ["", ON_A_GPU.replace("0.25", "0")])
def test_tf32_on_a_cpu_is_refused(resources: str) -> None:
    """A CPU has no TF32: the precision in the run's id would not be the one of its numbers."""
    with pytest.raises(SpecError, match=r"^s\.toml: protocol\.precision: 'tf32' needs a GPU"):
        spec(f'[protocol]\nprecision = "tf32"\n{resources}{SGD}')


def test_tf32_of_float64_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^s\.toml: protocol\.precision: .*dtype 'float32'"):
        spec(f'[protocol]\nprecision = "tf32"\ndtype = "float64"\n{ON_A_GPU}{SGD}')


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('precision = "tf32x3"', "protocol.precision"),
        ("grad_clip_norm = -1", "protocol.grad_clip_norm"),
        ("grad_clip_norm = inf", "protocol.grad_clip_norm"),
        ("label_smoothing = 1.0", "protocol.label_smoothing"),
        ("ema_decay = 1.0", "protocol.ema_decay"),
        ('weight_decay_on = "biases"', "protocol.weight_decay_on"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_key(line: str, key: str) -> None:
    with pytest.raises(SpecError, match=rf"^s\.toml: {key}: .*should be"):
        spec(f"[protocol]\n{line}\n{SGD}")


def test_an_average_of_an_optimizer_that_averages_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^protocol\.ema_decay: 0\.9, but .*Averaging evaluates its own average"):
        runs_of(f"[protocol]\nema_decay = 0.9\n{AVERAGING}")


def test_a_decay_that_is_not_in_the_groups_is_refused() -> None:
    own = SGD.replace('"SGD"', '"tests.trainables.own_rules:OwnDecay"')
    with pytest.raises(SpecError, match=r"optimizer\.weight_decay: 0\.1, but the class does not read it"):
        runs_of(f'[protocol]\nweight_decay_on = "matrices"\n{own}')


def test_batch_sizes_are_crossed_and_that_of_the_protocol_is_the_plain_run() -> None:
    plain, found = runs_of(SGD), runs_of(f"{SGD}batch_size = [32, 128]\n")
    assert len(found) == 8
    assert set(plain) < set(found)


def test_a_schedule_has_the_steps_of_its_batch_size() -> None:
    text = f'{SGD}scheduler = "OneCycleLR"\nbatch_size = [32, 128, 300]\n'
    found = resolve_configurations(spec(text), 8, EXAMPLES)
    assert {c.batch_size: c.scheduler_params["total_steps"] for c in found} == {32: 64, 0: 16, 300: 8}


def test_a_pack_has_one_batch_size() -> None:
    found = spec(f"{SGD}batch_size = [32, 128]\n")
    packs = make_packs(make_runs(found, resolve_configurations(found, 8, EXAMPLES), "d"), set(), {}, 8)
    assert sorted(len(pack.runs) for pack in packs) == [2, 2, 2, 2]
    assert all(len({run.conditions for run in pack.runs}) == 1 for pack in packs)


def test_a_label_shows_a_batch_size() -> None:
    found = resolve_configurations(spec(f"{SGD}batch_size = [32, 128]\n"), 8, EXAMPLES)
    assert sorted(configuration_labels(found).values()) == [
        "SGD lr=0.01 weight_decay=0.1",
        "SGD lr=0.01 weight_decay=0.1 · batch_size=32",
        "SGD lr=0.1 weight_decay=0.1",
        "SGD lr=0.1 weight_decay=0.1 · batch_size=32",
    ]


def test_batch_sizes_read_back_from_the_resolved_spec() -> None:
    found = spec(f"[protocol]\nema_decay = 0.9\n{SGD}batch_size = [32, 128]\n")
    configurations = resolve_configurations(found, 8, EXAMPLES)
    again = parse_spec(spec_text(found, configurations), where="s.toml", name="s")
    assert again.expanded() == configurations
    assert again.shared_protocol == found.shared_protocol


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "true", '"32"', "[]", "200_000"])
def test_a_batch_size_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(SpecError, match=r"configurations\[0\]\.batch_size"):
        runs_of(f"{SGD}batch_size = {value}\n")
