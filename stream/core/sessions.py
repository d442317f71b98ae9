"""Sessions: how long people stay, how much they look at, and who leaves at once.

A session with an id is the steps that carry it. Without one it is the steps of one user no more than the timeout
apart (30 minutes, as GA4 and Plausible; a gap of exactly that still belongs), so a late step between two sessions joins
them. A session closes at its explicit end, when no step follows it, else a timeout after its last step; it is booked
in the minute of that closing, which lies ahead while it is open. A summary tells a whole session and closes it at its
end.
"""

from collections.abc import Iterable

import msgspec

from stream.core import fields
from stream.core.events import Step, Summary
from stream.core.histogram import bin_of
from stream.core.ring import Booking, latest
from stream.core.time import DAY_MS, MINUTE_MS

# GA4: engaged is a session of 10 s or longer, with a key event, or with two or more views.
_GA4_ENGAGED_MS = 10_000

# More steps than a day of heartbeats every 30 s has. A session that never ends must not grow for ever; a step sent
# twice is known among the last so many.
_STEPS_REMEMBERED = 4_000

_VISITOR = {fields.VISITORS: 1}


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of one session."""

    first_ms: int
    last_ms: int
    ended_ms: int | None = None  # the latest explicit end
    views: int = 0
    key_events: int = 0
    engaged_ms: int | None = None  # None where the producer sends no engaged time
    steps: tuple[int, ...] = ()  # identities, to know a step sent twice
    revision: int | None = None  # of a summary; None for a session told in steps

    def closes_ms(self, timeout_ms: int) -> int:
        """When the session closes: at an explicit end that nothing follows, else a timeout after its last step."""
        return self.last_ms if self.ended_ms == self.last_ms else self.last_ms + timeout_ms


class Visits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The sessions of one user that late events can still change, and when the last of the others closed."""

    by_id: dict[str, Session] = {}
    by_gap: tuple[Session, ...] = ()  # in order of time
    settled_minute: int | None = None

    def all(self) -> Iterable[Session]:
        """Every session, in no particular order."""
        if not self.by_gap:  # most send ids or send none
            return self.by_id.values()
        return (*self.by_id.values(), *self.by_gap) if self.by_id else self.by_gap


NO_VISITS = Visits()


def with_step(visits: Visits, step: Step, *, timeout_ms: int) -> Visits:
    """The visits after one more step, or the very same when the step is known already."""
    if step.session_id is None:
        by_gap = _with_gap_step(visits.by_gap, step, timeout_ms)
        return visits if by_gap is visits.by_gap else Visits(visits.by_id, by_gap, visits.settled_minute)
    old = visits.by_id.get(step.session_id)
    if old is None:
        new = _of_step(step)
    elif old.revision is not None:  # a summary tells the whole session
        return visits
    else:
        new = _grown(old, step)
        if new is old:
            return visits
    return Visits({**visits.by_id, step.session_id: new}, visits.by_gap, visits.settled_minute)


def with_summary(visits: Visits, summary: Summary) -> Visits:
    """The visits after a summary: the highest revision wins, then the latest end, then the larger counts."""
    new = Session(
        summary.started_ms,
        summary.ended_ms,
        summary.ended_ms,
        summary.page_views,
        summary.key_events,
        summary.engaged_ms,
        (),
        summary.revision,
    )
    old = visits.by_id.get(summary.session_id)
    if old is not None and old.revision is not None and _rank(old) >= _rank(new):
        return visits
    return Visits({**visits.by_id, summary.session_id: new}, visits.by_gap, visits.settled_minute)


def _rank(told: Session) -> tuple[int, ...]:
    engaged = -1 if told.engaged_ms is None else told.engaged_ms
    return (told.revision or 0, told.last_ms, -told.first_ms, told.views, told.key_events, engaged)


def _of_step(step: Step) -> Session:
    return Session(
        step.at_ms,
        step.at_ms,
        step.at_ms if step.is_end else None,
        1 if step.is_view else 0,
        1 if step.is_key_event else 0,
        step.engaged_ms,
        (step.identity,),
    )


def _grown(session: Session, step: Step) -> Session:
    at_ms, first_ms, last_ms, steps = step.at_ms, session.first_ms, session.last_ms, session.steps
    if at_ms > last_ms:  # the common case, fast
        last_ms = at_ms
    elif step.identity in steps:  # only a step that is not the newest can be one sent twice
        return session
    else:
        first_ms = min(first_ms, at_ms)
    ended_ms = session.ended_ms
    if step.is_end and (ended_ms is None or at_ms > ended_ms):
        ended_ms = at_ms
    engaged_ms = session.engaged_ms
    if step.engaged_ms is not None:
        engaged_ms = step.engaged_ms + (engaged_ms or 0)
    return Session(
        first_ms,
        last_ms,
        ended_ms,
        session.views + 1 if step.is_view else session.views,
        session.key_events + 1 if step.is_key_event else session.key_events,
        engaged_ms,
        (*(steps if len(steps) <= _STEPS_REMEMBERED else steps[-_STEPS_REMEMBERED:]), step.identity),
    )


