"""All settings with their defaults: a class for each section of the file. SETTINGS.md is made from the comments."""

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal, DecimalException
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import msgspec

from stream import redis_url
from stream.core import zones
from stream.core.business_hours import BusinessHours, hours_of
from stream.core.families.registry import names_by_segment, segment_windows, state_settings
from stream.core.messages import Reader, Record
from stream.core.money import minor_units
from stream.core.privacy import PRIVACY
from stream.core.rules import Capex, Rules
from stream.core.rules import Health as HealthRules
from stream.core.segments import SEGMENTS, in_order
from stream.core.time import SECOND_MS, Days, day_number, seconds_of
from stream.core.windows import Windows
from stream.inputs import registry as formats
from stream.inputs.encodings import avro
from stream.inputs.encodings.debezium import row_reader
from stream.inputs.encodings.decoded import decoding_reader
from stream.inputs.encodings.schemas import Schemas
from stream.inputs.options import Options
from stream.masking import masked, without_credentials

WITHOUT_PASSWORD = ("rocksdb://", "memory://")


class Unavailable(Exception):
    """Something outside of the program is not available: a broker, a topic, a disk. The text says what, in one line."""


class SettingsError(ValueError):
    """A setting is unknown or not valid. The text names it and its value; what may be a secret is masked."""

    def __init__(self, text: str) -> None:
        super().__init__(without_credentials(text))


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the settings. Its text form hides the secrets."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={masked(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({fields})"


class Kafka(Section, frozen=True):
    """Where Kafka is, and how to connect to it."""

    servers: str = "localhost:9092"  # host:port, several with commas
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    sasl_username: str = ""  # for PLAIN and SCRAM
    sasl_password: str = ""  # it is never shown or logged, but sasl_password_file is safer
    sasl_password_file: str = ""  # a file that holds the password and nothing else
    oauth_token_url: str = ""  # for OAUTHBEARER: where a token is asked for with the client's credentials
    oauth_client_id: str = ""  # who asks for it
    oauth_client_secret_file: str = ""  # a file that holds the client's secret and nothing else
    oauth_scope: str = ""  # what the token is for, if the endpoint wants to know; several with spaces
    oauth_audience: str = ""  # whom the token is for, if the endpoint wants to know
    oauth_extensions: str = ""  # what the brokers want with the token, as name=value; several with commas
    oauth_cafile: str = ""  # of the endpoint with https; empty: the system's certificates
    ssl_cafile: str = ""  # empty: the system's certificates
    ssl_certfile: str = ""  # a client certificate, if the broker asks for one
    ssl_keyfile: str = ""  # the key of the client certificate
    session_timeout: str = "10s"  # a worker that is silent for this long loses its partitions
    instance_id: str = ""  # a name of the worker: if it is back within the session timeout, there is no rebalance
    batch_records: int = 2_000  # how many records are applied at a time; few, so that a rebalance need not wait
    batches_in_flight: int = 4  # how many batches of each topic wait to be applied
    fetch_bytes: int = 8 * 1024 * 1024  # how much of each partition is fetched at a time
    open_transaction_after: str = "10s"  # a transaction open for this long is reported, and servers are not ready
    idempotent: bool = True  # off only for brokers without idempotent producers


class Topics(Section, frozen=True):
    """The topics that producers write to, and the number of partitions of every topic."""

    sessions: str = "sessions"  # the topic of session steps and summaries
    logins: str = "logins"  # the topic of logins
    surveys: str = "surveys"  # the topic of survey responses
    accounts: str = ""  # the topic of sign-ups, subscriptions and memberships; empty: none is read
    orders: str = ""  # the topic of orders and refunds; empty: none is read
    reviews: str = ""  # the topic of reviews; empty: none is read
    features: str = ""  # the topic of used features; empty: none is read
    social: str = ""  # the topic of interactions on social networks and of audiences; empty: none is read
    contacts: str = ""  # the topic of conversations with support; empty: none is read
    privacy: str = ""  # the topic of requests to erase a person or make her anonymous; empty: none is read
    partitions: int = 4  # of every topic, internal ones too: a user must lie in the same partition of each topic
    replication: int = -1  # of the topics that we create; -1: the broker's default


