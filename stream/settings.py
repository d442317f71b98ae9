"""Settings: one frozen value, read once from a TOML file and from ENGAGEMENT_* variables.

A variable is named after its place in the file: `ENGAGEMENT_KAFKA_SERVERS` is `servers` under `[kafka]`. Variables win
over the file. Unknown names and impossible values are refused by name, for a typo must not silently become a default.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from stream import redis_url
from stream.core.families.registry import stored_by, windows
from stream.core.messages import Reader
from stream.core.rules import Rules
from stream.core.segments import SEGMENTS, in_order
from stream.core.time import SECOND_MS, Days, minutes_of, seconds_of
from stream.core.windows import Windows
from stream.inputs import registry as formats
from stream.redis_url import RedisUrl

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_PREFIX = "ENGAGEMENT_"
_SECRETS = ("sasl_password",)
_WITHOUT_PASSWORD = ("rocksdb://", "memory://")
_Parsed = TypeVar("_Parsed")


class Unavailable(Exception):
    """Something that is needed from outside can't be had: a broker, a topic, a disk. The text says what, in a line."""


class SettingsError(ValueError):
    """A setting that is unknown or can't be. The text names it and its value."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_shown(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"


class Kafka(_Section, frozen=True):
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


class Topics(_Section, frozen=True):
    """The topics that producers write to, and the partitions of every topic."""

    sessions: str = "sessions"  # the topic of steps and summaries of sessions
    logins: str = "logins"  # the topic of logins
    surveys: str = "surveys"  # the topic of survey responses
    partitions: int = 4  # of each topic, the internal ones too: users must lie in the same partition everywhere
    replication: int = -1  # of topics we create; -1: the broker's default


class State(_Section, frozen=True):
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


class Input(_Section, frozen=True):
    """One table `[[inputs]]`: a Kafka topic, and what its messages are. It can be written in the file only."""

    topic: str  # the Kafka topic
    kind: str  # what its messages tell: sessions, logins or surveys
    format: str = formats.NATIVE  # how they are written
    name: str = ""  # the label `topic` of metrics, and `topic` in files of events; empty: the Kafka topic's name


class Server(_Section, frozen=True):
    """Where /metrics and the API are served."""

    host: str = "127.0.0.1"  # this machine only, unless asked
    port: int = 8600  # 0: a free one
    stale_after: str = "15s"  # a partition without a snapshot for so long is stale, and the server is not ready


class Worker(_Section, frozen=True):
    """Where a worker says of itself how it fares."""

    host: str = "127.0.0.1"  # this machine only, unless asked
    port: int = -1  # of a worker's own /livez and /readyz; -1: no listener, 0: a free port


class Log(_Section, frozen=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"  # of the libraries: warning at most
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, else json


class Settings(_Section, frozen=True):
    """All settings of a deployment."""

    app_id: str = "engagement"  # consumer group, and prefix of the internal topics
    timezone: str = "UTC"  # cuts days
    clock: Literal["wall", "event"] = "wall"  # event: stay at the newest event time, for old data
    session_timeout: str = "30m"  # a gap of exactly this still belongs
    session_cap: str = "24h"  # longer sessions count as this long; bounds the histogram of durations
    allowed_lateness: str = "72h"  # events further behind the watermark are not applied
    future_limit: str = "1h"  # events further ahead of the wall clock are refused
    close_after: str = "1h"  # a day closes so long after its midnight
    max_message_bytes: int = 1_000_000  # larger messages are refused
    retention: str = "100d"  # of a user without any event for so long, and beyond all windows, little is kept
    memory: str = "400d"  # that little, whole days: whoever comes back later is a new user
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
            retention_ms=seconds_of(self.retention) * SECOND_MS,
            memory_days=seconds_of(self.memory) // seconds_of("1d"),
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


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a file, then variables, then `overrides` by dotted name. Raises SettingsError."""
    tree: dict[str, Any] = {} if file is None else _read(file)
    for name, text in sorted(environment.items()):
        if name.startswith(_PREFIX) and name != "ENGAGEMENT_SETTINGS" and not name.startswith("ENGAGEMENT_TEST_"):
            _put(tree, _place_of(name), text)
    for place, value in (overrides or {}).items():
        _put(tree, place, value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_by_name(str(error))) from None
    _check(settings)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"can't read the settings file {str(file)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _place_of(variable: str) -> str:
    name = variable.removeprefix(_PREFIX).lower()
    for section in (field for field in places() if "." in field):
        if section.replace(".", "_") == name:
            return section
    if name == "inputs":
        raise SettingsError(f"inputs: tables can't be a variable ({variable}): write [[inputs]] in the settings file")
    if name in places():
        return name
    raise SettingsError(f"unknown setting: the variable {variable} names none; `engagement settings` lists them all")


