"""Sessions: how long people stay, how much they look at, and who leaves at once.

A session is booked in the minute in which it closes, which lies ahead while it is open: then no timer is needed, it
enters the windows as the clock passes. A visitor is booked in the minute of the last session that closed.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stream.core.events import Event, Step, Summary
from stream.core.families.family import Family, Heard, Horizon, one_by_one
from stream.core.families.sessions import messages, numbers
from stream.core.families.sessions.metrics import METRICS
from stream.core.families.sessions.part import (
    STEPS_REMEMBERED,
    Track,
    Visits,
    closing_minutes,
    let_go,
    of_summary,
    with_end_in,
    with_steps_in,
    with_summary_in,
)
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.ring import latest, second_latest
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS, SECOND_MS
from stream.core.windows import SESSIONS

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

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._timeout_ms = rules.session_timeout_ms
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
            track, pause_ms = self._track(part, session_id)
            sessions, known = with_steps_in(track.sessions, [steps[place] for place in of_session], pause_ms)
            if sessions is not track.sessions:
                self._note(part, session_id, track)
                track.sessions = sessions
                for number, place in enumerate(of_session):
                    if number not in known:
                        changed[place] = True
                        self._count_step(steps[place].at_ms)

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
        summaries = with_summary_in(track.summaries, of_summary(summary))
        if summaries is track.summaries:
            return False
        self._note(part, summary.session_id, track)
        track.summaries = summaries
        return True

    def _note(self, part: Visits, session_id: str | None, track: Track) -> None:
        """Note what is booked of a track before it changes."""
        booked = part.booked
        if booked is None:
            booked = part.booked = {}
            self.changed.append(part)
            if part.closings is None:
                part.closings = closing_minutes(part, self._timeout_ms)
        if session_id not in booked:
            booked[session_id] = track.copy()
            if session_id is not None:
                part.by_id[session_id] = track

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
        let_go(part, before_ms=horizon.before_ms, timeout_ms=self._timeout_ms)

    def last_ms(self, part: Visits) -> int:
        closings = (counted.closes_ms for counted in part.counted(self._timeout_ms))
        return max(
            max(part.settled_minutes, default=0) * MINUTE_MS,
            max(closings, default=0),
            max((end.at_ms for track in part.tracks() for end in track.ends), default=0),
            max((told.span()[1] for track in part.tracks() for told in track.summaries), default=0),
            max(part.aside.values(), default=0),
        )

    # -- totals ----------------------------------------------------------------------------------------------------

    def settle(self, now: int) -> None:
        super().settle(now)
        for minute, steps in self._steps.items():
            self.ring.count(minute, _STEP, steps)
        self._steps.clear()

    def book(self, parts: list[Visits]) -> None:
        for part in parts:
            booked, part.booked = part.booked, None
            closings = part.closings
            assert booked is not None
            assert closings is not None
            before = _that_count(closings, self.ring.now)
            for session_id, old in booked.items():
                self._rebook(old, part.by_gap if session_id is None else part.by_id[session_id], closings)
            after = _that_count(closings, self.ring.now)
            if after != before:
                for minutes, times in ((before, -1), (after, 1)):
                    self.ring.book(latest(minutes, _VISITOR), times=times)
                    if len(minutes) > 1:
                        self.ring.book(second_latest(minutes, _REPEAT_VISITOR), times=times)

    def _rebook(self, old: Track, new: Track, closings: list[int]) -> None:
        """Take out the sessions of a track as it was, and book them as it is; most of a long one are the same."""
        kept: set[int] = set()
        if len(new.sessions) > 1 and old.ends is new.ends and not (old.summaries or new.summaries):
            kept = {id(session) for session in old.sessions} & {id(session) for session in new.sessions}
        for track, times in ((old, -1), (new, 1)):
            for counted in track.counted(self._timeout_ms):
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


def _that_count(closings: list[int], now: int) -> list[int]:
    """Of minutes in order the last two that have come, and those ahead: a visitor is booked in no other."""
    return closings[max(0, bisect_right(closings, now) - 2) :]
