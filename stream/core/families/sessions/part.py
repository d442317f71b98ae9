"""The sessions of one user: how steps, ends and summaries become sessions.

Steps with the same session id are one session, unless they are more than a day apart. Steps without an id are one
session as long as each follows within the timeout (30 minutes, as in GA4 and Plausible; a pause of exactly 30 minutes
is still within it). So a late step between two sessions joins them. An `end` is not a step. If it follows the last step
of a session within the timeout, it closes that session, at its own time. Any other session closes a timeout after its
last step. A summary describes a whole session, and closes it at its end.

Steps, ends and summaries are stored separately as long as late events can change the sessions that follow from them. So
the order of arrival does not matter.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from stream.core.events import Step, Summary
from stream.core.time import DAY_MS, MINUTE_MS

# How many steps of a session are remembered, to recognise a step that is sent twice. This is more than a day of
# heartbeats every 30 s. There is a limit because a session may go on for ever.
MAX_KEPT_STEPS = 4_000

# In order of time.
_time_of = attrgetter("at_ms")

# Steps of one id that are further apart belong to two sessions.
MAX_PAUSE_MS = DAY_MS


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Steps that belong together, or a session according to a summary."""

    first_ms: int
    last_ms: int
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None if the producer sends no engaged time
    prompted: bool | None = None  # the value of the first step; None if it has none
    has_prompted: bool = False  # whether any step has a value of `prompted`
    steps: tuple[int, ...] = ()  # identities, to recognise a step that is sent twice


class End(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An explicit end of a session."""

    at_ms: int
    engaged_ms: int  # -1 if there is none
    identity: int


class SummarySession(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A session according to a summary."""

    revision: int
    session: Session


class CountedSession(msgspec.Struct, frozen=True, gc=False):
    """A session as it counts in the numbers: with its explicit end, and with the time when it closes."""

    session: Session
    closes_ms: int
    steps_counted: bool = True  # whether its steps were received, and so have been counted one by one


class SessionGroup(msgspec.Struct, array_like=True, gc=False):
    """All sessions, ends and summaries with one session id, or all that have none."""

    sessions: tuple[Session, ...] = ()  # of steps, in order of time
    ends: tuple[End, ...] = ()  # in order of time
    summary: SummarySession | None = None

    def copy(self) -> "SessionGroup":
        """A copy that stays the same when this group changes."""
        return SessionGroup(self.sessions, self.ends, self.summary)

    def counted(self, timeout_ms: int) -> Iterator[CountedSession]:
        """The sessions as they count."""
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
    """Whether a summary includes the steps of this session, which it does up to a day before and after its end.

    If the session of the summary is longer, earlier steps are a session of their own, because they may already be
    dropped when the summary arrives.
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
    """The sessions of one user that late events can still change, and when the last two of the others closed."""

    by_id: dict[str, SessionGroup] = {}
    without_id: SessionGroup = msgspec.field(default_factory=SessionGroup)
    final_closing_minutes: tuple[int, ...] = ()  # of the last two dropped sessions
    steps_outside: dict[int, int] = {}  # by identity: the times of the last steps that belong to no session
    # By session id: the groups that have changed since the totals were updated, as they were then. Never stored.
    booked: dict[str | None, SessionGroup] | None = None
    closings: list[int] | None = None  # the minutes in which the booked sessions close; None until needed; never stored

    def groups(self) -> Iterator[SessionGroup]:
        """The group without an id, and those of each id."""
        yield self.without_id
        yield from self.by_id.values()

    def counted(self, timeout_ms: int) -> Iterator[CountedSession]:
        """Every session, in no particular order."""
        for group in self.groups():
            yield from group.counted(timeout_ms)


def session_of_summary(summary: Summary) -> SummarySession:
    """The session of a summary."""
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
    """Whether a summary replaces another one: by the higher revision, then the later end, then the larger counts."""
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
    """The session after one more step. Returns `session` itself if the step is known already."""
    at_ms, first_ms, last_ms, steps = step.at_ms, session.first_ms, session.last_ms, session.steps
    prompted = session.prompted
    if at_ms > last_ms:  # the common case, fast
        last_ms = at_ms
    elif step.identity in steps:  # a step that is newer than all others can't have been sent before
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
    """The session after more steps, each of which is later than all before it."""
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
    """Apply several steps as `with_step_in` does. Also returns the indexes of those that are known already."""
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
        if end > index:  # the common case, fast: these steps only extend the latest session
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
    """Apply a step, which extends a session, joins two, or begins a new one.

    Steps that are no more than `pause_ms` apart belong together. Returns `sessions` itself if the step is known
    already.
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
    """The ends after one more. Returns `ends` itself if it is known already."""
    end = End(step.at_ms, -1 if step.engaged_ms is None else step.engaged_ms, step.identity)
    index = bisect_left(ends, end)
    if index < len(ends) and ends[index] == end:
        return ends
    return (*ends[:index], end, *ends[index:])[-MAX_KEPT_STEPS:]


def prune(user_sessions: UserSessions, *, before_ms: int, timeout_ms: int) -> None:
    """Drop the sessions that no event from `before_ms` on can change. What they contribute stays booked."""
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
    """Drop the sessions that ended before. Returns when they closed."""
    # A timeout more, because an end may follow the last step by so much, and until then the session is open.
    final_before_ms -= timeout_ms
    if _is_simple(group) and (not group.sessions or group.sessions[0].last_ms >= final_before_ms):
        return []  # the common case, fast: not even the oldest session ended so long ago
    whole = None if group.summary is None else group.summary.session
    near = [session for session in group.sessions if whole is not None and _is_near(session, whole)]
    # The sessions that a summary replaces are dropped together with it.
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
    """Drop the ends that no remaining session needs."""
    needed_ms = min((session.first_ms for session in group.sessions), default=before_ms)
    if group.ends and group.ends[0].at_ms < min(before_ms, needed_ms):
        group.ends = tuple(end for end in group.ends if end.at_ms >= min(before_ms, needed_ms))


def _is_simple(group: SessionGroup) -> bool:
    """Whether there is neither a summary nor an end."""
    return group.summary is None and not group.ends


def closing_minutes(user_sessions: UserSessions, timeout_ms: int) -> list[int]:
    """The minutes in which sessions close, in order, with those of the last two dropped sessions."""
    minutes = [counted.closes_ms // MINUTE_MS for counted in user_sessions.counted(timeout_ms)]
    minutes.extend(user_sessions.final_closing_minutes)
    minutes.sort()
    return minutes
