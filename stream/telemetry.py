"""What the program says about itself: logs, and the reports that workers send to the servers."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import structlog

from stream.core.snapshot import ClosedDay, Snapshot
from stream.masking import HIDDEN
from stream.settings import Log

# Upper bounds of the histograms, in seconds. An event should be in a gauge within a second or two, and a checkpoint
# should take a fraction of a second.
LATENCY_BOUNDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
CHECKPOINT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

# A shorter secret is not masked: it would be found in every other word.
_MIN_SECRET_LENGTH = 4

# The last four are the client of the schema registry and what it asks with: it tells of each request.
_LIBRARIES = (
    *("aiohttp", "aiokafka", "asyncio", "faust", "kafka", "mode"),
    *("confluent_kafka", "httpcore", "httpx", "httpx2"),
)


class Timings(msgspec.Struct, frozen=True):
    """A histogram of durations that can be added to others: a count for each bound, a count above all bounds, a sum."""

    counts: tuple[int, ...] = ()
    seconds: float = 0.0

    def __add__(self, other: "Timings") -> "Timings":
        longer = max(len(self.counts), len(other.counts))
        padded = [(*part.counts, *(0,) * (longer - len(part.counts))) for part in (self, other)]
        return Timings(tuple(a + b for a, b in zip(*padded, strict=True)), self.seconds + other.seconds)


class OpenTransaction(msgspec.Struct, frozen=True):
    """An open transaction of a producer. Records behind its beginning can't be read before it ends."""

    seconds: float  # since the worker has seen it first
    records: int  # from its beginning to the end of the partition, those of other producers included


class Report(msgspec.Struct, frozen=True, tag=True):
    """What the worker that owns a partition reports once a second.

    Topic: the snapshots topic, compacted. Key: the partition's number, so a newer report replaces the older one.
    """

    partition: int
    worker: str
    reported_ms: int  # the brokers' time (`stream.clock`); servers go by when Kafka has appended it, where that is told
    snapshot: Snapshot
    lag: dict[str, int]  # by topic: how many records in Kafka are not yet applied
    behind: tuple[str, ...]  # topics that have not been read to their end
    event_latency: Timings
    checkpoints: Timings
    recovery_seconds: float
    settings: dict[str, str] = {}  # those that a server must have too, to add up and show these numbers
    counted_since_ms: int = 0  # when the state was reset, so that everything was counted again; 0 if it never was
    away: str = ""  # why the store can't be reached; empty while it can
    open_transactions: dict[str, OpenTransaction] = {}  # by topic: those open for `kafka.open_transaction_after`
    unread: dict[str, str] = {}  # by topic: why it is not read now, and the commands that decide it
    epoch: int = 0  # of the takeover by which the worker owns the partition; 0 from workers of older versions
    days_since: int | None = None  # the first closed day that the days topic has of it; None before there is one
    generation: int = -1  # of the consumer group: Kafka counts its rebalances by it; -1 from older versions
    started_ms: int = 0  # when the process began; tells apart processes of one name, such as restarts of a container


class Unowned(msgspec.Struct, frozen=True, tag=True):
    """What is reported of a partition while it has no numbers. Same topic and key as `Report`."""

    partition: int
    worker: str  # the worker that reports it
    reported_ms: int
    why: str
    rows_left: int | None = None  # while the state is recovered: records of its changelog still to read
    seconds_left: float | None = None
    epoch: int = 0  # of the takeover that ends as the worker leaves; 0 if it had not taken the partition over
    started_ms: int = 0


class Standby(msgspec.Struct, frozen=True, tag=True):
    """What a worker reports of a partition that it follows as a standby. Same topic as `Report`, with its own key."""

    partition: int
    worker: str
    reported_ms: int
    lag: int  # how many records of the changelog are not in the worker's store yet
    started_ms: int = 0


class Idle(msgspec.Struct, frozen=True, tag=True):
    """What a worker reports that has no partition, so that it is known. Same topic as `Report`, with its own key."""

    worker: str
    reported_ms: int
    started_ms: int
    partition: int = 0  # the partition of the snapshots topic that takes the report


