"""At most so many bytes are on their way at a time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.pending_sends import PendingSends


@given(sizes=st.lists(st.integers(0, 15), max_size=12))
def test_all_get_through_and_never_more_at_a_time_than_is_allowed(sizes: list[int]) -> None:
    at_once: list[tuple[int, ...]] = []

    async def send_all() -> None:
        pending_sends = PendingSends(10)
        on_their_way: list[int] = []

        async def send(size: int) -> None:
            async with pending_sends.reserve(size):
                on_their_way.append(size)
                at_once.append(tuple(on_their_way))
                await asyncio.sleep(0)
                on_their_way.remove(size)

        await asyncio.wait_for(asyncio.gather(*map(send, sizes)), 5)
        assert pending_sends.bytes == 0

    asyncio.run(send_all())

    assert len(at_once) == len(sizes)
    assert all(sum(sent) <= 10 or len([size for size in sent if size]) == 1 for sent in at_once)


def test_what_fails_gives_its_room_back() -> None:
    async def fail_twice() -> None:
        pending_sends = PendingSends(10)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with pending_sends.reserve(10):
                    raise ZeroDivisionError
        assert pending_sends.bytes == 0

    asyncio.run(fail_twice())
