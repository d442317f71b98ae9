"""What an event costs is guarded, in counts and not in times: a function more for each event is seen at once.

The figures are those of `tests/core/costs.py`, with what they may exceed them by. A stage that costs more is either
worth it, and then its new figure goes here, or not. One that costs less gets its new figure too, or it could become
dearer again unseen.
"""

from functools import cache

import pytest

from tests.core.costs import APPLY, DELTA, OFFLINE, READ, SNAPSHOT, Cost, costs

# By stage, for each event of the load, which makes a snapshot and a checkpoint of 500 of them.
FIGURES = {
    READ: Cost(ours=5.09, builtin=10.12, left=3.53),
    APPLY: Cost(ours=6.19, builtin=6.96, left=2.49),
    SNAPSHOT: Cost(ours=15.82, builtin=37.96, left=0.44),
    DELTA: Cost(ours=2.11, builtin=2.69, left=0.69),
    OFFLINE: Cost(ours=20.31, builtin=34.95, left=4.46),
}
# Counts of one load are the same each time. With a tenth more of calls, one more for each event could pass unseen.
CALLS_MARGIN = 0.05
# Versions of Python differ a little in what they allocate.
BLOCKS_MARGIN = 0.1
# For small figures, of which that is next to nothing.
LEAST_MARGIN = 0.1

KINDS = {
    "ours": "calls of functions of stream",
    "builtin": "calls of built-in functions",
    "left": "blocks of memory that stay allocated",
}

found = cache(costs)


def too_dear(stage: str, cost: Cost, figure: Cost) -> list[str]:
    """What a stage costs more than before."""
    told = []
    for kind, what in KINDS.items():
        now, before = getattr(cost, kind), getattr(figure, kind)
        margin = BLOCKS_MARGIN if kind == "left" else CALLS_MARGIN
        if now > before + max(margin * before, LEAST_MARGIN):
            told.append(f"{stage}: {now:.2f} {what} for each event, {before:.2f} before ({now / before - 1:+.0%})")
    return told


@pytest.mark.parametrize("stage", FIGURES)
def test_an_event_costs_no_more_than_before(stage: str) -> None:
    told = too_dear(stage, found()[0][stage], FIGURES[stage])

    assert not told, "; ".join(told) + ": see which functions with `python -m tests.core.costs`"


def test_one_call_more_for_each_event_is_told_with_its_stage() -> None:
    before = FIGURES[APPLY]
    dearer = Cost(before.ours + 1, before.builtin, before.left)

    assert too_dear(APPLY, before, before) == []
    (told,) = too_dear(APPLY, dearer, before)
    assert told.startswith("wants and apply: 7.19 calls of functions of stream for each event, 6.19 before (+16%)")
