"""Makes sessions of what one user did, by the conventions of any tool.

A session is a run of actions; where it ends is decided at each action by the one before it (`_begins_another`). An end
closes its session at its own time, as in `core.families.sessions`, for conventions that know ends. A summary tells of a
whole session and can't be cut: it is the same session for every tool, and replaces the steps of its id.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stream.core import reuse
from stream.core.families.activity.part import SummaryTimes, moments_as_of, with_times
from stream.core.families.sessions.part import (
    Session,
    SummarySession,
    in_sessions,
    is_near,
    session_of_summary,
    with_summary_in,
)
from stream.core.reconciliation.actions import (
    BOT,
    CUSTOM,
    END,
    INTERACTIVE,
    KEY_EVENT,
    LATE,
    NO_ID,
    STEP,
    VIEW,
    Action,
    Person,
    Told,
)
from stream.core.reconciliation.conventions import Conventions
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.segments import NO_ATTRIBUTES
from stream.core.time import Days, Span

_END_OF_TIME_MS = 1 << 62

# By the number of a session id: the sessions of which summaries tell.
_OfSummaries = dict[int, tuple[SummarySession, ...]]


@dataclass(slots=True)
class Visit:
    """One session by some conventions."""

    first_ms: int
    last_ms: int
    closes_ms: int = 0
    views: int = 0
    key_events: int = 0
    custom_events: int = 0
    passive_events: int = 0  # custom ones that no user made
    engaged_ms: int | None = None
    days: list[int] = field(default_factory=list)  # on which something happened in it, in order

    @property
    def length_ms(self) -> int:
        return self.last_ms - self.first_ms


@dataclass(frozen=True, slots=True)
class Cut:
    """What one user did, cut into sessions by some conventions."""

    actions: list[tuple[Action, int]]  # that count, in order of time, each with its local day
    visits: list[Visit]
    days_told: set[int]  # on which sessions began and ended of which summaries tell


def cut_of(
    person: Person, actions: Iterable[Action], conventions: Conventions, days: Days, *, until_day: int | None
) -> Cut:
    """Cut what a user did until the end of a day, or all of it. `actions` are the user's in order of time."""
    left_out = (0 if conventions.counts_bots else BOT) | (LATE if conventions.drops_late else 0)
    day_of = days.day_of
    until_ms = _END_OF_TIME_MS if until_day is None else days.starts_ms(until_day + 1)
    counting = [
        (action, day_of(action.at_ms)) for action in actions if action.at_ms < until_ms and not action.flags & left_out
    ]
    summaries = [told for told in person.summaries if not told.flags & left_out]
    of_summaries = _whole_sessions((told for told in summaries if told.summary.at_ms < until_ms), days)
    told_visits = [_visit_of(one.session, day_of) for several in of_summaries.values() for one in several]
    made = _made_of(_without_told(counting, of_summaries) if of_summaries else counting, conventions, day_of)
    return Cut(counting, [*told_visits, *made], _days_told(summaries, days, until_day))


def _whole_sessions(told: Iterable[Told], days: Days) -> _OfSummaries:
    found: _OfSummaries = {}
    span = Span(days)
    for summary, session, _ in told:
        one = session_of_summary(summary, lambda _: NO_ATTRIBUTES)
        found[session] = with_summary_in(found.get(session, ()), one, span)
    return found


def _days_told(told: Iterable[Told], days: Days, until_day: int | None) -> set[int]:
    """The days on which sessions of summaries began and ended, as it was known at the end of a day.

    The beginning counts at its own time, which may be before the day on which the session ends.
    """
    times: dict[str, SummaryTimes] = {}
    span = Span(days)
    for summary, session, _ in told:
        one = SummaryTimes(summary.revision, summary.at_ms, summary.started_ms)
        near = reuse.keys_near(times, str(session), one.span(), LONGEST_PAUSE_MS, SummaryTimes.span)
        after = with_times([times[key] for key in near], one, span)
        if after is not None:
            reuse.put(times, str(session), after, near, SummaryTimes.span)
    last_day = _END_OF_TIME_MS if until_day is None else until_day
    return {days.day_of(at_ms) for one in times.values() for at_ms in moments_as_of(one, last_day, days.day_of)}


