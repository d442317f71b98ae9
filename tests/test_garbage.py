"""When Python looks for garbage: seldom at what is old, but it does."""

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator

import pytest

from stream.garbage import IS_INCREMENTAL, seldom_collected
from tests.timeouts import TIMEOUT_SECONDS

pytestmark = pytest.mark.skipif(IS_INCREMENTAL, reason="from Python 3.14 on the collector needs no help")


class _InACircle:
    def __init__(self) -> None:
        self.itself = self


def _collections_of_all() -> int:
    found: int = gc.get_stats()[2]["collections"]
    return found


@pytest.fixture
def pythons_own_thresholds() -> Iterator[None]:
    """Those that a worker begins with. For tests they are higher (`conftest`)."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("pythons_own_thresholds")
def test_however_many_rows_come_not_all_objects_are_looked_at_for_their_sake() -> None:
    async def scenario() -> tuple[int, int]:
        before = _collections_of_all()
        rows = [[[number]] for number in range(200_000)]  # by default this is reason enough for some collections
        usual = _collections_of_all() - before
        async with seldom_collected():
            before = _collections_of_all()
            rows += [[[number]] for number in range(400_000)]
            return usual, _collections_of_all() - before

    usual, seldom = asyncio.run(scenario())
    assert usual > 0
    assert seldom == 0


def test_garbage_that_is_old_is_still_found_and_all_is_as_before_at_the_end() -> None:
    async def scenario() -> None:
        async with seldom_collected(seconds_between=0.001):
            one = _InACircle()
            gone = weakref.ref(one)
            gc.collect()  # now it is old
            del one
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while gone() is not None:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)

    gc.unfreeze()  # what a test before this one has frozen
    before = gc.get_threshold(), gc.get_freeze_count()
    asyncio.run(scenario())
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
