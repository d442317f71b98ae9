"""The sessions of one user: how steps, ends and summaries become sessions.

Steps that carry a session id are sessions of that id: one, unless they lie more than a day apart. Steps without one are
sessions where they lie no more than the timeout apart (30 minutes, as GA4 and Plausible; a gap of exactly that still
belongs). So a late step between two sessions joins them. An `end` is no step: it closes the session whose last step it
follows within the timeout, at its own time. Any other session closes a timeout after its last step. A summary tells a
whole session and closes it at its end; summaries of one id are of two sessions where they end more than a day apart.

Everything that was told is kept apart, as long as late events can change what follows from it, so that no order of
arrival makes a difference.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter, itemgetter

import msgspec

from stream.core import reuse
from stream.core.events import Step, Summary
from stream.core.reuse import LONGEST_PAUSE_MS, Span
from stream.core.time import MINUTE_MS

# More steps than a day of heartbeats every 30 s has. A session that never ends must not grow for ever; a step sent
# twice is known among the last so many.
STEPS_REMEMBERED = 4_000

# In order of time.
_time_of = attrgetter("at_ms")


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps that belong together, or what a summary tells of them."""

    first_ms: int
    last_ms: int
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None where the producer sends no engaged time
    prompted: bool | None = None  # what the first step says; None where it says nothing
    says_prompted: bool = False  # whether any step says something of it
    steps: tuple[int, ...] = ()  # identities, to know a step sent twice


