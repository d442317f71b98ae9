"""Simulate the steps of sessions: how many, of which kind, how far apart, and how much of the time in the foreground.

All visits of an hour are drawn at once as arrays, which makes the simulator fast.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stream.simulate.habits import Flags, Floats, Ints, bounce_factors
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
from stream.simulate.population import LOCAL_CLOCK, SUMMARIES, WITH_SESSION_ID

MAX_SESSION_MS = 3 * 60 * 60_000

BOUNCES_SHARE = 0.4  # of the sessions; with the long reads, both bounce rules give between 35 and 45 %
LONG_READS_SHARE = 0.1  # of the bounces: one page, but read for more than 10 s
MEAN_STEPS = 17.0  # views, events and heartbeats of the sessions that do not bounce
MAX_STEPS = 80

# The gaps between steps: log-normal, median 20 s, mean 35 s, and never the 30 minutes that would end a session.
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
        ("habit", np.int64),
    ]
)


def draw_steps(rows: Visits, first_ms: Ints, rng: np.random.Generator) -> Steps:
    """Draw the steps of all visits at once."""
    luck = rng.random((4, len(rows)))
    bounces = luck[0] < BOUNCES_SHARE * bounce_factors(rows["country"], rows["release"], rows["platform"])
    reads_long = luck[1] < LONG_READS_SHARE
    read_ms = np.where(reads_long, 12_000 + 90_000 * luck[2], 400 + 8_500 * luck[2]).astype(np.int64)
    more = np.log1p(-luck[3]) / np.log1p(-1 / (MEAN_STEPS - 1))
    body = np.where(bounces, 1, np.minimum(2 + more, MAX_STEPS).astype(np.int64))
    # Three in ten producers with session ids send start and end. Producers of summaries know both.
    three_in_ten = rows["number"] % np.uint64(10) < 3
    sends_ends = (rows["producer"] == SUMMARIES) | ((rows["producer"] == WITH_SESSION_ID) & three_in_ten)
    lengths = body + 2 * sends_ends
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    visit = np.repeat(np.arange(len(rows)), lengths)
    place = np.arange(bounds[-1]) - bounds[visit] - sends_ends[visit]  # -1 is the start, 0 the first view
    draws = rng.random((3, len(place)))
    ends = place == body[visit]
    gaps_ms = _GAPS_MS[(draws[0] * len(_GAPS_MS)).astype(np.int64)]
    gaps_ms = np.where(place > 0, gaps_ms, np.where((place == 0) & sends_ends[visit], 30, 0))
    gaps_ms = np.where(ends & bounces[visit], read_ms[visit], gaps_ms)
    walked_ms = np.cumsum(gaps_ms)
    walked_ms = np.minimum(walked_ms - walked_ms[bounds[:-1]][visit], MAX_SESSION_MS)
    at_ms = first_ms[visit] + walked_ms
    kind = _step_kinds(draws[1], place, rows["platform"][visit] > 0, sends_ends[visit])
    kind = np.where(ends, END, np.where(place < 0, START, kind))
    engaged_ms = np.where(bounces[visit], read_ms[visit], (gaps_ms * (0.4 + 0.6 * draws[2])).astype(np.int64))
    # Four in five producers measure engaged time, and send it with views and heartbeats.
    measures = (rows["number"] >> np.uint64(8)) % np.uint64(5) > 0
    sends_engaged = (kind <= HEARTBEAT) & (engaged_ms > 30) & measures[visit]
    clock_ms = at_ms + (rows["offset_ms"] * (rows["clock"] == LOCAL_CLOCK))[visit]
    return Steps(
        bounds=bounds.tolist(),
        at_ms=at_ms.tolist(),
        local_time=np.datetime_as_string(clock_ms.view("M8[ms]"), unit="ms").tolist(),
        kind=kind.tolist(),
        engaged_ms=np.where(sends_engaged, engaged_ms, -1).tolist(),
    )


def _step_kinds(luck: Floats, place: Ints, in_app: Flags, sends_heartbeats: Flags) -> Ints:
    """Choose the kind of each step. The first two are views; half of the later ones are views, the others events."""
    view = np.where(in_app, SCREEN_VIEW, PAGE_VIEW)
    return np.select(
        [(luck < 0.5) | (place < 2), (luck < 0.62) & sends_heartbeats, luck < 0.955, luck < 0.99],
        [view, HEARTBEAT, EVENT, KEY_EVENT],
        PASSIVE_EVENT,
    )
