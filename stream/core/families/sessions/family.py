"""Sessions: how long people stay, how much they look at, and who leaves at once.

A session is booked in the minute in which it closes, which lies ahead while it is open: then no timer is needed, it
enters the windows as the clock passes. A visitor is booked in the minute of the last session that closed.
"""

from collections.abc import Iterator, Mapping

import msgspec

from stream.core.events import Event, Step, Summary
from stream.core.families.family import Family, Heard, Horizon
from stream.core.families.sessions import messages, numbers
from stream.core.families.sessions.metrics import METRICS
from stream.core.families.sessions.part import (
    Booked,
    Session,
    Visits,
    let_go,
    of_step,
    of_summary,
    outranks,
    with_gap_step,
    with_step,
)
from stream.core.ring import latest
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS, SECOND_MS
from stream.core.windows import SESSIONS

_VISITOR = {numbers.VISITORS: 1}

_decode = msgspec.msgpack.Decoder(Visits).decode


class SessionsFamily(Family[Visits]):
    """Sessions, by the windows in which they closed."""

    name = "sessions"
    number = 2
    windows = SESSIONS
    metrics = METRICS
    messages = (messages.SESSIONS,)
    told_ahead = (numbers.SESSIONS,)  # the open ones

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._timeout_ms = rules.session_timeout_ms

    @classmethod
    def stored_by(cls, rules: Rules) -> dict[str, str]:
        return {
            "session_timeout": f"{rules.session_timeout_ms // SECOND_MS}s",
            "session_cap": f"{rules.session_cap_ms // SECOND_MS}s",
            **super().stored_by(rules),
        }

    # -- the part of a user ----------------------------------------------------------------------------------------

    def hears(self) -> Mapping[type[Event], Heard]:
        return {Step: self.hear_step, Summary: self.hear_summary}

    def hear_step(self, part: Visits, step: Step, now: int) -> bool:
        """A step lengthens its session, begins one, or joins two."""
        session_id = step.session_id
        if session_id is None:
            by_gap = with_gap_step(part.by_gap, step, self._timeout_ms)
            if by_gap is part.by_gap:
                return False
            if part.booked is None:
                self._note(part)
            part.by_gap = by_gap
            return True
        old = part.by_id.get(session_id)
        if old is None:
            new = of_step(step)
        elif old.revision is not None:  # a summary tells the whole session
            return False
        else:
            new = with_step(old, step)
            if new is old:
                return False
        self._put(part, session_id, old, new)
        return True

    def hear_summary(self, part: Visits, summary: Summary, now: int) -> bool:
        """A summary tells a whole session."""
        old, new = part.by_id.get(summary.session_id), of_summary(summary)
        if not outranks(new, old):
            return False
        self._put(part, summary.session_id, old, new)
        return True

    def _put(self, part: Visits, session_id: str, old: Session | None, new: Session) -> None:
        changed = (part.booked or self._note(part)).sessions
        if session_id not in changed:
            changed[session_id] = old
        part.by_id[session_id] = new

    def _note(self, part: Visits) -> Booked:
        """Note what is booked of a part before it changes."""
        booked = part.booked = Booked({}, part.by_gap, self._closing_minutes(part))
        self.changed.append(part)
        return booked

    def new(self) -> Visits:
        return Visits()

    def decode(self, stored: msgspec.Raw) -> Visits:
        return _decode(stored)

    def stored(self, part: Visits) -> object:
        if part.by_id or part.by_gap or part.settled_minute is not None:
            return (part.by_id, part.by_gap, part.settled_minute)
        return None

    def let_go(self, part: Visits, horizon: Horizon) -> None:
        let_go(part, before_ms=horizon.before_ms, timeout_ms=self._timeout_ms)

    def last_ms(self, part: Visits) -> int:
        closings = (session.closes_ms(self._timeout_ms) for session in part.all())
        return max((part.settled_minute or 0) * MINUTE_MS, max(closings, default=0))

    # -- totals ----------------------------------------------------------------------------------------------------

    def _closing_minutes(self, part: Visits) -> list[int]:
        timeout_ms = self._timeout_ms
        minutes = {session.closes_ms(timeout_ms) // MINUTE_MS for session in part.all()}
        if part.settled_minute is not None:
            minutes.add(part.settled_minute)
        return sorted(minutes)

    def book(self, parts: list[Visits]) -> None:
        for part in parts:
            before, part.booked = part.booked, None
            assert before is not None
            for session_id, old in before.sessions.items():
                self._count(old, -1)
                self._count(part.by_id[session_id])
            if before.by_gap is not part.by_gap:
                self._book_by_gap(before.by_gap, part.by_gap)
            minutes = self._closing_minutes(part)
            if minutes != before.visitor:
                self.ring.book(latest(before.visitor, _VISITOR), times=-1)
                self.ring.book(latest(minutes, _VISITOR))

    def _book_by_gap(self, before: tuple[Session, ...], after: tuple[Session, ...]) -> None:
        kept = {id(session) for session in before} & {id(session) for session in after}
        for sessions, times in ((before, -1), (after, 1)):
            for session in sessions:
                if id(session) not in kept:
                    self._count(session, times)

    def _count(self, session: Session | None, times: int = 1) -> None:
        """Book a session in the minute in which it closes, or take it out of there."""
        if session is not None:
            minute = session.closes_ms(self._timeout_ms) // MINUTE_MS
            self.ring.count(minute, numbers.contribution(session, cap_ms=self.rules.session_cap_ms), times)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        yield Sample("engagement_open_sessions", {}, sums.ahead.get(numbers.SESSIONS, 0))
        for window, length in self.lengths.items():
            yield from numbers.of_window({"window": window}, sums.live.get(length, {}))
