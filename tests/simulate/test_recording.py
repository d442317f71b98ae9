"""Recorded events come out by their times, whether they fit into memory or not."""

import errno
import os
import tempfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.simulate.recording import Recording, ReplayEvent


def event(at_ms: int, value: bytes = b"{}") -> ReplayEvent:
    return ReplayEvent(at_ms, "logins", f"user {at_ms}", value)


@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=5)), max_size=200), st.sampled_from([1, 2_000, 10**9]))
def test_events_are_sorted_by_time_and_those_of_one_time_stay_in_order(
    told: list[tuple[int, bytes]], bytes_in_memory: int
) -> None:
    events = [event(*one) for one in told]

    with Recording(bytes_in_memory=bytes_in_memory) as recording:
        for one in events:
            recording.add(one)
        expected = sorted(events, key=lambda one: one.at_ms)

        assert list(recording) == expected
        assert list(recording) == expected  # again
        assert len(recording) == len(events)
        times = [one.at_ms for one in events]
        assert (recording.first_ms, recording.last_ms) == (min(times, default=None), max(times, default=None))


def test_what_does_not_fit_into_memory_is_not_kept_there() -> None:
    def peak_of(bytes_in_memory: int) -> int:
        count = 20_000
        tracemalloc.start()
        with Recording(bytes_in_memory=bytes_in_memory) as recording:
            for number in range(count):
                recording.add(event(number * 7919 % count, b"x" * 300))
            assert sum(1 for _ in recording) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_of(3_000_000) < 0.5 * peak_of(10**9)


def test_without_room_for_what_is_sorted_the_folder_and_the_variable_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(**options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", no_room)

    with Recording(bytes_in_memory=1) as recording, pytest.raises(OSError, match="TMPDIR names another folder") as full:
        recording.add(event(1))
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, tempfile.gettempdir())
