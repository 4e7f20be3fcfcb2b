"""A run is found by its id, by the beginning of it, and by the form that a CSV file has."""

from __future__ import annotations

import pytest

from results.ledger.queries import find_run
from search_spaces.errors import UnknownNameError


def test_an_id_is_accepted_with_and_without_the_letter_of_a_csv_file(ledger, runs):
    run_id = runs[0].run_id
    for text in (run_id, run_id[:8], f"r{run_id}", f"r{run_id[:8]}"):
        assert find_run(ledger, text) == run_id


@pytest.mark.parametrize("text", ["", "r", "x", "rr"])
def test_no_id_is_refused(ledger, text):
    with pytest.raises(UnknownNameError):
        find_run(ledger, text)
