"""Check that settings are valid, each by itself and together. Every error names the setting and its value."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream import redis_url
from stream.core.families.registry import names_by_segment, windows
from stream.core.segments import NAMED_VALUES, OTHER, SEGMENTS, values_of
from stream.core.time import day_number, minutes_of, seconds_of
from stream.inputs import registry as formats
from stream.masking import masked
from stream.redis_url import RedisUrl
from stream.settings.model import WITHOUT_PASSWORD, Settings, SettingsError, State, Topics
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
    "topics.partitions": (1, 10_000),
    "topics.replication": (-1, 100),
    "state.checkpoint_interval": ("1s", "1h"),
    "state.max_delta_bytes": (1_000_000, 1_000_000_000),
    "state.cached_users": (0, 1_000_000_000),
    "state.max_user_bytes": (10_000, 100_000_000),
    "state.rocksdb_memory_bytes": (1_000_000, 2**40),
    "state.standbys": (0, 1_000),
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
    _check_segments(settings)
    _check_state(settings.state)
    _check_inputs(settings)
    _check_names(settings)


# A name, an IPv4 address, or an IPv6 address in brackets; then a port, which may be missing.
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#=&,\[\]]+)(:\d{1,5})?")


def _check_servers(servers: str) -> None:
    for server in servers.split(","):
        if _SERVER.fullmatch(server.strip()) is None:
            raise SettingsError(f"kafka.servers: {masked('servers', server.strip())!r} is no host:port")


def _check_inputs(settings: Settings) -> None:
    for number, input_ in enumerate(settings.inputs, start=1):
        table = f"inputs: the {number}. table ({input_.topic!r})"
        if input_.format not in formats.FORMATS:
            raise SettingsError(f"{table}: format {input_.format!r} is none of {', '.join(formats.FORMATS)}")
        if input_.kind not in formats.kinds():
            raise SettingsError(f"{table}: kind {input_.kind!r} is none of {', '.join(formats.kinds())}")
    if len(settings.named_inputs) < len(settings.inputs):
        names = ", ".join(input_.name or input_.topic for input_ in settings.inputs)
        raise SettingsError(f"inputs: two have one name: {names}")
    for kind in formats.kinds() if settings.inputs else ():
        if getattr(settings.topics, kind, "") != getattr(Topics(), kind, ""):
            raise SettingsError(f"topics.{kind}: {getattr(settings.topics, kind)!r} has no effect beside [[inputs]]")


def _check_segments(settings: Settings) -> None:
    _check_chosen("segments.by", settings.segments.by, SEGMENTS)
    _check_chosen("segments.metrics", settings.segments.metrics, names_by_segment())
    for segment, values in settings.segments.named.items():
        if segment not in SEGMENTS:
            raise SettingsError(f"segments.named: {segment!r} is none of {', '.join(SEGMENTS)}")
        setting = f"segments.named.{segment}"
        for value in values:
            if value == OTHER or values_of((value, *[None] * (len(SEGMENTS) - 1)))[0] != value:
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
    if not state.url.startswith(WITHOUT_PASSWORD) or state.url == "rocksdb://":
        raise SettingsError(f"state.url: {url!r} is neither rocksdb://DIRECTORY, redis://HOST nor memory://")
    if "@" in state.url or "?" in state.url:  # the URL was meant for another store
        raise SettingsError(f"state.url: {url!r}: '@' and '?' have no place in it")
    for name in ("password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(state, name):
            raise SettingsError(f"state.{name}: {url} is no Redis")


def _check_redis(state: State, url: RedisUrl) -> None:
    if url.password and state.password_file:
        raise SettingsError(f"state.password_file: state.url has a password already: {url}")
    if bool(state.ssl_certfile) != bool(state.ssl_keyfile):
        raise SettingsError("state.ssl_certfile and state.ssl_keyfile: a certificate is of use with its key only")
    if not url.tls and (state.ssl_cafile or state.ssl_certfile):
        raise SettingsError(f"state.ssl_cafile, state.ssl_certfile: {url} does not speak TLS; rediss:// does")


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


def _check_range(setting: str, value: int | str, limits: tuple[int, int] | tuple[str, str]) -> None:
    number, least, greatest = (
        limit if isinstance(limit, int) else _parse(setting, seconds_of, limit) for limit in (value, *limits)
    )
    if number < least:
        raise SettingsError(f"{setting}: {value} is less than {limits[0]}")
    if number > greatest:
        raise SettingsError(f"{setting}: {value} is more than {limits[1]}")


@lru_cache(maxsize=1)
def _iana_zones() -> frozenset[str]:
    """Return the names of all time zones in the IANA database.

    A machine's folder of zones may hold more, and these may mean another day on another machine: `localtime`, and the
    zones with leap seconds under `right/`. `Factory` means that no zone was chosen.
    """
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - {"Factory"}


def _check_timezone(name: str) -> None:
    try:
        if name in _iana_zones():
            ZoneInfo(name)
            return
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # the zone can't be read
    raise SettingsError(f"timezone: {name!r} is no IANA time zone, such as UTC or Europe/Berlin")


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
