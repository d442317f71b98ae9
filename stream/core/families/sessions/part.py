"""The sessions of one user: how steps, ends and summaries become sessions.

Steps with the same session id are one session, unless they are more than a day apart. Steps without an id are one
session as long as each follows within the timeout (30 minutes, as in GA4 and Plausible; a pause of exactly 30 minutes
is still within it). So a late step between two sessions joins them. An `end` is not a step. If it follows the last step
of a session within the timeout, it closes that session, at its own time. Any other session closes a timeout after its
last step. A summary describes a whole session, and closes it at its end. Summaries with the same session id describe
one session, unless there is more than a day between the end of one and the beginning of the next.

Steps are stored as pieces of sessions: a piece has those steps of one local day that belong together. Pieces of
neighbouring days are one session if the pause between them is short enough. So it is known what a session was at the
end of each day (`closed`).

Steps, ends and summaries are stored separately as long as late events can change the sessions that follow from them. So
the order of arrival does not matter.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from stream.core import reuse
from stream.core.events import Step, Summary
from stream.core.repeats import BYTES_OF_AN_IDENTITY, is_packed_in, packed
from stream.core.reuse import LONGEST_PAUSE_MS, TimeSpan
from stream.core.segments import NO_ATTRIBUTES, Attributes, AttributeValues, newest_attributes, newest_of, values_of
from stream.core.time import Span

# How many steps of a session are remembered, to recognise a step that is sent twice. This is more than a day of
# heartbeats every 30 s. There is a limit because a session may go on for ever.
MAX_KEPT_STEPS = 4_000

# Identities of steps, in order of arrival: as numbers, or packed where they are kept for ever.
Steps = tuple[int, ...] | bytes

# Of the values that an event tells those that count.
CountedValues = Callable[[AttributeValues], AttributeValues]

# In order of time.
_time_of = attrgetter("at_ms")
_span_of = attrgetter("span")


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps of one local day that belong together, steps of a whole session, or a session according to a summary."""

    first_ms: int
    last_ms: int
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None if the producer sends no engaged time
    prompted: bool | None = None  # the value of the first step; None if it has none
    has_prompted: bool = False  # whether any step has a value of `prompted`
    steps: Steps = ()  # to recognise a step that is sent twice; they are stored as numbers
    attributes: Attributes | None = None  # those of its own steps


