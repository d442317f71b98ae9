"""The rules of a deployment that numbers depend on, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.segments import SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, Days
from stream.core.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may differ from one deployment to the next without being another product."""

    days: Days = field(default_factory=Days)
    session_timeout_ms: int = 30 * MINUTE_MS
    # Longer ones count as this long: it bounds the histogram of durations, and what one forgotten tab does to a mean.
    session_cap_ms: int = DAY_MS
    # None: nothing is late, and all is kept (an offline run).
    allowed_lateness_ms: int | None = 3 * DAY_MS
    future_limit_ms: int = HOUR_MS
    close_after_ms: int = HOUR_MS
    # A partition that is caught up and has read nothing for so long takes the clock for its watermark.
    idle_after_ms: int = DAY_MS
    # How long it is kept what closed days said.
    history_days: int = 400
    # How long a user without any event is remembered; longer where the windows need it.
    retention_ms: int = 100 * DAY_MS
    # How long what is then left of a user is known: whoever comes back after more days is a new one.
    memory_days: int = 400
    # The first day of which all is known; None: the day after the first event. Days before it make no cohorts.
    cohorts_from: int | None = None
    windows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by name, where they are not the default
    segments: tuple[str, ...] = SEGMENTS  # those that are counted, in this order
    segment_metrics: tuple[str, ...] | None = None  # what is counted by them, by name without prefix; None: all
    named_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by segment, where they are chosen

    def whole_since(self, first_ms: int | None) -> int:
        """The first day of which all is known, where the first event of all is of this time."""
        if self.cohorts_from is not None:
            return self.cohorts_from
        return 0 if first_ms is None else self.days.day_of(first_ms) + 1

    def windows_of(self, windows: Windows) -> tuple[str, ...]:
        """The windows that this deployment tells."""
        return self.windows.get(windows.name, windows.default)
