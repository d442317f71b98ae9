"""At most so many records a second, also after a pause.

Records are spaced evenly. What a pause has missed, for example while Kafka was slow to answer, is not made up by a
burst afterwards: a limit is there to protect whoever reads, and a burst would break it.
"""

from typing import Final

# The system wakes a sleeper late by some milliseconds. So much is made up, or a high rate could not be reached.
_MADE_UP_SECONDS: Final = 0.05


class RateLimit:
    """Says how long to wait before each record. `rate` is records a second, more than 0."""

    def __init__(self, rate: float) -> None:
        self._interval_seconds = 1 / rate
        self._next_at = 0.0  # seconds of the monotonic clock: the next record may be sent then

    def seconds_to_wait(self, now: float) -> float:
        """Return how many seconds after `now` the next record may be sent; 0 if at once."""
        return max(0.0, self._next_at - now)

    def record_sent(self, now: float) -> None:
        """Note that a record has been sent. Sending may have taken long, so `now` is the time after it."""
        self._next_at = max(self._next_at, now - _MADE_UP_SECONDS) + self._interval_seconds