class End(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An explicit end of a session."""

    at_ms: int
    engaged_ms: int  # -1 if there is none
    identity: int


class SummarySession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session according to the summary that outranks all others of it."""

    revision: int
    session: Session
    # From the first beginning to the last end of its summaries. A beginning that was too late is left out.
    span: TimeSpan
    # The summaries that outrank all that ended on the same day or before, in order of time.
    earlier: tuple["SummarySession", ...] = ()


class CountedSession(msgspec.Struct, frozen=True, gc=False):
    """A session as it counts in the numbers: with its explicit end, and with the time when it closes."""

    session: Session
    closes_ms: int
    steps_counted: bool = True  # whether its steps were received, and so have been counted one by one


class SessionGroup(msgspec.Struct, array_like=True, gc=False):
    """All sessions, ends and summaries with one session id, or all that have none."""

    sessions: tuple[Session, ...] = ()  # pieces of sessions, in order of time
    ends: tuple[End, ...] = ()  # in order of time
    summaries: tuple[SummarySession, ...] = ()  # one for each session that has summaries, in order of time

    def copy(self) -> "SessionGroup":
        """A copy that stays the same when this group changes."""
        return SessionGroup(self.sessions, self.ends, self.summaries)

    def counted(self, timeout_ms: int, pause_ms: int) -> Iterator[CountedSession]:
        """The sessions as they count. Steps that are no more than `pause_ms` apart belong together."""
        sessions = in_sessions(self.sessions, pause_ms)
        if not self.summaries:
            for pieces in sessions:
                yield closed(pieces, self.ends, timeout_ms)
            return
        wholes = [one.session for one in self.summaries]
        for pieces in sessions:
            if not any(is_near(pieces, whole) for whole in wholes):
                yield closed(pieces, self.ends, timeout_ms)
        for whole in wholes:
            yield CountedSession(whole, whole.last_ms, any(is_near(pieces, whole) for pieces in sessions))


def in_sessions(pieces: tuple[Session, ...], pause_ms: int) -> list[tuple[Session, ...]]:
    """Pieces in order of time, by the sessions to which they belong."""
    if len(pieces) <= 1:
        return [pieces] if pieces else []
    sessions: list[tuple[Session, ...]] = []
    begins = 0
    for index in range(1, len(pieces)):
        if pieces[index].first_ms > pieces[index - 1].last_ms + pause_ms:
            sessions.append(pieces[begins:index])
            begins = index
    sessions.append(pieces[begins:])
    return sessions


def is_near(pieces: Sequence[Session], whole: Session) -> bool:
    """Whether a summary includes the steps of this session, which it does up to a day before and after its end.

    If the session of the summary is longer, earlier steps are a session of their own, because they may already be
    dropped when the summary arrives.
    """
    ends_ms = whole.last_ms
    return ends_ms - LONGEST_PAUSE_MS <= pieces[-1].last_ms and pieces[0].first_ms <= ends_ms + LONGEST_PAUSE_MS


def closed(pieces: Sequence[Session], ends: tuple[End, ...], timeout_ms: int) -> CountedSession:
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
            return CountedSession(ended, end.at_ms)
    return CountedSession(session, latest_ms)


def times_of_steps(group: SessionGroup) -> Iterator[int]:
    """The times of the steps that are remembered: their identities begin with them (`messages.identity_of`)."""
    for piece in group.sessions:
        for identity in piece.steps:
            yield piece.first_ms + ((identity >> 32) - piece.first_ms & 0xFFFFFFFF)


class UserSessions(msgspec.Struct, array_like=True, gc=False):
    """The sessions of one user that late events can still change, and when the last two of the others closed."""

    by_id: dict[str, SessionGroup] = {}
    without_id: SessionGroup = msgspec.field(default_factory=SessionGroup)
    final_closing_minutes: tuple[int, ...] = ()  # of the last two dropped sessions
    # By identity: the times of the last steps that belong to no session, negative of those that are counted.
    steps_outside: dict[int, int] = {}
    # By session id: the groups that have changed since the totals were updated, as they were then. Never stored.
    booked: dict[str | None, SessionGroup] | None = None
    closings: list[int] | None = None  # the minutes in which the booked sessions close; None until needed; never stored
    # By id, the groups that were different at the end of an earlier day; known with the closings, and never stored.
    versioned: set[str | None] | None = None

    def groups(self) -> Iterator[SessionGroup]:
        """The group without an id, and those of each id."""
        yield self.without_id
        yield from self.by_id.values()

    def named_tracks(self) -> Iterator[tuple[str | None, SessionGroup]]:
        """The same with the ids."""
        yield None, self.without_id
        yield from self.by_id.items()

    def counted(self, timeout_ms: int) -> Iterator[CountedSession]:
        """Every session, in no particular order."""
        yield from self.without_id.counted(timeout_ms, timeout_ms)
        for group in self.by_id.values():
            yield from group.counted(timeout_ms, LONGEST_PAUSE_MS)


def session_of_summary(summary: Summary, counted: CountedValues) -> SummarySession:
    """The session of a summary. `counted` returns those of its values that count."""
    return SummarySession(
        summary.revision,
        Session(
            summary.started_ms,
            summary.at_ms,
            summary.page_views,
            summary.key_events,
            summary.engaged_ms,
            summary.prompted,
            summary.prompted is not None,
            attributes=newest_attributes(None, counted(summary.segments), summary.at_ms),
        ),
        (summary.at_ms if summary.start_is_late else summary.started_ms, summary.at_ms),
    )


def with_summary_in(
    summaries: tuple[SummarySession, ...], summary: SummarySession, span: Span
) -> tuple[SummarySession, ...]:
    """The summaries after one more. Of one session the higher revision counts, then the later end, then larger counts.

    Returns `summaries` itself if nothing follows from it, now or at the end of an earlier day.
    """
    near = [one for one in summaries if reuse.is_near(one.span, summary.span, LONGEST_PAUSE_MS)]
    known = [single for one in near for single in (*one.earlier, msgspec.structs.replace(one, earlier=()))]
    if any(_rank(one) == _rank(summary) for one in known):
        return summaries
    whole_span = summary.span
    for one in near:
        whole_span = reuse.of_both(whole_span, one.span)
    ranked = sorted((*known, summary), key=_rank)
    kept = [ranked[-1]]
    for one in reversed(ranked[:-1]):
        ends_ms = one.session.last_ms
        if ends_ms < kept[-1].session.last_ms and not span.is_same_day(ends_ms, kept[-1].session.last_ms):
            kept.append(one)
    after = msgspec.structs.replace(kept[0], span=whole_span, earlier=tuple(reversed(kept[1:])))
    if len(near) == 1 and after == near[0]:
        return summaries
    return tuple(sorted((*(one for one in summaries if one not in near), after), key=_span_of))


def _rank(summary_session: SummarySession) -> tuple[Any, ...]:
    session = summary_session.session
    engaged = -1 if session.engaged_ms is None else session.engaged_ms
    counts = (session.views, session.key_events, engaged, _prompted_rank(session.prompted))
    return (summary_session.revision, session.last_ms, -session.first_ms, *counts, *values_of(session.attributes))


def _prompted_rank(prompted: bool | None) -> int:
    return -1 if prompted is None else int(prompted)


def session_of_step(step: Step, counted: CountedValues) -> Session:
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
        None if step.segments is NO_ATTRIBUTES else newest_attributes(None, counted(step.segments), step.at_ms),
    )