def _made_of(
    actions: Iterable[tuple[Action, int]], conventions: Conventions, day_of: Callable[[int], int]
) -> Iterator[Visit]:
    tracks: dict[int, list[tuple[Action, int]]] = {}
    ends: dict[int, list[tuple[int, int]]] = {}
    for one in actions:
        action = one[0]
        track = action.session if conventions.uses_ids else NO_ID
        if action.flags & END and not conventions.ends_are_steps:
            if action.is_ordinary:
                engaged = -1 if action.engaged_ms is None else action.engaged_ms
                ends.setdefault(track, []).append((action.at_ms, engaged))
        elif _takes_part(action, conventions):
            tracks.setdefault(track, []).append(one)
    for track, its_actions in tracks.items():
        pause_ms = conventions.timeout_ms if track == NO_ID else LONGEST_PAUSE_MS
        its_ends = sorted(ends.get(track, ()))
        for visit in _cut(its_actions, conventions, pause_ms):
            _close(visit, its_ends, conventions, day_of)
            yield visit


def _takes_part(action: Action, conventions: Conventions) -> bool:
    if not action.flags & STEP:
        return conventions.all_events
    return conventions.passive_steps or action.is_ordinary


def _cut(actions: Iterable[tuple[Action, int]], conventions: Conventions, pause_ms: int) -> Iterator[Visit]:
    visit: Visit | None = None
    for action, day in actions:
        at_ms = action.at_ms
        if visit is None or _begins_another(visit, at_ms, day, conventions, pause_ms):
            if visit is not None:
                yield visit
            visit = Visit(at_ms, at_ms, days=[day])
        visit.last_ms = at_ms
        if visit.days[-1] != day:
            visit.days.append(day)
        _count(visit, action)
    if visit is not None:
        yield visit


def _begins_another(visit: Visit, at_ms: int, day: int, conventions: Conventions, pause_ms: int) -> bool:
    waited_ms = at_ms - visit.last_ms
    if waited_ms > pause_ms or (waited_ms == conventions.timeout_ms == pause_ms and not conventions.timeout_belongs):
        return True
    if conventions.splits_days and day != visit.days[-1]:
        return True
    return conventions.longest_ms is not None and at_ms - visit.first_ms >= conventions.longest_ms


def _count(visit: Visit, action: Action) -> None:
    flags = action.flags
    if flags & VIEW:
        visit.views += 1
    if flags & KEY_EVENT:
        visit.key_events += 1
    if flags & CUSTOM:
        if flags & INTERACTIVE:
            visit.custom_events += 1
        else:
            visit.passive_events += 1
    if action.engaged_ms is not None:
        visit.engaged_ms = action.engaged_ms + (visit.engaged_ms or 0)


def _close(
    visit: Visit, ends: Sequence[tuple[int, int]], conventions: Conventions, day_of: Callable[[int], int]
) -> None:
    """Close a session by the latest end that comes within the timeout after its last step, else after the timeout."""
    latest_ms = visit.closes_ms = visit.last_ms + conventions.timeout_ms
    following = bisect_right(ends, latest_ms, key=lambda end: end[0])
    if not following or ends[following - 1][0] < visit.last_ms:
        return
    ended_ms, engaged_ms = ends[following - 1]
    if conventions.splits_days and day_of(ended_ms) != visit.days[-1]:
        return
    visit.last_ms = visit.closes_ms = ended_ms
    if engaged_ms >= 0:
        visit.engaged_ms = engaged_ms + (visit.engaged_ms or 0)


def _visit_of(whole: Session, day_of: Callable[[int], int]) -> Visit:
    return Visit(
        whole.first_ms,
        whole.last_ms,
        closes_ms=whole.last_ms,
        views=whole.views,
        key_events=whole.key_events,
        engaged_ms=whole.engaged_ms,
        days=sorted({day_of(whole.first_ms), day_of(whole.last_ms)}),
    )


def _without_told(actions: Sequence[tuple[Action, int]], told: _OfSummaries) -> list[tuple[Action, int]]:
    """The actions without those of sessions of which a summary tells: steps of its id, no more than a day away."""
    by_session: dict[int, list[tuple[int, int]]] = {}
    for index, (action, _) in enumerate(actions):
        if action.session in told and action.is_ordinary and not action.flags & END:
            by_session.setdefault(action.session, []).append((index, action.at_ms))
    left_out: set[int] = set()
    for session, steps in by_session.items():
        wholes = [one.session for one in told[session]]
        begins = 0
        for run in in_sessions(tuple([Session(at_ms, at_ms) for _, at_ms in steps]), LONGEST_PAUSE_MS):
            ends = begins + len(run)
            if any(is_near(run, whole) for whole in wholes):
                left_out.update(index for index, _ in steps[begins:ends])
            begins = ends
    return [one for index, one in enumerate(actions) if index not in left_out]
