"""Check that settings are valid, each by itself and together. Every error names the setting and its value."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar
from urllib.parse import urlsplit

from stream import redis_url
from stream.core import zones
from stream.core.business_hours import WEEKDAYS, hours_of
from stream.core.families.health.scorer import PARTS
from stream.core.families.registry import names_by_segment, windows
from stream.core.segments import NAMED_VALUES, OTHER, SEGMENTS, attribute_values_of, cleaned_value
from stream.core.survey_scales import SCALES, Kind, Scale
from stream.core.time import day_number, minutes_of, seconds_of
from stream.inputs import registry as formats
from stream.inputs.mapping.reader import mapping_of
from stream.inputs.mapping.sources import MappingError
from stream.inputs.options import Options, Question
from stream.masking import masked
from stream.redis_url import RedisUrl
from stream.settings.model import (
    ENCODINGS,
    ENVELOPES,
    WITHOUT_PASSWORD,
    Contacts,
    Health,
    Input,
    Kafka,
    Registry,
    Settings,
    SettingsError,
    State,
    Topics,
    holiday_of,
)
from stream.settings.names import setting_values

_Parsed = TypeVar("_Parsed")

# More than any machine has cores.
_MAX_PROCESSES = 1_024

# The least and the greatest value of each setting that is a number or a duration.
RANGES: Mapping[str, tuple[int, int] | tuple[str, str]] = {
    "session_timeout": ("1s", "1d"),  # a session with a session_id ends after a day of silence, so no timeout is longer
    # The histogram has a thousand bins for durations, each 2 % wider than the one before: a little over four days.
    "session_cap": ("1s", "4d"),
    # Each user's row has two months of days, and a month of them must be complete when a late event comes.
    "allowed_lateness": ("0s", "30d"),
    "future_limit": ("0s", "30d"),
    "close_after": ("0s", "7d"),
    "idle_after": ("1h", "30d"),
    "history_days": (35, 3_650),  # the page draws the last five weeks
    "max_message_bytes": (100, 100_000_000),  # an event has a hundred bytes or more; Kafka's default limit is a million
    "retention": ("0s", "3650d"),
    "memory": ("1d", "3650d"),
    "kafka.session_timeout": ("1s", "30m"),  # the default of group.max.session.timeout.ms, the limit of a broker
    "kafka.batch_records": (1, 1_000_000),
    "kafka.batches_in_flight": (1, 1_000),
    "kafka.fetch_bytes": (1_024, 2**31 - 1),  # Kafka's protocol has 32 bits for it
    "kafka.open_transaction_after": ("1s", "1d"),
    "registry.timeout": ("1s", "1m"),
    "topics.partitions": (1, 10_000),
    "topics.replication": (-1, 100),
    "state.checkpoint_interval": ("1s", "1h"),
    "state.max_delta_bytes": (1_000_000, 1_000_000_000),
    "state.cached_users": (0, 1_000_000_000),
    "state.max_user_bytes": (10_000, 100_000_000),
    "state.rocksdb_memory_bytes": (1_000_000, 2**40),
    "state.standbys": (0, 1_000),
    **{f"health.{name}": (0, 1_000) for name in PARTS},
    "health.target_days": (1, 28),
    "health.at_risk_below": (0, 50),  # so neither is beyond the other
    "health.healthy_from": (50, 100),
    "server.port": (0, 65_535),
    "server.stale_after": ("2s", "1h"),
    "worker.port": (-1, 65_535),
}
# The least and the greatest length of a window. Users and days are kept for as long as the longest one.
WINDOW_RANGE = ("1m", "400d")


def check(settings: Settings) -> None:
    """Raise SettingsError for the first setting that is not valid."""
    _check_ranges(settings)
    _check_timezone(settings.timezone)
    _check_windows(settings)
    if settings.cohorts_from:
        _parse("cohorts_from", day_number, settings.cohorts_from)
    if settings.topics.replication == 0:
        raise SettingsError("topics.replication: 0 is neither -1, the broker's default, nor 1 or more")
    count = settings.worker.processes
    if count != "auto" and not (count.isascii() and count.isdigit() and 0 < int(count) <= _MAX_PROCESSES):
        raise SettingsError(f"worker.processes: {count!r} is neither auto nor a number from 1 to {_MAX_PROCESSES}")
    _check_servers(settings.kafka.servers)
    _check_oauth(settings.kafka)
    _check_segments(settings)
    _check_onboarding(settings.onboarding_steps)
    _check_features(settings.features)
    _check_contacts(settings.contacts)
    _check_health(settings.health)
    _check_money(settings)
    _check_state(settings.state)
    _check_registry(settings.registry)
    _check_inputs(settings)
    _check_names(settings)


# A name, an IPv4 address, or an IPv6 address in brackets; then a port, which may be missing.
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#=&,\[\]]+)(:\d{1,5})?")


def _check_servers(servers: str) -> None:
    for server in servers.split(","):
        if _SERVER.fullmatch(server.strip()) is None:
            raise SettingsError(f"kafka.servers: {masked('servers', server.strip())!r} is no host:port")


# What may be sent with a token (RFC 7628, section 3.1): names of letters, and values of printable characters.
_EXTENSION = re.compile(r"\s*[A-Za-z]+\s*=\s*[\x21-\x2b\x2d-\x7e]+\s*")


def _check_oauth(kafka: Kafka) -> None:
    """Check what tokens are asked for with: without OAUTHBEARER it has no effect, so it was meant otherwise."""
    given = [name for name in Kafka.__struct_fields__ if name.startswith("oauth_") and getattr(kafka, name)]
    if kafka.sasl_mechanism != "OAUTHBEARER":
        if given:
            raise SettingsError(f"kafka.{given[0]}: has no effect on kafka.sasl_mechanism {kafka.sasl_mechanism!r}")
        return
    for name in ("oauth_token_url", "oauth_client_id", "oauth_client_secret_file"):
        if name not in given:
            raise SettingsError(f"kafka.{name}: is missing for kafka.sasl_mechanism 'OAUTHBEARER'")
    if not _is_http_url(kafka.oauth_token_url):
        raise SettingsError(
            f"kafka.oauth_token_url: {masked('oauth_token_url', kafka.oauth_token_url)!r} is no http or https URL"
        )
    for name in ("sasl_username", "sasl_password", "sasl_password_file"):
        if getattr(kafka, name):
            raise SettingsError(f"kafka.{name}: has no effect on kafka.sasl_mechanism 'OAUTHBEARER'")
    _check_extensions(kafka)


def _check_extensions(kafka: Kafka) -> None:
    for pair in kafka.oauth_extensions.split(",") if kafka.oauth_extensions else ():
        if _EXTENSION.fullmatch(pair) is None or pair.partition("=")[0].strip() == "auth":
            raise SettingsError(f"kafka.oauth_extensions: {masked('oauth_extensions', pair)!r} is no name=value")


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and port != 0


_MAX_STEPS = 20


def _check_onboarding(steps: tuple[str, ...]) -> None:
    if len(steps) > _MAX_STEPS:
        raise SettingsError(f"onboarding_steps: {len(steps)} are named, {_MAX_STEPS} are allowed")
    for step in steps:
        if cleaned_value(step) != step or steps.count(step) > 1:
            raise SettingsError(f"onboarding_steps: {step!r} is no name of its own, trimmed and up to 64 characters")


_MAX_FEATURES = 20


def _check_features(features: Mapping[str, float]) -> None:
    if len(features) > _MAX_FEATURES:
        raise SettingsError(f"features: {len(features)} are named, {_MAX_FEATURES} are allowed")
    for name, weight in features.items():
        if cleaned_value(name) != name or name == OTHER:
            raise SettingsError(f"features: {name!r} is no name that a feature can have: trimmed, up to 64 characters")
        if not 0 <= weight < math.inf:
            raise SettingsError(f"features.{name}: {weight} is no weight: 0, or a number above it")


def _check_contacts(contacts: Contacts) -> None:
    for day, spans in contacts.hours.items():
        _check_hours(day, spans)
    if contacts.hours and not any(contacts.hours.values()):
        raise SettingsError("contacts.hours: on no day is anybody there; without the table, waits are told in all time")
    for name in ("zone", "holidays"):
        if getattr(contacts, name) and not contacts.hours:
            raise SettingsError(f"contacts.{name}: has no effect without the table [contacts.hours]")
    if contacts.zone:
        _check_zone("contacts.zone", contacts.zone)
    for day in contacts.holidays:
        _parse("contacts.holidays", holiday_of, day)


def _check_hours(day: str, spans: tuple[str, ...]) -> None:
    if day not in WEEKDAYS:
        raise SettingsError(f"contacts.hours: {day!r} is none of {', '.join(WEEKDAYS)}")
    hours = sorted(_parse(f"contacts.hours.{day}", hours_of, span) for span in spans)
    if any(opens < closed for (_, closed), (opens, _) in pairwise(hours)):
        raise SettingsError(f"contacts.hours.{day}: two of {', '.join(spans)} overlap")


def _check_health(health: Health) -> None:
    if not any(health.weights):
        raise SettingsError(f"health: one of the weights {', '.join(PARTS)} has to be above 0")


def _check_money(settings: Settings) -> None:
    margin = settings.gross_margin
    if margin and not (re.fullmatch(r"\d(\.\d+)?", margin) and 0 <= float(margin) <= 1):
        raise SettingsError(f"gross_margin: {margin!r} is no share between 0 and 1, such as 0.8")
    periods = [capital.period for capital in settings.capex]
    for number, capital in enumerate(settings.capex, start=1):
        table = f"capex: the {number}. table ({capital.period!r})"
        try:
            rule = capital.rule
        except ValueError as error:
            raise SettingsError(f"{table}: {error}") from None
        if rule.first_day > rule.last_day:
            raise SettingsError(f"{table}: it ends on {capital.last}, before it begins on {capital.first}")
        if not capital.period or periods.count(capital.period) > 1:
            raise SettingsError(f"{table}: each period needs a name of its own")


def _check_inputs(settings: Settings) -> None:
    for number, input_ in enumerate(settings.inputs, start=1):
        table = f"inputs: the {number}. table ({input_.topic!r})"
        check_input(table, input_)
        if input_.encoding == "registry" and not settings.registry.url:
            raise SettingsError(f"{table}: encoding 'registry' needs registry.url, where the schema registry is")
    if len(settings.named_inputs) < len(settings.inputs):
        names = ", ".join(input_.name or input_.topic for input_ in settings.inputs)
        raise SettingsError(f"inputs: two have one name: {names}")
    for kind in formats.kinds() if settings.inputs else ():
        if getattr(settings.topics, kind, "") != getattr(Topics(), kind, ""):
            raise SettingsError(f"topics.{kind}: {getattr(settings.topics, kind)!r} has no effect beside [[inputs]]")


def check_input(table: str, input_: Input) -> None:
    """Raise SettingsError where what is said of an input can't be, or has no effect. `table` is the place of it."""
    if input_.format not in formats.FORMATS:
        raise SettingsError(f"{table}: format {input_.format!r} is none of {', '.join(formats.FORMATS)}")
    for name, values in (("encoding", ENCODINGS), ("envelope", ENVELOPES)):
        if getattr(input_, name) not in values:
            raise SettingsError(f"{table}: {name} {getattr(input_, name)!r} is none of {', '.join(values)}")
    if bool(input_.schema) != (input_.encoding == "avro"):
        told = "has no effect on" if input_.schema else "is missing for"
        raise SettingsError(f"{table}: schema, the file with a schema of Avro, {told} the encoding {input_.encoding}")
    _check_kind(table, input_)
    _check_options(table, input_)
    if formats.MAPPED in (input_.format, input_.inside):
        try:
            mapping_of(input_)
        except MappingError as error:
            raise SettingsError(f"{table}: mapping.{error}") from None


