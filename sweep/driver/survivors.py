"""New packs from the checkpoints of others: the runs that halving continues are packed again, from where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from results.ledger.ledger import Ledger
from results.ledger.queries import begun_pack_of
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder
from sweep.folder.snapshot import checkpoint_place
from sweep.planning.plan import Pack


def join_checkpoints(folder: SweepFolder, spec: Spec, ledger: Ledger, packs: Iterable[Pack]) -> None:
    """Give every new pack a checkpoint, made from those of the packs that trained its runs before.

    A pack that has a checkpoint keeps it. Without a checkpoint of every run, all after the same epoch, the pack starts
    from its first epoch.
    """
    from trainables.training.checkpoints import Checkpoints

    for pack in packs:
        own = Checkpoints(checkpoint_place(folder, spec, pack.pack_id))
        if own.newest() is not None or not pack.resumes:
            continue
        before = [begun_pack_of(ledger, run_id) for run_id in pack.run_ids]
        earlier = {
            pack_id: Checkpoints(checkpoint_place(folder, spec, pack_id)).newest() for pack_id in before if pack_id
        }
        state = joined(pack.run_ids, [earlier.get(pack_id) if pack_id else None for pack_id in before])
        if state is not None:
            own.save(state)


def joined(run_ids: Sequence[str], states: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the state of a pack of these runs from the state of the earlier pack of each; None if they do not fit."""
    found = [state for state in states if state is not None]
    if len(found) < len(run_ids) or len({state["epoch"] for state in found}) != 1:
        return None
    if any(state["step_in_epoch"] or not state.get("resumes", True) for state in found):
        return None
    members = []
    for run_id, state in zip(run_ids, found, strict=True):
        members += [member for member in state["members"] if member["run_id"] == run_id]
    if len(members) < len(run_ids):
        return None
    attempts = {attempt["attempt_id"]: attempt for state in found for attempt in state["attempts"]}
    return {
        **found[0], "epoch_seconds": 0.0, "members": members,
        "attempts": sorted(attempts.values(), key=lambda attempt: (attempt["started"], attempt["attempt_id"])),
    }  # fmt: skip
