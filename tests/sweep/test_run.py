"""Whole sweeps through a real Ray: trained, recorded, skipped the second time, resumed, failed, packed onto GPUs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from rich.console import Console

from results.frames import epochs_frame, runs_frame
from results.ledger import Ledger
from sweep.driver import Outcome, drive
from sweep.runner import QUIET
from sweep.spec import Spec, parse_spec
from trainables.dataset import load_data
from trainables.devices import training_device
from trainables.loop import Assignment, train

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore"),  # Ray's and Tune's own, in this process and at its end
]

ROOT = Path(__file__).parent.parent.parent
DATA = "synthetic:n_train=1000,n_test=100,seed=0"
PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One Ray for this file, with four logical CPUs and two logical GPUs."""
    os.environ.update(QUIET)
    import ray

    ray.init(
        num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )  # fmt: skip
    yield ray
    ray.shutdown()


SPEC = f"""
data = "{DATA}"
epochs = 2
seeds = 2
test_epochs = "all"
[protocol]
batch_size = 64
[resources]
pack = 2
cpus_per_trial = 1
[[configurations]]
optimizer = [{{name = "SGD", lr = 0.05, momentum = 0.9}}, {{name = "Adam", lr = 0.003}}]
scheduler = [{{name = "none"}}, {{name = "CosineAnnealingLR"}}]
"""


def spec(text: str = SPEC, name: str = "tiny", **overrides: Any) -> Spec:
    return parse_spec(text, where=f"{name}.toml", name=name, overrides=overrides)


def run(spec: Spec, runs_dir: Path, **options: Any) -> tuple[Outcome, str]:
    screen = io.StringIO()
    outcome = drive(spec, runs_dir, Console(file=screen, width=200), **options)
    assert outcome is not None
    return outcome, screen.getvalue()


def frames(outcome: Outcome) -> tuple[pd.DataFrame, pd.DataFrame]:
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        return runs_frame(ledger), epochs_frame(ledger)


def attempts(outcome: Outcome) -> dict[tuple[str, int], str]:
    """Run id and epoch → the attempt that trained it."""
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT run_id, epoch, attempt_id FROM epochs")
    return {(run_id, epoch): attempt_id for run_id, epoch, attempt_id in answer.rows}


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[column for column in frame.columns if "seconds" in column])


def test_a_sweep_trains_every_run_once_and_then_nothing(ray: Any, tmp_path: Path) -> None:
    """The second time is idempotent: no trial, not even Ray's workers."""
    outcome, said = run(spec(), tmp_path)
    runs, epochs = frames(outcome)
    assert outcome.all_done
    assert len(runs) == 8
    assert set(runs["status"]) == {"done"}
    assert len(epochs) == 16
    assert epochs["test_acc"].notna().all()
    assert [tuple(seeds) for _, seeds in runs.groupby("configuration_id")["seed"]] == [(0, 1)] * 4
    assert "made from a seed" in said
    again, said = run(spec(), tmp_path)
    assert "nothing to train" in said
    pd.testing.assert_frame_equal(frames(again)[1], epochs)
    written = {path.name for path in outcome.folder.tables.iterdir()}
    assert {"runs.csv", "epochs.csv", "convergence.csv", "convergence.md", "fairness.md"} <= written
    assert "Adam lr=0.003" in outcome.folder.report.read_text()
    assert (outcome.folder.figures / "validation_accuracy.png").stat().st_size > 10_000
    exported = pd.read_csv(outcome.folder.tables / "epochs.csv")
    assert list(exported["val_loss"]) == list(epochs["val_loss"])


def test_tune_gives_the_bits_of_the_loop_itself(ray: Any, tmp_path: Path) -> None:
    """A pack through Ray and the same pack in this process."""
    import torch

    outcome, _ = run(spec(), tmp_path)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        packs = ledger.packs("2")
        (answer,) = ledger.read("SELECT run_id, configuration, seed, protocol, data_fingerprint FROM runs")
    import json

    from search_spaces import Run

    tables = {
        run_id: {
            "configuration": json.loads(configuration), "seed": seed, "protocol": json.loads(protocol),
            "data_fingerprint": fingerprint,
        }
        for run_id, configuration, seed, protocol, fingerprint in answer.rows
    }  # fmt: skip
    members = next(iter(packs.values()))
    runs = [Run.from_dict(tables[run_id]) for run_id in members]
    assert [run.run_id for run in runs] == members
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assignment = Assignment("here", runs, 2, frozenset({1, 2}))
        reports = list(train(assignment, load_data(DATA), training_device(False), {"attempt_id": "here"}))
    finally:
        torch.set_num_threads(threads)
    epochs = frames(outcome)[1].set_index(["run_id", "epoch"])
    for row in (row for report in reports for row in report.rows):
        recorded = epochs.loc[(row["run_id"], row["epoch"])]
        for column in ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc", "lr"):
            assert recorded[column] == row[column], column


