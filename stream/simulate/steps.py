"""How a session goes: how many steps, of what kind, how far apart, how much of it in the foreground.

All the visits of an hour are drawn at once, as arrays, which is what makes the simulator fast.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stream.simulate.messages import (
    END,
    EVENT,
    HEARTBEAT,
    KEY_EVENT,
    PAGE_VIEW,
    PASSIVE_EVENT,
    SCREEN_VIEW,
    START,
    Steps,
)
from stream.simulate.population import LOCAL_CLOCK, SUMMARIES, WITH_SESSION_ID, Flags, Floats, Ints

SESSION_AT_MOST_MS = 3 * 60 * 60_000

BOUNCES_SHARE = 0.41  # of sessions; with the long reads both bounce rules come out between 35 and 45 %
LONG_READS_SHARE = 0.1  # of the bounces: one page, but read for more than 10 s
MEAN_STEPS = 17.0  # of the sessions that do not bounce, views and events and heartbeats
STEPS_AT_MOST = 80

# Between steps: log-normal, median 20 s, mean 35 s; never as long as the 30 minutes that would end a session.
_QUANTILES = np.array([NormalDist().inv_cdf((rank + 0.5) / 1024) for rank in range(1024)])
_GAPS_MS = np.clip(20_000 * np.exp(1.05 * _QUANTILES), 700, 20 * 60_000).astype(np.int64)

Visits = NDArray[np.void]  # rows of VISIT
VISIT = np.dtype(
    [
        ("start_ms", np.int64),
        ("ref", np.uint64),
        ("number", np.uint64),
        ("country", np.int64),
        ("offset_ms", np.int64),
        ("platform", np.int64),
        ("plan", np.int64),
        ("producer", np.int64),
        ("clock", np.int64),
        ("release", np.int64),
        ("satisfaction", np.float64),
        ("anonymous", np.bool_),
    ]
)


def steps_of(rows: Visits, first_ms: Ints, rng: np.random.Generator) -> Steps:
    """Draw the steps of all visits at once."""
    luck = rng.random((4, len(rows)))
    bounces = luck[0] < BOUNCES_SHARE
    reads_long = luck[1] < LONG_READS_SHARE
    read_ms = np.where(reads_long, 12_000 + 90_000 * luck[2], 400 + 8_500 * luck[2]).astype(np.int64)
    more = np.log1p(-luck[3]) / np.log1p(-1 / (MEAN_STEPS - 1))
    body = np.where(bounces, 1, np.minimum(2 + more, STEPS_AT_MOST).astype(np.int64))
    # Three in ten producers with session ids tell start and end; whoever sends summaries knows both.
    three_in_ten = rows["number"] % np.uint64(10) < 3
    tells_ends = (rows["producer"] == SUMMARIES) | ((rows["producer"] == WITH_SESSION_ID) & three_in_ten)
    lengths = body + 2 * tells_ends
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    visit = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(bounds[-1]) - bounds[visit] - tells_ends[visit]  # -1 is the start, 0 the first view
    draws = rng.random((3, len(place)))
    ends = place == body[visit]
    gaps_ms = _GAPS_MS[(draws[0] * len(_GAPS_MS)).astype(np.int64)]
    gaps_ms = np.where(place > 0, gaps_ms, np.where((place == 0) & tells_ends[visit], 30, 0))
    gaps_ms = np.where(ends & bounces[visit], read_ms[visit], gaps_ms)
    walked_ms = np.cumsum(gaps_ms)
    walked_ms = np.minimum(walked_ms - walked_ms[bounds[:-1]][visit], SESSION_AT_MOST_MS)
    at_ms = first_ms[visit] + walked_ms
    kind = _step_kinds(draws[1], place, rows["platform"][visit] > 0, tells_ends[visit])
    kind = np.where(ends, END, np.where(place < 0, START, kind))
    engaged_ms = np.where(bounces[visit], read_ms[visit], (gaps_ms * (0.4 + 0.6 * draws[2])).astype(np.int64))
    # four in five producers measure engaged time, and send it with what is seen
    measures = (rows["number"] >> np.uint64(8)) % np.uint64(5) > 0
    tells_engaged = (kind <= HEARTBEAT) & (engaged_ms > 30) & measures[visit]
    clock_ms = at_ms + (rows["offset_ms"] * (rows["clock"] == LOCAL_CLOCK))[visit]
    return Steps(
        bounds=bounds.tolist(),
        at_ms=at_ms.tolist(),
        local_time=np.datetime_as_string(clock_ms.view("M8[ms]"), unit="ms").tolist(),
        kind=kind.tolist(),
        engaged_ms=np.where(tells_engaged, engaged_ms, -1).tolist(),
    )


def _step_kinds(luck: Floats, place: Ints, in_app: Flags, sends_heartbeats: Flags) -> Ints:
    """Choose what each step is: the first two are views, later ones half views, half clicks and the like."""
    view = np.where(in_app, SCREEN_VIEW, PAGE_VIEW)
    return np.select(
        [(luck < 0.5) | (place < 2), (luck < 0.62) & sends_heartbeats, luck < 0.955, luck < 0.99],
        [view, HEARTBEAT, EVENT, KEY_EVENT],
        PASSIVE_EVENT,
    )
