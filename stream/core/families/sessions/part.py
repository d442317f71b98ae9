"""The sessions of one user: how steps, ends and summaries become sessions.

Steps that carry a session id are sessions of that id: one, unless they lie more than a day apart. Steps without one are
sessions where they lie no more than the timeout apart (30 minutes, as GA4 and Plausible; a gap of exactly that still
belongs). So a late step between two sessions joins them. An `end` is no step: it closes the session whose last step it
follows within the timeout, at its own time. Any other session closes a timeout after its last step. A summary tells a
whole session and closes it at its end.

Everything that was told is kept apart, as long as late events can change what follows from it, so that no order of
arrival makes a difference.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from stream.core.events import Step, Summary
from stream.core.time import DAY_MS, MINUTE_MS

# More steps than a day of heartbeats every 30 s has. A session that never ends must not grow for ever; a step sent
# twice is known among the last so many.
MAX_KEPT_STEPS = 4_000

# In order of time.
_time_of = attrgetter("at_ms")

# Steps of one id that lie further apart belong to two sessions.
MAX_PAUSE_MS = DAY_MS


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps that belong together, or what a summary tells of them."""

    first_ms: int
    last_ms: int
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None where the producer sends no engaged time
    prompted: bool | None = None  # what the first step says; None where it says nothing
    has_prompted: bool = False  # whether any step says something of it
    steps: tuple[int, ...] = ()  # identities, to know a step sent twice


class End(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An explicit end of a session."""

    at_ms: int
    engaged_ms: int  # -1 where none is told
    identity: int


class SummarySession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session as a summary tells it."""

    revision: int
    session: Session


class CountedSession(msgspec.Struct, frozen=True, gc=False):
    """A session as it counts: with its end, and when it closes."""

    session: Session
    closes_ms: int
    steps_counted: bool = True  # whether its steps are counted by themselves


class SessionGroup(msgspec.Struct, array_like=True, gc=False):
    """All that was told of one session id, or without one."""

    sessions: tuple[Session, ...] = ()  # of steps, in order of time
    ends: tuple[End, ...] = ()  # in order of time
    summary: SummarySession | None = None

    def copy(self) -> "SessionGroup":
        """The same, for one that is changed to be compared with."""
        return SessionGroup(self.sessions, self.ends, self.summary)

    def counted(self, timeout_ms: int) -> Iterator[CountedSession]:
        """The sessions that follow from what was told."""
        if self.summary is None:
            for session in self.sessions:
                yield _with_closing_time(session, self.ends, timeout_ms)
            return
        whole = self.summary.session
        replaced = False
        for session in self.sessions:
            if _is_near(session, whole):
                replaced = True
            else:
                yield _with_closing_time(session, self.ends, timeout_ms)
        yield CountedSession(whole, whole.last_ms, replaced)


def _is_near(session: Session, whole: Session) -> bool:
    """Whether a summary tells the steps of this session too: they come within a day of its end, before or after.

    Steps at the beginning of a longer one are a session of their own: they may have been let go when it is told.
    """
    ends_ms = whole.last_ms
    return ends_ms - MAX_PAUSE_MS <= session.last_ms and session.first_ms <= ends_ms + MAX_PAUSE_MS


def _with_closing_time(session: Session, ends: tuple[End, ...], timeout_ms: int) -> CountedSession:
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


class UserSessions(msgspec.Struct, array_like=True, gc=False):
    """The sessions of one user that late events can still change, and when the last of the others closed."""

    by_id: dict[str, SessionGroup] = {}
    without_id: SessionGroup = msgspec.field(default_factory=SessionGroup)
    final_closing_minutes: tuple[int, ...] = ()  # of the last two to close
    steps_outside: dict[int, int] = {}  # the last steps that are in no session, by identity: their times
    # Never stored: by id the tracks that have changed since the totals were settled, as they were, where any has.
    booked: dict[str | None, SessionGroup] | None = None
    closings: list[int] | None = None  # never stored: the minutes in which sessions close, as booked; None until asked

    def groups(self) -> Iterator[SessionGroup]:
        """What was told with each id, and without one."""
        yield self.without_id
        yield from self.by_id.values()

    def counted(self, timeout_ms: int) -> Iterator[CountedSession]:
        """Every session, in no particular order."""
        for group in self.groups():
            yield from group.counted(timeout_ms)


def session_of_summary(summary: Summary) -> SummarySession:
    """The session that a summary tells."""
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
        ),
    )


def outranks(one: SummarySession, other: SummarySession | None) -> bool:
    """Whether a summary counts instead of another: the highest revision, then the latest end, then larger counts."""
    return other is None or _rank(one) > _rank(other)


def _rank(summary_session: SummarySession) -> tuple[int, ...]:
    session = summary_session.session
    engaged = -1 if session.engaged_ms is None else session.engaged_ms
    counts = (session.views, session.key_events, engaged, _prompted_rank(session.prompted))
    return (summary_session.revision, session.last_ms, -session.first_ms, *counts)


def _prompted_rank(prompted: bool | None) -> int:
    return -1 if prompted is None else int(prompted)


def session_of_step(step: Step) -> Session:
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
        (*(steps if len(steps) <= MAX_KEPT_STEPS else steps[-MAX_KEPT_STEPS:]), step.identity),
    )


