"""When Python looks for garbage in cycles, so that it interrupts a worker or server seldom.

Python frees most objects as soon as nothing refers to them. Only for objects that refer to one another in a circle its
collector has to look, and nothing else runs meanwhile. It looks at new objects often, which takes a millisecond. By
default it also looks at all objects whenever their number has grown by a quarter. In a worker most of them are the rows
of users, which have no cycles: with 50,000 rows that takes half a second several times in a minute, and finds nothing.

So all objects are looked at only as often as costs a thousandth of the time. From Python 3.14 on the collector looks at
a few old objects at a time, and needs none of this.
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

IS_INCREMENTAL = sys.version_info >= (3, 14)

_SECONDS_BETWEEN = 60.0
_SHARE_OF_TIME = 0.001
# So many collections of newer objects are between two of all objects: more than a process lives to see.
_NEVER = 2**31 - 1


@asynccontextmanager
async def seldom_collected(*, seconds_between: float = _SECONDS_BETWEEN) -> AsyncIterator[None]:
    """Look at all objects every `seconds_between`, or less often if that would take too much of the time."""
    if IS_INCREMENTAL:
        yield
        return
    youngest, young, old = gc.get_threshold()
    gc.freeze()  # what was imported stays, so it need not be looked at
    gc.set_threshold(youngest, young, _NEVER)
    collecting = asyncio.create_task(_collect(seconds_between))
    try:
        yield
    finally:
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting
        gc.set_threshold(youngest, young, old)
        gc.unfreeze()


async def _collect(seconds_between: float) -> None:
    took = 0.0
    while True:
        await asyncio.sleep(max(seconds_between, took / _SHARE_OF_TIME))
        began = time.perf_counter()
        gc.collect()
        took = time.perf_counter() - began
