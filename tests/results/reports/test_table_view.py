"""A table of the report page shows what differs between its rows."""

from __future__ import annotations

from typing import Any

from results.reports.table_view import table_view
from results.tables.table import Column, Row, Table, Value

COLUMNS = (
    Column("configuration", "Configuration"),
    Column("runs", "Runs"),
    Column("acc", "Accuracy", "%"),
    Column("speed", "Speed"),
)


def view_of(*rows: dict[str, Value], **how: bool) -> dict[str, Any]:
    return table_view(Table("t", "T", COLUMNS, [Row(values) for values in rows], ["A note."]), **how)


def shown(view: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    return [head.key for head in view["heads"]], [[cell.text for cell in cells] for cells, _ in view["rows"]]


def test_a_column_with_one_text_is_a_note_and_so_is_one_without_any_value() -> None:
    """The first column stays. Two numbers that are printed as one text are the same."""
    rows: tuple[dict[str, Value], ...] = (
        {"configuration": "a", "runs": "3 of 3", "acc": 10.001, "speed": None},
        {"configuration": "a", "runs": "3 of 3", "acc": 10.002, "speed": None},
    )
    view = view_of(*rows)
    assert shown(view) == (["configuration"], [["a"], ["a"]])
    assert view["notes"] == [
        "The same in every row: Runs: 3 of 3; Accuracy (%): 10.00.", "Not available in any row: Speed.", "A note."
    ]  # fmt: skip
    assert shown(view_of(*rows, all_columns=True))[0] == [column.key for column in COLUMNS]


def test_columns_that_differ_stay_and_one_row_has_all_columns() -> None:
    first: dict[str, Value] = {"configuration": "a", "runs": "3 of 3", "acc": 10.0, "speed": "fast"}
    view = view_of(first, first | {"configuration": "b", "acc": 10.01, "speed": None})
    assert shown(view) == (["configuration", "acc", "speed"], [["a", "10.00", "fast"], ["b", "10.01", "n/a"]])
    alone = view_of(first)
    assert shown(alone)[0] == [column.key for column in COLUMNS]
    assert alone["notes"] == ["A note."]