def _check_kind(table: str, input_: Input) -> None:
    may_be_native = input_.format in (formats.NATIVE, formats.AUTO, formats.CLOUDEVENTS)
    is_native = input_.format == formats.NATIVE or (
        input_.format == formats.CLOUDEVENTS and input_.inside == formats.NATIVE
    )
    if (input_.kind or is_native) and input_.kind not in formats.kinds():
        raise SettingsError(f"{table}: kind {input_.kind!r} is none of {', '.join(formats.kinds())}")
    if input_.kind and not may_be_native:
        raise SettingsError(f"{table}: kind {input_.kind!r} has no effect on the format {input_.format}")


def _check_options(table: str, input_: Input) -> None:
    """What is said of messages must have an effect on their format: what has none was meant otherwise."""
    used = formats.uses(input_.format)
    defaults = Options()
    for name in Options.__struct_fields__:
        if getattr(input_, name) != getattr(defaults, name) and name not in used:
            raise SettingsError(f"{table}: {name} has no effect on the format {input_.format}")
    if input_.zone:
        _check_zone(f"{table}: zone", input_.zone)
    if input_.format == formats.CLOUDEVENTS:
        if input_.inside not in formats.FORMATS:
            raise SettingsError(f"{table}: inside {input_.inside!r} is none of {', '.join(formats.FORMATS)}")
        has_user = formats.names_user(input_.inside) or "user" in formats.uses(input_.inside)
        if input_.user and (input_.inside == formats.AUTO or not has_user):
            raise SettingsError(f"{table}: user has no effect on the format {input_.inside} inside of cloudevents")
    if formats.needs_questions(input_.format) and not input_.questions:
        told = "its messages do not say what a question asks for, so it needs tables [[inputs.questions]]"
        raise SettingsError(f"{table}: format {input_.format!r}: {told}")
    _check_questions(table, input_.questions)


