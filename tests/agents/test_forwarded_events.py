"""An event that is forwarded twice counts once, whatever it comes together with; what can't come again is forgotten."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.agents.forwarded_events import PREFIX, ForwardedEvents
from stream.kafka.forwarded_batches import ForwardedBatch, ForwardedRecord


def restored(*deltas: list[tuple[bytes, bytes | None]]) -> ForwardedEvents:
    stored = {key: value for delta in deltas for key, value in delta if value is not None}
    return ForwardedEvents(sorted(stored.items()))


def batch(*places: int | tuple[int, int], saved: int = 0, topic: str = "logins", partition: int = 0) -> ForwardedBatch:
    """Events by offset, or by offset and position in the message."""
    both = [place if isinstance(place, tuple) else (place, 0) for place in places]
    records = [ForwardedRecord[Any](None, partition, offset, index, 0, None, b"", [], True) for offset, index in both]
    return ForwardedBatch(topic, partition, saved, records)


def new(known: ForwardedEvents, one: ForwardedBatch) -> list[tuple[int, int]]:
    return [(record.offset, record.event_index) for record in known.new_of(one)]


def test_a_place_is_new_once() -> None:
    known = ForwardedEvents(())

    assert new(known, batch(7, (7, 1), 7, 8)) == [(7, 0), (7, 1), (8, 0)]
    assert new(known, batch(6, 7, (7, 2))) == [(6, 0), (7, 2)]
    assert new(known, batch(7, partition=1)) == [(7, 0)]
    assert new(known, batch(7, topic="sessions")) == [(7, 0)]


def test_it_is_remembered_over_a_restart() -> None:
    known = ForwardedEvents(())
    known.new_of(batch(7))

    again = restored(known.collect_delta())

    assert new(again, batch(7, 8)) == [(8, 0)]


def test_what_lies_before_a_checkpoint_of_its_sender_is_old_and_needs_no_memory() -> None:
    known = ForwardedEvents(())
    known.new_of(batch(*range(100)))
    large = len(known.collect_delta()[0][1] or b"")

    assert new(known, batch(99, 100, saved=100)) == [(100, 0)]
    assert new(known, batch(99)) == []
    ((key, value),) = known.collect_delta()
    assert key == PREFIX + b"logins/0"
    assert len(value or b"") < large


def test_nothing_new_is_no_delta() -> None:
    known = ForwardedEvents(())
    known.new_of(batch(7))
    known.collect_delta()
    known.new_of(batch(7))

    assert known.collect_delta() == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), max_size=9), max_size=20))
def test_each_place_counts_once_in_any_order_and_in_any_batches(batches: list[list[tuple[int, int]]]) -> None:
    known = ForwardedEvents(())
    told = [place for places in batches for place in new(known, batch(*places))]

    assert sorted(told) == sorted({place for places in batches for place in places})