class State(Section, frozen=True):
    """Where the state is kept between checkpoints."""

    # A Redis Cluster is redis+cluster://HOST:PORT, a server that Redis Sentinel watches over is
    # redis+sentinel://HOST:PORT,HOST:PORT/NAME with the sentinels' addresses. With TLS they begin with rediss.
    url: str = "rocksdb://engagement-state"  # or redis://HOST:PORT/DB, or memory:// (rebuilt from Kafka at each start)
    password_file: str = ""  # for Redis: a file that holds the password and nothing else; safer than in the URL
    sentinel_password_file: str = ""  # of the sentinels of redis+sentinel://, if they ask for a password: such a file
    ssl_cafile: str = ""  # for Redis with rediss://; empty: the system's certificates
    ssl_certfile: str = ""  # a client certificate, if Redis asks for one
    ssl_keyfile: str = ""  # the key of the client certificate
    checkpoint_interval: str = "1s"  # after a crash, about this much is read again
    max_delta_bytes: int = 32 * 1024 * 1024  # the largest size of a checkpoint, which is one record batch
    cached_users: int = 50_000  # how many users' rows each worker keeps in memory, over all its partitions
    max_user_bytes: int = 256 * 1024  # of one user's row; more events are refused until older ones are forgotten
    rocksdb_memory_bytes: int = 128 * 1024 * 1024  # of each worker, for RocksDB's cache and memtables
    standbys: int = 0  # how many other workers follow each partition, to take it over faster


ENCODINGS = ("json", "registry", "avro")
ENVELOPES = ("none", "debezium")


class Input(Section, Options, frozen=True):
    """One table `[[inputs]]`: a Kafka topic and what its messages are. Only the file can have such tables."""

    topic: str  # the Kafka topic
    kind: str = ""  # of native messages: sessions, logins, surveys and so on; other formats say it themselves
    format: str = formats.NATIVE  # the format of its messages
    encoding: str = "json"  # of its messages: json, registry (each names its schema) or avro (all have one)
    schema: str = ""  # for the encoding avro: the file with the schema of all its messages
    envelope: str = "none"  # what its messages stand in: none, or debezium (they are changes of a table)
    name: str = ""  # the label `topic` in metrics, and `topic` in files of events; empty: the Kafka topic's name


class Capital(Section, frozen=True):
    """One table `[[capex]]`: the capital spent in a period, for engagement_clv_per_capex_ratio. Only the file can."""

    period: str  # its name
    first: str  # the first day, as 2026-01-01
    last: str  # the last day, included
    amount: str  # in units of the currency, as "50000.00"
    currency: str  # ISO 4217, as EUR

    @property
    def rule(self) -> Capex:
        """The same as a rule. Raises ValueError."""
        try:
            amount = minor_units(Decimal(self.amount), self.currency)
        except DecimalException:
            raise ValueError(f"{self.amount!r} is no amount such as 50000.00") from None
        return Capex(self.period, day_number(self.first), day_number(self.last), amount, self.currency)


class Segments(Section, frozen=True):
    """By what numbers are counted apart: platform, plan, country and version of the app."""

    by: tuple[str, ...] = SEGMENTS  # numbers are also counted by these; empty: by none
    metrics: tuple[str, ...] = names_by_segment()  # what is counted by them; each brings what it is made of
    named: dict[str, tuple[str, ...]] = {}  # by segment, values that have a name; else the 20 with the most users have


def holiday_of(text: str) -> dt.date:
    """The day that a text such as 2026-12-25 says. Raises ValueError."""
    return dt.date.fromordinal(dt.date(1970, 1, 1).toordinal() + day_number(text))


class Contacts(Section, frozen=True):
    """When somebody is there to answer customers: with it, waits are told in business time."""

    hours: dict[str, tuple[str, ...]] = {}  # `[contacts.hours]`: mon = ["09:00-12:00", "13:00-17:30"] …; empty: always
    zone: str = ""  # the time zone of these hours; empty: that of the setting timezone
    holidays: tuple[str, ...] = ()  # days on which nobody is there, as 2026-12-25

    def business_hours(self, timezone: str) -> BusinessHours | None:
        """The same as a rule; None: waits are told in all time. Raises ValueError."""
        if not self.hours:
            return None
        week = {day: tuple(map(hours_of, spans)) for day, spans in self.hours.items()}
        return BusinessHours(self.zone or timezone, week, map(holiday_of, self.holidays))


