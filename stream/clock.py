"""The clock by which numbers go: the brokers' time, run forward by this machine.

What time it is decides what lies in a window, which event is `future`, and when a day closes. If each machine took its
own wall clock for that, one machine whose clock is wrong would make the numbers of its partitions wrong. The brokers'
clock is one for all. A broker tells its time in the answer to each record that it appends to a topic with
`message.timestamp.type=LogAppendTime`, and Redis tells it when it is asked (`TIME`).

An answer was given at some moment between the request and its arrival. So it bounds how far the time of its source is
from this machine's *monotonic* clock, which nobody sets. What later answers allow as well is left of the bounds, as in
Marzullo's algorithm, so that a slow answer makes nothing worse; and since quartz clocks differ by up to 500 millionths
(as NTP assumes), bounds grow by that. The time is this machine's wall clock where it lies within the bounds, else the
nearest time that does: a machine whose clock is right goes by it, one whose clock is wrong goes by the bounds.

Several sources, of which one may be wrong, are asked one by one, and the one in the middle counts. Of two in the middle
that is the one nearer to this machine's clock: with two brokers, the two of three machines that agree.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

# How far a clock may be off before it is told. Machines that follow NTP differ by milliseconds.
TOLD_SECONDS = 30.0

# The most by which two quartz clocks drift apart: 500 millionths, as NTP assumes.
_DRIFT_MS_PER_SECOND = 0.5
# The wall clock was set, or the machine was asleep, when wall clock and monotonic clock have moved apart by more.
_SET_MS = 1_000.0
# Sources that were not heard of for so long, while others were, are left out.
_SILENT_SECONDS = 60.0
# The clock waits, instead of going back, when the time was this much less than it has shown. If it is more, it has gone
# by a wrong clock so far: whoever must not go back waits by itself.
_LONGEST_WAIT_MS = 5_000.0


class TimeTold(NamedTuple):
    """The time that a source has told, at a moment between two times of this machine's monotonic clock, in seconds."""

    source: str
    at_ms: float
    after: float
    before: float


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much a source's time is more than this machine's monotonic clock, at least and at most, in milliseconds."""

    least: float
    most: float
    heard_at: float  # by the monotonic clock, in seconds

    def at(self, monotonic: float) -> "_Bounds":
        """What they have grown to."""
        growth = max(0.0, monotonic - self.heard_at) * _DRIFT_MS_PER_SECOND
        return _Bounds(self.least - growth, self.most + growth, self.heard_at)

    def narrowed_by(self, newer: "_Bounds") -> "_Bounds":
        """What both allow. If that is nothing, one of the clocks was set since, and the newer ones count."""
        least, most = max(self.least, newer.least), min(self.most, newer.most)
        return _Bounds(least, most, newer.heard_at) if least <= most else newer

    def nearest(self, ms: float) -> float:
        """The value within them that is nearest to this one."""
        return min(max(ms, self.least), self.most)

    @property
    def middle(self) -> float:
        return (self.least + self.most) / 2


class Clock:
    """The brokers' time, as far as somebody tells it; else this machine's wall clock."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        is_only_machine: bool = False,
    ) -> None:
        """`wall` and `monotonic` are this machine's clocks, in seconds.

        `is_only_machine`: the broker is on this machine and goes by the same clock, so nobody misses its time where it
        does not tell it.
        """
        self._wall, self._monotonic, self._is_only_machine = wall, monotonic, is_only_machine
        self._sources: dict[str, _Bounds] = {}
        self._silent: dict[str, str] = {}  # by what was asked: why it does not tell the time
        self._ahead_when_heard = 0.0  # how much wall clock was more than monotonic clock, in milliseconds
        self._shown_ms = 0.0
        self._is_wrong = False

    # -- what sources tell -----------------------------------------------------------------------------------------

    def hear(self, told: TimeTold) -> None:
        """Take in what a source has told."""
        # A time in whole milliseconds was rounded down.
        new = _Bounds(told.at_ms - told.before * 1_000, told.at_ms + 1 - told.after * 1_000, told.before)
        known = self._sources.get(told.source)
        self._sources[told.source] = new if known is None else known.at(told.before).narrowed_by(new)
        self._ahead_when_heard = self._ahead()
        self._log_skew()

    def note_silence(self, asked: str, why: str) -> None:
        """Take in that a topic, or a store, does not tell the time."""
        if self._is_only_machine:
            return
        if asked not in self._silent and not self._sources:
            log.warning("the brokers' time is not told: numbers go by this machine's clock", why=why)
        self._silent[asked] = why

    @property
    def why_own(self) -> str:
        """Why this machine's own clock is taken; empty if the brokers' time is known, or was not asked for yet."""
        return "" if self._sources else "; ".join(self._silent.values())

    @property
    def is_sure(self) -> bool:
        """Whether the bounds hold: nothing hints that the machine slept, or was set, since they were last heard."""
        return not self._sources or abs(self._ahead() - self._ahead_when_heard) <= _SET_MS

    # -- what time it is -------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The time, in milliseconds since 1970."""
        monotonic = self._monotonic()
        ahead = self._ahead(monotonic)
        bounds = self._bounds(monotonic)
        at_ms = monotonic * 1_000 + (ahead if bounds is None else bounds.nearest(ahead))
        is_little_less = 0 <= self._shown_ms - at_ms <= _LONGEST_WAIT_MS
        self._shown_ms = self._shown_ms if is_little_less else at_ms
        return int(self._shown_ms)

    def skew_seconds(self) -> float | None:
        """By how much this machine's clock is ahead of the brokers' time, less than 0 if it is behind.

        That is by how much at least, as answers take time. None where nobody has told the time for a minute. On the
        only machine it is 0 as long as no broker tells another time.
        """
        monotonic = self._monotonic()
        bounds = self._bounds(monotonic)
        if bounds is None and self._is_only_machine:
            return 0.0
        if bounds is None or monotonic - bounds.heard_at > _SILENT_SECONDS:
            return None
        ahead = self._ahead(monotonic)
        return (ahead - bounds.nearest(ahead)) / 1_000

    def notes(self, whose: str) -> Iterator[str]:
        """What people should know of this machine's clock, in sentences; `whose` is the machine."""
        yield from clock_notes(whose, self.skew_seconds(), self.why_own)

    def _ahead(self, monotonic: float | None = None) -> float:
        """How much the wall clock is more than the monotonic clock, in milliseconds."""
        return (self._wall() - (self._monotonic() if monotonic is None else monotonic)) * 1_000

    def _bounds(self, monotonic: float) -> _Bounds | None:
        """The bounds of the source in the middle; None if there is none."""
        if not self._sources:
            return None
        newest = max(bounds.heard_at for bounds in self._sources.values())
        heard = [
            bounds.at(monotonic) for bounds in self._sources.values() if newest - bounds.heard_at <= _SILENT_SECONDS
        ]
        heard.sort(key=lambda bounds: bounds.middle)
        middle = heard[(len(heard) - 1) // 2 : len(heard) // 2 + 1]
        ahead = self._ahead(monotonic)
        return min(middle, key=lambda bounds: abs(ahead - bounds.nearest(ahead)))

    def _log_skew(self) -> None:
        skew = self.skew_seconds()
        is_wrong = skew is not None and abs(skew) > TOLD_SECONDS
        if is_wrong == self._is_wrong or skew is None:
            return
        self._is_wrong = is_wrong
        if is_wrong:
            seconds = round(skew, 1)
            log.warning("this machine's clock is wrong: numbers go by the brokers' time", skew_seconds=seconds)
        else:
            log.info("this machine's clock is right again", skew_seconds=round(skew, 3))


def clock_notes(whose: str, skew_seconds: float | None, why_own: str) -> Iterator[str]:
    """What people should know of a machine's clock, in sentences: that it is wrong, or that nobody can tell."""
    if skew_seconds is not None and abs(skew_seconds) > TOLD_SECONDS:
        direction = "ahead of" if skew_seconds > 0 else "behind"
        yield f"the clock of {whose} is {span(abs(skew_seconds))} {direction} the brokers' time, by which numbers go"
    elif why_own:
        yield f"numbers of {whose} go by its own clock, for the brokers' time is not told: {why_own}"


def span(seconds: float) -> str:
    """A length of time for people, in its largest unit of which there are two or more."""
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
