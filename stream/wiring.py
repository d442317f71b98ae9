"""The one place where settings become running parts: stores, worker, server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.agents.app import Worker
from stream.core.partition.progress import StateRefused
from stream.core.store import Store, StoreBroken
from stream.export.address import url_of
from stream.export.board import Board
from stream.export.http import Server
from stream.export.probes import Probes
from stream.export.report_reader import ReportReader, cancelled
from stream.kafka.options import client_options
from stream.kafka.patience import answer_seconds
from stream.kafka.topics import BrokerUnreachable
from stream.redis_url import is_redis_url
from stream.settings import Settings, Unavailable
from stream.state.memory import MemoryStore
from stream.state.rocksdb import Memory, RocksStore
from stream.upkeep.state import Upkeep

if TYPE_CHECKING:
    from stream.state.redis import Redis

log = structlog.get_logger(__name__)

VERSION = installed_version("engagement-stream")

# A worker that can't say goodbye in time is no worse than one that crashed: nothing is lost.
_SHUTDOWN_SECONDS = 8.0


def local_store_opener(settings: Settings) -> Callable[[int], Store]:
    """What opens the local store of a partition, as `state.url` says."""
    scheme, _, place = settings.state.url.partition("://")
    if scheme == "memory":
        return lambda partition: MemoryStore()
    directory = Path(place) / settings.app_id
    memory = Memory.shared(settings.state.rocksdb_memory_bytes, stores=settings.topics.partitions)
    return lambda partition: RocksStore(directory / f"partition-{partition}", memory=memory)


def new_worker(settings: Settings) -> Worker:
    """A worker with the stores that `state.url` says."""
    if not is_redis_url(settings.state.url):
        return Worker(settings, open_store=local_store_opener(settings))
    redis = _redis(settings)
    return Worker(settings, open_store=redis.of, check_store=redis.check, shared=True)


def _redis(settings: Settings) -> Redis:
    from stream.state.redis import Redis  # its client takes a quarter of a second to import: others start without

    return Redis(settings)


@contextlib.contextmanager
def upkeep(settings: Settings) -> Iterator[Upkeep]:
    """The state of a deployment, for an operator to look at or to decide on."""
    if is_redis_url(settings.state.url):
        redis = _redis(settings)
        yield Upkeep(settings, open_store=redis.of, shared=True)
        redis.close()
        return
    with tempfile.TemporaryDirectory(prefix="engagement-upkeep-") as scratch:
        opened: list[RocksStore] = []

        def open_scratch(partition: int) -> Store:
            opened.append(RocksStore(Path(scratch) / f"{len(opened)}-partition-{partition}"))
            return opened[-1]

        try:
            yield Upkeep(settings, open_store=open_scratch, shared=False)
        finally:
            for store in opened:
                store.close()


class Deployment:
    """A worker, a server, or both in one process."""

    def __init__(self, settings: Settings, *, worker: bool = True, server: bool = True) -> None:
        self.settings = settings
        self.board = Board(settings, now_ms=lambda: time.time_ns() // 1_000_000)
        self._worker = new_worker(settings) if worker else None
        self._server = Server(self.board, version=VERSION) if server else None
        self._feed = _feed_of(self.board, settings) if server else None
        self._feeding: asyncio.Task[None] | None = None
        self._probes = _probes_of(self._worker, settings)

    @property
    def probes_address(self) -> str | None:
        """Where the worker's own pages are, or None when it has none."""
        return url_of(self.settings.worker.host, self._probes.port) if self._probes is not None else None

    @property
    def address(self) -> str:
        """Where the server listens."""
        port = self._server.port if self._server is not None else self.settings.server.port
        return url_of(self.settings.server.host, port)

    async def start(self) -> None:
        """Start what there is, the server first: it tells why it is not ready. Raises BrokerUnreachable."""
        try:
            if self._probes is not None:
                await self._probes.start()
            if self._server is not None and self._feed is not None:
                await self._server.start()
                self._feeding = asyncio.create_task(self._feed.run())
            if self._worker is not None:
                await self._worker.start()
        except StoreBroken as error:
            raise Unavailable(str(error)) from error
        except KafkaConnectionError as error:
            raise BrokerUnreachable(f"cannot reach a Kafka broker at {self.settings.kafka.servers}") from error
        except KafkaError as error:
            told = f"Kafka at {self.settings.kafka.servers} refused: {error}"
            hint = "a broker without idempotent producers wants kafka.idempotent = false"
            raise Unavailable(f"{told} ({hint})" if self.settings.kafka.idempotent else told) from error

    async def tell_recovery(self, tell: Callable[[int, int], None]) -> None:
        """Tell rows read and records left while state is read from its changelog, until cancelled."""
        rows, left = 0, 0
        while self._worker is not None:
            before = left
            rows, left = self._worker.recovering() or (rows, 0)
            if left or before:
                tell(rows, left)
            await asyncio.sleep(0.5)

    async def broken(self) -> BaseException | None:
        """Wait until a part breaks; returns why."""
        waits: list[asyncio.Task[BaseException | None]] = []
        if self._worker is not None:
            waits.append(asyncio.create_task(self._worker.broken()))
        if self._feeding is not None:
            waits.append(asyncio.create_task(self._feed_broken(self._feeding)))
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    async def _feed_broken(self, feeding: asyncio.Task[None]) -> BaseException | None:
        await asyncio.wait({feeding})
        return feeding.exception()

    async def stop(self) -> None:
        """Stop in order: no more events, last checkpoint, then the server."""
        if self._worker is not None:
            await self._worker.stop()
        if self._feeding is not None:
            await cancelled(self._feeding)
        if self._server is not None:
            await self._server.stop()
        if self._probes is not None:
            await self._probes.stop()


