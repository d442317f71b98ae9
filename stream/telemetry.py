"""What the program says of itself: logs, and the reports that workers send to the server."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import quote

import msgspec
import structlog

from stream.core.snapshot import ClosedDay, Snapshot
from stream.redis_url import HIDDEN
from stream.settings import Log

# Upper bounds in seconds. An event should be in a gauge within a second or two, a checkpoint take a part of one.
LATENCY_BOUNDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
CHECKPOINT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

# A shorter one would be found in every other word.
_SHORTEST_SECRET = 4

_LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "faust", "kafka", "mode")


class Timings(msgspec.Struct, frozen=True):
    """A histogram of seconds that adds: a count for each bound and one above all, and the sum."""

    counts: tuple[int, ...] = ()
    seconds: float = 0.0

    def __add__(self, other: "Timings") -> "Timings":
        longer = max(len(self.counts), len(other.counts))
        padded = [(*part.counts, *(0,) * (longer - len(part.counts))) for part in (self, other)]
        return Timings(tuple(a + b for a, b in zip(*padded, strict=True)), self.seconds + other.seconds)


class OpenTransaction(msgspec.Struct, frozen=True):
    """A producer's transaction that is open, and so holds back what lies behind its beginning."""

    seconds: float  # since the worker saw it first
    records: int  # between its beginning and the end of the partition, its own and those of others


class Report(msgspec.Struct, frozen=True, tag=True):
    """What the owner of a partition tells once a second.

    Topic: the snapshots topic, compacted; key: the partition's number; a newer report replaces the older one.
    """

    partition: int
    worker: str
    reported_ms: int  # wall clock of the worker
    snapshot: Snapshot
    lag: dict[str, int]  # by topic: records in Kafka not yet applied
    behind: tuple[str, ...]  # topics that have not been read to their end
    event_latency: Timings
    checkpoints: Timings
    recovery_seconds: float
    settings: dict[str, str] = {}  # those that a server must share to add and show these numbers
    counted_since_ms: int = 0  # when the state was reset and all counted again; 0 if it never was
    away: str = ""  # why the store can't be reached, while it can't
    open_transactions: dict[str, OpenTransaction] = {}  # by topic: those open for `kafka.open_transaction_after`
    epoch: int = 0  # of the takeover by which it owns the partition; 0 from a worker of a version that did not tell
    days_since: int | None = None  # the first closed day that it tells of; None before there is one
    generation: int = -1  # of the consumer group, by which Kafka counts its rebalances; -1 where nobody told
    started_ms: int = 0  # when the process began: in a container the next one has the same name


class Unowned(msgspec.Struct, frozen=True, tag=True):
    """What is told of a partition while nobody can report its numbers: in the same topic, under the same key."""

    partition: int
    worker: str  # that told it
    reported_ms: int
    why: str
    rows_left: int | None = None  # of a state that is being recovered: records of its changelog to read
    seconds_left: float | None = None
    epoch: int = 0  # of a takeover that ends, as the worker leaves; 0 where it had not taken the partition over
    started_ms: int = 0


class Standby(msgspec.Struct, frozen=True, tag=True):
    """What a worker tells of a partition that it follows to take it over: in the same topic, under a key of its own."""

    partition: int
    worker: str
    reported_ms: int
    lag: int  # records of the changelog that its store does not hold yet
    started_ms: int = 0


class Idle(msgspec.Struct, frozen=True, tag=True):
    """What a worker tells that was given no partition: that it is there. In the same topic, under a key of its own."""

    worker: str
    reported_ms: int
    started_ms: int
    partition: int = 0  # of the topic


class Day(msgspec.Struct, frozen=True):
    """What the owner of a partition tells of a closed day: when it has closed, and when late events change it.

    Topic: the days topic, compacted; key: the number of the day; a newer one replaces the older one, and a null message
    takes away a day that is kept no more.
    """

    partition: int
    worker: str
    reported_ms: int  # wall clock of the worker
    closed: ClosedDay
    epoch: int = 0  # of the takeover by which it owns the partition


Told = Report | Unowned | Standby | Idle

encode_day = msgspec.msgpack.Encoder().encode
decode_day: Callable[[bytes], Day] = msgspec.msgpack.Decoder(Day).decode

encode_report = msgspec.msgpack.Encoder().encode
decode_report: Callable[[bytes], Told] = msgspec.msgpack.Decoder(Told).decode


class SeldomRepeats(logging.Filter):
    """Lets the same warning of a library through once in a while: Kafka clients repeat theirs ten times a second."""

    def __init__(self, *, seconds: float = 30.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._now = now
        self._told_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] not in _LIBRARIES:
            return True
        what = record.name, str(record.msg)
        now = self._now()
        if now - self._told_at.get(what, -self._seconds) < self._seconds:
            return False
        if len(self._told_at) > 1_000:
            self._told_at.clear()
        self._told_at[what] = now
        return True


def without(secrets: Collection[str]) -> Callable[[str], str]:
    """What puts asterisks for these in a text, however a library or JSON has written them."""
    known = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    raw = {
        form for secret in known for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], quote(secret))
    }
    forms = raw | {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in raw for ascii_only in (True, False)}
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub(HIDDEN, text)


def configure_logging(settings: Log, *, secrets: Collection[str] = (), stream: Any = None) -> None:
    """Send all logs, of the standard library's loggers too, to standard error as settings ask, but not the secrets.

    Kafka's clients tell at `debug` what they send, passwords too.
    """
    out = sys.stderr if stream is None else stream
    as_json = settings.format == "json" or (settings.format == "auto" and not out.isatty())
    shared: Iterable[Any] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    render: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=out.isatty())
    masked = without(secrets)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(shared),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                lambda logger, name, event: masked(render(logger, name, event)),
            ],
        )
    )
    if settings.level != "debug":
        handler.addFilter(SeldomRepeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # The libraries tell at `info` what an operator can't act on.
    quiet = max(logging.WARNING, root.level) if root.level > logging.DEBUG else logging.DEBUG
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(quiet)
    # What kafka-python fails at it raises, and the command tells it in a line.
    logging.getLogger("kafka").setLevel(logging.CRITICAL if quiet > logging.DEBUG else quiet)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
