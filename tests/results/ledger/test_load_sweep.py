"""A file that cannot be loaded gives an error of one line."""

from __future__ import annotations

import re
import sqlite3

import pytest

from results.ledger.arrays import load_sweep
from search_spaces.errors import LedgerError
from tests.results.ledger_sweeps import MOMENTUM, climb, sweep_of


def test_a_newer_ledger_is_refused_in_one_line(tmp_path):
    sweep_of(tmp_path, {MOMENTUM: [climb(30)]})
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match=r"^[^\n]*has schema 99, [^\n]*; update lenet-sweep$"):
        load_sweep(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("content", [b"optimizer,accuracy\nAdam,99\n", b"SQLite format 3\0" + b"x" * 2000])
def test_a_file_that_is_no_ledger_is_refused_in_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=rf"^{re.escape(str(path))}: [^\n]+$"):
        load_sweep(path)


def test_a_missing_ledger_is_refused_in_one_line(path):
    with pytest.raises(LedgerError, match=r"^[^\n]*there is no ledger[^\n]*$"):
        load_sweep(path)
