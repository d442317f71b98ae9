"""A record that is forwarded twice counts once, and what may not come again is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from stream.agents.forwarded_events import PREFIX, ForwardedEvents


def restored(*deltas: list[tuple[bytes, bytes | None]]) -> ForwardedEvents:
    stored = {key: value for delta in deltas for key, value in delta if value is not None}
    return ForwardedEvents(sorted(stored.items()))


def test_a_place_is_new_once() -> None:
    known = ForwardedEvents(())

    assert known.is_new("logins", 0, 7, checkpointed_offset=0)
    assert not known.is_new("logins", 0, 7, checkpointed_offset=0)
    assert known.is_new("logins", 1, 7, checkpointed_offset=0)
    assert known.is_new("sessions", 0, 7, checkpointed_offset=0)


def test_it_is_remembered_over_a_restart() -> None:
    known = ForwardedEvents(())
    known.is_new("logins", 0, 7, checkpointed_offset=0)

    again = restored(known.collect_delta())

    assert not again.is_new("logins", 0, 7, checkpointed_offset=0)
    assert again.is_new("logins", 0, 8, checkpointed_offset=0)


def test_what_lies_before_a_checkpoint_of_its_sender_is_old_and_needs_no_memory() -> None:
    known = ForwardedEvents(())
    for offset in range(100):
        known.is_new("logins", 0, offset, checkpointed_offset=0)
    large = len(known.collect_delta()[0][1] or b"")

    assert known.is_new("logins", 0, 100, checkpointed_offset=100)
    assert not known.is_new("logins", 0, 99, checkpointed_offset=0)
    ((key, value),) = known.collect_delta()
    assert key == PREFIX + b"logins/0"
    assert len(value or b"") < large


def test_nothing_new_is_no_delta() -> None:
    known = ForwardedEvents(())
    known.is_new("logins", 0, 7, checkpointed_offset=0)
    known.collect_delta()
    known.is_new("logins", 0, 7, checkpointed_offset=0)

    assert known.collect_delta() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), max_size=60))
def test_each_place_counts_once_in_any_order(places: list[tuple[int, int]]) -> None:
    known = ForwardedEvents(())
    told = [known.is_new("logins", partition, offset, checkpointed_offset=0) for partition, offset in places]

    assert sum(told) == len(set(places))
