"""What settings must be to make sense together. Each refusal names the setting and its value."""

import re
from collections.abc import Callable
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stream import redis_url
from stream.core.families.registry import windows
from stream.core.segments import SEGMENTS
from stream.core.time import day_number, minutes_of, seconds_of
from stream.inputs import registry as formats
from stream.redis_url import RedisUrl
from stream.settings.model import WITHOUT_PASSWORD, Settings, SettingsError, State, Topics
from stream.settings.places import items

_Parsed = TypeVar("_Parsed")

# More than any machine has cores.
_MOST_PROCESSES = 1_024


def check(settings: Settings) -> None:
    """Raises SettingsError."""
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
    count = settings.worker.processes
    if count != "auto" and not (count.isascii() and count.isdigit() and 0 < int(count) <= _MOST_PROCESSES):
        raise SettingsError(f"worker.processes: {count!r} is neither auto nor a number from 1 to {_MOST_PROCESSES}")
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
    elif not state.url.startswith(WITHOUT_PASSWORD) or state.url == "rocksdb://":
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
    told = (settings.snapshots_topic, settings.days_topic)
    internal = (settings.changelog_topic, settings.rekey_topic, settings.replayed_topic, *told)
    names = [*inputs.values(), *(settings.dead_letter_topic(name) for name in inputs.values()), *internal]
    if len(set(names)) < len(names):
        listed = ", ".join(inputs.values())
        if settings.inputs:
            raise SettingsError(f"inputs: each needs a topic of its own, not {listed}")
        raise SettingsError(f"topics: {_listed(list(inputs))} need topics of their own, not {listed}")


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
    if settings.cohorts_from:
        _checked("cohorts_from", day_number, settings.cohorts_from)
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
    "idle_after": 3_600,
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
    "history_days": 35,  # five weeks of them are drawn
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
