"""The sessions of one user: how steps, ends and summaries become sessions.

Steps that carry a session id are sessions of that id: one, unless they lie more than a day apart. Steps without one are
sessions where they lie no more than the timeout apart (30 minutes, as GA4 and Plausible; a gap of exactly that still
belongs). So a late step between two sessions joins them. An `end` is no step: it closes the session whose last step it
follows within the timeout, at its own time. Any other session closes a timeout after its last step. A summary tells a
whole session and closes it at its end.

What is kept of steps are pieces: those of one local day that belong together. Pieces of neighbouring days that lie no
further apart than steps may are one session. So it is known what a session was at the end of each day (`closed`).

Everything that was told is kept apart, as long as late events can change what follows from it, so that no order of
arrival makes a difference.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from stream.core.events import Step, Summary
from stream.core.segments import NOT_TOLD, Told, Values, newest_of, told_at
from stream.core.time import DAY_MS, Span

# More steps than a day of heartbeats every 30 s has. A session that never ends must not grow for ever; a step sent
# twice is known among the last so many.
STEPS_REMEMBERED = 4_000

# Of the values that an event tells those that count.
CountedValues = Callable[[Values], Values]

# In order of time.
_time_of = attrgetter("at_ms")

# Steps of one id that lie further apart belong to two sessions.
LONGEST_PAUSE_MS = DAY_MS


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps of one local day that belong together, steps of a whole session, or what a summary tells of them."""

    first_ms: int
    last_ms: int
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None where the producer sends no engaged time
    prompted: bool | None = None  # what the first step says; None where it says nothing
    says_prompted: bool = False  # whether any step says something of it
    steps: tuple[int, ...] = ()  # identities, to know a step sent twice
    told: Told | None = None  # of segments, by its own steps


