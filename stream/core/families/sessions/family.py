"""Sessions: how long users stay, how many pages they view, and how many bounce.

A session is booked in the minute in which it will close, which is in the future while it is open. It enters the windows
when the clock reaches that minute, so no timer is needed. A visitor is booked in the minute in which the last session
closed.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stream.core.events import Event, Step, Summary
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.sessions import messages, numbers
from stream.core.families.sessions.metrics import METRICS
from stream.core.families.sessions.part import (
    MAX_KEPT_STEPS,
    MAX_PAUSE_MS,
    SessionGroup,
    UserSessions,
    closing_minutes,
    outranks,
    prune,
    session_of_summary,
    with_end_in,
    with_steps_in,
)
from stream.core.ring import latest_bookings, second_latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS, SECOND_MS
from stream.core.windows import SESSIONS

_VISITOR = {numbers.VISITORS: 1}
_REPEAT_VISITOR = {numbers.REPEAT_VISITORS: 1}
_STEP = {numbers.STEPS: 1}

_decode = msgspec.msgpack.Decoder(UserSessions).decode


class SessionsFamily(Family[UserSessions]):
    """Sessions in windows of their closing time."""

    name = "sessions"
    number = 2
    windows = SESSIONS
    metrics = METRICS
    message_kinds = (messages.SESSIONS,)
    reported_ahead = (numbers.SESSIONS,)  # the open ones

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._timeout_ms = rules.session_timeout_ms
        self._steps: dict[int, int] = {}  # by minute: the number of steps that are not booked yet

    @classmethod
    def state_settings(cls, rules: Rules) -> dict[str, str]:
        return {
            "session_timeout": f"{rules.session_timeout_ms // SECOND_MS}s",
            "session_cap": f"{rules.session_cap_ms // SECOND_MS}s",
            **super().state_settings(rules),
        }

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Step: self.apply_steps, Summary: one_by_one(self.apply_summary)}

    def apply_steps(self, part: UserSessions, steps: Sequence[Step], changed: bytearray, now: int) -> None:
        """Apply steps: a step extends its session, begins a new one, or joins two. An end may close a session."""
        indexes: dict[str | None, list[int]] = {}  # by session id; most steps of a user in a batch have the same one
        for index, step in enumerate(steps):
            if step.is_end or not step.is_interactive or not step.in_session:
                changed[index] |= self._apply_end(part, step) if step.is_end else self._apply_step_outside(part, step)
            elif step.session_id in indexes:
                indexes[step.session_id].append(index)
            else:
                indexes[step.session_id] = [index]
        for session_id, of_session in indexes.items():
            group, pause_ms = self._group_of(part, session_id)
            sessions, known = with_steps_in(group.sessions, [steps[index] for index in of_session], pause_ms)
            if sessions is not group.sessions:
                self._record_booked(part, session_id, group)
                group.sessions = sessions
                for number, index in enumerate(of_session):
                    if number not in known:
                        changed[index] = True
                        self._count_step(steps[index].at_ms)

    def _group_of(self, part: UserSessions, session_id: str | None) -> tuple[SessionGroup, int]:
        """The sessions of an id, or those without one, and the longest pause between two steps of a session."""
        if session_id is None:
            return part.without_id, self._timeout_ms
        return part.by_id.get(session_id) or SessionGroup(), MAX_PAUSE_MS

    def _apply_end(self, part: UserSessions, step: Step) -> bool:
        if not step.is_interactive or not step.in_session:
            return self._apply_step_outside(part, step)
        group, _ = self._group_of(part, step.session_id)
        ends = with_end_in(group.ends, step)
        if ends is group.ends:
            return False
        self._record_booked(part, step.session_id, group)
        group.ends = ends
        return True

    def _apply_step_outside(self, part: UserSessions, step: Step) -> bool:
        """Remember a step that belongs to no session, and count it if it is interactive."""
        steps_outside = part.steps_outside
        if step.identity in steps_outside:
            return False
        if len(steps_outside) >= MAX_KEPT_STEPS:
            del steps_outside[next(iter(steps_outside))]
        steps_outside[step.identity] = step.at_ms
        if step.is_interactive and not step.is_end:
            self._count_step(step.at_ms)
        return True

    def _count_step(self, at_ms: int) -> None:
        minute = at_ms // MINUTE_MS
        self._steps[minute] = self._steps.get(minute, 0) + 1

    def apply_summary(self, part: UserSessions, summary: Summary, now: int) -> bool:
        """Apply a summary, which describes a whole session and replaces its steps."""
        summary_session = session_of_summary(summary)
        group = part.by_id.get(summary.session_id) or SessionGroup()
        if not outranks(summary_session, group.summary):
            return False
        self._record_booked(part, summary.session_id, group)
        group.summary = summary_session
        return True

    def _record_booked(self, part: UserSessions, session_id: str | None, group: SessionGroup) -> None:
        """Record what is booked of a group before it changes."""
        booked = part.booked
        if booked is None:
            booked = part.booked = {}
            self.changed.append(part)
            if part.closings is None:
                part.closings = closing_minutes(part, self._timeout_ms)
        if session_id not in booked:
            booked[session_id] = group.copy()
            if session_id is not None:
                part.by_id[session_id] = group

    def new(self) -> UserSessions:
        return UserSessions()

    def decode(self, stored: msgspec.Raw) -> UserSessions:
        return _decode(stored)

    def stored(self, part: UserSessions) -> object:
        without_id = part.without_id
        if part.by_id or without_id.sessions or without_id.ends or part.final_closing_minutes or part.steps_outside:
            return (part.by_id, without_id, part.final_closing_minutes, part.steps_outside)
        return None

    def prune(self, part: UserSessions, horizon: Horizon) -> None:
        prune(part, before_ms=horizon.before_ms, timeout_ms=self._timeout_ms)

    def last_ms(self, part: UserSessions) -> int:
        closings = (counted.closes_ms for counted in part.counted(self._timeout_ms))
        return max(
            max(part.final_closing_minutes, default=0) * MINUTE_MS,
            max(closings, default=0),
            max((end.at_ms for group in part.groups() for end in group.ends), default=0),
            max(part.steps_outside.values(), default=0),
        )

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        super().update_totals(now)
        for minute, steps in self._steps.items():
            self.ring.count(minute, _STEP, steps)
        self._steps.clear()

    def book(self, parts: list[UserSessions]) -> None:
        for part in parts:
            booked, part.booked = part.booked, None
            closings = part.closings
            assert booked is not None
            assert closings is not None
            before = _minutes_to_book(closings, self.ring.now)
            for session_id, old in booked.items():
                self._rebook(old, part.without_id if session_id is None else part.by_id[session_id], closings)
            after = _minutes_to_book(closings, self.ring.now)
            if after != before:
                for minutes, times in ((before, -1), (after, 1)):
                    self.ring.book(latest_bookings(minutes, _VISITOR), times=times)
                    if len(minutes) > 1:
                        self.ring.book(second_latest_bookings(minutes, _REPEAT_VISITOR), times=times)

    def _rebook(self, old: SessionGroup, new: SessionGroup, closings: list[int]) -> None:
        """Take the old sessions of a group out of the totals and book the new ones, except those that are the same."""
        kept: set[int] = set()
        if len(new.sessions) > 1 and old.ends is new.ends and old.summary is new.summary is None:
            kept = {id(session) for session in old.sessions} & {id(session) for session in new.sessions}
        for group, times in ((old, -1), (new, 1)):
            for counted in group.counted(self._timeout_ms):
                if id(counted.session) not in kept:
                    minute = counted.closes_ms // MINUTE_MS
                    self.ring.count(minute, numbers.amounts_of(counted, cap_ms=self.rules.session_cap_ms), times)
                    if times > 0:
                        insort(closings, minute)
                    else:
                        del closings[bisect_left(closings, minute)]

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        yield Sample("engagement_open_sessions", {}, sums.ahead.get(numbers.SESSIONS, 0))
        for window, length in self.lengths.items():
            yield from numbers.of_window({"window": window}, sums.live.get(length, {}))


def _minutes_to_book(closings: list[int], now: int) -> list[int]:
    """The closing minutes in which a visitor is booked: the last two that have come, and all future ones."""
    return closings[max(0, bisect_right(closings, now) - 2) :]