def with_step(session: Session, step: Step, counted: CountedValues) -> Session:
    """The session after one more step. Returns `session` itself if the step is known already and tells nothing new.

    The same step sent twice may tell other segments: then the greater values count, as of two steps of one moment.
    """
    at_ms, first_ms, last_ms, steps = step.at_ms, session.first_ms, session.last_ms, session.steps
    prompted = session.prompted
    if at_ms > last_ms:  # the common case, fast
        last_ms = at_ms
    elif _is_one_of(steps, step.identity):  # a step that is newer than all others can't have been sent before
        attributes = newest_attributes(session.attributes, counted(step.segments), at_ms)
        return session if attributes is session.attributes else msgspec.structs.replace(session, attributes=attributes)
    elif at_ms < first_ms:
        first_ms, prompted = at_ms, step.prompted
    elif at_ms == first_ms and _prompted_rank(step.prompted) > _prompted_rank(prompted):
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
        session.has_prompted or step.prompted is not None,
        (*(steps if len(steps) <= MAX_KEPT_STEPS else steps[-MAX_KEPT_STEPS:]), step.identity)
        if type(steps) is tuple
        else _with_more(steps, (step.identity,)),
        session.attributes
        if step.segments is NO_ATTRIBUTES
        else newest_attributes(session.attributes, counted(step.segments), at_ms),
    )


def _is_one_of(steps: Steps, identity: int) -> bool:
    return is_packed_in(steps, identity) if type(steps) is bytes else identity in steps


def _with_more(steps: Steps, more: Steps) -> Steps:
    """The newest of all of these identities. They are packed if any of them are."""
    if type(steps) is tuple and type(more) is tuple:
        return (*steps, *more)[-MAX_KEPT_STEPS - 1 :]
    before = steps if type(steps) is bytes else packed(steps)
    return (before + (more if type(more) is bytes else packed(more)))[-BYTES_OF_AN_IDENTITY * (MAX_KEPT_STEPS + 1) :]


