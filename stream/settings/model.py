"""What can be set, with its defaults: a class for each section of the file."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from stream import redis_url
from stream.core.families.registry import stored_by
from stream.core.messages import Reader
from stream.core.rules import Rules
from stream.core.segments import SEGMENTS, in_order
from stream.core.time import SECOND_MS, Days, day_number, seconds_of
from stream.core.windows import Windows
from stream.inputs import registry as formats

_SECRETS = ("sasl_password",)
WITHOUT_PASSWORD = ("rocksdb://", "memory://")


class Unavailable(Exception):
    """Something that is needed from outside can't be had: a broker, a topic, a disk. The text says what, in a line."""


class SettingsError(ValueError):
    """A setting that is unknown or can't be. The text names it and its value."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Some settings, shown without their secrets."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={shown(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"


class Kafka(Section, frozen=True):
    """Where Kafka is and how to speak to it."""

    servers: str = "localhost:9092"  # host:port, several with commas
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str = ""  # with SASL_PLAINTEXT and SASL_SSL
    sasl_password: str = ""  # never shown or logged; a file is better
    sasl_password_file: str = ""  # a file that holds the password and nothing else
    ssl_cafile: str = ""  # empty: the system's certificates
    ssl_certfile: str = ""  # a client certificate, where the broker asks for one
    ssl_keyfile: str = ""  # its key
    session_timeout: str = "10s"  # a worker that is silent for so long loses its partitions
    instance_id: str = ""  # a worker's own name: back within the session timeout, it goes on without a rebalance
    batch_records: int = 2_000  # records applied at a time: few enough that a rebalance never waits for them
    batches_in_flight: int = 4  # batches of each topic that wait for their turn
    fetch_bytes: int = 8 * 1024 * 1024  # of each partition fetched at a time
    open_transaction_after: str = "10s"  # a transaction that holds its partition back for so long is told
    idempotent: bool = True  # off only for brokers without idempotent producers


class Topics(Section, frozen=True):
    """The topics that producers write to, and the partitions of every topic."""

    sessions: str = "sessions"  # the topic of steps and summaries of sessions
    logins: str = "logins"  # the topic of logins
    surveys: str = "surveys"  # the topic of survey responses
    partitions: int = 4  # of each topic, the internal ones too: users must lie in the same partition everywhere
    replication: int = -1  # of topics we create; -1: the broker's default


class State(Section, frozen=True):
    """Where the state lives between checkpoints."""

    # A Redis Cluster is redis+cluster://HOST:PORT. With TLS: rediss:// and rediss+cluster://.
    url: str = "rocksdb://engagement-state"  # or redis://HOST:PORT/DB, or memory:// (rebuilt from Kafka at each start)
    password_file: str = ""  # of Redis: a file that holds the password and nothing else; safer than in the URL
    ssl_cafile: str = ""  # of Redis, with rediss://; empty: the system's certificates
    ssl_certfile: str = ""  # a client certificate, where Redis asks for one
    ssl_keyfile: str = ""  # its key
    checkpoint_interval: str = "1s"  # what a crash has to read again
    max_delta_bytes: int = 32 * 1024 * 1024  # a checkpoint is one record batch of at most this size
    cached_users: int = 50_000  # rows kept in memory by each worker, shared by its partitions
    max_user_bytes: int = 256 * 1024  # of one user's row: what comes beyond is refused until older events are let go
    rocksdb_memory_bytes: int = 128 * 1024 * 1024  # of each worker: rows not yet in files, and files that were read
    standbys: int = 0  # workers that follow each partition to take over faster


class Input(Section, frozen=True):
    """One table `[[inputs]]`: a Kafka topic, and what its messages are. It can be written in the file only."""

    topic: str  # the Kafka topic
    kind: str  # what its messages tell: sessions, logins or surveys
    format: str = formats.NATIVE  # how they are written
    name: str = ""  # the label `topic` of metrics, and `topic` in files of events; empty: the Kafka topic's name


class Server(Section, frozen=True):
    """Where /metrics and the API are served."""

    host: str = "127.0.0.1"  # this machine only, unless asked
    port: int = 8600  # 0: a free one
    stale_after: str = "15s"  # a partition without a snapshot for so long is stale, and the server is not ready


class Worker(Section, frozen=True):
    """How many workers a command runs, and where a worker says of itself how it fares."""

    processes: str = "1"  # workers of one command, each a process with a core of its own; auto: one a core
    host: str = "127.0.0.1"  # this machine only, unless asked
    port: int = -1  # of a worker's own /livez and /readyz; -1: no listener, 0: a free port; of several the first's


class Log(Section, frozen=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"  # of the libraries: warning at most
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, else json


class Settings(Section, frozen=True):
    """All settings of a deployment."""

    app_id: str = "engagement"  # consumer group, and prefix of the internal topics
    timezone: str = "UTC"  # cuts days
    clock: Literal["wall", "event"] = "wall"  # event: stay at the newest event time, for old data
    session_timeout: str = "30m"  # a gap of exactly this still belongs
    session_cap: str = "24h"  # longer sessions count as this long; bounds the histogram of durations
    allowed_lateness: str = "72h"  # events further behind the watermark are not applied
    future_limit: str = "1h"  # events further ahead of the wall clock are refused
    close_after: str = "1h"  # a day closes so long after its midnight
    idle_after: str = "24h"  # a partition that reads nothing for so long holds no day open
    history_days: int = 400  # of so many closed days the numbers are kept
    max_message_bytes: int = 1_000_000  # larger messages are refused
    retention: str = "100d"  # of a user without any event for so long, and beyond all windows, little is kept
    memory: str = "400d"  # that little, whole days: whoever comes back later is a new user
    cohorts_from: str = ""  # first day of which all is known, as 2026-11-21; empty: the day after the first event
    segments: tuple[str, ...] = SEGMENTS  # by which active users are counted apart; empty: by none
    inputs: tuple[Input, ...] = ()  # tables `[[inputs]]`, where other topics are read than those below
    kafka: Kafka = msgspec.field(default_factory=Kafka)
    topics: Topics = msgspec.field(default_factory=Topics)
    state: State = msgspec.field(default_factory=State)
    windows: dict[str, tuple[str, ...]] = {}  # by name, where they are not the default of their family
    server: Server = msgspec.field(default_factory=Server)
    worker: Worker = msgspec.field(default_factory=Worker)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def rules(self) -> Rules:
        """The rules that the numbers follow."""
        return Rules(
            days=_days(self.timezone),
            session_timeout_ms=seconds_of(self.session_timeout) * SECOND_MS,
            session_cap_ms=seconds_of(self.session_cap) * SECOND_MS,
            allowed_lateness_ms=seconds_of(self.allowed_lateness) * SECOND_MS,
            future_limit_ms=seconds_of(self.future_limit) * SECOND_MS,
            close_after_ms=seconds_of(self.close_after) * SECOND_MS,
            idle_after_ms=seconds_of(self.idle_after) * SECOND_MS,
            history_days=self.history_days,
            retention_ms=seconds_of(self.retention) * SECOND_MS,
            memory_days=seconds_of(self.memory) // seconds_of("1d"),
            cohorts_from=day_number(self.cohorts_from) if self.cohorts_from else None,
            windows=self.windows,
            segments=in_order(self.segments),
        )

    @property
    def shared(self) -> dict[str, str]:
        """The settings that workers and servers must agree on, by name."""
        return {"topics.partitions": str(self.topics.partitions), **stored_by(self.rules)}

    @property
    def named_inputs(self) -> dict[str, Input]:
        """The inputs that are read, by name: those of the file, else one for each kind of native messages."""
        if self.inputs:
            return {one.name or one.topic: one for one in self.inputs}
        return {kind: Input(topic=getattr(self.topics, kind, kind), kind=kind) for kind in formats.kinds()}

    @property
    def input_topics(self) -> dict[str, str]:
        """The Kafka topic of each input, by its name."""
        return {name: one.topic for name, one in self.named_inputs.items()}

    @property
    def readers(self) -> dict[str, Reader]:
        """What reads the messages of each input, by its name."""
        return {name: formats.reader(format=one.format, kind=one.kind) for name, one in self.named_inputs.items()}

    def windows_of(self, told: Windows) -> tuple[str, ...]:
        """The windows that are told of a family."""
        return self.windows.get(told.name, told.default)

    @property
    def changelog_topic(self) -> str:
        """Where checkpoints go."""
        return f"{self.app_id}-state-changelog"

    @property
    def rekey_topic(self) -> str:
        """Where records go that lie in the wrong partition."""
        return f"{self.app_id}-rekey"

    @property
    def replayed_topic(self) -> str:
        """Where `engagement dlq replay` notes which dead letters it has sent back."""
        return f"{self.app_id}-replayed"

    @property
    def snapshots_topic(self) -> str:
        """Where workers tell the server what their partitions add."""
        return f"{self.app_id}-snapshots"

    @property
    def days_topic(self) -> str:
        """Where workers tell the server what closed days say."""
        return f"{self.app_id}-days"

    def dead_letter_topic(self, topic: str) -> str:
        """Where messages of a topic go that can't be used."""
        return f"{topic}.dlq"

    def sasl_password(self) -> str:
        """The password, from the setting or from its file. Raises SettingsError for a file that can't be read."""
        path = self.kafka.sasl_password_file
        return _secret_in(path, "kafka.sasl_password_file") if path else self.kafka.sasl_password

    def redis_password(self) -> str:
        """The password of `state.url`, from there or from its file. Raises SettingsError for one that can't be read."""
        path = self.state.password_file
        return _secret_in(path, "state.password_file") if path else redis_url.parse(self.state.url).password

    def secrets(self) -> list[str]:
        """All passwords, without those whose file can't be read: whoever needs them is told that."""
        found = []
        for password in (self.sasl_password, self.redis_password):
            with suppress(SettingsError, ValueError):  # the state is in no Redis
                found.append(password())
        return [secret for secret in found if secret]


@lru_cache(maxsize=4)
def _days(zone: str) -> Days:
    """One calendar for all partitions of a process: it remembers what it has looked up."""
    return Days(zone)


def _secret_in(path: str, place: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{place}: can't read {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{place}: {path!r} is no UTF-8 text") from None


def shown(name: str, value: Any) -> Any:
    """A value as it may be seen: secrets are hidden."""
    if name == "url" and not value.startswith(WITHOUT_PASSWORD):
        return redis_url.masked(value)
    return redis_url.HIDDEN if name in _SECRETS and value else value
