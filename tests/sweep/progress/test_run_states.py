"""The sums over the runs are those of a count from the beginning, after any changes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sweep.folder.status import STATES
from sweep.progress.run_states import RunStates

EPOCHS = 4
RUNS = ("a", "b", "c")
STATUS = st.sampled_from(STATES)
EPOCH = st.integers(0, EPOCHS + 1)  # a run may have been trained further than this sweep asks


@given(
    st.dictionaries(st.sampled_from(RUNS), st.tuples(STATUS, EPOCH)),
    st.lists(st.tuples(st.sampled_from(RUNS), STATUS | EPOCH)),
)
def test_the_sums_are_those_of_a_new_count(
    recorded: dict[str, tuple[str, int]], changes: list[tuple[str, str | int]]
) -> None:
    statuses = {run: status for run, (status, _) in recorded.items()}
    done = {run: min(epoch, EPOCHS) for run, (_, epoch) in recorded.items()}
    states = RunStates(statuses, {run: epoch for run, (_, epoch) in recorded.items() if epoch}, EPOCHS)
    for run, change in changes:
        if run not in statuses:
            continue
        if isinstance(change, str):
            statuses[run] = change
            states.set([run], change)
        else:
            done[run] = max(done[run], min(change, EPOCHS))
            states.reached(run, change)
    assert states.counts == Counter(statuses.values())
    assert states.epochs_done == sum(done.values())
    active = [done[run] for run in statuses if statuses[run] not in ("diverged", "failed")]
    assert states.slowest_epoch == min(active, default=0)
    behind = [EPOCHS if statuses[run] in ("done", "diverged", "failed") else done[run] for run in statuses]
    assert states.share == sum(behind) / max(1, EPOCHS * len(statuses))
    assert (len(states), {run: states[run] for run in statuses}) == (len(statuses), statuses)
