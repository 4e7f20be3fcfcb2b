"""Ray's temporary folder is deleted while a sweep trains, as a cleaner of /tmp does."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from search_spaces.errors import UserError
from tests.sweep.sweeps import PATIENCE_SECONDS, SPEC, begin, finish, rows_of, run, spec

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TEXT = SPEC.replace("epochs = 2", "epochs = 6")


def test_one_line_reports_it_and_resume_gives_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("/tmp") / f"lenet-sweep-{os.getpid()}"  # tmp_path is too long for Ray's sockets
    monkeypatch.setenv("TMPDIR", str(place))
    place.mkdir(0o700)
    (tmp_path / "cut.toml").write_text(TEXT)
    driver = begin(tmp_path, "run", "cut.toml", ray=True)
    try:
        _wait_for_rows(tmp_path / "cut", 1)
        for folder in place.glob("sweep-*"):
            shutil.rmtree(folder, ignore_errors=True)
        out, err = driver.communicate(timeout=PATIENCE_SECONDS)
        assert driver.returncode == 1
        assert "Traceback" not in out + err
        assert err.count("\n") == 1
        assert str(place) in err
        assert "sweep resume cut" in err
        resumed = finish(tmp_path, "resume", "cut")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.communicate()
        shutil.rmtree(place, ignore_errors=True)
    whole, _ = run(spec(TEXT, "whole"), tmp_path)
    pd.testing.assert_frame_equal(rows_of(tmp_path / "cut"), rows_of(whole.folder.path), check_exact=True)


def _wait_for_rows(folder: Path, number: int) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < limit:
        with suppress(UserError, OSError):
            if len(rows_of(folder)) >= number:
                return
        time.sleep(0.1)
    pytest.fail(f"fewer than {number} rows within {PATIENCE_SECONDS} s")
