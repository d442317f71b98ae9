"""Build the running parts of a deployment from its settings: stores, worker and server. This is done only here."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.agents.app import Worker
from stream.clock import Clock
from stream.core.partition.progress import StateRefused
from stream.core.store import Store, StoreFailed
from stream.export.address import url_of
from stream.export.board import Board
from stream.export.http import Server
from stream.export.probes import Probes
from stream.export.report_reader import ReportReader, cancelled
from stream.garbage import seldom_collected
from stream.kafka.access import is_refusal
from stream.kafka.access_tokens import token_notes
from stream.kafka.connections import connection_problems
from stream.kafka.options import client_options
from stream.kafka.timeouts import request_timeout_seconds
from stream.kafka.topics import BrokerUnreachable
from stream.maintenance.partition_state import StateMaintenance
from stream.redis_url import is_redis_url
from stream.settings import Settings, Unavailable
from stream.state.directory import StateDirectory
from stream.state.memory import MemoryStore
from stream.state.rocksdb import RocksStore

if TYPE_CHECKING:
    from stream.state.redis import Redis

log = structlog.get_logger(__name__)

VERSION = installed_version("engagement-stream")

# A worker that can't leave Kafka's group within this time has lost nothing: it is then like one that crashed.
_SHUTDOWN_TIMEOUT_SECONDS = 8.0


def create_worker(settings: Settings, *, only_worker: bool = False) -> Worker:
    """Return a worker that uses the stores that `state.url` names. `only_worker` as in `Deployment`."""
    if settings.state.url.startswith("memory://"):
        return Worker(settings, open_store=lambda partition: MemoryStore(), only_worker=only_worker)
    if not is_redis_url(settings.state.url):
        directory = StateDirectory(settings)
        return Worker(
            settings,
            open_store=directory.open_store,
            check_store=directory.check,
            close_store=directory.close,
            only_worker=only_worker,
        )
    redis = _redis(settings)
    return Worker(
        settings,
        open_store=redis.open_store,
        check_store=redis.check,
        close_store=redis.close,
        shared=True,
        ask_store=redis.times,
        only_worker=only_worker,
    )


def _redis(settings: Settings) -> Redis:
    # Its client takes a quarter of a second to import, so only deployments with Redis import it.
    from stream.state.redis import Redis

    return Redis(settings)


@contextlib.contextmanager
def open_maintenance(settings: Settings) -> Iterator[StateMaintenance]:
    """Open the state of a deployment for an operator's commands."""
    if is_redis_url(settings.state.url):
        redis = _redis(settings)
        yield StateMaintenance(settings, open_store=redis.open_store, peek=redis.peek)
        redis.close()
        return
    with tempfile.TemporaryDirectory(prefix="engagement-upkeep-") as scratch:
        opened: list[RocksStore] = []

        def open_scratch(partition: int) -> Store:
            opened.append(RocksStore(Path(scratch) / f"{len(opened)}-partition-{partition}"))
            return opened[-1]

        try:
            yield StateMaintenance(settings, open_store=open_scratch)
        finally:
            for store in opened:
                store.close()