def _check_questions(table: str, questions: tuple[Question, ...]) -> None:
    for one in questions:
        place = f"{table}: question {one.question!r}"
        if not one.question.strip():
            raise SettingsError(f"{place}: it needs the id, reference or key of a question")
        if sum(other.question == one.question for other in questions) > 1:
            raise SettingsError(f"{place}: it is named twice")
        if (one.kind is Kind.CXI) != (one.dimension is not None):
            raise SettingsError(f"{place}: a dimension is that of a cxi, and each question of a cxi needs one")
        lowest, highest = SCALES[one.kind]
        scale = Scale(
            lowest if one.scale_min is None else one.scale_min, highest if one.scale_max is None else one.scale_max
        )
        if scale.lowest >= scale.highest or (one.kind in (Kind.NPS, Kind.CXI) and scale != SCALES[one.kind]):
            raise SettingsError(f"{place}: {scale.lowest} to {scale.highest} is no scale of {one.kind.value}")
        for choice, score in one.scores.items():
            if not scale.lowest <= score <= scale.highest:
                told = f"the score {score} of {choice!r} is not on its scale, {scale.lowest} to {scale.highest}"
                raise SettingsError(f"{place}: {told}")


def _check_segments(settings: Settings) -> None:
    _check_chosen("segments.by", settings.segments.by, SEGMENTS)
    _check_chosen("segments.metrics", settings.segments.metrics, names_by_segment())
    for segment, values in settings.segments.named.items():
        if segment not in SEGMENTS:
            raise SettingsError(f"segments.named: {segment!r} is none of {', '.join(SEGMENTS)}")
        setting = f"segments.named.{segment}"
        for value in values:
            if value == OTHER or attribute_values_of((value, *[None] * (len(SEGMENTS) - 1)))[0] != value:
                raise SettingsError(f"{setting}: {value!r} is no value that a user can have by that name")
        if len(values) > NAMED_VALUES:
            raise SettingsError(f"{setting}: {len(values)} values are more than {NAMED_VALUES}")


