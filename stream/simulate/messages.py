"""Write the events of a visit as JSON, as FORMATS.md describes it.

The text is put together from parts instead of being encoded from structs. All parts are our own numbers and fixed
words, so nothing needs escaping, and in this way one core writes far more than 80,000 events a second.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, repeat
from typing import NamedTuple

import msgspec

from stream.simulate.habits import COUNTRIES, PLANS, PLATFORMS
from stream.simulate.population import EPOCH_CLOCK, LOCAL_CLOCK, WITH_SESSION_ID


class SimulatedEvent(msgspec.Struct, frozen=True, gc=False):
    """One record for Kafka."""

    at_ms: int  # the event's own time
    arrives_at_ms: int  # when it reaches Kafka
    topic: str  # the kind of its message, such as 'sessions'
    key: str  # the user id, by which producers partition; a misrouted event has another one
    value: bytes
    fault: str  # the name of its fault (a field of the fault shares), or ''


class Visit(NamedTuple):
    """A visit of a user: who comes, when and how. A survey by mail is a visit without steps."""

    start_ms: int
    ref: int  # unique to the visit
    number: int  # of the user
    country: int
    offset_ms: int  # the user's local time ahead of UTC
    platform: int
    plan: int
    producer: int
    clock: int
    release: int
    satisfaction: float
    anonymous: bool
    habit: int

    @property
    def key(self) -> str:
        """The user's id, which is also the record key."""
        return f"{'a' if self.anonymous else 'u'}{self.number:016x}"

    @property
    def session_id(self) -> str:
        """The id of the session, which is unique across all users."""
        return f"{self.ref:016x}"

    @property
    def is_prompted(self) -> bool:
        """Whether a push or a mail has brought the user, which is so for every sixth visit."""
        return (self.ref >> 8) % 6 == 0

    @property
    def delay_ms(self) -> int:
        """How long its events take to reach Kafka, at most 2 s. It is the same for all, so they keep their order."""
        return 20 + int(1_980 * ((self.ref & 0xFFFF) / 0x10000) ** 6)


# The kinds of steps, and how the message of each begins.
PAGE_VIEW, SCREEN_VIEW, HEARTBEAT, EVENT, KEY_EVENT, PASSIVE_EVENT, START, END = range(8)
_STEP_OPENINGS = (
    '{"type":"page_view",',
    '{"type":"screen_view",',
    '{"type":"heartbeat",',
    '{"type":"event",',
    '{"type":"event","key_event":true,',
    '{"type":"event","interactive":false,',
    '{"type":"start",',
    '{"type":"end",',
)
_USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
LOGIN_RETRY_MS = 14_000  # how long it takes to read the error and to type the password again
_LOGIN_METHODS = ("password", "password", "sso", "google", "passkey")


class Steps(NamedTuple):
    """The steps of many visits in flat lists. Those of visit i go from `bounds[i]` up to before `bounds[i + 1]`."""

    bounds: list[int]
    at_ms: list[int]
    local_time: list[str]  # ISO 8601 by the producer's clock, without the offset
    kind: list[int]
    engaged_ms: list[int]  # -1 if the producer does not send it


def common_fields(visit: Visit) -> str:
    """Return the fields that all messages of a visit share: identity and segments."""
    version = f"{visit.release // 10}.{visit.release % 10}.0"
    platform, country = PLATFORMS[visit.platform], COUNTRIES[visit.country]
    segments = f'"platform":"{platform}","country":"{country}","app_version":"{version}"'
    if visit.anonymous:
        return f'"anonymous_id":"{visit.key}",{segments},'
    return f'"user_id":"{visit.key}","plan":"{PLANS[visit.plan]}",{segments},'


def time_delimiters(visit: Visit) -> tuple[str, str]:
    """Return what stands before and after a time in the form that the producer uses."""
    if visit.clock == EPOCH_CLOCK:
        return "", ""
    return '"', f'{_offset_text(visit.offset_ms) if visit.clock == LOCAL_CLOCK else "Z"}"'


def time_text(visit: Visit, at_ms: int) -> str:
    """Return a time in the form that the producer uses: epoch ms, or ISO 8601 in UTC or in local time."""
    if visit.clock == EPOCH_CLOCK:
        return str(at_ms)
    offset_ms = visit.offset_ms if visit.clock == LOCAL_CLOCK else 0
    local = datetime(1970, 1, 1) + timedelta(milliseconds=at_ms + offset_ms)  # noqa: DTZ001  local time of a zone
    before, after = time_delimiters(visit)
    return f"{before}{local.isoformat(timespec='milliseconds')}{after}"


