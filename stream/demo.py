"""The demo: a broker, a simulated population, a worker and a server; live numbers half a minute after the start.

It runs the same code as production, only on a broker of its own. The history is loaded as fast as it can be read, in
the order in which it would have arrived. After that the population goes on live.
"""

import asyncio
import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from stream.core.time import DAY_MS, date_of, iso
from stream.export.table import screen
from stream.inputs.registry import kinds
from stream.kafka.options import client_options
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import create_topics, delete_topics
from stream.settings import Input, Settings, load
from stream.simulate.bulk_producer import BulkProducer
from stream.simulate.embedded_broker import EmbeddedBroker
from stream.simulate.feature_use import FEATURE_WEIGHTS
from stream.simulate.recording import Recording
from stream.simulate.replay import rebase
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from stream.simulate.subscriptions import STEPS
from stream.wiring import Deployment

# 30 days for MAU, a week before them for the trend of MAU, and another week to see that trend change.
HISTORY_DAYS = 45

_EVENTS_PER_CHUNK = 1_000
# How often live events are sent. A gauge changes about a second after each.
_SEND_SECONDS = 0.2
_SECONDS_BETWEEN_LINES = 10.0
# A century stands for ever.
_FOR_EVER_DAYS = 36_500
_PREFERRED_PORT = 8600
_USAGE_HINT = "Ctrl-C ends it; --speed 60: a minute in a second; --scenario drop: fewer users return"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of the command line."""

    users: int = 2_000
    speed: float = 1.0
    scenario: str = "steady"
    kafka: str | None = None
    port: int | None = None
    seed: int = 1


class Demo:
    """One run of the demo, with a simulated population or with `recorded` events."""

    def __init__(
        self,
        options: DemoOptions,
        console: Console,
        *,
        recorded: Recording | None = None,
        recorded_input: Input | None = None,
    ) -> None:
        """`recorded` are events to show instead of simulated ones, in the format of `recorded_input`, else native."""
        self._options = options
        self._console = console
        self._now_ms = time.time_ns() // 1_000_000
        self._since_ms, self._until_ms = self._now_ms - HISTORY_DAYS * DAY_MS, self._now_ms
        self._started = time.monotonic()
        population = SimulatorSettings(
            seed=options.seed, users=options.users, scenario=options.scenario, customers=True, further_topics=True
        )
        self._recorded = recorded
        self._recorded_input = recorded_input
        self._broker: EmbeddedBroker | None = None
        self._population = population.of_history(self._since_ms, self._now_ms)

    @contextlib.contextmanager
    def open_deployment(self) -> Iterator[Deployment]:
        """Create broker, topics and deployment, and remove them at the end."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="engagement-demo-"))
            address = self._options.kafka
            if address is None:
                self._broker = stack.enter_context(EmbeddedBroker())
                address = self._broker.address
            settings = self._settings(address, Path(folder))
            specs, options = topic_specs(settings), client_options(settings)
            create_topics(specs, client_options=options, replication=settings.topics.replication)
            if self._options.kafka is not None:
                stack.callback(delete_topics, [spec.name for spec in specs], client_options=options)
            # However busy the machine is, no other worker of this application exists.
            deployment = Deployment(settings, only_worker=True)
            deployment.board.preparing = "the demo is loading its history"
            yield deployment

    def _settings(self, address: str, folder: Path) -> Settings:
        # For the operator's Kafka, variables apply as they do for `engagement run`, for example a password.
        variables = {} if self._options.kafka is None else os.environ
        settings = load(None, variables, self._overrides(address, folder))
        if self._options.speed == 1:
            return settings
        # No event of a demo is too far ahead. A deployment may not set this much.
        return msgspec.structs.replace(settings, future_limit=f"{_FOR_EVER_DAYS}d")

    def _overrides(self, address: str, folder: Path) -> dict[str, object]:
        embedded = self._options.kafka is None
        overrides: dict[str, object] = {
            # On the operator's Kafka, topics of an earlier demo may be left. With its own app_id this run is apart.
            "app_id": "engagement-demo" if embedded else f"engagement-demo-{self._now_ms // 1_000}",
            "kafka.servers": address,
            "kafka.session_timeout": "6s",
            "state.url": "memory://" if embedded else f"rocksdb://{folder / 'state'}",
            "server.port": _free_port(self._options.port),
            "log.level": "warning",
        }
        if self._recorded_input is None:
            overrides |= {f"topics.{kind}": kind for kind in kinds()}
        if self._recorded is None:
            overrides |= {"onboarding_steps": STEPS, "gross_margin": "0.75", "capex": self._capital()}
            overrides |= {"features": FEATURE_WEIGHTS, "health.enabled": True}
        if embedded:
            overrides["kafka.idempotent"] = False
        elif self._recorded_input is None:
            for kind in kinds():
                overrides[f"topics.{kind}"] = f"{overrides['app_id']}-{kind}"
        if self._options.speed != 1:
            overrides["clock"] = "event"  # events run ahead of the wall clock, and the windows follow their times
        if self._recorded_input is not None:
            topic = f"{overrides['app_id']}-recorded"
            overrides["inputs"] = [msgspec.to_builtins(msgspec.structs.replace(self._recorded_input, topic=topic))]
            overrides["clock"] = "event"  # the times of the events stay what they are
        return overrides

    def _capital(self) -> list[dict[str, str]]:
        """What it is said to have cost to win the users of each half of the history."""
        since, until = (date_of(at_ms // DAY_MS) for at_ms in (self._since_ms, self._until_ms))
        middle = since + (until - since) / 2
        halves = (("first weeks", since, middle), ("last weeks", middle + timedelta(days=1), until))
        return [
            {"period": name, "first": str(first), "last": str(last), "amount": "2500.00", "currency": "USD"}
            for name, first, last in halves
        ]

    # -- events ----------------------------------------------------------------------------------------------------

    def _history(self) -> Iterator[SimulatedEvent]:
        if self._recorded is None:
            return simulate(self._population, start_ms=self._since_ms, end_ms=self._now_ms)
        recorded, first_ms, last_ms = self._recorded, self._recorded.first_ms, self._recorded.last_ms
        if first_ms is None or last_ms is None:
            return iter(())
        events = iter(recorded)
        if self._recorded_input is None:
            events = rebase(recorded, last_ms=last_ms, now_ms=self._now_ms)
            first_ms, last_ms = first_ms + self._now_ms - last_ms, self._now_ms
        self._since_ms, self._until_ms = first_ms, last_ms
        return (SimulatedEvent(e.at_ms, e.at_ms, e.topic, e.key, e.value, "") for e in events)

    async def _send_live(self, producer: BulkProducer) -> None:
        """Send the population's events from now on, each when it arrives."""
        # The simulator makes an hour of events at a time.
        events = simulate(self._population, start_ms=self._now_ms, end_ms=self._now_ms + _FOR_EVER_DAYS * DAY_MS)
        next_event = next(events)
        began = time.monotonic()
        while True:
            passed_ms = int((time.monotonic() - began) * 1_000 * self._options.speed)
            until_ms = time.time_ns() // 1_000_000 if self._options.speed == 1 else self._now_ms + passed_ms
            due = []
            while next_event.arrives_at_ms <= until_ms:
                due.append(next_event)
                next_event = next(events)
            await producer.send(due)
            await producer.flush()
            await asyncio.sleep(_SEND_SECONDS)

    # -- the run ---------------------------------------------------------------------------------------------------

    async def run(self, deployment: Deployment) -> None:
        """Load the history, let the population go on live, and show the numbers, until cancelled."""
        settings = deployment.settings
        topics, partitions = settings.input_topics, settings.topics.partitions
        async with BulkProducer(client_options(settings), topics=topics, partitions=partitions) as producer:
            await self._load(deployment, producer)
            tasks = [asyncio.create_task(self._show(deployment))]
            if self._recorded is None:
                tasks.append(asyncio.create_task(self._send_live(producer)))
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_until_broken(self) -> None:
        """Wait for as long as the embedded broker runs. Raises EmbeddedBrokerFailed when it has ended."""
        while True:
            if self._broker is not None:
                self._broker.check()
            await asyncio.sleep(_SEND_SECONDS)

    async def _load(self, deployment: Deployment, producer: BulkProducer) -> None:
        self._console.print(f"watch it fill at {deployment.address}/")
        history = await asyncio.to_thread(self._history)
        sent = 0
        with _progress(self._console) as show_progress:
            while chunk := list(islice(history, _EVENTS_PER_CHUNK)):
                await producer.send(chunk)
                sent += len(chunk)
                applied = _applied_events(deployment)
                show_progress(self._history_share(chunk[-1].at_ms) * applied / sent, applied)
                await asyncio.sleep(0)
            await producer.flush()
            deployment.board.preparing = ""
            while _applied_events(deployment) < sent or not _is_complete(deployment):
                applied = _applied_events(deployment)
                show_progress(applied / max(1, sent), applied)
                await asyncio.sleep(0.1)
        seconds = time.monotonic() - self._started
        self._console.print(f"{sent:,} events of history are in the gauges, {seconds:.0f} s after the start")

    def _history_share(self, at_ms: int) -> float:
        """How much of the history lies before this time, from 0 to 1."""
        return min(1.0, max(0.0, (at_ms - self._since_ms) / max(1, self._until_ms - self._since_ms)))

    async def _show(self, deployment: Deployment) -> None:
        if not self._console.is_terminal:
            for line in self._addresses(deployment):
                self._console.print(line)
        with _screen(self._console) as show:
            while True:
                board = deployment.board
                closed = board.closed()
                state = "; ".join(board.unready()) or "live"
                clock = iso(board.merged.now_ms)[:19].replace("T", " ")
                events = f"{_applied_events(deployment):,} events, {state}, {clock} UTC"
                lines = [events, "", *self._addresses(deployment), _USAGE_HINT]
                show(screen(board.live(), closed[-1][1] if closed else [], lines))
                await asyncio.sleep(1.0 if self._console.is_terminal else _SECONDS_BETWEEN_LINES)

    def _addresses(self, deployment: Deployment) -> list[str]:
        return [
            f"live page    {deployment.address}/",
            f"metrics      {deployment.address}/metrics",
            f"API          {deployment.address}/api/v1/metrics",
            f"definitions  {deployment.address}/api/v1/definitions",
            f"Kafka        {deployment.settings.kafka.servers}",
        ]


def _applied_events(deployment: Deployment) -> int:
    """Count the events that have reached the gauges, whatever their outcome."""
    outcomes = deployment.board.merged.outcomes
    return sum(count for counts in outcomes.values() for name, count in counts.items() if name != "rekeyed")


def _is_complete(deployment: Deployment) -> bool:
    """Whether the numbers are right, those of closed days too: these are calculated while the history is read."""
    board = deployment.board
    return not board.unready() and not board.merged.closing_backlog


def _free_port(asked: int | None) -> int:
    if asked is not None:
        return asked
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", _PREFERRED_PORT))
        except OSError:
            return 0
    return _PREFERRED_PORT


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[float, int], None]]:
    """Show how much of the history is loaded: as a bar, or without a terminal as a line for each tenth."""
    title = "loading the history"
    if not console.is_terminal:
        tenths = [-1]

        def show_progress(share: float, events: int) -> None:
            if int(10 * share) > tenths[0]:
                tenths[0] = int(10 * share)
                console.print(f"{title}: {share:.0%}, {events:,} events in the gauges")

        yield show_progress
        return
    columns = (
        TextColumn(title),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, events: progress.update(task, completed=share, description=f"{events:,} events")


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Callable[[object], None]]:
    if not console.is_terminal:
        yield lambda shown: console.print(shown)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda shown: live.update(shown, refresh=True)  # type: ignore[arg-type]