class Health(Section, frozen=True):
    """The health score of each user on closed days. Other weights count from the first day that can still change."""

    enabled: bool = False  # whether users are scored
    activity: float = 3  # the weight of activity: active days of the last 28
    adoption: float = 2  # the weight of adoption: the share of the vital features that was used in 28 days
    satisfaction: float = 2  # the weight of satisfaction: the newest answer of each kind within 90 days
    support: float = 1  # the weight of support: resolved conversations of those begun in 90 days
    subscription: float = 2  # the weight of the subscription: active 100, trialing 60, paused 30, cancelled 0
    target_days: int = 8  # so many active days of 28 are 100
    at_risk_below: float = 40  # users with a lower score are at risk
    healthy_from: float = 70  # users with this score or a higher one are healthy

    @property
    def weights(self) -> tuple[float, float, float, float, float]:
        """The weights of the parts, in the order of the rules."""
        return self.activity, self.adoption, self.satisfaction, self.support, self.subscription

    @property
    def rules(self) -> HealthRules | None:
        """The same as rules; None if nobody is scored."""
        if not self.enabled:
            return None
        return HealthRules(
            weights=self.weights,
            target_days=self.target_days,
            at_risk_below=self.at_risk_below,
            healthy_from=self.healthy_from,
        )


# Decodes a record that is not null into JSON. Raises Rejected.
JsonOf = Callable[[Record], bytes]


def reader_of_input(input_: Input, on_recognised: Callable[[str], None], *, json_of: JsonOf | None = None) -> Reader:
    """Return the function that reads the messages of an input. It tells each format that is recognised.

    `json_of` decodes its messages; without it they are JSON already, as those of files are.
    """
    read = formats.reader(format=input_.format, kind=input_.kind, options=input_, on_recognised=on_recognised)
    if input_.envelope == "debezium":
        read = row_reader(read)
    return read if json_of is None else decoding_reader(read, json_of)


def decoder_of_input(input_: Input, schemas: Schemas) -> JsonOf | None:
    """Return what decodes the messages of an input; None if they are JSON. Raises SettingsError for its schema."""
    if input_.encoding == "registry":
        return schemas.json_of
    if input_.encoding == "json":
        return None
    place = f"inputs: the schema of {input_.name or input_.topic!r}"
    try:
        decode = avro.decoder_of(Path(input_.schema).read_text("utf-8-sig"))
    except ImportError:
        raise SettingsError(f"{place}: Avro needs fastavro: pip install 'engagement-stream[avro]'") from None
    except OSError as error:
        raise SettingsError(f"{place}: can't read {input_.schema!r}: {error.strerror}") from None
    except (avro.SchemaUnusable, UnicodeDecodeError) as error:
        raise SettingsError(f"{place}: {input_.schema!r}: {error}") from None
    return lambda record: decode(record.value or b"")


class Registry(Section, frozen=True):
    """The schema registry, for inputs with the encoding registry. Needs the extra `registry`."""

    url: str = ""  # where it is, as http://HOST:8081; of several, with commas, the first that answers
    username: str = ""  # if it asks for a name and a password
    password_file: str = ""  # a file that holds the password and nothing else
    ssl_cafile: str = ""  # for https; empty: the system's certificates
    ssl_certfile: str = ""  # a client certificate, if the registry asks for one
    ssl_keyfile: str = ""  # the key of the client certificate
    timeout: str = "5s"  # how long to wait for an answer; what waits for a schema is asked for again and again


class Server(Section, frozen=True):
    """Where the server serves its page, /metrics and the API."""

    host: str = "127.0.0.1"  # the default is reachable from this machine only
    port: int = 8600  # 0: a free port
    stale_after: str = "15s"  # a partition without a report for this long is stale, and the server is not ready


class Worker(Section, frozen=True):
    """How many workers a command runs, and where a worker serves its own pages."""

    processes: str = "1"  # how many workers a command runs, each in a process of its own; auto: one for each core
    host: str = "127.0.0.1"  # the default is reachable from this machine only
    port: int = -1  # of a worker's own /livez and /readyz; -1: none, 0: a free port; of several workers the first's


class Log(Section, frozen=True):
    """What is logged, and in which format."""

    level: Literal["debug", "info", "warning", "error"] = "info"  # libraries log only from warning on, except at debug
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, json elsewhere


