"""What ``sweep doctor`` shows about the data on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli import doctor
from tests.trainables.small_sources import small_images
from trainables.data.dataset import load_data


def data_line(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The line on data; Ray's check takes seconds and is left out."""
    monkeypatch.setattr(doctor, "_ray", lambda: "not started")
    (line,) = (finding.seen for finding in doctor.examine(runs_dir, None) if finding.what == "data")
    return line


def test_the_doctor_finds_cifar100_once_a_sweep_has_loaded_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data are loaded as a sweep loads them, with a small set in place of the download."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("LENET_SWEEP_CACHE", str(cache))
    monkeypatch.setattr("trainables.data.dataset._download", lambda *_: small_images())
    assert f"cifar100 is not in the cache; the first sweep downloads it ({cache})" in data_line(tmp_path, monkeypatch)
    load_data("cifar100")
    assert f"cifar100 is in the cache ({cache})" in data_line(tmp_path, monkeypatch)


def test_an_unfinished_entry_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.data.cache import DataCache
    from trainables.data.dataset import OFFICIAL_KEY

    monkeypatch.setenv("LENET_SWEEP_CACHE", str(tmp_path))
    DataCache(tmp_path).entry(OFFICIAL_KEY).mkdir()
    assert "cifar100 is not in the cache" in data_line(tmp_path, monkeypatch)


def test_a_check_that_fails_is_a_finding_for_any_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray raises a plain Exception if it does not start in time; the checks after it still run."""

    def time_out() -> str:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(doctor, "_ray", time_out)
    found = {finding.what: finding for finding in doctor.examine(tmp_path, "synthetic:n_train=1000,n_test=100")}
    assert (found["Ray"].fine, found["Ray"].seen) == (False, "The current node timed out during startup.")
    assert found["sweep folder"].fine
