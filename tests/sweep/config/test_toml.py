"""A spec's file is read, or refused in one line with file, key and value; keys of older versions are renamed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search_spaces.errors import SpecError, UnknownNameError, UserError
from sweep.config.toml import parse_resolved, parse_spec, read_spec, spec_text
from sweep.planning.plan import resolve_configurations
from tests.sweep.config.test_spec import BLOCK, STEPS_PER_EPOCH, parse

SLIPS = [
    (
        "epoch = 3",
        "my.toml: epoch: unknown key; valid: benchmark, cluster, configurations, data, description, epochs, imports, ",
    ),
    ("int = 3", "my.toml: int: unknown key; valid: benchmark, cluster, configurations, data"),
    (
        "protocol = {lr = 1}",
        "my.toml: protocol.lr: unknown key; valid: augment, batch_size, dropout, dtype",
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
    ("seeds = -1", "my.toml: seeds: -1; should be 'auto', or greater than or equal to 1, or a valid list"),
    ("seeds = [0, -1]", "my.toml: seeds.1: -1; should be greater than or equal to 0"),
    ("seeds = [1, 2, 1]", "my.toml: seeds: has a seed twice"),
    ("seeds = []", "my.toml: seeds: []; should be 'auto', or a valid integer, or List should have at least 1 item"),
    ('seeds = [1, "a"]', "my.toml: seeds.1: 'a'; should be a valid integer"),
    ('test_epochs = "first"', "my.toml: test_epochs: 'first'; should be 'last' or 'all', or a valid list"),
    ("test_epochs = [0]", "my.toml: test_epochs.0: 0; should be greater than or equal to 1"),
    ("test_epochs = [1, 51, 99]", "my.toml: test_epochs: 99 is greater than epochs, which is 50"),
    ("epochs = 3\ntest_epochs = [4]", "my.toml: test_epochs: 4 is greater than epochs, which is 3"),
    ("protocol = 3", "my.toml: protocol: 3; should be a valid dictionary"),
    ("protocol = {dropout = 1}", "my.toml: protocol.dropout: 1; should be less than 1"),
    ("protocol = {dropout = nan}", "my.toml: protocol.dropout: nan; should be less than 1"),
    ("protocol = {val_fraction = 0}", "my.toml: protocol.val_fraction: 0; should be greater than 0"),
    ('protocol = {dtype = "float16"}', "my.toml: protocol.dtype: 'float16'; should be 'float32' or 'float64'"),
    ("protocol = {augment = 1}", "my.toml: protocol.augment: 1; should be a valid boolean"),
    ("resources = {gpus_per_trial = 1.5}", "{'gpus_per_trial': 1.5}; gpus_per_trial: must be a fraction up to 1"),
    ('resources = {gpus_per_trial = "all"}', "my.toml: resources.gpus_per_trial: 'all'; should be 'auto', or a valid"),
    (
        "resources = {pack = 0}",
        "my.toml: resources.pack: 0; should be 'auto' or 'probe', or greater than",
    ),
    ('resources = {pack = "all"}', "my.toml: resources.pack: 'all'; should be 'auto' or 'probe', or a valid integer"),
    (
        "resources = {pack = {a = [[1]]}}",
        "my.toml: resources.pack: {'a': [[1]]}; should be 'auto' or 'probe', or",
    ),
    ("epochs = ", "my.toml: is not valid TOML (Invalid value (at line 1, column 10))"),
    ("epochs = 1\nepochs = 2", "my.toml: is not valid TOML (Cannot overwrite a value (at line 2, column 11))"),
    (f"epochs = {'1' * 5000}", "my.toml: is not valid TOML (Exceeds the limit"),
    (f"data = {'[' * 5000}", "my.toml: is not valid TOML ("),
]


@pytest.mark.parametrize(("text", "told"), SLIPS, ids=[text[:40] for text, _ in SLIPS])
def test_a_mistake_is_one_line_with_file_key_and_value(text: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(text + BLOCK)
    assert told in str(error.value)
    assert str(error.value).startswith("my.toml: ")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


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
        (BLOCK + 'scheduler = {name = "MultiStepLR", milestones = ["x", "0.5 epochs"]}', "'x' is not a count"),
    ],
)
def test_a_mistake_in_the_configurations_is_one_line_before_anything_starts(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        resolve_configurations(parse(text), STEPS_PER_EPOCH)
    assert told in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('description = "caf\xe9"'.encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    reasons = {"latin": "it is not UTF-8", "folder": "Is a directory", "missing": "No such file or directory"}
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
    with pytest.raises(UnknownNameError, match=r"unknown space .*; valid: FILE\.toml, .*full, .*quickstart"):
        read_spec(source)


def test_a_fifo_or_a_huge_file_in_place_of_a_spec_is_refused(tmp_path: Path) -> None:
    """Reading would wait for a writer, or take all memory."""
    fifo, huge = tmp_path / "fifo.toml", tmp_path / "huge.toml"
    os.mkfifo(fifo)
    huge.touch()
    os.truncate(huge, 10**11)  # sparse: no blocks on the disk
    for file, told in ((fifo, "is a FIFO"), (huge, "at most 16 MB")):
        with pytest.raises(SpecError, match=told) as error:
            read_spec(str(file))
        assert str(file) in str(error.value)


def test_a_file_is_read_with_any_ending_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(BLOCK)
    assert read_spec(str(tmp_path / "plain")).name == "plain"


OLD = """
[cluster]
address = "auto"
wait = 900.0
[[configurations]]
optimizer = {name = "SGD", lr = 0.1}
"""


def test_a_renamed_key_is_refused_with_its_new_name() -> None:
    with pytest.raises(SpecError, match=r"^my\.toml: cluster\.wait: .*cluster\.autoscale_timeout$"):
        parse_spec(OLD, where="my.toml", name="my")


def test_the_resolved_spec_of_an_older_version_is_read_and_written_under_the_new_name() -> None:
    """A sweep that an older version started can be resumed."""
    spec = parse_resolved(OLD, where="sweep.toml", name="old")
    assert (spec.cluster.address, spec.cluster.autoscale_timeout) == ("auto", 900)
    text = spec_text(spec, spec.expanded())
    assert "autoscale_timeout = 900.0" in text
    assert parse_spec(text, where="sweep.toml", name="old").cluster == spec.cluster
