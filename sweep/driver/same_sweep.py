"""Whether a command continues the sweep that its folder holds: same protocol, data and reference."""

from __future__ import annotations

from results.ledger.design import design_in
from results.ledger.ledger import Ledger
from search_spaces import Protocol, Run
from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder


def check_same_protocol(ledger: Ledger, folder: SweepFolder, run: Run) -> None:
    """Refuse to continue a sweep with another protocol or other data: its rows could not be compared.

    Raises:
        SpecError: the setting, and both values.
    """
    before = ledger.protocol()
    if before is None:
        return
    started = {**Protocol.from_dict(before).settings(), "data": before["data"]}
    for key, value in {**run.protocol.settings(), "data": run.data_fingerprint}.items():
        if (then := started[key]) != (now_asked := value):
            if key == "data":
                then, now_asked = f"data with fingerprint {then:.12}…", f"data with fingerprint {value:.12}…"
            raise SpecError(
                key, f"the sweep {folder.name!r} was started with {then}, this command has {now_asked}",
                f"start another sweep with --name, or use the value in {folder.spec}",
            )  # fmt: skip


def check_same_reference(ledger: Ledger, spec: Spec) -> None:
    """Refuse another reference once there are results: it would not be named before them.

    Raises:
        SpecError: both references.
    """
    before = design_in(ledger.kept_spec() or "")["reference_id"]
    if spec.reference != before and ledger.epochs_recorded():
        raise SpecError(
            "reference", f"the sweep {spec.name!r} has results, and was started with {before or 'none'}",
            f"`sweep confirm {spec.name}` compares under new seeds",
        )  # fmt: skip
