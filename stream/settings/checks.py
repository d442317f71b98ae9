"""What settings must be to make sense together. Each refusal names the setting and its value."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream import redis_url
from stream.core.families.registry import windows
from stream.core.segments import SEGMENTS
from stream.core.time import minutes_of, seconds_of
from stream.inputs import registry as formats
from stream.masking import shown
from stream.redis_url import RedisUrl
from stream.settings.model import WITHOUT_PASSWORD, Settings, SettingsError, State, Topics
from stream.settings.places import items

_Parsed = TypeVar("_Parsed")

# More than any machine has cores.
_MOST_PROCESSES = 1_024

# The least and the greatest of each number and each length of time; one that is not here is taken for none.
RANGES: Mapping[str, tuple[int, int] | tuple[str, str]] = {
    "session_timeout": ("1s", "1d"),  # of steps with a session_id a day ends the session, so no silence is longer
    # A thousand bins are set aside for durations, each 2 % wider than the one before: four days and some hours.
    "session_cap": ("1s", "4d"),
    # Two months of days are kept of each user; a month of them must be in reach of a late event.
    "allowed_lateness": ("0s", "30d"),
    "future_limit": ("0s", "30d"),
    "close_after": ("0s", "7d"),
    "max_message_bytes": (100, 100_000_000),  # an event has a hundred bytes or more; Kafka takes a million unless asked
    "retention": ("0s", "3650d"),
    "memory": ("1d", "3650d"),
    "kafka.session_timeout": ("1s", "30m"),  # the most that a broker allows unless asked, group.max.session.timeout.ms
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
# Of each window: users and days are kept as long as the longest one.
WINDOW_RANGE = ("1m", "400d")


def check(settings: Settings) -> None:
    """Raises SettingsError."""
    _check_ranges(settings)
    _check_timezone(settings.timezone)
    _check_windows(settings)
    if settings.topics.replication == 0:
        raise SettingsError("topics.replication: 0 is neither -1, the broker's default, nor 1 or more")
    count = settings.worker.processes
    if count != "auto" and not (count.isascii() and count.isdigit() and 0 < int(count) <= _MOST_PROCESSES):
        raise SettingsError(f"worker.processes: {count!r} is neither auto nor a number from 1 to {_MOST_PROCESSES}")
    _check_servers(settings.kafka.servers)
    _check_segments(settings)
    _check_state(settings.state)
    _check_inputs(settings)
    _check_names(settings)


# A name, an IPv4 address, or an IPv6 address in brackets, and a port.
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#=&,\[\]]+)(:\d{1,5})?")


def _check_servers(servers: str) -> None:
    for server in servers.split(","):
        if _SERVER.fullmatch(server.strip()) is None:
            raise SettingsError(f"kafka.servers: {shown('servers', server.strip())!r} is no host:port")


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
        return
    told = shown("url", state.url)
    if not state.url.startswith(WITHOUT_PASSWORD) or state.url == "rocksdb://":
        raise SettingsError(f"state.url: {told!r} is neither rocksdb://DIRECTORY, redis://HOST nor memory://")
    if "@" in state.url or "?" in state.url:  # it was meant for another store
        raise SettingsError(f"state.url: {told!r}: '@' and '?' have no place in it")
    for name in ("password_file", "ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(state, name):
            raise SettingsError(f"state.{name}: {told} is no Redis")


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


def _check_ranges(settings: Settings) -> None:
    for place, value in items(settings):
        if place in RANGES:
            _check_range(place, value, RANGES[place])


def _check_range(place: str, value: int | str, range_of: tuple[int, int] | tuple[str, str]) -> None:
    number, least, most = (
        one if isinstance(one, int) else _checked(place, seconds_of, one) for one in (value, *range_of)
    )
    if number < least:
        raise SettingsError(f"{place}: {value} is less than {range_of[0]}")
    if number > most:
        raise SettingsError(f"{place}: {value} is more than {range_of[1]}")


@lru_cache(maxsize=1)
def _iana_zones() -> frozenset[str]:
    """The time zones of the IANA's database, by name.

    What a machine's folder of zones holds besides may mean another day on the next machine: `localtime`, and those with
    leap seconds under `right/`. `Factory` stands for none that was chosen.
    """
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - {"Factory"}


def _check_timezone(name: str) -> None:
    try:
        if name in _iana_zones():
            ZoneInfo(name)
            return
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # it can't be read
    raise SettingsError(f"timezone: {name!r} is no IANA time zone, such as UTC or Europe/Berlin")


def _check_windows(settings: Settings) -> None:
    places = {f"windows.{told.name}": settings.windows_of(told) for told in windows()}
    for name in settings.windows:
        if f"windows.{name}" not in places:
            raise SettingsError(f"unknown setting: windows.{name}")
    for place, value in places.items():
        if not value:
            raise SettingsError(f"{place}: needs at least one window")
        minutes = [_checked(place, minutes_of, window) for window in value]
        for window in value:
            _check_range(place, window, WINDOW_RANGE)
        if len(set(minutes)) < len(minutes):
            raise SettingsError(f"{place}: a window is named twice: {', '.join(value)}")


def _checked(place: str, parse: Callable[[str], _Parsed], text: str) -> _Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{place}: {error}") from None