def _put(tree: dict[str, Any], place: str, value: Any) -> None:
    *sections, name = place.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{section}: expected a section of settings, got {tree!r}")
    if isinstance(value, str) and (sections == ["windows"] or place == "segments"):
        value = [part.strip() for part in value.split(",")] if value.strip() or sections else []
    tree[name] = value


def places() -> list[str]:
    """The dotted name of every setting."""
    return [place for place, _ in items(Settings())]


def items(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; secrets are not shown."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "windows":
            for told in windows():
                yield f"windows.{told.name}", settings.windows_of(told)
        elif isinstance(value, _Section):
            for inner in value.__struct_fields__:
                yield f"{name}.{inner}", _shown(inner, getattr(value, inner))
        else:
            yield name, value


def _shown(name: str, value: Any) -> Any:
    if name == "url" and not value.startswith(_WITHOUT_PASSWORD):
        return redis_url.masked(value)
    return redis_url.HIDDEN if name in _SECRETS and value else value


def _by_name(told: str) -> str:
    """Turn msgspec's message into one that names the setting as the file does."""
    message, _, path = told.partition(" - at `$.")
    place = path.rstrip("`")
    if "unknown field" in message:
        name = message.split("`")[-2]
        return f"unknown setting: {f'{place}.{name}' if place else name}"
    return f"{place}: {message[0].lower()}{message[1:]}"


def _check(settings: Settings) -> None:
    _check_times(settings)
    _check_windows(settings)
    for place, value in items(settings):
        if place in _LEAST and not value >= _LEAST[place]:
            raise SettingsError(f"{place}: {value} is less than {_LEAST[place]}")
    if settings.topics.replication == 0:
        raise SettingsError("topics.replication: 0 is neither -1, the broker's default, nor 1 or more")
    for place, port, least in (("server.port", settings.server.port, 0), ("worker.port", settings.worker.port, -1)):
        if not least <= port <= 65_535:
            raise SettingsError(f"{place}: {port} is no port")
    _check_segments(settings)
    _check_state(settings.state)
    _check_inputs(settings)
    _check_names(settings)


def _check_inputs(settings: Settings) -> None:
    for place, one in enumerate(settings.inputs, start=1):
        told = f"inputs: the {place}. table ({one.topic!r})"
        if one.format not in formats.FORMATS:
            raise SettingsError(f"{told}: format {one.format!r} is none of {', '.join(formats.FORMATS)}")
        if one.kind not in formats.kinds():
            raise SettingsError(f"{told}: kind {one.kind!r} is none of {', '.join(formats.kinds())}")
    if len(settings.named_inputs) < len(settings.inputs):
        raise SettingsError(f"inputs: two have one name: {', '.join(one.name or one.topic for one in settings.inputs)}")
    for kind in formats.kinds() if settings.inputs else ():
        if getattr(settings.topics, kind, "") != getattr(Topics(), kind, ""):
            raise SettingsError(f"topics.{kind}: {getattr(settings.topics, kind)!r} says nothing beside [[inputs]]")


def _check_segments(settings: Settings) -> None:
    for name in settings.segments:
        if name not in SEGMENTS:
            raise SettingsError(f"segments: {name!r} is none of {', '.join(SEGMENTS)}")
    if len(set(settings.segments)) < len(settings.segments):
        raise SettingsError(f"segments: one is named twice: {', '.join(settings.segments)}")


def _check_state(state: State) -> None:
    if redis_url.is_redis_url(state.url):
        _check_redis(state, _checked("state.url", redis_url.parse, state.url))
    elif not state.url.startswith(_WITHOUT_PASSWORD) or state.url == "rocksdb://":
        shown = redis_url.masked(state.url)
        raise SettingsError(f"state.url: {shown!r} is neither rocksdb://DIRECTORY, redis://HOST nor memory://")
    else:
        for name in ("password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(state, name):
                raise SettingsError(f"state.{name}: {state.url} is no Redis")


def _check_redis(state: State, url: RedisUrl) -> None:
    if url.password and state.password_file:
        raise SettingsError(f"state.password_file: state.url has a password already: {url}")
    if bool(state.ssl_certfile) != bool(state.ssl_keyfile):
        raise SettingsError("state.ssl_certfile and state.ssl_keyfile: a certificate is of use with its key only")
    if not url.tls and (state.ssl_cafile or state.ssl_certfile):
        raise SettingsError(f"state.ssl_cafile, state.ssl_certfile: {url} does not speak TLS; rediss:// does")


# What Kafka takes as the name of a topic, and every file system as that of a folder.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def _check_names(settings: Settings) -> None:
    inputs = settings.input_topics
    topics = [(_place_of_topic(settings, name), topic) for name, topic in inputs.items()]
    for place, name in (("app_id", settings.app_id), *topics):
        if _NAME.fullmatch(name) is None:
            raise SettingsError(f"{place}: {name!r} is no name of letters, digits, '.', '_' and '-'")
    internal = (settings.changelog_topic, settings.rekey_topic, settings.replayed_topic, settings.snapshots_topic)
    names = [*inputs.values(), *(settings.dead_letter_topic(name) for name in inputs.values()), *internal]
    if len(set(names)) < len(names):
        told = ", ".join(inputs.values())
        if settings.inputs:
            raise SettingsError(f"inputs: each needs a topic of its own, not {told}")
        raise SettingsError(f"topics: {_listed(list(inputs))} need topics of their own, not {told}")


def _place_of_topic(settings: Settings, name: str) -> str:
    return f"inputs: the topic of {name!r}" if settings.inputs else f"topics.{name}"


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if words[1:] else "".join(words)


def _check_times(settings: Settings) -> None:
    for place, value in items(settings):
        if place in _LENGTHS and _checked(place, seconds_of, value) < _LENGTHS[place]:
            raise SettingsError(f"{place}: {value} is less than {_LENGTHS[place]}s")
        if place in _MOST and seconds_of(value) > seconds_of(_MOST[place]):
            raise SettingsError(f"{place}: {value} is more than {_MOST[place]}")
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"timezone: {settings.timezone!r} is no IANA time zone") from None


def _check_windows(settings: Settings) -> None:
    places = {f"windows.{told.name}": settings.windows_of(told) for told in windows()}
    for name in settings.windows:
        if f"windows.{name}" not in places:
            raise SettingsError(f"unknown setting: windows.{name}")
    for place, value in places.items():
        if not value:
            raise SettingsError(f"{place}: needs at least one window")
        minutes = [_checked(place, minutes_of, window) for window in value]
        if len(set(minutes)) < len(minutes):
            raise SettingsError(f"{place}: a window is named twice: {', '.join(value)}")


# Lengths of time, and the least each may be.
_LENGTHS = {
    "session_timeout": 1,
    "session_cap": 1,
    "allowed_lateness": 0,
    "future_limit": 0,
    "close_after": 0,
    "retention": 0,
    "memory": 86_400,
    "kafka.session_timeout": 1,
    "kafka.open_transaction_after": 1,
    "state.checkpoint_interval": 1,
    "server.stale_after": 2,
}
_MOST = {
    # Two months of days are kept of each user; a month of them must be in reach of a late event.
    "allowed_lateness": "30d",
    # A thousand bins are set aside for durations, each 2 % wider than the one before: four days and some hours.
    "session_cap": "4d",
}
_LEAST = {
    "topics.partitions": 1,
    "kafka.batch_records": 1,
    "kafka.batches_in_flight": 1,
    "kafka.fetch_bytes": 1_024,
    "state.max_delta_bytes": 1_000_000,
    "state.max_user_bytes": 10_000,
    "state.cached_users": 0,
    "state.rocksdb_memory_bytes": 1_000_000,
    "state.standbys": 0,
}


def _checked(place: str, parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{place}: {error}") from None