def _check_chosen(setting: str, chosen: Sequence[str], known: Collection[str]) -> None:
    for name in chosen:
        if name not in known:
            raise SettingsError(f"{setting}: {name!r} is none of {', '.join(known)}")
    if len(set(chosen)) < len(chosen):
        raise SettingsError(f"{setting}: one is named twice: {', '.join(chosen)}")


def _check_state(state: State) -> None:
    if redis_url.is_redis_url(state.url):
        _check_redis(state, _parse("state.url", redis_url.parse, state.url))
        return
    url = masked("url", state.url)
    if not state.url.startswith(WITHOUT_PASSWORD):
        schemes = (*WITHOUT_PASSWORD, *(f"{scheme}://" for scheme in redis_url.SCHEMES))
        raise SettingsError(f"state.url: {url!r} begins with none of {', '.join(schemes)}")
    if state.url == "rocksdb://":
        raise SettingsError(f"state.url: {url!r}: no directory, as in rocksdb:///var/lib/engagement")
    if "@" in state.url or "?" in state.url:  # the URL was meant for another store
        raise SettingsError(f"state.url: {url!r}: '@' and '?' have no place in it")
    for name in ("password_file", "sentinel_password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(state, name):
            raise SettingsError(f"state.{name}: {url} is no Redis")


def _check_redis(state: State, url: RedisUrl) -> None:
    if url.password and state.password_file:
        raise SettingsError(f"state.password_file: state.url has a password already: {url}")
    if state.sentinel_password_file and not url.sentinel:
        raise SettingsError(f"state.sentinel_password_file: {url} has no sentinels; redis+sentinel:// does")
    if bool(state.ssl_certfile) != bool(state.ssl_keyfile):
        raise SettingsError("state.ssl_certfile and state.ssl_keyfile: a certificate is of use with its key only")
    if not url.tls and (state.ssl_cafile or state.ssl_certfile):
        with_tls = f"rediss{url.scheme.removeprefix('redis')}://" if url.hosts else "rediss://"
        raise SettingsError(f"state.ssl_cafile, state.ssl_certfile: {url} does not speak TLS; {with_tls} does")


# A name, an IPv4 address, or an IPv6 address in brackets; then a port and a path, which may be missing.
_REGISTRY = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w./-]*)?", re.ASCII)


