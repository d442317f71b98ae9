"""Sessions: how long people stay, how much they look at, and who leaves at once.

A session is booked in the minute in which it closes, which lies ahead while it is open: then no timer is needed, it
enters the windows as the clock passes. A visitor is booked in the minute of the last session that closed.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.days import Version
from stream.core.events import Event, Step, Summary
from stream.core.families.family import BySegment, Family, Heard, Horizon, one_by_one
from stream.core.families.sessions import messages, numbers
from stream.core.families.sessions.closed import Closing, closings_of, earlier_versions, visits_of, was_otherwise
from stream.core.families.sessions.letting_go import closing_minutes, let_go
from stream.core.families.sessions.metrics import METRICS, NAMES_BY_SEGMENT
from stream.core.families.sessions.part import (
    LONGEST_PAUSE_MS,
    STEPS_REMEMBERED,
    Counted,
    Session,
    Track,
    Visits,
    closed,
    in_sessions,
    of_summary,
    take_summary,
    with_end_in,
    with_steps_in,
)
from stream.core.ring import Booking, latest, second_latest
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS, SECOND_MS, Span
from stream.core.windows import SEGMENTS_SESSIONS, SESSIONS

_VISITOR = {numbers.VISITORS: 1}
_REPEAT_VISITOR = {numbers.REPEAT_VISITORS: 1}
_STEP = {numbers.STEPS: 1}

_decode = msgspec.msgpack.Decoder(Visits).decode


class SessionsFamily(Family[Visits]):
    """Sessions, by the windows in which they closed."""

    name = "sessions"
    number = 2
    windows = SESSIONS
    metrics = METRICS
    messages = (messages.SESSIONS,)
    told_ahead = (numbers.SESSIONS,)  # the open ones
    by_segment = BySegment(NAMES_BY_SEGMENT, SEGMENTS_SESSIONS, numbers.OF_VALUE)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._timeout_ms = rules.session_timeout_ms
        self._day_of = rules.days.day_of
        self._span, self._span_let_go = Span(rules.days), Span(rules.days)
        self._steps: dict[int, int] = {}  # those of each minute that are not booked yet

    @classmethod
    def stored_by(cls, rules: Rules) -> dict[str, str]:
        return {
            "session_timeout": f"{rules.session_timeout_ms // SECOND_MS}s",
            "session_cap": f"{rules.session_cap_ms // SECOND_MS}s",
            **super().stored_by(rules),
        }

    # -- the part of a user ----------------------------------------------------------------------------------------

    def hears(self) -> Mapping[type[Event], Heard]:
        return {Step: self.hear_steps, Summary: one_by_one(self.hear_summary)}

    def hear_steps(self, part: Visits, steps: Sequence[Step], changed: bytearray, now: int) -> None:
        """A step lengthens its session, begins one, or joins two; an end may close one."""
        places: dict[str | None, list[int]] = {}  # by session: most of what a batch tells of a user is of one
        for place, step in enumerate(steps):
            if step.is_end or not step.is_interactive or not step.in_session:
                changed[place] |= self._hear_end(part, step) if step.is_end else self._hear_aside(part, step)
            elif step.session_id in places:
                places[step.session_id].append(place)
            else:
                places[step.session_id] = [place]
        for session_id, of_session in places.items():
            self._hear_of_session(part, session_id, steps, of_session, changed)

    def _hear_of_session(
        self, part: Visits, session_id: str | None, steps: Sequence[Step], places: Sequence[int], changed: bytearray
    ) -> None:
        """Hear those steps that are of one session id, or of none."""
        track, pause_ms = self._track(part, session_id)
        own = [steps[place] for place in places]
        sessions, known = with_steps_in(track.sessions, own, pause_ms, self._span, self.counted)
        if sessions is track.sessions:
            return
        self._note(part, session_id, track)
        track.sessions = sessions
        for number, place in enumerate(places):
            if number not in known:
                changed[place] = True
                self._count_step(steps[place].at_ms)
        if len(known) == len(places):  # one sent twice has told another value
            changed[places[-1]] = True

    def _track(self, part: Visits, session_id: str | None) -> tuple[Track, int]:
        """What is known of a session, and how far apart its steps may lie."""
        if session_id is None:
            return part.by_gap, self._timeout_ms
        return part.by_id.get(session_id) or Track(), LONGEST_PAUSE_MS

    def _hear_end(self, part: Visits, step: Step) -> bool:
        if not step.is_interactive or not step.in_session:
            return self._hear_aside(part, step)
        track, _ = self._track(part, step.session_id)
        ends = with_end_in(track.ends, step)
        if ends is track.ends:
            return False
        self._note(part, step.session_id, track)
        track.ends = ends
        return True

    def _hear_aside(self, part: Visits, step: Step) -> bool:
        """A step that takes no part in sessions is known, and counts where somebody did it."""
        aside = part.aside
        if step.identity in aside:
            return False
        if len(aside) >= STEPS_REMEMBERED:
            del aside[next(iter(aside))]
        aside[step.identity] = step.at_ms
        if step.is_interactive and not step.is_end:
            self._count_step(step.at_ms)
        return True

    def _count_step(self, at_ms: int) -> None:
        minute = at_ms // MINUTE_MS
        self._steps[minute] = self._steps.get(minute, 0) + 1

    def hear_summary(self, part: Visits, summary: Summary, now: int) -> bool:
        """A summary tells a whole session, instead of its steps."""
        track = part.by_id.get(summary.session_id) or Track()
        after = track.copy()
        if not take_summary(after, of_summary(summary, self.counted), self._span):
            return False
        self._note(part, summary.session_id, track)
        track.summary, track.earlier = after.summary, after.earlier
        return True

    def _note(self, part: Visits, session_id: str | None, track: Track) -> None:
        """Note what is booked of a track before it changes."""
        booked = part.booked
        if booked is None:
            booked = part.booked = {}
            self.changed.append(part)
            if part.closings is None:
                part.closings = closing_minutes(part, self._timeout_ms)
                part.versioned = set()
                if part.by_id or len(part.by_gap.sessions) > 1:
                    tracks = part.named_tracks()
                    part.versioned.update(name for name, one in tracks if was_otherwise(one, self._pause_ms(name)))
        if session_id not in booked:
            booked[session_id] = track.copy()
            if session_id is not None:
                part.by_id[session_id] = track

    def _pause_ms(self, session_id: str | None) -> int:
        """How far apart steps of a session may lie."""
        return self._timeout_ms if session_id is None else LONGEST_PAUSE_MS

    def new(self) -> Visits:
        return Visits()

    def decode(self, stored: msgspec.Raw) -> Visits:
        return _decode(stored)

    def stored(self, part: Visits) -> object:
        by_gap = part.by_gap
        if part.by_id or by_gap.sessions or by_gap.ends or part.settled_minutes or part.aside:
            return (part.by_id, by_gap, part.settled_minutes, part.aside)
        return None

    def let_go(self, part: Visits, horizon: Horizon) -> None:
        let_go(part, before_ms=horizon.before_ms, timeout_ms=self._timeout_ms, span=self._span_let_go)

    def last_ms(self, part: Visits) -> int:
        closings = (counted.closes_ms for counted in part.counted(self._timeout_ms))
        return max(
            max(part.settled_minutes, default=0) * MINUTE_MS,
            max(closings, default=0),
            max((end.at_ms for track in part.tracks() for end in track.ends), default=0),
            max(part.aside.values(), default=0),
        )

    # -- totals ----------------------------------------------------------------------------------------------------

    def settle(self, now: int) -> None:
        for minute, steps in self._steps.items():
            self.count(minute, _STEP, steps)
        self._steps.clear()
        super().settle(now)

    def book(self, parts: list[Visits]) -> None:
        for part in parts:
            booked, part.booked = part.booked, None
            closings = part.closings
            assert booked is not None
            assert closings is not None
            before = _that_count(closings, self.ring.now)
            gone: list[int] = []
            come: list[int] = []
            for session_id, old in booked.items():
                new = part.by_gap if session_id is None else part.by_id[session_id]
                self._rebook(old, new, self._pause_ms(session_id), gone, come)
            self._book_days(part, booked, gone, come)
            for minute in gone:
                del closings[bisect_left(closings, minute)]
            for minute in come:
                insort(closings, minute)
            after = _that_count(closings, self.ring.now)
            if after != before:
                for minutes, times in ((before, -1), (after, 1)):
                    self.ring.book(latest(minutes, _VISITOR), times=times)
                    if len(minutes) > 1:
                        self.ring.book(second_latest(minutes, _REPEAT_VISITOR), times=times)

    def _rebook(self, old: Track, new: Track, pause_ms: int, gone: list[int], come: list[int]) -> None:
        """Take out the sessions of a track as it was, and book them as it is; most of a long one are the same.

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

    def _book_days(self, part: Visits, booked: Mapping[str | None, Track], gone: list[int], come: list[int]) -> None:
        """Book on closed days what a part adds to them beside its sessions as they are; `closings` are those before."""
        versioned, closings = part.versioned, part.closings
        assert versioned is not None
        assert closings is not None
        was_versioned: Collection[str | None] = versioned.copy() if versioned else ()
        for session_id in booked:
            track = part.by_gap if session_id is None else part.by_id[session_id]
            if (len(track.sessions) > 1 or track.summary is not None) and was_otherwise(
                track, self._pause_ms(session_id)
            ):
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
        self, part: Visits, booked: Mapping[str | None, Track], was_versioned: Collection[str | None]
    ) -> None:
        """The same where some session was otherwise, or is now."""
        settled = [self.day_of_minute(minute) for minute in part.settled_minutes]
        now = dict(part.named_tracks())
        for tracks, versioned, times in (({**now, **booked}, was_versioned, -1), (now, part.versioned or (), 1)):
            closings: list[Closing] = []
            for session_id, track in tracks.items():
                pause_ms = self._pause_ms(session_id)
                closings += closings_of(track, self._timeout_ms, pause_ms, self._day_of)
                if session_id in versioned and session_id in booked:
                    self._book_earlier(track, pause_ms, times)
            self.days.book(visits_of(settled, closings, _VISITOR, _REPEAT_VISITOR), times=times)

    def _book_earlier(self, track: Track, pause_ms: int, times: int) -> None:
        """Book what the sessions of a track were until they became what they are."""
        versions = earlier_versions(track, self._timeout_ms, pause_ms, self._day_of)
        final = self._bookings(track.counted(self._timeout_ms, pause_ms)) if track.summary is not None else ()
        told = [Version(since, until, self._bookings(sessions)) for since, until, sessions, _ in versions]
        self.days.book_versions(final, told, times=times)

    def _bookings(self, sessions: Iterable[Counted]) -> list[Booking]:
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


def _changed(old: Track, new: Track, timeout_ms: int, pause_ms: int) -> Iterator[tuple[Counted, int]]:
    """The sessions of a track that are no more, with -1, and those that are new, with 1."""
    if old.summary is not None or new.summary is not None:
        for track, times in ((old, -1), (new, 1)):
            for counted in track.counted(timeout_ms, pause_ms):
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


def _that_count(closings: list[int], now: int) -> list[int]:
    """Of minutes in order the last two that have come, and those ahead: a visitor is booked in no other."""
    return closings[max(0, bisect_right(closings, now) - 2) :]
