"""Code and data of a user that cannot be trained: the command prints one line and ends with code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.sweep.sweeps import call
from tests.trainables.own_sources import ten_classes, write_class_folders

CODE = """
import torch
from torch import nn

def nothing(classes):
    return classes

def ten(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))

def frozen(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, classes)).requires_grad_(False)

class Moving(torch.optim.SGD):
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.data = p.data - p.grad

class Ramp(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, length):
        super().__init__(optimizer)

def decayed(epoch, half_life):
    return 0.5 ** (epoch / half_life)
"""
SPEC = {
    "data": '"synthetic:n_train=200,n_test=100,seed=0"',
    "epochs": "1",
    "seeds": "1",
    "model": '"lenet5"',
    "optimizer": '{name = "SGD", lr = 0.1}',
    "scheduler": '{name = "none"}',
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bad_code.py").write_text(CODE)
    write_class_folders(tmp_path / "one", ten_classes(1, classes=1))
    monkeypatch.delitem(sys.modules, "bad_code", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model", '"bad_code:nothing"', ["model: 'bad_code:nothing'", "100", "torch.nn.Module"]),
        ("model", '"bad_code:ten"', ["model: 'bad_code:ten'", "[6, 10]", "[B, classes], here [6, 100]"]),
        ("model", '"bad_code:frozen"', ["model: 'bad_code:frozen'", "1.weight", "requires_grad = True"]),
        ("optimizer", '{name = "bad_code:Moving", lr = 0.1}', ["optimizer: bad_code:Moving", "new storage", "add_("]),
        ("scheduler", '{name = "bad_code:Ramp"}', ["scheduler.length: missing", "length = …"]),
        (
            "scheduler",
            '{name = "LambdaLR", lr_lambda = "bad_code:decayed"}',
            ["scheduler.half_life: missing", "half_life = …"],
        ),
        ("scheduler", '{name = "StepLR"}', ["scheduler.step_size: missing", "step_size = …"]),
        ("data", '"one"', ["one/train", "1 class", "2 to 1000"]),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line_and_code_2(
    key: str, value: str, expected: list[str], here: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The line names the key, the value, and what would be right; nothing is written."""
    given = {**SPEC, key: value}
    lines = [f"{name} = {given[name]}" for name in SPEC]
    lines[4:4] = ["[protocol]", "val_fraction = 0.5", "[[configurations]]"]
    (here / "mine.toml").write_text("\n".join(lines))
    ended = call(["run", "mine.toml", "--in-process"], here, monkeypatch, capfd)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert [word for word in expected if word not in line] == []
    assert not (here / "runs").exists()
