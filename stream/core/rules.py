"""The rules of a deployment that numbers depend on, as one value."""

from dataclasses import dataclass, field

from stream.core.segments import SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Days, minutes_of


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
    # How long a user without any event is remembered; longer where the windows need it.
    retention_ms: int = 100 * DAY_MS
    activity_windows: tuple[str, ...] = ("5m", "1h", "1d", "7d", "28d", "30d")
    session_windows: tuple[str, ...] = ("1h", "1d", "7d", "28d", "30d")
    survey_windows: tuple[str, ...] = ("1d", "7d", "28d", "30d", "90d")
    segments: tuple[str, ...] = SEGMENTS  # those that are counted, in this order

    @property
    def stored_by(self) -> dict[str, str]:
        """The settings that what is stored depends on: state written under others would give wrong numbers."""
        return {
            "timezone": self.days.zone,
            "session_timeout": f"{self.session_timeout_ms // SECOND_MS}s",
            "session_cap": f"{self.session_cap_ms // SECOND_MS}s",
            "windows.activity": ",".join(self.activity_windows),
            "windows.sessions": ",".join(self.session_windows),
            "windows.surveys": ",".join(self.survey_windows),
            "segments": ",".join(self.segments) or "none",
        }

    @property
    def closed_days(self) -> tuple[int, ...]:
        """Lengths of the closed windows, in days: the activity windows of whole days."""
        minutes = (minutes_of(window) for window in self.activity_windows)
        return tuple(sorted({length // 1_440 for length in minutes if length % 1_440 == 0} | {1}))
