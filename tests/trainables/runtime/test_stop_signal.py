"""The stop request in a file, and the actor's view of it: see tests/sweep/process/test_signals.py for whole sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.runtime.stop_signal import StopFile, StopRequest


def test_a_request_reaches_trials_that_began_before_and_after_it(tmp_path: Path) -> None:
    driver = StopFile(tmp_path / "stop", new=True)
    before = StopFile(tmp_path / "stop")
    assert before.asked is StopRequest.NONE
    driver.send(StopRequest.STOP)
    assert [before.asked, StopFile(tmp_path / "stop").asked] == [StopRequest.STOP] * 2
    driver.send(StopRequest.CANCEL)
    assert before.asked is StopRequest.CANCEL


def test_a_weaker_request_does_not_withdraw_a_stronger_one(tmp_path: Path) -> None:
    driver = StopFile(tmp_path / "stop", new=True)
    driver.send(StopRequest.CANCEL)
    driver.send(StopRequest.STOP)
    assert StopFile(tmp_path / "stop").asked is StopRequest.CANCEL


def test_a_request_arrives_after_the_file_was_deleted(tmp_path: Path) -> None:
    driver, trial = StopFile(tmp_path / "stop", new=True), StopFile(tmp_path / "stop")
    (tmp_path / "stop").unlink()
    driver.send(StopRequest.STOP)
    assert trial.asked is StopRequest.STOP


def test_a_trial_cannot_send_and_a_file_of_another_sweep_is_not_used(tmp_path: Path) -> None:
    StopFile(tmp_path / "stop", new=True)
    with pytest.raises(TypeError):
        StopFile(tmp_path / "stop").send(StopRequest.STOP)
    with pytest.raises(FileExistsError):
        StopFile(tmp_path / "stop", new=True)