class Settings(Section, frozen=True):
    """All settings of a deployment."""

    app_id: str = "engagement"  # the consumer group, and the prefix of the internal topics
    timezone: str = "UTC"  # the time zone in which days begin and end
    clock: Literal["wall", "event"] = "wall"  # event: windows end at the newest event instead of now, for old data
    session_timeout: str = "30m"  # a step after a gap of exactly this still belongs to the session
    session_cap: str = "24h"  # longer sessions count as this long
    allowed_lateness: str = "72h"  # events further behind the watermark are not applied
    future_limit: str = "1h"  # events further ahead of the clock are refused
    close_after: str = "1h"  # a day closes this long after its end
    idle_after: str = "24h"  # no day waits any longer for a partition that has read nothing for this long
    history_days: int = 400  # how many closed days are kept
    max_message_bytes: int = 1_000_000  # larger messages are refused
    retention: str = "100d"  # of a user without events for this long, and in no window, only a small row is kept
    memory: str = "400d"  # how long that small row is kept, in whole days; who comes back later is a new user
    cohorts_from: str = ""  # who is new is known from this day on, as 2026-11-21; empty: the day after the first event
    onboarding_steps: tuple[str, ...] = ()  # the steps of onboarding in their order, at most 20; others are one, other
    features: dict[str, float] = {}  # `[features]`: name = weight, at most 20; 0: not vital; all others are one, other
    gross_margin: str = ""  # of orders that don't tell their margin, as a share such as 0.8; empty: not known
    capex: tuple[Capital, ...] = ()  # tables `[[capex]]`: the capital spent to win customers, by period
    inputs: tuple[Input, ...] = ()  # tables `[[inputs]]`, to read other topics than those of the section topics
    kafka: Kafka = msgspec.field(default_factory=Kafka)
    registry: Registry = msgspec.field(default_factory=Registry)
    topics: Topics = msgspec.field(default_factory=Topics)
    state: State = msgspec.field(default_factory=State)
    segments: Segments = msgspec.field(default_factory=Segments)
    contacts: Contacts = msgspec.field(default_factory=Contacts)
    health: Health = msgspec.field(default_factory=Health)
    windows: dict[str, tuple[str, ...]] = {}  # by family, if they are not its default
    server: Server = msgspec.field(default_factory=Server)
    worker: Worker = msgspec.field(default_factory=Worker)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def rules(self) -> Rules:
        """The rules by which the numbers are counted."""
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
            refund_wait_ms=seconds_of(self.allowed_lateness) * SECOND_MS,
            onboarding_steps=self.onboarding_steps,
            features=self.features,
            contact_hours=self.contacts.business_hours(self.timezone),
            health=self.health.rules,
            gross_margin=float(self.gross_margin) if self.gross_margin else None,
            capex=tuple(capital.rule for capital in self.capex),
            windows=self.windows,
            segments=in_order(self.segments.by),
            segment_metrics=self.segments.metrics,
            named_values=self.segments.named,
            erases=self.erases,
        )

    @property
    def shared(self) -> dict[str, str]:
        """The settings in which workers and servers must agree, by name."""
        by_segment = {f"windows.{told.name}": ",".join(self.windows_of(told)) for told in segment_windows()}
        metrics = {"segments.metrics": ",".join(sorted(self.segments.metrics)) or "none"} if self.segments.by else {}
        capex = {"capex": ",".join(map(str, self.capex))} if self.capex else {}
        features = {"features": ",".join(sorted(self.features))} if self.features else {}
        partitions = {"topics.partitions": str(self.topics.partitions)}
        zone = {zones.DATABASE: zones.rules_of(self.timezone)}
        return {**partitions, **state_settings(self.rules), **zone, **metrics, **by_segment, **capex, **features}

    @property
    def named_inputs(self) -> dict[str, Input]:
        """The inputs that are read, by name: the tables of the file, or else one input for each kind of message."""
        if self.inputs:
            return {input_.name or input_.topic: input_ for input_ in self.inputs}
        topics = {kind: getattr(self.topics, kind, kind) for kind in formats.kinds()}
        return {kind: Input(topic=topic, kind=kind) for kind, topic in topics.items() if topic}

    @property
    def erases(self) -> bool:
        """Whether people may be erased: there is an input of their requests."""
        return bool(self.privacy_topics)

    @property
    def privacy_topics(self) -> list[str]:
        """The Kafka topics of requests to erase a person."""
        return [input_.topic for input_ in self.named_inputs.values() if input_.kind == PRIVACY.kind]

    @property
    def input_topics(self) -> dict[str, str]:
        """The Kafka topic of each input, by the input's name."""
        return {name: input_.topic for name, input_ in self.named_inputs.items()}

    @property
    def of_files(self) -> "Settings":
        """The settings by which files are read: they may have messages of every kind, also of those without a topic."""
        if self.inputs:
            return self
        missing = {kind: kind for kind in formats.kinds() if getattr(self.topics, kind, kind) == ""}
        return msgspec.structs.replace(self, topics=msgspec.structs.replace(self.topics, **missing))

    @property
    def readers(self) -> dict[str, Reader]:
        """The function that reads the messages of each input, by the input's name."""
        return self.readers_telling(lambda name, format_: None, {})

    def readers_telling(
        self, on_recognised: Callable[[str, str], None], decoders: Mapping[str, JsonOf]
    ) -> dict[str, Reader]:
        """The same; `on_recognised` is told the input's name and each format that it is the first to find there.

        `decoders` decode the messages of inputs that are not JSON, by the input's name.
        """
        return {
            name: reader_of_input(input_, partial(on_recognised, name), json_of=decoders.get(name))
            for name, input_ in self.named_inputs.items()
        }

    def decoders(self, schemas: Schemas) -> dict[str, JsonOf]:
        """What decodes the messages of each input that is not JSON, by the input's name. Raises SettingsError."""
        found = {name: decoder_of_input(input_, schemas) for name, input_ in self.named_inputs.items()}
        return {name: json_of for name, json_of in found.items() if json_of is not None}

    def windows_of(self, family_windows: Windows) -> tuple[str, ...]:
        """Return the windows of a family's metrics: those that are set, or else the default."""
        return self.windows.get(family_windows.name, family_windows.default)

    @property
    def changelog_topic(self) -> str:
        """The topic of checkpoints."""
        return f"{self.app_id}-state-changelog"

    @property
    def rekey_topic(self) -> str:
        """The topic of events that lay in the wrong partition."""
        return f"{self.app_id}-rekey"

    @property
    def replayed_topic(self) -> str:
        """The topic in which `engagement dlq replay` records which dead letters it has sent back."""
        return f"{self.app_id}-replayed"

    @property
    def replay_transactional_id(self) -> str:
        """The transactional id of all runs of `engagement dlq replay`: Kafka lets only the newest of them go on."""
        return f"{self.app_id}-dlq-replay"

    @property
    def snapshots_topic(self) -> str:
        """The topic of the reports that workers send to the servers."""
        return f"{self.app_id}-snapshots"

    @property
    def days_topic(self) -> str:
        """The topic of the closed days that workers send to the servers."""
        return f"{self.app_id}-days"

    @property
    def health_topic(self) -> str:
        """The topic of the health score of each user."""
        return f"{self.app_id}-health"

    @property
    def privacy_audit_topic(self) -> str:
        """The topic that records, without ids, that people were erased or made anonymous."""
        return f"{self.app_id}-privacy-audit"

    def dead_letter_topic(self, topic: str) -> str:
        """Return the topic for messages of a Kafka topic that can't be used."""
        return f"{topic}.dlq"

    def sasl_password(self) -> str:
        """Return Kafka's password from the setting or its file. Raises SettingsError if the file can't be read."""
        path = self.kafka.sasl_password_file
        return _read_secret(path, "kafka.sasl_password_file") if path else self.kafka.sasl_password

    def oauth_client_secret(self) -> str:
        """Return the secret for Kafka's tokens from its file. Raises SettingsError if the file can't be read."""
        path = self.kafka.oauth_client_secret_file
        return _read_secret(path, "kafka.oauth_client_secret_file") if path else ""

    def redis_password(self) -> str:
        """Return the password of `state.url`, from there or from its file. Raises SettingsError if it can't be read."""
        path = self.state.password_file
        return _read_secret(path, "state.password_file") if path else redis_url.parse(self.state.url).password

    def sentinel_password(self) -> str:
        """Return the password of the sentinels from its file; empty if they ask for none. Raises SettingsError."""
        path = self.state.sentinel_password_file
        return _read_secret(path, "state.sentinel_password_file") if path else ""

    def registry_password(self) -> str:
        """Return the password of the schema registry from its file. Raises SettingsError if it can't be read."""
        path = self.registry.password_file
        return _read_secret(path, "registry.password_file") if path else ""

    def secrets(self) -> list[str]:
        """Return all passwords, except those whose file can't be read: their users report that.

        The password of a URL is also returned as it is written there, with its escapes.
        """
        found = [redis_url.written_password(self.state.url)]
        for password in (
            self.sasl_password,
            self.oauth_client_secret,
            self.redis_password,
            self.sentinel_password,
            self.registry_password,
        ):
            with suppress(SettingsError, ValueError):  # ValueError: the state is not in Redis
                found.append(password())
        return [secret for secret in dict.fromkeys(found) if secret]


@lru_cache(maxsize=4)
def _days(zone: str) -> Days:
    """Return the calendar of a time zone. All partitions of a process share it, because it caches what it looks up."""
    return Days(zone)


def _read_secret(path: str, setting: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig").strip()
    except OSError as error:
        raise SettingsError(f"{setting}: can't read {masked(setting, path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{setting}: {masked(setting, path)!r} is no UTF-8 text") from None