class End(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An explicit end of a session."""

    at_ms: int
    engaged_ms: int  # -1 where none is told
    identity: int


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session as a summary tells it."""

    revision: int
    session: Session
    ends: Span | None = None  # the first and the last end that summaries told of it, where they told several

    def span(self) -> Span:
        """The first and the last end that summaries told of it."""
        return self.ends or (self.session.last_ms, self.session.last_ms)


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A session as it counts: with its end, and when it closes."""

    session: Session
    closes_ms: int
    steps_told: bool = True  # whether its steps are counted by themselves


class Track(msgspec.Struct, array_like=True, gc=False):
    """All that was told of one session id, or without one."""

    sessions: tuple[Session, ...] = ()  # of steps, in order of time
    ends: tuple[End, ...] = ()  # in order of time
    summaries: tuple[Told, ...] = ()  # one of each session that was told so, in order of time

    def copy(self) -> "Track":
        """The same, for one that is changed to be compared with."""
        return Track(self.sessions, self.ends, self.summaries)

    def counted(self, timeout_ms: int) -> Iterator[Counted]:
        """The sessions that follow from what was told."""
        if not self.summaries:
            for session in self.sessions:
                yield _closed(session, self.ends, timeout_ms)
            return
        wholes = [told.session for told in self.summaries]
        for session in self.sessions:
            if not any(_is_near(session, whole) for whole in wholes):
                yield _closed(session, self.ends, timeout_ms)
        for whole in wholes:
            replaced = any(_is_near(session, whole) for session in self.sessions)
            yield Counted(whole, whole.last_ms, replaced)


def _is_near(session: Session, whole: Session) -> bool:
    """Whether a summary tells the steps of this session too: they come within a day of its end, before or after.

    Steps at the beginning of a longer one are a session of their own: they may have been let go when it is told.
    """
    ends_ms = whole.last_ms
    return ends_ms - LONGEST_PAUSE_MS <= session.last_ms and session.first_ms <= ends_ms + LONGEST_PAUSE_MS


def _closed(session: Session, ends: tuple[End, ...], timeout_ms: int) -> Counted:
    last_ms = session.last_ms
    latest_ms = last_ms + timeout_ms
    if ends:
        following = bisect_right(ends, latest_ms, key=_time_of)
        end = ends[following - 1]
        if following and last_ms <= end.at_ms:
            engaged_ms = session.engaged_ms
            if end.engaged_ms >= 0:
                engaged_ms = end.engaged_ms + (engaged_ms or 0)
            ended = msgspec.structs.replace(session, last_ms=end.at_ms, engaged_ms=engaged_ms)
            return Counted(ended, end.at_ms)
    return Counted(session, latest_ms)


class Visits(msgspec.Struct, array_like=True, gc=False):
    """The sessions of one user that late events can still change, and when the last of the others closed."""

    by_id: dict[str, Track] = {}
    by_gap: Track = msgspec.field(default_factory=Track)
    settled_minutes: tuple[int, ...] = ()  # of the last two to close
    aside: dict[int, int] = {}  # the last steps that are in no session, by identity: their times
    # Never stored: by id the tracks that have changed since the totals were settled, as they were, where any has.
    booked: dict[str | None, Track] | None = None
    closings: list[int] | None = None  # never stored: the minutes in which sessions close, as booked; None until asked

    def tracks(self) -> Iterator[Track]:
        """What was told with each id, and without one."""
        yield self.by_gap
        yield from self.by_id.values()

    def counted(self, timeout_ms: int) -> Iterator[Counted]:
        """Every session, in no particular order."""
        for track in self.tracks():
            yield from track.counted(timeout_ms)


def of_summary(summary: Summary) -> Told:
    """The session that a summary tells."""
    return Told(
        summary.revision,
        Session(
            summary.started_ms,
            summary.at_ms,
            summary.page_views,
            summary.key_events,
            summary.engaged_ms,
            summary.prompted,
            summary.prompted is not None,
        ),
    )


def with_summary_in(summaries: tuple[Told, ...], told: Told) -> tuple[Told, ...]:
    """The summaries that count, with one more: of each session one.

    Of one session counts that of the highest revision, then of the latest end, then with larger counts. Returns the
    very same when nothing is new.
    """
    ends_ms = told.session.last_ms
    near = [one for one in summaries if reuse.is_near(one.span(), ends_ms, LONGEST_PAUSE_MS)]
    for known in near:
        told = _of_one_session(known, told)
    if len(near) == 1 and told == near[0]:
        return summaries
    return tuple(sorted((*(one for one in summaries if one not in near), told), key=Told.span))


def _of_one_session(one: Told, other: Told) -> Told:
    winner, span = max(one, other, key=_rank), reuse.of_both(one.span(), other.span())
    return winner if span == winner.span() else msgspec.structs.replace(winner, ends=span)


def _rank(told: Told) -> tuple[int, ...]:
    session = told.session
    engaged = -1 if session.engaged_ms is None else session.engaged_ms
    counts = (session.views, session.key_events, engaged, _said(session.prompted))
    return (told.revision, session.last_ms, -session.first_ms, *counts)


def _said(prompted: bool | None) -> int:
    return -1 if prompted is None else int(prompted)


def of_step(step: Step) -> Session:
    """The session that a first step begins."""
    return Session(
        step.at_ms,
        step.at_ms,
        1 if step.is_view else 0,
        1 if step.is_key_event else 0,
        step.engaged_ms,
        step.prompted,
        step.prompted is not None,
        (step.identity,),
    )


def with_step(session: Session, step: Step) -> Session:
    """The session after one more step, or the very same when the step is known already."""
    at_ms, first_ms, last_ms, steps = step.at_ms, session.first_ms, session.last_ms, session.steps
    prompted = session.prompted
    if at_ms > last_ms:  # the common case, fast
        last_ms = at_ms
    elif step.identity in steps:  # only a step that is not the newest can be one sent twice
        return session
    elif at_ms < first_ms:
        first_ms, prompted = at_ms, step.prompted
    elif at_ms == first_ms and _said(step.prompted) > _said(prompted):
        prompted = step.prompted
    engaged_ms = session.engaged_ms
    if step.engaged_ms is not None:
        engaged_ms = step.engaged_ms + (engaged_ms or 0)
    return Session(
        first_ms,
        last_ms,
        session.views + 1 if step.is_view else session.views,
        session.key_events + 1 if step.is_key_event else session.key_events,
        engaged_ms,
        prompted,
        session.says_prompted or step.prompted is not None,
        (*(steps if len(steps) <= STEPS_REMEMBERED else steps[-STEPS_REMEMBERED:]), step.identity),
    )


def with_later_steps(session: Session, steps: Sequence[Step]) -> Session:
    """The session after more steps, each later than all before it."""
    views, key_events, engaged_ms, says_prompted = (
        session.views,
        session.key_events,
        session.engaged_ms,
        session.says_prompted,
    )
    identities = [*session.steps]
    for step in steps:
        identities.append(step.identity)
        if step.is_view:
            views += 1
        if step.is_key_event:
            key_events += 1
        if step.engaged_ms is not None:
            engaged_ms = step.engaged_ms + (engaged_ms or 0)
        if step.prompted is not None:
            says_prompted = True
    return Session(
        session.first_ms,
        steps[-1].at_ms,
        views,
        key_events,
        engaged_ms,
        session.prompted,
        says_prompted,
        tuple(identities[-STEPS_REMEMBERED - 1 :]),
    )


def with_steps_in(
    sessions: tuple[Session, ...], steps: Sequence[Step], pause_ms: int
) -> tuple[tuple[Session, ...], Sequence[int]]:
    """Put steps where they belong, as `with_step_in` does; returns also the places of those that are known already."""
    known: tuple[int, ...] = ()
    place, count = 0, len(steps)
    while place < count:
        end = place
        if sessions:
            latest = sessions[-1]
            last_ms = latest.last_ms
            while end < count and last_ms < steps[end].at_ms <= last_ms + pause_ms:
                last_ms = steps[end].at_ms
                end += 1
        if end > place:  # the common case, fast: they only lengthen the latest session
            grown = with_later_steps(latest, steps[place:end])
            sessions = (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
            place = end
            continue
        after = with_step_in(sessions, steps[place], pause_ms)
        if after is sessions:
            known = (*known, place)
        sessions = after
        place += 1
    return sessions, known


def with_step_in(sessions: tuple[Session, ...], step: Step, pause_ms: int) -> tuple[Session, ...]:
    """Put a step where it belongs: into a session, between two that it joins, or on its own.

    Steps no more than `pause_ms` apart belong together. Returns the very same when the step is known already.
    """
    at_ms = step.at_ms
    if not sessions:
        return (of_step(step),)
    latest = sessions[-1]
    if at_ms >= latest.first_ms:  # the common case, fast: no earlier session is near
        if at_ms > latest.last_ms + pause_ms:
            return (*sessions, of_step(step))
        grown = with_step(latest, step)
        if grown is latest:
            return sessions
        return (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
    before = tuple(session for session in sessions if session.last_ms + pause_ms < at_ms)
    after = tuple(session for session in sessions if at_ms + pause_ms < session.first_ms)
    near = sessions[len(before) : len(sessions) - len(after)]
    if not near:
        return (*before, of_step(step), *after)
    joined = near[0] if len(near) == 1 else _joined(near)
    grown = with_step(joined, step)
    return sessions if grown is joined and len(near) == 1 else (*before, grown, *after)


def _joined(sessions: tuple[Session, ...]) -> Session:
    engaged = [session.engaged_ms for session in sessions if session.engaged_ms is not None]
    return Session(
        sessions[0].first_ms,
        sessions[-1].last_ms,
        sum(session.views for session in sessions),
        sum(session.key_events for session in sessions),
        sum(engaged) if engaged else None,
        sessions[0].prompted,
        any(session.says_prompted for session in sessions),
        tuple(identity for session in sessions for identity in session.steps),
    )


def with_end_in(ends: tuple[End, ...], step: Step) -> tuple[End, ...]:
    """The ends with one more, or the very same when it is known already."""
    end = End(step.at_ms, -1 if step.engaged_ms is None else step.engaged_ms, step.identity)
    place = bisect_left(ends, end)
    if place < len(ends) and ends[place] == end:
        return ends
    return (*ends[:place], end, *ends[place:])[-STEPS_REMEMBERED:]


def let_go(visits: Visits, *, before_ms: int, timeout_ms: int) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    if visits.aside:
        for identity in [identity for identity, at_ms in visits.aside.items() if at_ms < before_ms]:
            del visits.aside[identity]
    closings = _let_go_of(visits.by_gap, before_ms - timeout_ms, before_ms, timeout_ms)
    for session_id, track in list(visits.by_id.items()):
        closings += _let_go_of(track, before_ms - LONGEST_PAUSE_MS, before_ms, timeout_ms)
        if not track.sessions and not track.ends and not track.summaries:
            del visits.by_id[session_id]
    if closings:
        minutes = sorted(closes_ms // MINUTE_MS for closes_ms in closings)
        visits.settled_minutes = tuple(sorted((*visits.settled_minutes, *minutes))[-2:])
        visits.closings = None


def _let_go_of(track: Track, settled_before_ms: int, before_ms: int, timeout_ms: int) -> list[int]:
    """Forget what ended before; returns when the sessions closed."""
    # A timeout more: an end follows the last step by as much, and until then the session is open.
    settled_before_ms -= timeout_ms
    if not track.summaries and (not track.sessions or track.sessions[0].last_ms >= settled_before_ms):
        if track.ends:
            _let_go_of_ends(track, before_ms)
        return []  # the common case, fast: the first to end has not ended so long ago
    over, kept = Track(ends=track.ends), Track()
    for sessions, summaries in _together(track):
        last_ms = max([*(one.last_ms for one in sessions), *(told.span()[1] for told in summaries)])
        put_into = over if last_ms < settled_before_ms else kept
        put_into.sessions += sessions
        put_into.summaries += summaries
    closed = [counted.closes_ms for counted in over.counted(timeout_ms)]
    if closed:
        track.sessions, track.summaries = kept.sessions, kept.summaries
    _let_go_of_ends(track, before_ms)
    return closed


def _together(track: Track) -> Iterator[tuple[tuple[Session, ...], tuple[Told, ...]]]:
    """Sessions and summaries that may make a difference to one another: these are let go together."""
    if not track.summaries:
        for session in track.sessions:
            yield (session,), ()
        return
    sessions: tuple[Session, ...] = ()
    summaries: tuple[Told, ...] = ()
    until_ms = -1
    told: list[tuple[Span, Session | Told]] = [
        *(((session.first_ms, session.last_ms), session) for session in track.sessions),
        *((summary.span(), summary) for summary in track.summaries),
    ]
    for (first_ms, last_ms), one in sorted(told, key=itemgetter(0)):
        if until_ms >= 0 and first_ms > until_ms + LONGEST_PAUSE_MS:
            yield sessions, summaries
            sessions, summaries = (), ()
        if isinstance(one, Told):
            summaries = (*summaries, one)
        else:
            sessions = (*sessions, one)
        until_ms = max(until_ms, last_ms)
    yield sessions, summaries


def _let_go_of_ends(track: Track, before_ms: int) -> None:
    """Forget the ends that no session is left for."""
    needed_ms = min((session.first_ms for session in track.sessions), default=before_ms)
    if track.ends and track.ends[0].at_ms < min(before_ms, needed_ms):
        track.ends = tuple(end for end in track.ends if end.at_ms >= min(before_ms, needed_ms))


def closing_minutes(visits: Visits, timeout_ms: int) -> list[int]:
    """The minutes in which sessions close, in order; of those that were let go the last two."""
    minutes = [counted.closes_ms // MINUTE_MS for counted in visits.counted(timeout_ms)]
    minutes.extend(visits.settled_minutes)
    minutes.sort()
    return minutes