def _check_registry(registry: Registry) -> None:
    urls = [url.strip() for url in registry.url.split(",")] if registry.url else []
    for url in urls:
        _check_registry_url(url)
    for name in ("username", "password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if not urls and getattr(registry, name):
            raise SettingsError(f"registry.{name}: it has no effect without registry.url")
    for one, other in (("username", "password_file"), ("ssl_certfile", "ssl_keyfile")):
        if bool(getattr(registry, one)) != bool(getattr(registry, other)):
            raise SettingsError(f"registry.{one} and registry.{other}: one is of use with the other only")
    if (registry.ssl_cafile or registry.ssl_certfile) and "https://" not in registry.url:
        told = f"{masked('url', registry.url)} does not speak TLS; https:// does"
        raise SettingsError(f"registry.ssl_cafile, registry.ssl_certfile: {told}")


def _check_registry_url(url: str) -> None:
    if "@" in url:
        place = "registry.username and registry.password_file"
        raise SettingsError(f"registry.url: {masked('url', url)!r}: credentials belong in {place}")
    if _REGISTRY.fullmatch(url) is None:
        raise SettingsError(f"registry.url: {masked('url', url)!r} is no http://HOST:PORT")


# What Kafka allows as the name of a topic, and every file system as the name of a folder.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def _check_names(settings: Settings) -> None:
    inputs = settings.input_topics
    topics = [(_setting_of_topic(settings, name), topic) for name, topic in inputs.items()]
    for setting, name in (("app_id", settings.app_id), *topics):
        if _NAME.fullmatch(name) is None:
            raise SettingsError(f"{setting}: {name!r} is no name of letters, digits, '.', '_' and '-'")
    internal = (
        settings.changelog_topic,
        settings.rekey_topic,
        settings.replayed_topic,
        settings.snapshots_topic,
        settings.days_topic,
        settings.health_topic,
    )
    names = [*inputs.values(), *(settings.dead_letter_topic(name) for name in inputs.values()), *internal]
    if len(set(names)) < len(names):
        topic_names = ", ".join(inputs.values())
        if settings.inputs:
            raise SettingsError(f"inputs: each needs a topic of its own, not {topic_names}")
        raise SettingsError(f"topics: {_enumerate_words(list(inputs))} need topics of their own, not {topic_names}")


def _setting_of_topic(settings: Settings, name: str) -> str:
    return f"inputs: the topic of {name!r}" if settings.inputs else f"topics.{name}"


def _enumerate_words(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if words[1:] else "".join(words)


def _check_ranges(settings: Settings) -> None:
    for setting, value in setting_values(settings):
        if setting in RANGES:
            _check_range(setting, value, RANGES[setting])


def _check_range(setting: str, value: float | str, limits: tuple[int, int] | tuple[str, str]) -> None:
    number, least, greatest = (
        _parse(setting, seconds_of, limit) if isinstance(limit, str) else limit for limit in (value, *limits)
    )
    if number < least:
        raise SettingsError(f"{setting}: {_shown(value)} is less than {limits[0]}")
    if number > greatest:
        raise SettingsError(f"{setting}: {_shown(value)} is more than {limits[1]}")


def _shown(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_timezone(name: str) -> None:
    _check_zone("timezone", name)


def _check_zone(setting: str, name: str) -> None:
    if name in zones.names():
        return
    raise SettingsError(f"{setting}: {name!r} is no IANA time zone, such as UTC or Europe/Berlin")


def _check_windows(settings: Settings) -> None:
    values = {f"windows.{family_windows.name}": settings.windows_of(family_windows) for family_windows in windows()}
    for name in settings.windows:
        if f"windows.{name}" not in values:
            raise SettingsError(f"unknown setting: windows.{name}")
    for setting, value in values.items():
        if not value:
            raise SettingsError(f"{setting}: needs at least one window")
        minutes = [_parse(setting, minutes_of, window) for window in value]
        for window in value:
            _check_range(setting, window, WINDOW_RANGE)
        if len(set(minutes)) < len(minutes):
            raise SettingsError(f"{setting}: a window is named twice: {', '.join(value)}")


def _parse(setting: str, parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None