class ClockReading(msgspec.Struct, frozen=True, tag=True):
    """What a worker reports of its machine's clock, every few seconds to each broker, whose answer tells its time.

    Topic: that of `Report`. All have the same key, because nobody needs an older one.
    """

    worker: str
    reported_ms: int
    started_ms: int
    skew_seconds: float | None  # how far the clock is ahead of the brokers' time; None where nobody tells that time
    why_own: str = ""  # why numbers go by the machine's own clock; empty where they go by the brokers' time
    partition: int = 0  # the partition of the snapshots topic that takes the reading


AnyReport = Report | Unowned | Standby | Idle | ClockReading


class ClosedDayReport(msgspec.Struct, frozen=True):
    """What the owner of a partition reports of a closed day, when the day closes and when late events change it.

    Topic: the days topic, compacted. Key: the number of the day, so a newer report replaces the older one. A message
    without value deletes a day that is kept no longer; a header says which owner does so.
    """

    partition: int
    worker: str
    reported_ms: int  # the brokers' time (`stream.clock`)
    closed: ClosedDay
    epoch: int = 0  # of the takeover by which the worker owns the partition
    counted_since_ms: int = 0  # when the state was reset, so that epochs began anew; 0 if it never was

    @property
    def told_by(self) -> "Owner":
        """Who has told it."""
        return Owner(self.counted_since_ms, self.epoch)


class Owner(NamedTuple):
    """An owner of a partition: of two the greater is the later one. Without an epoch nobody knows which it was."""

    counted_since_ms: int
    epoch: int


NOBODY = Owner(0, 0)

encode_closed_day = msgspec.msgpack.Encoder().encode
decode_closed_day: Callable[[bytes], ClosedDayReport] = msgspec.msgpack.Decoder(ClosedDayReport).decode

encode_report = msgspec.msgpack.Encoder().encode
decode_report: Callable[[bytes], AnyReport] = msgspec.msgpack.Decoder(AnyReport).decode


class RepeatFilter(logging.Filter):
    """Drops repeated warnings of a library for 30 s, because Kafka clients repeat theirs ten times a second."""

    def __init__(self, *, seconds: float = 30.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._now = now
        self._last_logged: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] not in _LIBRARIES:
            return True
        what = record.name, str(record.msg)
        now = self._now()
        if now - self._last_logged.get(what, -self._seconds) < self._seconds:
            return False
        if len(self._last_logged) > 1_000:
            self._last_logged.clear()
        self._last_logged[what] = now
        return True


# A token as a client sends it (RFC 6750, section 2.1).
_BEARER = re.compile(r"(?P<name>Bearer )[A-Za-z0-9._~+/-]+=*")


def mask_secrets(secrets: Collection[str]) -> Callable[[str], str]:
    """Return a function that masks these secrets in a text, however a library or JSON has written them.

    Access tokens are masked too. They change all the time, and are recognised by the word before them.
    """
    hide_tokens = partial(_BEARER.sub, rf"\g<name>{HIDDEN}")
    known = [secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH]
    raw = {
        form for secret in known for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], quote(secret))
    }
    forms = raw | _in_json(raw) | _in_json(_in_json(raw)) | {repr(form)[1:-1] for form in _in_json(raw)}
    if not forms:
        return hide_tokens
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: hide_tokens(pattern.sub(HIDDEN, text))


def _in_json(forms: Collection[str]) -> set[str]:
    """Return how JSON writes these texts between its quotation marks."""
    return {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}


def configure_logging(settings: Log, *, secrets: Collection[str] = (), stream: Any = None) -> None:
    """Configure logging: everything, also from libraries, goes to standard error, as the settings say.

    The secrets are masked, because Kafka clients log at `debug` what they send, passwords too.
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
    mask = mask_secrets(secrets)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(shared),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                lambda logger, name, event: mask(render(logger, name, event)),
            ],
        )
    )
    if settings.level != "debug":
        handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # At `info`, the libraries log nothing that an operator could act on.
    library_level = max(logging.WARNING, root.level) if root.level > logging.DEBUG else logging.DEBUG
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(library_level)
    # kafka-python also raises its errors, and the command shows them in one line.
    logging.getLogger("kafka").setLevel(logging.CRITICAL if library_level > logging.DEBUG else library_level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