def _feed_of(board: Board, settings: Settings) -> ReportReader:
    return ReportReader(board, client_options(settings), answer_seconds=answer_seconds(settings))


def _probes_of(worker: Worker | None, settings: Settings) -> Probes | None:
    if worker is None or settings.worker.port < 0:
        return None
    return Probes(settings.worker.host, settings.worker.port, unready=worker.unready)


async def run_until_stopped(
    deployment: Deployment,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_recovery: Callable[[int, int], None] = lambda rows, left: None,
    on_stop: Callable[[int], None] = lambda status: None,
) -> int:
    """Run until SIGINT or SIGTERM (0), or until a part breaks before (1).

    `on_recovery` is told, while state is read from its changelog, the rows read so far and the records left; `on_stop`
    that it begins to stop, and the status with which the process is to end.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    running = asyncio.create_task(_started_until_broken(deployment, on_start))
    stopped = asyncio.create_task(stopping.wait())
    telling = asyncio.create_task(deployment.tell_recovery(on_recovery))
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        on_stop(int(not stopping.is_set()))
        if stopping.is_set():  # even if a part has broken meanwhile, as when all workers are asked at once
            return 0
        reason = running.result()  # what an operator can act on is told as a failure of the command
        if isinstance(reason, (Unavailable, StateRefused)):
            raise reason
        if isinstance(reason, StoreBroken):
            raise Unavailable(str(reason)) from reason
        log.error("stopped because a part broke", reason=repr(reason))
        return 1
    finally:
        for waiting in (running, stopped, telling):
            waiting.cancel()
        # Neither is waited for longer: what hangs in a thread can't be cancelled.
        ending = asyncio.create_task(deployment.stop())
        await asyncio.wait({ending}, timeout=_SHUTDOWN_SECONDS)
        if not ending.done() or ending.exception() is not None:
            why = repr(ending.exception()) if ending.done() else f"not over after {_SHUTDOWN_SECONDS:g} s"
            log.warning("did not stop in order; what was not saved will be read again", reason=why)


async def _started_until_broken(deployment: Deployment, on_start: Callable[[], None]) -> BaseException | None:
    """Start, which takes as long as the state has to be recovered; returns why a part broke then."""
    await deployment.start()
    on_start()
    return await deployment.broken()
