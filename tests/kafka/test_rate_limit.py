"""A rate that no pause can break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.rate_limit import RateLimit


def sent_at(rate: float, pauses: list[float]) -> list[float]:
    """When records are sent, if before each so much time passes that has nothing to do with the limit."""
    limit, now, sent = RateLimit(rate), 0.0, []
    for pause in pauses:
        now += pause
        now += limit.seconds_to_wait(now)
        limit.record_sent(now)
        sent.append(now)
    return sent


def test_records_are_spaced_evenly() -> None:
    assert sent_at(4, [9.0, 0.0, 0.1, 0.0]) == pytest.approx([9.0, 9.2, 9.45, 9.7])


def test_what_a_pause_has_missed_is_not_made_up() -> None:
    assert sent_at(4, [3.0, 2.0, 0.0, 0.0]) == pytest.approx([3.0, 5.0, 5.2, 5.45])


@given(st.lists(st.floats(0, 3), min_size=2, max_size=30), st.floats(0.5, 1_000))
def test_in_any_stretch_of_time_no_more_is_sent_than_the_rate_allows(pauses: list[float], rate: float) -> None:
    sent = sent_at(rate, pauses)

    for first in range(len(sent)):
        for last in range(first + 1, len(sent)):
            assert last - first <= (sent[last] - sent[first] + 0.051) * rate