def with_packed_steps(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """The same with the identities of steps packed. Returns `sessions` itself if they are."""
    for session in sessions:
        if type(session.steps) is tuple:
            return tuple(
                [
                    one if type(one.steps) is bytes else msgspec.structs.replace(one, steps=_with_more(b"", one.steps))
                    for one in sessions
                ]
            )
    return sessions


def with_later_steps(session: Session, steps: Sequence[Step], counted: CountedValues) -> Session:
    """The session after more steps, each of which is later than all before it."""
    views, key_events, engaged_ms, has_prompted = (
        session.views,
        session.key_events,
        session.engaged_ms,
        session.has_prompted,
    )
    known = session.steps
    identities = []
    for step in steps:
        identities.append(step.identity)
        if step.is_view:
            views += 1
        if step.is_key_event:
            key_events += 1
        if step.engaged_ms is not None:
            engaged_ms = step.engaged_ms + (engaged_ms or 0)
        if step.prompted is not None:
            has_prompted = True
    return Session(
        session.first_ms,
        steps[-1].at_ms,
        views,
        key_events,
        engaged_ms,
        session.prompted,
        has_prompted,
        (*known, *identities)[-MAX_KEPT_STEPS - 1 :] if type(known) is tuple else _with_more(known, tuple(identities)),
        _attributes_after(session.attributes, steps, counted),
    )


def _attributes_after(
    attributes: Attributes | None, steps: Sequence[Step], counted: CountedValues
) -> Attributes | None:
    """What is known of segments after steps in order of time; mostly all tell the same."""
    values, told_ms = NO_ATTRIBUTES, 0
    for step in steps:
        if step.segments is not values and step.segments is not NO_ATTRIBUTES:
            if values is not NO_ATTRIBUTES:
                attributes = newest_attributes(attributes, counted(values), told_ms)
            values = step.segments
        if step.segments is values:
            told_ms = step.at_ms
    return attributes if values is NO_ATTRIBUTES else newest_attributes(attributes, counted(values), told_ms)


def with_steps_in(
    sessions: tuple[Session, ...], steps: Sequence[Step], pause_ms: int, span: Span, counted: CountedValues
) -> tuple[tuple[Session, ...], Sequence[int]]:
    """Apply several steps as `with_step_in` does. Also returns the indexes of those that are known already."""
    known: tuple[int, ...] = ()
    index, count = 0, len(steps)
    while index < count:
        end = index
        if sessions:
            latest = sessions[-1]
            last_ms = latest.last_ms
            ends_ms = span.ends_ms
            if not span.starts_ms <= last_ms < ends_ms:
                ends_ms = span.end_of_day(last_ms)
            while end < count and last_ms < (at_ms := steps[end].at_ms) <= last_ms + pause_ms and at_ms < ends_ms:
                last_ms = at_ms
                end += 1
        if end > index:  # the common case, fast: these steps only extend the latest session
            grown = with_later_steps(latest, steps[index:end], counted)
            sessions = (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
            index = end
            continue
        if _is_known(sessions, steps[index]):
            known = (*known, index)
        sessions = with_step_in(sessions, steps[index], pause_ms, span, counted)
        index += 1
    return sessions, known


def _is_known(sessions: tuple[Session, ...], step: Step) -> bool:
    """Whether a step was sent before."""
    at_ms = step.at_ms
    return any(
        session.first_ms <= at_ms <= session.last_ms and _is_one_of(session.steps, step.identity)
        for session in sessions
    )


def with_step_in(
    sessions: tuple[Session, ...], step: Step, pause_ms: int, span: Span, counted: CountedValues
) -> tuple[Session, ...]:
    """Apply a step, which extends a piece of its day, joins two, or begins a new one.

    Steps that are no more than `pause_ms` apart belong together. Returns `sessions` itself if the step is known
    already and tells
    nothing new.
    """
    at_ms = step.at_ms
    if not sessions:
        return (session_of_step(step, counted),)
    latest = sessions[-1]
    if at_ms >= latest.first_ms:  # the common case, fast: no earlier session is near
        if at_ms > latest.last_ms + pause_ms or (
            at_ms > latest.last_ms and not span.is_same_day(latest.last_ms, at_ms)
        ):
            return (*sessions, session_of_step(step, counted))
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
        return (*sessions[:before], session_of_step(step, counted), *sessions[before:])
    before = next(index for index, session in enumerate(sessions) if session is near[0])
    whole = near[0] if len(near) == 1 else joined(near)
    grown = with_step(whole, step, counted)
    if grown is whole and len(near) == 1:
        return sessions
    return (*sessions[:before], grown, *sessions[before + len(near) :])


def joined(sessions: Sequence[Session]) -> Session:
    """Sessions or pieces in order of time as one."""
    steps: Steps = ()
    for session in sessions:
        steps = _with_more(steps, session.steps)
    return msgspec.structs.replace(whole_of(sessions), steps=steps)


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
        any(session.has_prompted for session in sessions),
        attributes=newest_of(session.attributes for session in sessions),
    )


def with_end_in(ends: tuple[End, ...], step: Step) -> tuple[End, ...]:
    """The ends after one more. Returns `ends` itself if it is known already."""
    end = End(step.at_ms, -1 if step.engaged_ms is None else step.engaged_ms, step.identity)
    index = bisect_left(ends, end)
    if index < len(ends) and ends[index] == end:
        return ends
    return (*ends[:index], end, *ends[index:])[-MAX_KEPT_STEPS:]
