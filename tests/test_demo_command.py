"""The settings of `engagement demo` at another speed, and how it ends when a part of it breaks."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.commands.demo import _run_demo
from stream.core.time import DAY_MS
from stream.demo import Demo, DemoOptions
from stream.simulate.embedded_broker import EmbeddedBrokerFailed
from stream.terminal import Failure


class Part:
    """A demo or its deployment, of which nothing ends by itself unless it is told to."""

    def __init__(self, *, returned: BaseException | None = None, raised: BaseException | None = None) -> None:
        self._returned, self._raised = returned, raised

    async def start(self) -> None:
        """Nothing is to be started."""

    async def stop(self) -> None:
        """Nothing is to be stopped."""

    async def run(self, deployment: Any) -> None:
        await asyncio.Event().wait()

    async def wait_until_broken(self) -> BaseException | None:
        if self._raised is not None:
            raise self._raised
        if self._returned is None:
            await asyncio.Event().wait()
        return self._returned


def text_of(demo: Part, deployment: Part) -> str:
    """What the command says."""
    theirs: Any = demo, deployment
    with pytest.raises(Failure) as failed:
        asyncio.run(_run_demo(*theirs))
    return str(failed.value)


def test_a_worker_that_breaks_is_told_with_its_error() -> None:
    assert text_of(Part(), Part(returned=OSError("no room"))) == "the demo broke: OSError('no room')"


def test_a_broker_that_is_gone_is_told_in_its_words() -> None:
    gone = EmbeddedBrokerFailed("the embedded broker ended with status -9")
    assert text_of(Part(raised=gone), Part()) == "the demo broke: the embedded broker ended with status -9"


@pytest.mark.parametrize("speed", [0.5, 60.0])
def test_a_demo_of_another_speed_follows_the_times_of_its_events(speed: float, tmp_path: Path) -> None:
    settings = Demo(DemoOptions(speed=speed), Console())._settings("localhost:1", tmp_path)

    assert settings.clock == "event"
    assert settings.rules.future_limit_ms > 365 * DAY_MS
