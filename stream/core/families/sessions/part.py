"""The sessions of one user: how steps and summaries become sessions.

A session with an id is the steps that carry it. Without one it is the steps of one user no more than the timeout
apart (30 minutes, as GA4 and Plausible; a gap of exactly that still belongs), so a late step between two sessions joins
them. A session closes at its explicit end, when no step follows it, else a timeout after its last step. A summary tells
a whole session and closes it at its end.
"""

from collections.abc import Iterable

import msgspec

from stream.core.events import Step, Summary
from stream.core.time import MINUTE_MS

# More steps than a day of heartbeats every 30 s has. A session that never ends must not grow for ever; a step sent
# twice is known among the last so many.
_STEPS_REMEMBERED = 4_000


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


class Booked(msgspec.Struct, gc=False):
    """What a user's visits had contributed when the totals were settled last, as far as it has changed since."""

    sessions: dict[str, Session | None]  # by id: those that have changed, as they were; None for new ones
    by_gap: tuple[Session, ...]
    visitor: list[int]  # the minutes in which the sessions closed


class Visits(msgspec.Struct, array_like=True, gc=False):
    """The sessions of one user that late events can still change, and when the last of the others closed."""

    by_id: dict[str, Session] = {}
    by_gap: tuple[Session, ...] = ()  # in order of time
    settled_minute: int | None = None
    booked: Booked | None = None  # while the totals don't hold the visits as they are now; never stored

    def all(self) -> Iterable[Session]:
        """Every session, in no particular order."""
        if not self.by_gap:  # most send ids or send none
            return self.by_id.values()
        return (*self.by_id.values(), *self.by_gap) if self.by_id else self.by_gap


def of_summary(summary: Summary) -> Session:
    """The session that a summary tells."""
    return Session(
        summary.started_ms,
        summary.ended_ms,
        summary.ended_ms,
        summary.page_views,
        summary.key_events,
        summary.engaged_ms,
        (),
        summary.revision,
    )


def outranks(one: Session, other: Session | None) -> bool:
    """Whether a summary counts instead of what was told before of its session.

    It does instead of steps; of two summaries the highest revision wins, then the latest end, then the larger counts.
    """
    return other is None or other.revision is None or _rank(one) > _rank(other)


def _rank(told: Session) -> tuple[int, ...]:
    engaged = -1 if told.engaged_ms is None else told.engaged_ms
    return (told.revision or 0, told.last_ms, -told.first_ms, told.views, told.key_events, engaged)


def of_step(step: Step) -> Session:
    """The session that a first step begins."""
    return Session(
        step.at_ms,
        step.at_ms,
        step.at_ms if step.is_end else None,
        1 if step.is_view else 0,
        1 if step.is_key_event else 0,
        step.engaged_ms,
        (step.identity,),
    )


def with_step(session: Session, step: Step) -> Session:
    """The session after one more step, or the very same when the step is known already."""
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


def with_gap_step(sessions: tuple[Session, ...], step: Step, timeout_ms: int) -> tuple[Session, ...]:
    """Put a step where it belongs: into a session, between two that it joins, or on its own."""
    at_ms = step.at_ms
    if sessions and at_ms >= sessions[-1].first_ms:  # the common case, fast: no earlier session is near
        latest = sessions[-1]
        if at_ms > latest.last_ms + timeout_ms:
            return (*sessions, of_step(step))
        grown = with_step(latest, step)
        return sessions if grown is latest else (*sessions[:-1], grown)
    before = tuple(session for session in sessions if session.last_ms + timeout_ms < at_ms)
    after = tuple(session for session in sessions if at_ms + timeout_ms < session.first_ms)
    near = sessions[len(before) : len(sessions) - len(after)]
    if not near:
        return (*before, of_step(step), *after)
    joined = near[0] if len(near) == 1 else _joined(near)
    grown = with_step(joined, step)
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


def is_settled(session: Session, before_ms: int, timeout_ms: int) -> bool:
    """Whether no event from `before_ms` on can change a session."""
    # One timeout more, so that no step still to come can join it to a later session.
    return session.last_ms + 2 * timeout_ms < before_ms


def let_go(visits: Visits, *, before_ms: int, timeout_ms: int) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    gone = [session for session in visits.all() if is_settled(session, before_ms, timeout_ms)]
    if not gone:
        return
    minutes = [session.closes_ms(timeout_ms) // MINUTE_MS for session in gone]
    if visits.settled_minute is not None:
        minutes.append(visits.settled_minute)
    visits.by_id = {name: kept for name, kept in visits.by_id.items() if not is_settled(kept, before_ms, timeout_ms)}
    visits.by_gap = tuple(kept for kept in visits.by_gap if not is_settled(kept, before_ms, timeout_ms))
    visits.settled_minute = max(minutes)
