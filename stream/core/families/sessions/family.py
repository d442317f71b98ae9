"""Sessions: how long users stay, how many pages they view, and how many bounce.

A session is booked in the minute in which it will close, which is in the future while it is open. It enters the windows
when the clock reaches that minute, so no timer is needed. A visitor is booked in the minute in which the last session
closed.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.days import Version
from stream.core.events import Event, Step, Summary
from stream.core.families.family import BySegment, EventHandler, Family, Horizon, one_by_one
from stream.core.families.sessions import messages, numbers
from stream.core.families.sessions.closed import Closing, closings_of, earlier_versions, visits_of, was_otherwise
from stream.core.families.sessions.letting_go import closing_minutes, prune
from stream.core.families.sessions.metrics import METRICS, NAMES_BY_SEGMENT
from stream.core.families.sessions.part import (
    MAX_KEPT_STEPS,
    CountedSession,
    Session,
    SessionGroup,
    UserSessions,
    closed,
    in_sessions,
    session_of_summary,
    times_of_steps,
    with_end_in,
    with_packed_steps,
    with_steps_in,
    with_summary_in,
)
from stream.core.readable import readable
from stream.core.repeats import PackedTimes
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.ring import Booking, latest_bookings, second_latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS, SECOND_MS, Span, iso
from stream.core.windows import SEGMENTS_SESSIONS, SESSIONS

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
    by_segment = BySegment(NAMES_BY_SEGMENT, SEGMENTS_SESSIONS, numbers.OF_VALUE)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._timeout_ms = rules.session_timeout_ms
        self._packs = rules.packs_identities
        self._day_of = rules.days.day_of
        self._span, self._span_let_go = Span(rules.days), Span(rules.days)
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
            self._hear_of_session(part, session_id, steps, of_session, changed)

    def _hear_of_session(
        self,
        part: UserSessions,
        session_id: str | None,
        steps: Sequence[Step],
        indexes: Sequence[int],
        changed: bytearray,
    ) -> None:
        """Hear those steps that are of one session id, or of none."""
        group, pause_ms = self._group_of(part, session_id)
        own = [steps[index] for index in indexes]
        sessions, known = with_steps_in(group.sessions, own, pause_ms, self._span, self.counted)
        if sessions is group.sessions:
            return
        self._record_booked(part, session_id, group)
        group.sessions = with_packed_steps(sessions) if self._packs else sessions
        for number, index in enumerate(indexes):
            if number not in known:
                changed[index] = True
                self._count_step(steps[index].at_ms)
        if len(known) == len(indexes):  # one sent twice has told another value
            changed[indexes[-1]] = True

    def _group_of(self, part: UserSessions, session_id: str | None) -> tuple[SessionGroup, int]:
        """The sessions of an id, or those without one, and the longest pause between two steps of a session."""
        if session_id is None:
            return part.without_id, self._timeout_ms
        return part.by_id.get(session_id) or SessionGroup(), LONGEST_PAUSE_MS

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
        if len(steps_outside) >= MAX_KEPT_STEPS and not self._packs:
            del steps_outside[next(iter(steps_outside))]
        # A negative time is that of a step that is counted, so that it can be taken out again.
        is_counted = step.is_interactive and not step.is_end
        steps_outside[step.identity] = -step.at_ms if is_counted else step.at_ms
        if is_counted:
            self._count_step(step.at_ms)
        return True

    def _count_step(self, at_ms: int) -> None:
        minute = at_ms // MINUTE_MS
        self._steps[minute] = self._steps.get(minute, 0) + 1

    def apply_summary(self, part: UserSessions, summary: Summary, now: int) -> bool:
        """Apply a summary, which describes a whole session and replaces its steps."""
        group = part.by_id.get(summary.session_id) or SessionGroup()
        summaries = with_summary_in(group.summaries, session_of_summary(summary, self.counted), self._span)
        if summaries is group.summaries:
            return False
        self._record_booked(part, summary.session_id, group)
        group.summaries = summaries
        return True

    def _record_booked(self, part: UserSessions, session_id: str | None, group: SessionGroup) -> None:
        """Record what is booked of a group before it changes."""
        booked = part.booked
        if booked is None:
            booked = part.booked = {}
            self.changed.append(part)
            if part.closings is None:
                part.closings = closing_minutes(part, self._timeout_ms)
                part.versioned = set()
                if part.by_id or len(part.without_id.sessions) > 1 or len(part.without_id.ends) > 1:
                    groups = part.named_tracks()
                    part.versioned.update(name for name, one in groups if was_otherwise(one, self._pause_ms(name)))
        if session_id not in booked:
            booked[session_id] = group.copy()
            if session_id is not None:
                part.by_id[session_id] = group

    def _pause_ms(self, session_id: str | None) -> int:
        """How far apart steps of a session may lie."""
        return self._timeout_ms if session_id is None else LONGEST_PAUSE_MS

    def new(self) -> UserSessions:
        return UserSessions(steps_outside=PackedTimes()) if self._packs else UserSessions()

    def decode(self, stored: msgspec.Raw) -> UserSessions:
        return _decode(stored)

    def stored(self, part: UserSessions) -> object:
        without_id = part.without_id
        if part.by_id or without_id.sessions or without_id.ends or part.final_closing_minutes or part.steps_outside:
            return (part.by_id, without_id, part.final_closing_minutes, part.steps_outside)
        return None

    def prune(self, part: UserSessions, horizon: Horizon) -> None:
        if self.rules.erases:
            for at_ms in part.steps_outside.values():
                if horizon.before_ms > -at_ms > 0:
                    self.remember(-at_ms // MINUTE_MS, _STEP)
        prune(
            part,
            before_ms=horizon.before_ms,
            timeout_ms=self._timeout_ms,
            span=self._span_let_go,
            let_go=self._remember_sessions if self.rules.erases else None,
        )

    def _remember_sessions(self, group: SessionGroup, pause_ms: int) -> None:
        for counted in group.counted(self._timeout_ms, pause_ms):
            self.remember(counted.closes_ms // MINUTE_MS, numbers.amounts_of(counted, cap_ms=self.rules.session_cap_ms))
        for at_ms in times_of_steps(group):
            self.remember(at_ms // MINUTE_MS, _STEP)

    def last_ms(self, part: UserSessions) -> int:
        closings = (counted.closes_ms for counted in part.counted(self._timeout_ms))
        return max(
            max(part.final_closing_minutes, default=0) * MINUTE_MS,
            max(closings, default=0),
            max((end.at_ms for group in part.groups() for end in group.ends), default=0),
            max((one.span[1] for group in part.groups() for one in group.summaries), default=0),
            max(map(abs, part.steps_outside.values()), default=0),
        )

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        for minute, steps in self._steps.items():
            self.count(minute, _STEP, steps)
        self._steps.clear()
        super().update_totals(now)

    def book(self, parts: list[UserSessions]) -> None:
        for part in parts:
            booked, part.booked = part.booked, None
            closings = part.closings
            assert booked is not None
            assert closings is not None
            before = _minutes_to_book(closings, self.ring.now)
            gone: list[int] = []
            come: list[int] = []
            for session_id, old in booked.items():
                new = part.without_id if session_id is None else part.by_id[session_id]
                self._rebook(old, new, self._pause_ms(session_id), gone, come)
            self._book_days(part, booked, gone, come)
            for minute in gone:
                del closings[bisect_left(closings, minute)]
            for minute in come:
                insort(closings, minute)
            after = _minutes_to_book(closings, self.ring.now)
            if after != before:
                for minutes, times in ((before, -1), (after, 1)):
                    self.ring.book(latest_bookings(minutes, _VISITOR), times=times)
                    if len(minutes) > 1:
                        self.ring.book(second_latest_bookings(minutes, _REPEAT_VISITOR), times=times)

    def readable(self, part: UserSessions) -> Any:
        def of_group(group: SessionGroup) -> dict[str, Any]:
            sessions = [{**readable(piece), "steps": None} for piece in group.sessions]
            for piece, told in zip(group.sessions, sessions, strict=True):
                told["steps"] = [iso(at_ms) for at_ms in times_of_steps(SessionGroup((piece,)))]
            ends = [iso(end.at_ms) for end in group.ends]
            return {"sessions": sessions, "ends": ends, "summaries": readable(group.summaries)}

        return {
            "by_id": {session_id: of_group(group) for session_id, group in part.by_id.items()},
            "without_id": of_group(part.without_id),
            "last_sessions_closed_at": readable(part.final_closing_minutes, "minutes"),
            "steps_outside_of_sessions": [iso(abs(at_ms)) for at_ms in part.steps_outside.values()],
        }

    def take_out(self, part: UserSessions) -> None:
        for at_ms in (*(at_ms for group in part.groups() for at_ms in times_of_steps(group)),
                      *(-at_ms for at_ms in part.steps_outside.values() if at_ms < 0)):  # fmt: skip
            self.count(at_ms // MINUTE_MS, _STEP, -1)
        for session_id, group in [*part.named_tracks()]:
            self._record_booked(part, session_id, group)
            group.sessions, group.ends, group.summaries = (), (), ()
        if part.booked is not None:
            self.changed.pop()
            self.book([part])
        closings = [*part.final_closing_minutes]
        for minutes, book in (
            (_minutes_to_book(closings, self.ring.now), self.ring.book),
            ([self.day_of_minute(minute) for minute in closings], self.days.book),
        ):
            book(visits_of(minutes, (), _VISITOR, _REPEAT_VISITOR), times=-1)

    def _rebook(self, old: SessionGroup, new: SessionGroup, pause_ms: int, gone: list[int], come: list[int]) -> None:
        """Take the old sessions of a group out of the totals and book the new ones, except those that are the same.

        Notes in which minutes the ones closed and the others close.
        """
        cap_ms = self.rules.session_cap_ms
        for counted, times in _changed(old, new, self._timeout_ms, pause_ms):
            minute = counted.closes_ms // MINUTE_MS
            self.count(minute, numbers.amounts_of(counted, cap_ms=cap_ms), times)
            if times > 0:
                come.append(minute)
            else:
                gone.append(minute)

    # -- closed days: who visited, and what was otherwise at the end of an earlier day -------------------------------

    def _book_days(
        self, part: UserSessions, booked: Mapping[str | None, SessionGroup], gone: list[int], come: list[int]
    ) -> None:
        """Book on closed days what a part adds to them beside its sessions as they are; `closings` are those before."""
        versioned, closings = part.versioned, part.closings
        assert versioned is not None
        assert closings is not None
        was_versioned: Collection[str | None] = versioned.copy() if versioned else ()
        for session_id in booked:
            group = part.without_id if session_id is None else part.by_id[session_id]
            is_simple = len(group.sessions) <= 1 and len(group.ends) <= 1 and not group.summaries
            if not is_simple and was_otherwise(group, self._pause_ms(session_id)):
                versioned.add(session_id)
            elif versioned:
                versioned.discard(session_id)
        if was_versioned or versioned:
            self._book_versions(part, booked, was_versioned)
        elif gone != come:
            self._book_visitor(closings, gone, come)

    def _book_visitor(self, closings: list[int], gone: list[int], come: list[int]) -> None:
        """Book on closed days who visited, where no session was ever otherwise."""
        gone_days, come_days = sorted(map(self.day_of_minute, gone)), sorted(map(self.day_of_minute, come))
        if not closings and len(come_days) == 1:  # the common case of a first session, fast
            self.days.count(come_days[0], _VISITOR)
        elif gone_days != come_days:
            before = [*map(self.day_of_minute, closings)]
            after = before.copy()
            for day in gone_days:
                after.remove(day)
            self.days.book(visits_of(before, (), _VISITOR, _REPEAT_VISITOR), times=-1)
            self.days.book(visits_of(sorted((*after, *come_days)), (), _VISITOR, _REPEAT_VISITOR))

    def _book_versions(
        self, part: UserSessions, booked: Mapping[str | None, SessionGroup], was_versioned: Collection[str | None]
    ) -> None:
        """The same where some session was otherwise, or is now."""
        settled = [self.day_of_minute(minute) for minute in part.final_closing_minutes]
        now = dict(part.named_tracks())
        for groups, versioned, times in (({**now, **booked}, was_versioned, -1), (now, part.versioned or (), 1)):
            closings: list[Closing] = []
            for session_id, group in groups.items():
                pause_ms = self._pause_ms(session_id)
                closings += closings_of(group, self._timeout_ms, pause_ms, self._day_of)
                if session_id in versioned and session_id in booked:
                    self._book_earlier(group, pause_ms, times)
            self.days.book(visits_of(settled, closings, _VISITOR, _REPEAT_VISITOR), times=times)

    def _book_earlier(self, group: SessionGroup, pause_ms: int, times: int) -> None:
        """Book what the sessions of a track were until they became what they are."""
        versions = earlier_versions(group, self._timeout_ms, pause_ms, self._day_of)
        final = self._bookings(group.counted(self._timeout_ms, pause_ms)) if group.summaries else ()
        earlier = [Version(since, until, self._bookings(sessions)) for since, until, sessions, _ in versions]
        self.days.book_versions(final, earlier, times=times)

    def _bookings(self, sessions: Iterable[CountedSession]) -> list[Booking]:
        cap_ms, day_of = self.rules.session_cap_ms, self._day_of
        return [Booking(day_of(counted.closes_ms), numbers.amounts_of(counted, cap_ms=cap_ms)) for counted in sessions]

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        yield Sample("engagement_open_sessions", {}, sums.ahead.get(numbers.SESSIONS, 0))
        yield from super().live(sums)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        return numbers.of_window(labels, tally)

    def of_value(self, of_windows: Mapping[int, Mapping[int, int]], lengths: Mapping[str, int]) -> Iterator[Sample]:
        for window, length in lengths.items():
            yield from numbers.of_value({"window": window}, of_windows.get(length, {}))


def _changed(
    old: SessionGroup, new: SessionGroup, timeout_ms: int, pause_ms: int
) -> Iterator[tuple[CountedSession, int]]:
    """The sessions of a track that are no more, with -1, and those that are new, with 1."""
    if old.summaries or new.summaries:
        for group, times in ((old, -1), (new, 1)):
            for counted in group.counted(timeout_ms, pause_ms):
                yield counted, times
        return
    before, after = in_sessions(old.sessions, pause_ms), in_sessions(new.sessions, pause_ms)
    kept: set[tuple[int, ...]] = set()
    if len(after) > 1 and old.ends is new.ends:
        kept = {_identity(pieces) for pieces in before} & {_identity(pieces) for pieces in after}
    for sessions, ends, times in ((before, old.ends, -1), (after, new.ends, 1)):
        for pieces in sessions:
            if not kept or _identity(pieces) not in kept:
                yield closed(pieces, ends, timeout_ms), times


def _identity(pieces: tuple[Session, ...]) -> tuple[int, ...]:
    return tuple(map(id, pieces))


def _minutes_to_book(closings: list[int], now: int) -> list[int]:
    """The closing minutes in which a visitor is booked: the last two that have come, and all future ones."""
    return closings[max(0, bisect_right(closings, now) - 2) :]
