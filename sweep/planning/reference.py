"""The reference of a sweep: the configuration, named before the runs, that all others are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces import Configuration
from search_spaces.errors import UnknownNameError
from search_spaces.labels import configuration_labels


def reference_id(reference: str, configurations: Sequence[Configuration]) -> str:
    """Return the id of the configuration that ``reference`` names by its label or its id; empty for an empty one.

    Raises:
        UnknownNameError: no configuration of the sweep has this label or id.
    """
    if not reference:
        return ""
    labels = configuration_labels(configurations)
    for configuration_id, label in labels.items():
        if reference in (label, configuration_id):
            return configuration_id
    raise UnknownNameError("reference", reference, labels.values())