class End(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An explicit end of a session."""

    at_ms: int
    engaged_ms: int  # -1 where none is told
    identity: int


class Summarized(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session as a summary tells it."""

    revision: int
    session: Session


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A session as it counts: with its end, and when it closes."""

    session: Session
    closes_ms: int
    steps_told: bool = True  # whether its steps are counted by themselves


class Track(msgspec.Struct, array_like=True, gc=False):
    """All that was told of one session id, or without one."""

    sessions: tuple[Session, ...] = ()  # pieces of sessions, in order of time
    ends: tuple[End, ...] = ()  # in order of time
    summary: Summarized | None = None  # the one that outranks all others
    earlier: tuple[
        Summarized, ...
    ] = ()  # those that outrank all that ended on the same day or before, in order of time

    def copy(self) -> "Track":
        """The same, for one that is changed to be compared with."""
        return Track(self.sessions, self.ends, self.summary, self.earlier)

    def counted(self, timeout_ms: int, pause_ms: int) -> Iterator[Counted]:
        """The sessions that follow from what was told; steps no more than `pause_ms` apart belong together."""
        if self.summary is None:
            for pieces in in_sessions(self.sessions, pause_ms):
                yield closed(pieces, self.ends, timeout_ms)
            return
        whole = self.summary.session
        replaced = False
        for pieces in in_sessions(self.sessions, pause_ms):
            if is_near(pieces, whole):
                replaced = True
            else:
                yield closed(pieces, self.ends, timeout_ms)
        yield Counted(whole, whole.last_ms, replaced)


def in_sessions(pieces: tuple[Session, ...], pause_ms: int) -> list[tuple[Session, ...]]:
    """Pieces in order of time, by the sessions to which they belong."""
    if len(pieces) <= 1:
        return [pieces] if pieces else []
    sessions: list[tuple[Session, ...]] = []
    begins = 0
    for place in range(1, len(pieces)):
        if pieces[place].first_ms > pieces[place - 1].last_ms + pause_ms:
            sessions.append(pieces[begins:place])
            begins = place
    sessions.append(pieces[begins:])
    return sessions


def is_near(pieces: Sequence[Session], whole: Session) -> bool:
    """Whether a summary tells the steps of this session too: they come within a day of its end, before or after.

    Steps at the beginning of a longer one are a session of their own: they may have been let go when it is told.
    """
    ends_ms = whole.last_ms
    return ends_ms - LONGEST_PAUSE_MS <= pieces[-1].last_ms and pieces[0].first_ms <= ends_ms + LONGEST_PAUSE_MS


def closed(pieces: Sequence[Session], ends: tuple[End, ...], timeout_ms: int) -> Counted:
    """The session that these pieces are, with its end."""
    session = pieces[0] if len(pieces) == 1 else whole_of(pieces)
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
    # Never stored, and known with the closings: by id the tracks that were otherwise at the end of an earlier day.
    versioned: set[str | None] | None = None

    def tracks(self) -> Iterator[Track]:
        """What was told with each id, and without one."""
        yield self.by_gap
        yield from self.by_id.values()

    def named_tracks(self) -> Iterator[tuple[str | None, Track]]:
        """The same with the ids."""
        yield None, self.by_gap
        yield from self.by_id.items()

    def counted(self, timeout_ms: int) -> Iterator[Counted]:
        """Every session, in no particular order."""
        yield from self.by_gap.counted(timeout_ms, timeout_ms)
        for track in self.by_id.values():
            yield from track.counted(timeout_ms, LONGEST_PAUSE_MS)


def of_summary(summary: Summary, counted: CountedValues) -> Summarized:
    """The session that a summary tells; `counted` says which values count."""
    return Summarized(
        summary.revision,
        Session(
            summary.started_ms,
            summary.at_ms,
            summary.page_views,
            summary.key_events,
            summary.engaged_ms,
            summary.prompted,
            summary.prompted is not None,
            told=told_at(None, counted(summary.segments), summary.at_ms),
        ),
    )


def take_summary(track: Track, told: Summarized, span: Span) -> bool:
    """Take a summary in: the highest revision counts, then the latest end, then larger counts.

    Returns whether anything follows from it: it counts now, or at the end of an earlier day.
    """
    known = track.summary
    if known is None:
        track.summary = told
        return True
    if any(_rank(one) == _rank(told) for one in (*track.earlier, known)):
        return False
    ranked = sorted((*track.earlier, known, told), key=_rank)
    kept = [ranked[-1]]
    for one in reversed(ranked[:-1]):
        ends_ms = one.session.last_ms
        if ends_ms < kept[-1].session.last_ms and not span.is_same_day(ends_ms, kept[-1].session.last_ms):
            kept.append(one)
    if not any(one is told for one in kept):
        return False
    track.summary, track.earlier = kept[0], tuple(reversed(kept[1:]))
    return True


def _rank(told: Summarized) -> tuple[Any, ...]:
    session = told.session
    engaged = -1 if session.engaged_ms is None else session.engaged_ms
    counts = (session.views, session.key_events, engaged, _said(session.prompted))
    values = NOT_TOLD if session.told is None else session.told.values
    return (told.revision, session.last_ms, -session.first_ms, *counts, *values)


def _said(prompted: bool | None) -> int:
    return -1 if prompted is None else int(prompted)


def of_step(step: Step, counted: CountedValues) -> Session:
    """The session that a first step begins; `counted` says which values count."""
    return Session(
        step.at_ms,
        step.at_ms,
        1 if step.is_view else 0,
        1 if step.is_key_event else 0,
        step.engaged_ms,
        step.prompted,
        step.prompted is not None,
        (step.identity,),
        None if step.segments is NOT_TOLD else told_at(None, counted(step.segments), step.at_ms),
    )


def with_step(session: Session, step: Step, counted: CountedValues) -> Session:
    """The session after one more step, or the very same when the step is known already and tells nothing new.

    The same step sent twice may tell other segments: then the greater values count, as of two steps of one moment.
    """
    at_ms, first_ms, last_ms, steps = step.at_ms, session.first_ms, session.last_ms, session.steps
    prompted = session.prompted
    if at_ms > last_ms:  # the common case, fast
        last_ms = at_ms
    elif step.identity in steps:  # only a step that is not the newest can be one sent twice
        told = told_at(session.told, counted(step.segments), at_ms)
        return session if told is session.told else msgspec.structs.replace(session, told=told)
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
        session.told if step.segments is NOT_TOLD else told_at(session.told, counted(step.segments), at_ms),
    )


def with_later_steps(session: Session, steps: Sequence[Step], counted: CountedValues) -> Session:
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
        _told_after(session.told, steps, counted),
    )


def _told_after(told: Told | None, steps: Sequence[Step], counted: CountedValues) -> Told | None:
    """What is known of segments after steps in order of time; mostly all tell the same."""
    values, told_ms = NOT_TOLD, 0
    for step in steps:
        if step.segments is not values and step.segments is not NOT_TOLD:
            if values is not NOT_TOLD:
                told = told_at(told, counted(values), told_ms)
            values = step.segments
        if step.segments is values:
            told_ms = step.at_ms
    return told if values is NOT_TOLD else told_at(told, counted(values), told_ms)


def with_steps_in(
    sessions: tuple[Session, ...], steps: Sequence[Step], pause_ms: int, span: Span, counted: CountedValues
) -> tuple[tuple[Session, ...], Sequence[int]]:
    """Put steps where they belong, as `with_step_in` does; returns also the places of those that are known already."""
    known: tuple[int, ...] = ()
    place, count = 0, len(steps)
    while place < count:
        end = place
        if sessions:
            latest = sessions[-1]
            last_ms = latest.last_ms
            ends_ms = span.ends_ms
            if not span.starts_ms <= last_ms < ends_ms:
                ends_ms = span.end_of_day(last_ms)
            while end < count and last_ms < (at_ms := steps[end].at_ms) <= last_ms + pause_ms and at_ms < ends_ms:
                last_ms = at_ms
                end += 1
        if end > place:  # the common case, fast: they only lengthen the latest session
            grown = with_later_steps(latest, steps[place:end], counted)
            sessions = (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
            place = end
            continue
        if _is_known(sessions, steps[place]):
            known = (*known, place)
        sessions = with_step_in(sessions, steps[place], pause_ms, span, counted)
        place += 1
    return sessions, known


def _is_known(sessions: tuple[Session, ...], step: Step) -> bool:
    """Whether a step was sent before."""
    at_ms = step.at_ms
    return any(session.first_ms <= at_ms <= session.last_ms and step.identity in session.steps for session in sessions)


def with_step_in(
    sessions: tuple[Session, ...], step: Step, pause_ms: int, span: Span, counted: CountedValues
) -> tuple[Session, ...]:
    """Put a step where it belongs: into a piece of its day, between two that it joins, or on its own.

    Steps no more than `pause_ms` apart belong together. Returns the very same when the step is known already and tells
    nothing new.
    """
    at_ms = step.at_ms
    if not sessions:
        return (of_step(step, counted),)
    latest = sessions[-1]
    if at_ms >= latest.first_ms:  # the common case, fast: no earlier session is near
        if at_ms > latest.last_ms + pause_ms or (
            at_ms > latest.last_ms and not span.is_same_day(latest.last_ms, at_ms)
        ):
            return (*sessions, of_step(step, counted))
        grown = with_step(latest, step, counted)
        if grown is latest:
            return sessions
        return (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
    near = tuple(
        session
        for session in sessions
        if session.first_ms - pause_ms <= at_ms <= session.last_ms + pause_ms
        and (session.first_ms <= at_ms <= session.last_ms or span.is_same_day(session.last_ms, at_ms))
    )
    if not near:
        before = sum(session.last_ms < at_ms for session in sessions)
        return (*sessions[:before], of_step(step, counted), *sessions[before:])
    before = next(place for place, session in enumerate(sessions) if session is near[0])
    whole = near[0] if len(near) == 1 else joined(near)
    grown = with_step(whole, step, counted)
    if grown is whole and len(near) == 1:
        return sessions
    return (*sessions[:before], grown, *sessions[before + len(near) :])


def joined(sessions: Sequence[Session]) -> Session:
    """Sessions or pieces in order of time as one."""
    steps = tuple(identity for session in sessions for identity in session.steps)
    return msgspec.structs.replace(whole_of(sessions), steps=steps[-STEPS_REMEMBERED - 1 :])


def whole_of(sessions: Sequence[Session]) -> Session:
    """The same without the identities of steps."""
    engaged = [session.engaged_ms for session in sessions if session.engaged_ms is not None]
    return Session(
        sessions[0].first_ms,
        sessions[-1].last_ms,
        sum(session.views for session in sessions),
        sum(session.key_events for session in sessions),
        sum(engaged) if engaged else None,
        sessions[0].prompted,
        any(session.says_prompted for session in sessions),
        told=newest_of(session.told for session in sessions),
    )


def with_end_in(ends: tuple[End, ...], step: Step) -> tuple[End, ...]:
    """The ends with one more, or the very same when it is known already."""
    end = End(step.at_ms, -1 if step.engaged_ms is None else step.engaged_ms, step.identity)
    place = bisect_left(ends, end)
    if place < len(ends) and ends[place] == end:
        return ends
    return (*ends[:place], end, *ends[place:])[-STEPS_REMEMBERED:]
