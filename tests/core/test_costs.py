"""The cost of an event does not rise unnoticed. It is counted in calls, so one more call for each event is detected.

The figures are those of `tests/core/costs.py`. If a stage costs more and that is worth it, its new figure goes here. If
a stage costs less, its new figure goes here too, because otherwise it could rise again unnoticed.
"""

from functools import cache

import pytest

from tests.core.costs import APPLY, DELTA, OFFLINE, READ, SNAPSHOT, Cost, costs

# By stage, for each event. There is a snapshot and a checkpoint for each 500 events.
# Since all is booked by local day too, settling costs two calls more and computing offline as well: what an active day
# adds to the days after it, who has visited on a day, and the sums of the day. Sessions, answers and closed days by
# segment cost a call more in applying, what each of four values adds in settling, and four calls more in computing
# offline: all events of this load tell values. Since the simulated users have habits, this load has for each event 5 %
# more users and 4 % more sessions: half a call more in applying, two more in computing offline. That forgetting is
# never seen costs a sixth of a call in applying, and an eighth in settling. Accounts and orders, of which this load has
# none, cost nothing for each event, and fifty calls for each checkpoint. That what recognises an event is packed where
# all is computed offline costs a call, and saves a block.
FIGURES = {
    READ: Cost(ours=5.15, builtin=10.15, left=3.55),
    APPLY: Cost(ours=7.59, builtin=8.38, left=2.80),
    SNAPSHOT: Cost(ours=18.96, builtin=48.45, left=0.82),
    DELTA: Cost(ours=2.17, builtin=3.06, left=0.71),
    OFFLINE: Cost(ours=26.98, builtin=46.25, left=4.83),
}
# The counts are the same each time. With a margin of a tenth, one more call for each event could remain unnoticed.
CALLS_MARGIN = 0.05
# Versions of Python differ a little in how much memory they allocate.
BLOCKS_MARGIN = 0.1
# The smallest margin, for figures near 0.
LEAST_MARGIN = 0.1

KINDS = {
    "ours": "calls of functions of stream",
    "builtin": "calls of built-in functions",
    "left": "blocks of memory that stay allocated",
}

found = cache(costs)


def too_dear(stage: str, cost: Cost, figure: Cost) -> list[str]:
    """Say by how much a stage costs more than before."""
    excesses = []
    for kind, what in KINDS.items():
        now, before = getattr(cost, kind), getattr(figure, kind)
        margin = BLOCKS_MARGIN if kind == "left" else CALLS_MARGIN
        if now > before + max(margin * before, LEAST_MARGIN):
            excesses.append(f"{stage}: {now:.2f} {what} for each event, {before:.2f} before ({now / before - 1:+.0%})")
    return excesses


@pytest.mark.parametrize("stage", FIGURES)
def test_an_event_costs_no_more_than_before(stage: str) -> None:
    excesses = too_dear(stage, found()[0][stage], FIGURES[stage])

    assert not excesses, "; ".join(excesses) + ": see which functions with `python -m tests.core.costs`"


def test_one_call_more_for_each_event_is_told_with_its_stage() -> None:
    before = FIGURES[APPLY]
    dearer = Cost(before.ours + 1, before.builtin, before.left)

    assert too_dear(APPLY, before, before) == []
    (excesses,) = too_dear(APPLY, dearer, before)
    calls = f"{dearer.ours:.2f} calls of functions of stream for each event, {before.ours:.2f} before"
    assert excesses == f"fetch and apply: {calls} ({dearer.ours / before.ours - 1:+.0%})"
