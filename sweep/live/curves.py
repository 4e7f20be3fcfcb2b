"""The validation curves of a sweep as JSON, for the live page."""

from __future__ import annotations

import json

from results.figures.configuration_styles import configuration_styles
from results.figures.style import INK
from results.ledger.ledger import Ledger
from search_spaces.configuration import Configuration
from search_spaces.labels import configuration_labels
from search_spaces.plain_text import plain_text
from sweep.folder.paths import SweepFolder
from sweep.folder.status_source import folder_status


def curves_json(folder: SweepFolder) -> str:
    """Return the curves of all planned runs.

    ``trained`` is the number of recorded run-epochs, ``state`` is ``running`` or ``not running``, and each of
    ``configurations`` has a ``label``, its ``colour`` (of the optimizer) and ``dash`` (of the scheduler, in widths of
    the line) as in the figures, and ``runs``, a list of validation accuracies in percent by epoch; null if missing.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        runs = ledger.rows(
            """
            SELECT run_id, configuration, target_epochs FROM run_statuses WHERE planned
            ORDER BY ordinal, seed, run_id
            """,
            {},
        )
        rows = ledger.rows("SELECT run_id, epoch, val_acc FROM epochs ORDER BY run_id, epoch", {})
    curves: dict[str, list[float | None]] = {run_id: [] for run_id, _, _ in runs}
    for run_id, epoch, accuracy in rows:
        if run_id in curves:
            curve = curves[run_id]
            curve.extend([None] * (epoch - 1 - len(curve)))
            curve.append(accuracy)
    configurations = {text: Configuration.from_dict(json.loads(text)) for text in dict.fromkeys(row[1] for row in runs)}
    labels = configuration_labels(list(configurations.values()))
    columns = {labels[one.configuration_id]: one.columns() for one in configurations.values()}
    styles = configuration_styles(columns)
    groups: dict[str, list[list[float | None]]] = {}
    for run_id, text, _ in runs:
        groups.setdefault(labels[configurations[text].configuration_id], []).append(curves[run_id])
    driver = folder_status(folder).driver
    return json.dumps(
        {
            "name": folder.name,
            "state": "running" if driver is not None else "not running",
            "epochs": max((epochs for _, _, epochs in runs), default=0),
            "trained": sum(map(len, curves.values())),
            "planned": sum(epochs for _, _, epochs in runs),
            "configurations": [
                {
                    "label": plain_text(label),
                    "colour": "currentColor" if styles[label].color == INK else styles[label].color,
                    "dash": [] if styles[label].linestyle == "-" else list(styles[label].linestyle[1]),
                    "runs": group,
                }
                for label, group in groups.items()
            ],
        },
        allow_nan=False,
    )
