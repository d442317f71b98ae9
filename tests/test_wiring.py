"""How a process ends: with 0 when it was asked to, whatever else happens meanwhile."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from stream.cli import main
from stream.settings import Unavailable, load
from stream.wiring import Deployment, run_until_stopped


class Breaking:
    """A deployment that is asked to stop while it starts, and breaks some turns of the loop later, or before."""

    def __init__(self, *, turns: int, asked: bool = True) -> None:
        self._turns, self._asked = turns, asked

    async def start(self) -> None:
        if self._asked:
            signal.raise_signal(signal.SIGTERM)
        for _ in range(self._turns):
            await asyncio.sleep(0)
        raise Unavailable("another worker has taken over partition 3")

    async def wait_until_broken(self) -> None:
        raise AssertionError("it never starts")

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def report_recovery(self, tell: Callable[[int, int], None]) -> None:
        """There is nothing to recover."""


def ended(deployment: Any) -> tuple[int, list[int]]:
    """The status, and what was told of it before everything was stopped."""
    told: list[int] = []
    status = asyncio.run(run_until_stopped(deployment, on_stop=told.append))
    return status, told


@pytest.mark.parametrize("turns", range(1, 8))
def test_who_is_asked_to_stop_and_loses_its_partitions_meanwhile_has_not_failed(turns: int) -> None:
    assert ended(Breaking(turns=turns)) == (0, [0])


def test_who_is_not_asked_tells_why_it_stops() -> None:
    with pytest.raises(Unavailable, match="another worker"):
        ended(Breaking(turns=1, asked=False))


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:7000"), ("::1", "http://[::1]:7000"), ("::", "http://[::]:7000")],
)
def test_an_ipv6_address_is_told_in_brackets(host: str, address: str) -> None:
    settings = load(None, {}, {"server.host": host, "server.port": 7_000})

    assert Deployment(settings, worker=False, server=True).address == address


def test_nobody_answers_at_an_ipv6_address_in_brackets() -> None:
    told = CliRunner().invoke(main, ["health"], env={"ENGAGEMENT_SERVER_HOST": "::1", "ENGAGEMENT_SERVER_PORT": "1"})

    assert told.stderr.startswith("engagement: nobody answers at [::1]:1: ")