def test_more_epochs_extend_what_does_not_depend_on_them(ray: Any, tmp_path: Path) -> None:
    """Four constant-rate runs go on to epoch 3; the four cosine runs become others, and the old ones are kept.

    Go on, and not start over: epochs 1 and 2 are still those that the first attempt trained.
    """
    outcome, _ = run(spec(), tmp_path)
    before = frames(outcome)[1]
    trained_by = attempts(outcome)
    outcome, _ = run(spec(epochs=3), tmp_path)
    runs, _ = frames(outcome)
    assert len(runs) == 8
    assert outcome.all_done
    kept = before[before["scheduler"] == "none"]["run_id"].unique()
    assert set(kept) < set(runs["run_id"])
    assert len(set(before["run_id"]) & set(runs["run_id"])) == len(kept) == 4
    now_by = attempts(outcome)
    assert {key: now_by[key] for key in trained_by} == trained_by
    for run_id in kept:
        assert now_by[run_id, 1] == now_by[run_id, 2] != now_by[run_id, 3]
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert ledger.read("SELECT COUNT(*) FROM runs")[0].rows == [(12,)]


def test_a_trial_that_raises_is_retried_and_then_failed_while_the_others_go_on(ray: Any, tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 1
seeds = 1
[resources]
pack = 1
retries = 1
[[configurations]]
optimizer = [{{name = "tests.sweep.broken_optimizer:Broken", lr = 0.1}}, {{name = "SGD", lr = 0.1}}]
"""
    outcome, said = run(spec(text, "broken"), tmp_path)
    runs, _ = frames(outcome)
    assert list(runs["status"]) == ["failed", "done"]
    assert runs["error"][0] == "ArithmeticError: no such step"
    assert "ArithmeticError: no such step" in said
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert ledger.read("SELECT attempts FROM runs ORDER BY ordinal")[0].rows == [(2,), (1,)]
        ((pack_id,),) = ledger.read("SELECT pack_id FROM runs WHERE state = 'failed'")[0].rows
    log = outcome.folder.pack_log(pack_id)
    assert str(log) in said
    assert 'raise ArithmeticError("no such step")' in log.read_text()


def test_a_failure_stays_until_it_is_asked_to_be_tried_again(ray: Any, tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 1
seeds = 1
[resources]
retries = 0
[[configurations]]
optimizer = {{name = "tests.sweep.broken_optimizer:BreaksOnce", lr = 0.1, marker = "{tmp_path / "marker"}"}}
"""
    outcome, _ = run(spec(text, "once"), tmp_path)
    assert list(frames(outcome)[0]["status"]) == ["failed"]
    outcome, said = run(spec(text, "once"), tmp_path)
    assert list(frames(outcome)[0]["status"]) == ["failed"]
    assert not outcome.all_done
    assert "0 done before, nothing to train" in said
    assert f"1 failed before; to try it again: sweep resume once --retry-failed --runs-dir {tmp_path}" in said
    outcome, said = run(spec(text, "once"), tmp_path, retry_failed=True)
    assert list(frames(outcome)[0]["status"]) == ["done"]
    assert "failed before" not in said


def test_a_diverging_run_is_a_result(ray: Any, tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 2
seeds = 1
[resources]
pack = 2
[[configurations]]
optimizer = {{name = "SGD", lr = [0.05, 1e30]}}
"""
    outcome, said = run(spec(text, "wild"), tmp_path)
    runs, _ = frames(outcome)
    assert list(runs["status"]) == ["done", "diverged"]
    assert list(runs["diverged_epoch"].fillna(0)) == [0, 1]
    assert outcome.all_done
    assert "diverged: SGD lr=1e+30, seed 0 in epoch 1" in said


def test_a_quarter_of_a_gpu_places_four_trials_on_one_and_never_five(ray: Any, tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 3
seeds = 10
[resources]
pack = 1
gpus_per_trial = 0.25
cpus_per_trial = 0.1
[[configurations]]
optimizer = {{name = "SGD", lr = 0.05}}
"""
    outcome, _ = run(spec(text, "fractions"), tmp_path)
    assert outcome.all_done
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT gpus, started, ended FROM attempts")
    assert len(answer.rows) == 10
    assert {gpus for gpus, _, _ in answer.rows} == {"0", "1"}
    for gpu in ("0", "1"):
        spans = [(started, ended) for gpus, started, ended in answer.rows if gpus == gpu]
        at_once = [sum(s <= moment < e for s, e in spans) for moment, _ in spans]
        assert max(at_once) <= 4


def test_what_the_cluster_could_never_place_is_refused_in_one_line(ray: Any, tmp_path: Path) -> None:
    from search_spaces.errors import SpecError

    with pytest.raises(SpecError, match=r"gpus_per_trial: asked 3 GPU a trial, the cluster has 2"):
        run(spec(**{"resources.gpus_per_trial": 3}), tmp_path)


def test_a_share_is_probed_only_where_torch_finds_a_gpu_and_kept_for_a_resume(ray: Any, tmp_path: Path) -> None:
    """Ray's GPUs here are numbers. Refused, nothing is left behind; with a share on record, nobody probes again."""
    from search_spaces.errors import SpecError

    asked = {"resources.gpus_per_trial": "auto"}
    with pytest.raises(SpecError, match=r"gpus_per_trial: 'auto', but PyTorch finds no GPU where Ray has one"):
        run(spec(name="shared", **asked), tmp_path)
    assert not (tmp_path / "shared").exists()
    first, _ = run(spec(name="shared", epochs=1, **{"resources.gpus_per_trial": 0.5}), tmp_path)
    with Ledger.create_or_open(first.folder.ledger) as ledger:
        ledger.keep_gpu_share({"runs": 100, "share": 0.25})
    outcome, _ = run(spec(name="shared", **asked), tmp_path)
    assert outcome.all_done
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert {gpus for (gpus,) in ledger.rows("SELECT gpus FROM attempts WHERE ended IS NOT NULL", {})} <= {"0", "1"}
    assert 'gpus_per_trial = "auto"' in outcome.folder.spec.read_text()


def test_a_cluster_without_a_gpu_has_no_share_of_one(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    command = [sys.executable, "-m", "sweep", "run", "quickstart", "--gpus-per-trial", "auto", "--runs-dir"]
    ended = subprocess.run(
        [*command, str(tmp_path)], env={**environment, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    line = "resources.gpus_per_trial: asked 'auto', the cluster has 0 GPU; 0 trains on the CPU"
    assert ended.stderr.splitlines()[-1].endswith(line)
    assert not list(tmp_path.glob("quickstart"))


def test_ctrl_c_ends_clean_and_resume_gives_the_same_bits(ray: Any, tmp_path: Path) -> None:
    """A real driver with its own Ray, a real SIGINT: workers gone, exit 130, the command that goes on printed."""
    reference, _ = run(spec(name="reference", epochs=40), tmp_path)
    path = tmp_path / "cut.toml"
    path.write_text(SPEC)
    command = [sys.executable, "-m", "sweep"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        [*command, "run", str(path), "--epochs", "40", "--runs-dir", str(tmp_path)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        ledger_path = tmp_path / "cut" / "ledger.sqlite"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _rows(ledger_path) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert driver.poll() is None, driver.communicate()
        workers = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGINT)
        _, err = driver.communicate(timeout=PATIENCE_SECONDS)
    finally:
        driver.kill()
    assert driver.returncode == 130, err
    assert f"go on with: sweep resume cut --runs-dir {tmp_path}" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert workers
    assert not alive
    with Ledger.open_read_only(ledger_path) as ledger:
        assert "running" not in ledger.statuses().values()
        assert "interrupted" in ledger.statuses().values()
    resumed = subprocess.run(
        [*command, "resume", "cut", "--runs-dir", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    with Ledger.open_read_only(ledger_path) as ledger:
        again = epochs_frame(ledger)
    pd.testing.assert_frame_equal(without_times(again), without_times(frames(reference)[1]), check_exact=True)


def _rows(ledger_path: Path) -> int:
    if not ledger_path.exists():
        return 0
    with Ledger.open_read_only(ledger_path) as ledger:
        return int(ledger.read("SELECT COUNT(*) FROM epochs")[0].rows[0][0])