def _with_gap_step(sessions: tuple[Session, ...], step: Step, timeout_ms: int) -> tuple[Session, ...]:
    """Put a step where it belongs: into a session, between two that it joins, or on its own."""
    at_ms = step.at_ms
    if sessions and at_ms >= sessions[-1].first_ms:  # the common case, fast: no earlier session is near
        latest = sessions[-1]
        if at_ms > latest.last_ms + timeout_ms:
            return (*sessions, _of_step(step))
        grown = _grown(latest, step)
        return sessions if grown is latest else (*sessions[:-1], grown)
    before = tuple(session for session in sessions if session.last_ms + timeout_ms < at_ms)
    after = tuple(session for session in sessions if at_ms + timeout_ms < session.first_ms)
    near = sessions[len(before) : len(sessions) - len(after)]
    if not near:
        return (*before, _of_step(step), *after)
    joined = near[0] if len(near) == 1 else _joined(near)
    grown = _grown(joined, step)
    return sessions if grown is joined and len(near) == 1 else (*before, grown, *after)


def _joined(sessions: tuple[Session, ...]) -> Session:
    engaged = [session.engaged_ms for session in sessions if session.engaged_ms is not None]
    ends = [session.ended_ms for session in sessions if session.ended_ms is not None]
    return Session(
        sessions[0].first_ms,
        sessions[-1].last_ms,
        max(ends, default=None),
        sum(session.views for session in sessions),
        sum(session.key_events for session in sessions),
        sum(engaged) if engaged else None,
        tuple(identity for session in sessions for identity in session.steps),
    )


def settled(visits: Visits, *, before_ms: int, timeout_ms: int) -> Visits:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    if not any(_is_settled(session, before_ms, timeout_ms) for session in visits.all()):
        return visits
    gone = [session for session in visits.all() if _is_settled(session, before_ms, timeout_ms)]
    minutes = [session.closes_ms(timeout_ms) // MINUTE_MS for session in gone]
    if visits.settled_minute is not None:
        minutes.append(visits.settled_minute)
    return Visits(
        {name: kept for name, kept in visits.by_id.items() if not _is_settled(kept, before_ms, timeout_ms)},
        tuple(kept for kept in visits.by_gap if not _is_settled(kept, before_ms, timeout_ms)),
        max(minutes),
    )


def _is_settled(session: Session, before_ms: int, timeout_ms: int) -> bool:
    # One timeout more, so that no step still to come can join it to a later session.
    return session.last_ms + 2 * timeout_ms < before_ms


def contribution(session: Session, *, cap_ms: int = DAY_MS) -> dict[int, int]:
    """What one closed session adds to each number. One longer than `cap_ms` counts as that long."""
    duration_ms = min(session.last_ms - session.first_ms, cap_ms)
    amounts = {fields.SESSIONS: 1, fields.FIRST_DURATION_BIN + bin_of(duration_ms): 1}
    if duration_ms:
        amounts[fields.DURATION_MS] = duration_ms
    if session.engaged_ms is not None:
        amounts[fields.SESSIONS_WITH_ENGAGED_TIME] = 1
        if session.engaged_ms:
            amounts[fields.ENGAGED_MS] = session.engaged_ms
    if session.views:
        amounts[fields.SESSIONS_WITH_VIEWS] = 1
        amounts[fields.PAGE_VIEWS] = session.views
        if session.views == 1 and not session.key_events:
            amounts[fields.SINGLE_PAGE_BOUNCES] = 1
            attention_ms = duration_ms if session.engaged_ms is None else session.engaged_ms
            if attention_ms < _GA4_ENGAGED_MS:
                amounts[fields.GA4_BOUNCES] = 1
    return amounts


def bookings(sessions: Iterable[Session], *, timeout_ms: int, cap_ms: int = DAY_MS) -> list[Booking]:
    """Each session in the minute in which it closes."""
    return [
        Booking(session.closes_ms(timeout_ms) // MINUTE_MS, contribution(session, cap_ms=cap_ms))
        for session in sessions
    ]


def visitor_bookings(visits: Visits, *, timeout_ms: int) -> list[Booking]:
    """One visitor, in the minute of the last session that closed."""
    minutes = {session.closes_ms(timeout_ms) // MINUTE_MS for session in visits.all()}
    if visits.settled_minute is not None:
        minutes.add(visits.settled_minute)
    return latest(sorted(minutes), _VISITOR)


def changed(old: Visits, new: Visits) -> tuple[list[Session], list[Session]]:
    """The sessions to take out of the totals and those to book, between two states of one user's visits."""
    gone = [session for name, session in old.by_id.items() if new.by_id.get(name) is not session]
    come = [session for name, session in new.by_id.items() if old.by_id.get(name) is not session]
    if old.by_gap is not new.by_gap:
        kept = {id(session) for session in old.by_gap} & {id(session) for session in new.by_gap}
        gone += [session for session in old.by_gap if id(session) not in kept]
        come += [session for session in new.by_gap if id(session) not in kept]
    return gone, come
