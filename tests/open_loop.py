"""Ends what an event loop still has to do, where the process goes on after it."""

import asyncio
from typing import Any


async def end_all() -> None:
    """Cancel all other tasks of the running loop, and close its connections, also those that begin meanwhile."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop: Any = asyncio.get_running_loop()
    while opened := [one for one in loop._transports.values() if one._sock is not None]:
        for transport in opened:
            transport.abort()
        await asyncio.sleep(0)  # after which they are closed
