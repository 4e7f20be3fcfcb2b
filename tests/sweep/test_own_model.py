"""A sweep with a model of the user: planned, trained and continued."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from search_spaces.errors import SpecError, UnknownNameError
from sweep.analyses.captures import capture_gradients, map_activations, run_range_tests
from sweep.analyses.targets import of_sweep
from sweep.analyses.trajectories import trace_trajectories
from sweep.config.spec import Resources
from tests.sweep import sweeps

MODEL = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Dropout(0.1), nn.Linear(48, classes))
    def forward(self, images):
        return self.layers(images)

class Normed(Plain):
    def __init__(self, classes):
        super().__init__(classes)
        self.layers.insert(2, nn.BatchNorm1d(48))
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a_users_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_users_model", raising=False)  # of an earlier test
    return tmp_path


def run(here: Path, model: str, name: str = "tiny", **overrides: object) -> tuple[sweeps.Outcome, str]:
    spec = sweeps.spec(name=name, model=model, seeds=1, **overrides)
    return sweeps.run(spec, here / "runs")


def test_a_packed_model_trains_and_is_in_provenance_spec_and_question(here: Path) -> None:
    outcome, printed = run(here, "a_users_model:Plain")
    assert outcome.count("done") == 4
    assert "model a_users_model:Plain: 4,900 parameters" in printed
    assert "its runs share packs" in printed
    assert "2 packs of 2" in printed
    (session,) = json.loads(outcome.folder.provenance.read_text())
    digest = hashlib.sha256(MODEL.encode()).hexdigest()[:16]
    assert session["own_code"] == {"a_users_model": digest}
    assert 'model = "a_users_model:Plain"' in outcome.folder.spec.read_text()
    frame, _ = sweeps.frames(outcome)
    assert len(frame) == 4
    from results.reports.summary import question

    assert "with a_users_model:Plain on" in question(outcome.data)
    again, printed = run(here, "a_users_model:Plain")
    assert "nothing to train" in printed
    assert again.statuses == outcome.statuses


def test_analyses_work_or_refuse_another_model_in_one_line(here: Path) -> None:
    folder = run(here, "a_users_model:Plain", epochs=1)[0].folder
    one = of_sweep(folder).only(of_sweep(folder).runs[0])
    (path,) = capture_gradients(one, layer="layers.3.weight", batches=3)
    assert path.name.startswith(f"{one.runs[0].run_id}.layers.3.weight")
    with pytest.raises(UnknownNameError, match=r"unknown layer 'conv1.weight'.*layers\.3\.bias, layers\.3\.weight"):
        capture_gradients(one, batches=3)
    assert len(run_range_tests(of_sweep(folder), steps=3)) == 2
    with pytest.raises(SpecError, match=r"trajectory.*a_users_model:Plain.*not LeNet-5"):
        trace_trajectories(folder)
    with pytest.raises(SpecError, match=r"activations.*a_users_model:Plain.*not LeNet-5"):
        map_activations(folder, one.runs[0].run_id)


def test_groups_name_the_parameters_of_the_model(here: Path) -> None:
    groups = [{"match": "layers.3.bias", "lr_factor": 0.1}]
    block = [{"optimizer": {"name": "SGD", "lr": 0.1, "groups": [groups]}}]
    outcome, _ = run(here, "a_users_model:Plain", epochs=1, configurations=block)
    assert outcome.all_done
    with pytest.raises(SpecError, match=r"fc9\.\*.*matches no parameter.*layers\.3\.weight"):
        block = [{"optimizer": {"name": "SGD", "lr": 0.1, "groups": [[{"match": "fc9.*", "lr_factor": 0.1}]]}}]
        run(here, "a_users_model:Plain", name="other", configurations=block)


def test_groups_name_every_layer_of_lenet5(here: Path) -> None:
    block = [{"optimizer": {"name": "SGD", "lr": 0.1, "groups": [[{"match": "fc1.*", "lr_factor": 0.1}]]}}]
    assert run(here, "lenet5", epochs=1, configurations=block)[0].all_done


def test_batch_normalisation_trains_one_run_per_pack(here: Path) -> None:
    outcome, printed = run(here, "a_users_model:Normed", epochs=1)
    assert outcome.count("done") == 4
    assert "one run per pack: its buffer layers.2.running_mean changes in training" in printed
    assert "4 packs of 1" in printed


def test_another_model_is_refused_in_an_existing_sweep(here: Path) -> None:
    run(here, "a_users_model:Plain", epochs=1)
    for model, then in (("lenet5", "a_users_model:Plain"), ("a_users_model:Normed", "a_users_model:Plain")):
        with pytest.raises(SpecError, match=rf"model.*{then}.*{model}"):
            run(here, model, epochs=1)


def test_one_run_per_pack_replaces_the_pack_size_of_the_spec() -> None:
    from sweep.planning.model import plan_model

    spec = sweeps.spec(model="tests.trainables.own_models:Normed", resources=Resources(pack=4).model_dump())
    planned, model = plan_model(spec, 20)
    assert planned.resources.pack == 1
    assert "running_mean" in model.alone
    assert plan_model(sweeps.spec(), 20) == (sweeps.spec(), type(model)())