class Deployment:
    """The parts that one process runs: a worker, a server, or both."""

    def __init__(
        self, settings: Settings, *, worker: bool = True, server: bool = True, only_worker: bool = False
    ) -> None:
        """`only_worker`: no other worker can take over, so this one goes on after a pause of whatever length."""
        self.settings = settings
        self._worker = create_worker(settings, only_worker=only_worker) if worker else None
        # A process that also runs a worker has the worker's clock, which hears more, and of which the worker tells.
        clock = Clock() if self._worker is None else self._worker.tasks.clock

        def own_notes() -> list[str]:
            of_clock = clock.notes("this server") if self._worker is None else ()
            return [*of_clock, *token_notes(settings)]

        self.board = Board(settings, now_ms=clock.now_ms, own_notes=own_notes)
        self._server = Server(self.board, version=VERSION) if server else None
        self._report_reader = _new_report_reader(self.board, settings, clock) if server else None
        self._reading_reports: asyncio.Task[None] | None = None
        self._probes = _new_probes(self._worker, settings)

    @property
    def probes_address(self) -> str | None:
        """The address of the worker's own pages, or None if it has none."""
        return url_of(self.settings.worker.host, self._probes.port) if self._probes is not None else None

    @property
    def address(self) -> str:
        """The address of the server."""
        port = self._server.port if self._server is not None else self.settings.server.port
        return url_of(self.settings.server.host, port)

    def check_store(self) -> None:
        """Check that the state can be kept where `state.url` says. Raises Unavailable, or SettingsError."""
        try:
            if self._worker is not None:
                self._worker.check_store()
        except StoreFailed as error:
            raise Unavailable(str(error)) from error

    async def start(self) -> None:
        """Start all parts, the server first, so that it can say why it is not ready yet.

        Raises BrokerUnreachable, or Unavailable with the reason.
        """
        try:
            if self._probes is not None:
                await self._probes.start()
            if self._server is not None and self._report_reader is not None:
                await self._server.start()
                self._reading_reports = asyncio.create_task(self._report_reader.run())
            if self._worker is not None:
                await self._worker.start()
        except StoreFailed as error:
            raise Unavailable(str(error)) from error
        except KafkaConnectionError as error:
            servers = self.settings.kafka.servers
            problem = f"cannot reach a Kafka broker at {servers}"
            why = connection_problems(servers)
            raise BrokerUnreachable(f"{problem}: {why}" if why else problem) from error
        except KafkaError as error:
            if is_refusal(error):
                raise
            problem = f"Kafka at {self.settings.kafka.servers} refused: {error}"
            hint = "a broker without idempotent producers wants kafka.idempotent = false"
            raise Unavailable(f"{problem} ({hint})" if self.settings.kafka.idempotent else problem) from error

    async def report_recovery(self, on_progress: Callable[[int, int], None]) -> None:
        """Call `on_progress(rows read, records left)` twice a second while the state is recovered, until cancelled."""
        rows, left = 0, 0
        while self._worker is not None:
            before = left
            rows, left = self._worker.recovering() or (rows, 0)
            if left or before:
                on_progress(rows, left)
            await asyncio.sleep(0.5)

    async def wait_until_broken(self) -> BaseException | None:
        """Wait until a part breaks; returns the error that broke it."""
        waits: list[asyncio.Task[BaseException | None]] = []
        if self._worker is not None:
            waits.append(asyncio.create_task(self._worker.wait_until_broken()))
        if self._reading_reports is not None:
            waits.append(asyncio.create_task(self._reading_reports_broken(self._reading_reports)))
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    async def _reading_reports_broken(self, reading_reports: asyncio.Task[None]) -> BaseException | None:
        await asyncio.wait({reading_reports})
        return reading_reports.exception()

    async def stop(self) -> None:
        """Stop the parts in order: the worker, which reads no more and writes a last checkpoint, then the server."""
        if self._worker is not None:
            await self._worker.stop()
        if self._reading_reports is not None:
            await cancelled(self._reading_reports)
        if self._server is not None:
            await self._server.stop()
        if self._probes is not None:
            await self._probes.stop()


def _new_report_reader(board: Board, settings: Settings, clock: Clock) -> ReportReader:
    timeout = request_timeout_seconds(settings)
    return ReportReader(board, client_options(settings), clock=clock, request_timeout_seconds=timeout)


def _new_probes(worker: Worker | None, settings: Settings) -> Probes | None:
    if worker is None or settings.worker.port < 0:
        return None
    return Probes(settings.worker.host, settings.worker.port, unready=worker.unready, notes=worker.notes)


async def run_until_stopped(
    deployment: Deployment,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_recovery: Callable[[int, int], None] = lambda rows, left: None,
    on_stop: Callable[[int], None] = lambda status: None,
) -> int:
    """Run until SIGINT or SIGTERM (returns 0), or until a part breaks before that (returns 1).

    `on_start` is called when all parts have started. `on_recovery` is called with the rows read and the records left
    while the state is recovered from its changelog. `on_stop` is called when stopping begins, with the exit status.

    Raises Unavailable or StateRefused if that is why a part broke: the command shows it in one line.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with seldom_collected():
        return await _run_until(stopping, deployment, on_start, on_recovery, on_stop)


async def _run_until(
    stopping: asyncio.Event,
    deployment: Deployment,
    on_start: Callable[[], None],
    on_recovery: Callable[[int, int], None],
    on_stop: Callable[[int], None],
) -> int:
    running = asyncio.create_task(_start_and_wait_until_broken(deployment, on_start))
    stopped = asyncio.create_task(stopping.wait())
    reporting = asyncio.create_task(deployment.report_recovery(on_recovery))
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        on_stop(int(not stopping.is_set()))
        if stopping.is_set():  # also if a part has broken since, which is usual when all workers are stopped at once
            return 0
        reason = running.result()
        if isinstance(reason, (Unavailable, StateRefused)) or (reason is not None and is_refusal(reason)):
            raise reason
        if isinstance(reason, StoreFailed):
            raise Unavailable(str(reason)) from reason
        log.error("stopped because a part broke", reason=repr(reason))
        return 1
    finally:
        for waiting in (running, stopped, reporting):
            waiting.cancel()
        # Wait no longer than this: what hangs in a thread can't be cancelled.
        stopping_deployment = asyncio.create_task(deployment.stop())
        await asyncio.wait({stopping_deployment}, timeout=_SHUTDOWN_TIMEOUT_SECONDS)
        if not stopping_deployment.done() or stopping_deployment.exception() is not None:
            why = (
                repr(stopping_deployment.exception())
                if stopping_deployment.done()
                else f"not over after {_SHUTDOWN_TIMEOUT_SECONDS:g} s"
            )
            log.warning("did not stop in order; what was not saved will be read again", reason=why)


async def _start_and_wait_until_broken(deployment: Deployment, on_start: Callable[[], None]) -> BaseException | None:
    """Start the deployment, which includes the recovery of its state, and wait until a part breaks; returns why."""
    await deployment.start()
    on_start()
    return await deployment.wait_until_broken()