def step_events(visit: Visit, steps: Steps, low: int, high: int) -> list[SimulatedEvent]:
    """Return the steps of one visit, each as an event."""
    key, delay_ms, ref = visit.key, visit.delay_ms, visit.session_id
    before, after = time_delimiters(visit)
    session = f'"session_id":"{ref}",' if visit.producer == WITH_SESSION_ID else ""
    head = f'{common_fields(visit)}{session}"event_time":{before}'
    tail = f'{after},"event_id":"{ref}-'
    openings = _STEP_OPENINGS
    at_ms = steps.at_ms[low:high]
    times = at_ms if visit.clock == EPOCH_CLOCK else steps.local_time[low:high]
    # If a push or a mail has brought the user, the first step says so.
    prompts = chain(['"prompted":true,' if visit.is_prompted else ""], repeat(""))
    return [
        SimulatedEvent(
            at,
            at + delay_ms,
            "sessions",
            key,
            (
                f'{openings[kind]}{prompt}{head}{time}{tail}{serial:x}"}}'
                if engaged_ms < 0
                else f'{openings[kind]}{prompt}{head}{time}{tail}{serial:x}","engaged_ms":{engaged_ms}}}'
            ).encode(),
            "",
        )
        for serial, (at, time, kind, engaged_ms, prompt) in enumerate(
            zip(at_ms, times, steps.kind[low:high], steps.engaged_ms[low:high], prompts, strict=False)
        )
    ]


def summary_events(visit: Visit, steps: Steps, low: int, high: int) -> list[SimulatedEvent]:
    """Return one visit as a session summary. One in five is sent halfway too, and then revised."""
    halfway = (low + high) // 2
    revised = visit.ref % 5 == 0 and high - low > 4
    ends = (halfway, high) if revised else (high,)
    return [_summary(visit, steps, low, end, revision) for revision, end in enumerate(ends, start=1)]


def _summary(visit: Visit, steps: Steps, low: int, high: int, revision: int) -> SimulatedEvent:
    kinds = steps.kind[low:high]
    views = kinds.count(PAGE_VIEW) + kinds.count(SCREEN_VIEW)
    engaged_ms = sum(milliseconds for milliseconds in steps.engaged_ms[low:high] if milliseconds > 0)
    ended_ms = steps.at_ms[high - 1]
    ended = time_text(visit, ended_ms)
    value = (
        f'{{"type":"summary",{common_fields(visit)}"session_id":"{visit.session_id}","event_time":{ended},'
        f'"event_id":"{visit.session_id}-{revision}","started_at":{time_text(visit, steps.at_ms[low])},'
        f'"ended_at":{ended},"page_views":{views},"engaged_ms":{engaged_ms},'
        f'"key_events":{kinds.count(KEY_EVENT)},"prompted":{"true" if visit.is_prompted else "false"},'
        f'"revision":{revision}}}'
    )
    return SimulatedEvent(ended_ms, ended_ms + visit.delay_ms, "sessions", visit.key, value.encode(), "")


def login_events(visit: Visit, failures: int, gave_up: bool) -> list[SimulatedEvent]:
    """Return the failed logins of a visit, `LOGIN_RETRY_MS` apart, and then the successful one if there is one."""
    tries = failures + (not gave_up)
    method = _LOGIN_METHODS[visit.number % len(_LOGIN_METHODS)]
    agent = f'"user_agent":"{_USER_AGENTS[visit.number % 3]}",' if visit.platform == 0 else ""
    head, key, delay_ms = common_fields(visit), visit.key, visit.delay_ms
    events = []
    for attempt in range(tries):
        at_ms = visit.start_ms + attempt * LOGIN_RETRY_MS
        success = "true" if attempt == failures else "false"
        value = (
            f'{{"success":{success},"method":"{method}",{head}{agent}"event_time":{time_text(visit, at_ms)},'
            f'"event_id":"{visit.session_id}-login-{attempt}"}}'
        )
        events.append(SimulatedEvent(at_ms, at_ms + delay_ms, "logins", key, value.encode(), ""))
    return events


@lru_cache(maxsize=64)
def _offset_text(offset_ms: int) -> str:
    """Return an offset from UTC as in ISO 8601, such as +05:30."""
    minutes = abs(offset_ms) // 60_000
    return f"{'-' if offset_ms < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