def with_later_steps(session: Session, steps: Sequence[Step]) -> Session:
    """The session after more steps, each later than all before it."""
    views, key_events, engaged_ms, has_prompted = (
        session.views,
        session.key_events,
        session.engaged_ms,
        session.has_prompted,
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
            has_prompted = True
    return Session(
        session.first_ms,
        steps[-1].at_ms,
        views,
        key_events,
        engaged_ms,
        session.prompted,
        has_prompted,
        tuple(identities[-MAX_KEPT_STEPS - 1 :]),
    )


def with_steps_in(
    sessions: tuple[Session, ...], steps: Sequence[Step], pause_ms: int
) -> tuple[tuple[Session, ...], Sequence[int]]:
    """Put steps where they belong, as `with_step_in` does; returns also the places of those that are known already."""
    known: tuple[int, ...] = ()
    index, count = 0, len(steps)
    while index < count:
        end = index
        if sessions:
            latest = sessions[-1]
            last_ms = latest.last_ms
            while end < count and last_ms < steps[end].at_ms <= last_ms + pause_ms:
                last_ms = steps[end].at_ms
                end += 1
        if end > index:  # the common case, fast: they only lengthen the latest session
            grown = with_later_steps(latest, steps[index:end])
            sessions = (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
            index = end
            continue
        after = with_step_in(sessions, steps[index], pause_ms)
        if after is sessions:
            known = (*known, index)
        sessions = after
        index += 1
    return sessions, known


def with_step_in(sessions: tuple[Session, ...], step: Step, pause_ms: int) -> tuple[Session, ...]:
    """Put a step where it belongs: into a session, between two that it joins, or on its own.

    Steps no more than `pause_ms` apart belong together. Returns the very same when the step is known already.
    """
    at_ms = step.at_ms
    if not sessions:
        return (session_of_step(step),)
    latest = sessions[-1]
    if at_ms >= latest.first_ms:  # the common case, fast: no earlier session is near
        if at_ms > latest.last_ms + pause_ms:
            return (*sessions, session_of_step(step))
        grown = with_step(latest, step)
        if grown is latest:
            return sessions
        return (*sessions[:-1], grown) if len(sessions) > 1 else (grown,)
    before = tuple(session for session in sessions if session.last_ms + pause_ms < at_ms)
    after = tuple(session for session in sessions if at_ms + pause_ms < session.first_ms)
    near = sessions[len(before) : len(sessions) - len(after)]
    if not near:
        return (*before, session_of_step(step), *after)
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
        any(session.has_prompted for session in sessions),
        tuple(identity for session in sessions for identity in session.steps),
    )


def with_end_in(ends: tuple[End, ...], step: Step) -> tuple[End, ...]:
    """The ends with one more, or the very same when it is known already."""
    end = End(step.at_ms, -1 if step.engaged_ms is None else step.engaged_ms, step.identity)
    index = bisect_left(ends, end)
    if index < len(ends) and ends[index] == end:
        return ends
    return (*ends[:index], end, *ends[index:])[-MAX_KEPT_STEPS:]


def prune(user_sessions: UserSessions, *, before_ms: int, timeout_ms: int) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    if user_sessions.steps_outside:
        for identity in [identity for identity, at_ms in user_sessions.steps_outside.items() if at_ms < before_ms]:
            del user_sessions.steps_outside[identity]
    closings = _prune_group(user_sessions.without_id, before_ms - timeout_ms, before_ms, timeout_ms)
    for session_id, group in list(user_sessions.by_id.items()):
        closings += _prune_group(group, before_ms - MAX_PAUSE_MS, before_ms, timeout_ms)
        if not group.sessions and not group.ends and group.summary is None:
            del user_sessions.by_id[session_id]
    if closings:
        minutes = sorted(closes_ms // MINUTE_MS for closes_ms in closings)
        user_sessions.final_closing_minutes = tuple(sorted((*user_sessions.final_closing_minutes, *minutes))[-2:])
        user_sessions.closings = None


def _prune_group(group: SessionGroup, final_before_ms: int, before_ms: int, timeout_ms: int) -> list[int]:
    """Forget what ended before; returns when the sessions closed."""
    # A timeout more: an end follows the last step by as much, and until then the session is open.
    final_before_ms -= timeout_ms
    if _is_simple(group) and (not group.sessions or group.sessions[0].last_ms >= final_before_ms):
        return []  # the common case, fast: the first to end has not ended so long ago
    whole = None if group.summary is None else group.summary.session
    near = [session for session in group.sessions if whole is not None and _is_near(session, whole)]
    # What a summary replaces goes when it goes.
    is_final = whole is not None and all(one.last_ms < final_before_ms for one in (whole, *near))
    kept, closed = [], []
    for session in group.sessions:
        if any(session is one for one in near):
            if not is_final:
                kept.append(session)
        elif session.last_ms < final_before_ms:
            closed.append(_with_closing_time(session, group.ends, timeout_ms).closes_ms)
        else:
            kept.append(session)
    if whole is not None and is_final:
        closed.append(whole.last_ms)
        group.summary = None
    if len(kept) < len(group.sessions):
        group.sessions = tuple(kept)
    _prune_ends(group, before_ms)
    return closed


def _prune_ends(group: SessionGroup, before_ms: int) -> None:
    """Forget the ends that no session is left for."""
    needed_ms = min((session.first_ms for session in group.sessions), default=before_ms)
    if group.ends and group.ends[0].at_ms < min(before_ms, needed_ms):
        group.ends = tuple(end for end in group.ends if end.at_ms >= min(before_ms, needed_ms))


def _is_simple(group: SessionGroup) -> bool:
    """Whether nothing but steps was told, of which none ended a session."""
    return group.summary is None and not group.ends


def closing_minutes(user_sessions: UserSessions, timeout_ms: int) -> list[int]:
    """The minutes in which sessions close, in order; of those that were let go the last two."""
    minutes = [counted.closes_ms // MINUTE_MS for counted in user_sessions.counted(timeout_ms)]
    minutes.extend(user_sessions.final_closing_minutes)
    minutes.sort()
    return minutes
