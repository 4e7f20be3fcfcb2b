"""A benchmark in a separate process that is killed with SIGKILL while it tunes and while it evaluates."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
from tests.sweep.driver.test_benchmark import ADAM, HEAD, SGD, benchmark, content, spec
from tests.sweep.sweeps import PATIENCE_SECONDS, begin, finish

TEXT = (HEAD + SGD + ADAM).replace("epochs = 3", "epochs = 12", 1).replace("tuning_epochs = 2", "tuning_epochs = 8")


def recorded(folder: Path) -> int:
    try:
        with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
            return int(ledger.rows("SELECT COUNT(*) FROM epochs", {})[0][0])
    except LedgerError:
        return 0


@pytest.mark.slow
def test_a_benchmark_that_is_killed_twice_ends_with_the_ledger_of_an_uninterrupted_one(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TEXT)
    for rows, words in ((5, ("benchmark", "tiny.toml")), (45, ("resume", "tiny"))):  # the tuning has 2 × 2 × 8 or more
        process = begin(tmp_path, *words, "--in-process")
        until = time.monotonic() + PATIENCE_SECONDS
        while recorded(tmp_path / "tiny") < rows and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert recorded(tmp_path / "tiny") >= 45
    ended = finish(tmp_path, "resume", "tiny", "--in-process")
    assert ended.returncode == 0, ended.stderr
    benchmark(spec(TEXT), tmp_path / "whole")
    found, expected = content(tmp_path / "tiny"), content(tmp_path / "whole" / "tiny")
    assert {**found, "spec": 0} == {**expected, "spec": 0}
