"""The table of growing sweeps: its quotients, and that a recorded sweep is not measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.run_count import draw_sweeps, measure_sweeps, tabulate_sweeps

SWEEPS = [
    {
        "asked": runs, "runs": runs, "pack": pack, "trials": runs / pack, "wall": 10 + runs / pack,
        "span": runs / pack, "overhead": 0.05, "start_up": 8.0, "outputs": 2.0,
        "cpu": 5 + runs / 10, "in_process": False, "rss_peak": 900.0, "ledger": 0.1,
    }
    for pack in (1, 4)
    for runs in (100, 20)
]  # fmt: skip


def test_what_is_on_file_is_not_measured_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(SWEEPS), encoding="utf-8")
    found = measure_sweeps([20, 100], [1, 4], kept)
    assert sorted(found, key=str) == sorted(SWEEPS, key=str)
    assert [(sweep["pack"], sweep["runs"]) for sweep in found] == [(1, 20), (1, 100), (4, 20), (4, 100)]


def test_sweeps_that_were_measured_in_another_way_are_refused(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(SWEEPS), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"kept\.json: has 4 sweeps"):
        measure_sweeps([], [], kept, in_process=True)


def test_seconds_per_run_are_compared_with_the_smallest_sweep_in_the_same_packs(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(SWEEPS), encoding="utf-8")
    table = tabulate_sweeps(measure_sweeps([], [], kept))
    rows = {(row.values["pack"], row.values["runs"]): row.values for row in table.rows}
    assert (rows[1, 20]["all"], rows[1, 20]["trained"]) == (1.5, 1.0)
    assert (rows[4, 100]["all"], rows[4, 100]["trained"]) == (0.35, 0.25)
    assert (rows[1, 20]["cpu"], rows[4, 100]["cpu"]) == (350, 150)
    assert rows[1, 20]["share"] == rows[4, 20]["share"] == 1
    assert rows[4, 100]["share"] == 0.35 / 0.75
    (axes,) = draw_sweeps(table).axes
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[1.5, 1.1], [1.0, 1.0]]
