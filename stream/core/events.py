"""The one door in: bytes of a topic become an event, or a rejection with a reason.

After it nothing checks types again. The contract is in README.md; unknown fields are ignored, nothing is
repaired. A rejection says whose fault it is: always the producer's.
"""

import datetime as dt
import re
from collections.abc import Callable
from enum import Enum
from math import floor
from typing import Annotated, Literal, TypeVar
from unicodedata import normalize
from zlib import crc32

import msgspec

from stream.core.segments import Values, values_of
from stream.core.survey_scales import DIMENSIONS, SCALES, Kind, Scale, Status
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS, epoch_ms, iso, parse_iso

SESSIONS, LOGINS, SURVEYS = TOPICS = ("sessions", "logins", "surveys")


class Reason(str, Enum):
    """Why a message can't be used. The set is short and fixed: reasons are labels of counters."""

    NOT_JSON = "not_json"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VALUE = "unknown_value"
    OUT_OF_RANGE = "out_of_range"
    BAD_USER = "bad_user"
    BAD_TIME = "bad_time"
    NO_RESPONSE = "no_response"
    TOO_LARGE = "too_large"
    USER_FULL = "user_full"
    FUTURE = "future"
    LATE = "late"


class Rejected(ValueError):
    """A message that can't be used: `reason` is a label, the text names the place and the value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Step(msgspec.Struct, frozen=True, gc=False):
    """One step of a session: a view, a heartbeat, a start or an end."""

    user: str
    at_ms: int
    is_bot: bool
    identity: int  # two steps with the same one are the same step sent twice
    session_id: str | None
    is_view: bool
    is_end: bool
    is_key_event: bool
    is_interactive: bool
    engaged_ms: int | None
    segments: Values


class Summary(msgspec.Struct, frozen=True, gc=False):
    """A whole session, told at once; a higher revision corrects it."""

    user: str
    at_ms: int
    is_bot: bool
    session_id: str
    started_ms: int
    ended_ms: int
    page_views: int
    key_events: int
    engaged_ms: int | None
    revision: int
    segments: Values


class Login(msgspec.Struct, frozen=True, gc=False):
    """One attempt to log in. A failed one makes nobody active."""

    user: str
    at_ms: int
    is_bot: bool
    identity: int
    success: bool
    segments: Values


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One state of one survey response; the latest state of a response counts."""

    user: str
    at_ms: int
    is_bot: bool
    response_id: str
    kind: Kind
    status: Status
    score: int | None  # turned round where the scale says that high is bad
    scale: Scale
    cxi_scores: tuple[int, int, int, int] | None
    interaction_id: str | None


Event = Step | Summary | Login | Answer

_Time = Annotated[dt.datetime, msgspec.Meta(tz=True)] | int | float
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
# No session is longer than a day, so no engaged time is.
_EngagedMs = Annotated[int, msgspec.Meta(ge=0, le=DAY_MS)]


class _Message(msgspec.Struct, gc=False):
    event_time: _Time
    user_id: str | None = None
    anonymous_id: str | None = None
    event_id: str | None = None
    is_bot: bool | None = False
    user_agent: str | None = None


class _ActivityMessage(_Message, gc=False):
    """What sessions and logins tell of segments, of any type: a label that can't be used costs no event."""

    platform: object = None
    plan: object = None
    country: object = None
    app_version: object = None


class _SessionMessage(_ActivityMessage, gc=False, kw_only=True):
    type: Literal["page_view", "screen_view", "heartbeat", "event", "start", "end", "summary"]
    session_id: str | None = None
    engaged_ms: _EngagedMs | None = None
    key_event: bool | None = False
    interactive: bool | None = True
    started_at: _Time | None = None
    ended_at: _Time | None = None
    page_views: _Count | None = None
    key_events: _Count | None = 0
    revision: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = 0


class _LoginMessage(_ActivityMessage, gc=False):
    success: bool | None = True


class _CxiScores(msgspec.Struct):
    effort: int | float
    empathy: int | float
    understanding: int | float
    efficiency: int | float


class _SurveyMessage(_Message, gc=False, kw_only=True):
    response_id: str
    kind: Kind
    status: Status | None = Status.COMPLETED
    score: int | float | None = None
    scores: _CxiScores | None = None
    scale_min: int | None = None
    scale_max: int | None = None
    higher_is: Literal["easier", "harder", "better", "worse"] | None = None
    interaction_id: str | None = None


_decode_session = msgspec.json.Decoder(_SessionMessage).decode
_decode_login = msgspec.json.Decoder(_LoginMessage).decode
_decode_survey = msgspec.json.Decoder(_SurveyMessage).decode

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_STEP_CODES = {"page_view": 1, "screen_view": 2, "heartbeat": 3, "event": 4, "start": 5, "end": 6}
_VIEWS = ("page_view", "screen_view")


def decode_session(value: bytes) -> Step | Summary:
    """A message of the topic `sessions`. Raises Rejected."""
    try:
        message = _decode_session(value)
    except _UNDECODABLE as error:
        message = _decoded_otherwise(_decode_session, value, error)
    user, at_ms, is_bot = _who_and_when(message)
    kind = message.type
    if kind == "summary":
        return _summary(message, user, at_ms, is_bot)
    session_id = message.session_id
    if session_id is not None and not session_id:
        raise Rejected(Reason.OUT_OF_RANGE, "`$.session_id` is empty")
    is_key_event, is_interactive = bool(message.key_event), message.interactive is not False
    engaged_ms = message.engaged_ms
    # What counts is part of what a step is: 3 bits of type, 2 of flags, and 27 hold a day of milliseconds.
    content = _STEP_CODES[kind] | is_key_event << 3 | is_interactive << 4
    if engaged_ms is not None:
        content |= engaged_ms + 1 << 5
    return Step(
        user,
        at_ms,
        is_bot,
        _identity(at_ms, message.event_id, content),
        session_id,
        kind in _VIEWS,
        kind == "end",
        is_key_event,
        is_interactive,
        engaged_ms,
        values_of((message.platform, message.plan, message.country, message.app_version)),
    )


def _summary(message: _SessionMessage, user: str, at_ms: int, is_bot: bool) -> Summary:
    for field in ("session_id", "started_at", "ended_at", "page_views"):
        if getattr(message, field) in (None, ""):
            raise Rejected(Reason.MISSING_FIELD, f"a session summary needs `$.{field}`")
    assert message.session_id is not None
    assert message.page_views is not None
    started_ms = _ms(message.started_at, "started_at")
    ended_ms = _ms(message.ended_at, "ended_at")
    if ended_ms < started_ms:
        told = f"ended_at {iso(ended_ms)} is before started_at {iso(started_ms)}"
        raise Rejected(Reason.OUT_OF_RANGE, f"a session can't end before it starts: {told}")
    return Summary(
        user,
        at_ms,
        is_bot,
        message.session_id,
        started_ms,
        ended_ms,
        message.page_views,
        message.key_events or 0,
        message.engaged_ms,
        message.revision or 0,
        values_of((message.platform, message.plan, message.country, message.app_version)),
    )


def decode_login(value: bytes) -> Login:
    """A message of the topic `logins`. Raises Rejected."""
    try:
        message = _decode_login(value)
    except _UNDECODABLE as error:
        message = _decoded_otherwise(_decode_login, value, error)
    user, at_ms, is_bot = _who_and_when(message)
    success = message.success is not False
    told = values_of((message.platform, message.plan, message.country, message.app_version))
    return Login(user, at_ms, is_bot, _identity(at_ms, message.event_id, success), success, told)


def decode_survey(value: bytes) -> Answer:
    """A message of the topic `surveys`. Raises Rejected."""
    try:
        message = _decode_survey(value)
    except _UNDECODABLE as error:
        message = _decoded_otherwise(_decode_survey, value, error)
    user, at_ms, is_bot = _who_and_when(message)
    if not message.response_id:
        raise Rejected(Reason.MISSING_FIELD, "`$.response_id` is empty")
    kind, status = message.kind, message.status or Status.COMPLETED
    has_default_scale = message.scale_min is None and message.scale_max is None
    scale = SCALES[kind] if has_default_scale else _scale(message, kind)
    score: int | None = None
    if message.score is not None:
        score = _on_scale(message.score, scale, "$.score")
    scores = message.scores
    if status is Status.COMPLETED and (scores is None if kind is Kind.CXI else score is None):
        needed = "scores" if kind is Kind.CXI else "score"
        raise Rejected(Reason.MISSING_FIELD, f"a completed {kind.value} answer needs `$.{needed}`")
    if message.higher_is in ("harder", "worse"):
        score = _turned_round(score, scale, kind, message.higher_is)
    cxi = None
    if kind is Kind.CXI and scores is not None:
        effort, empathy, understanding, efficiency = (
            _on_scale(getattr(scores, name), scale, f"$.scores.{name}") for name in DIMENSIONS
        )
        cxi = (effort, empathy, understanding, efficiency)
    interaction_id = message.interaction_id or None
    return Answer(user, at_ms, is_bot, message.response_id, kind, status, score, scale, cxi, interaction_id)


DECODERS: dict[str, Callable[[bytes], Event]] = {
    SESSIONS: decode_session,
    LOGINS: decode_login,
    SURVEYS: decode_survey,
}


def retraction(user: str, response_id: str, *, at_ms: int) -> Answer:
    """What a null message for a survey response means: it is taken back. Raises Rejected."""
    _possible(at_ms, at_ms, "timestamp")
    return Answer(user, at_ms, False, response_id, Kind.CSAT, Status.RETRACTED, None, SCALES[Kind.CSAT], None, None)


def _scale(message: _SurveyMessage, kind: Kind) -> Scale:
    default = SCALES[kind]
    lowest = default.lowest if message.scale_min is None else message.scale_min
    highest = default.highest if message.scale_max is None else message.scale_max
    scale = Scale(lowest, highest)
    if kind in (Kind.NPS, Kind.CXI) and scale != default:
        told = f"scale {lowest}-{highest}, {kind.value} is asked on {default.lowest}-{default.highest}"
        raise Rejected(Reason.OUT_OF_RANGE, told)
    # A thousand boxes is more than any survey has, and keeps sums of scores exact.
    if not 0 < highest - lowest <= 1_000 or abs(lowest) > 1_000_000:
        raise Rejected(Reason.OUT_OF_RANGE, f"scale {lowest}-{highest} is no scale of 2 to 1001 boxes")
    return scale


def _turned_round(score: int | None, scale: Scale, kind: Kind, higher_is: str) -> int | None:
    if kind in (Kind.NPS, Kind.CXI):
        raise Rejected(Reason.OUT_OF_RANGE, f"{higher_is!r} at `$.higher_is`: high is good in {kind.value}")
    return None if score is None else scale.lowest + scale.highest - score


def _on_scale(score: int | float, scale: Scale, place: str) -> int:
    if score != int(score):
        raise Rejected(Reason.OUT_OF_RANGE, f"a score is a whole number: {score} at `{place}`")
    if not scale.lowest <= score <= scale.highest:
        told = f"score {score} at `{place}` is outside its scale {scale.lowest}-{scale.highest}"
        raise Rejected(Reason.OUT_OF_RANGE, told)
    return int(score)


def _identity(at_ms: int, event_id: str | None, content: int) -> int:
    """64 bits that are the same for the same event sent twice: its time, its content and its `event_id`.

    As Mixpanel does ($insert_id, time, event and user together). Kept per user and per few days, 32 bits of time
    (49 days of milliseconds) never repeat, and two events of one user share them only in the same millisecond.
    """
    return (at_ms & 0xFFFFFFFF) << 32 | (crc32(event_id.encode(), content) if event_id else content)


# What clients send for "nobody": counted as one busy user they would spoil every number (the list of PostHog, less
# "0", which real systems use as an id).
_PLACEHOLDERS = frozenset(
    {
        *("", "null", "undefined", "anonymous", "none", "nil", "nan", "guest", "distinctid", "distinct_id", "id"),
        *("email", "not_authenticated", "true", "false", "[object object]"),
        *("00000000-0000-0000-0000-000000000000", "0" * 32),
    }
)
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDERS))
_LONGEST_ID = 512
_ids: dict[str, str] = {}  # user ids seen, as sent and as meant; a cache, cleared when full
_IDS_AT_MOST = 50_000  # five megabytes


def user_of(user_id: str | None, anonymous_id: str | None) -> str:
    """The one name of a user: trimmed and in Unicode normal form C. Raises Rejected for a placeholder.

    A user known only by `anonymous_id` is another one than the user of the same `user_id`.
    """
    if user_id is None:
        if anonymous_id is None:
            raise Rejected(Reason.MISSING_FIELD, "needs `$.user_id` or `$.anonymous_id`")
        return ANONYMOUS + _canonical(anonymous_id, "anonymous_id")
    return _canonical(user_id, "user_id")


ANONYMOUS = "\x1f"  # a control character that trimming removes from any real id


def partition_key(user: str) -> bytes:
    """What producers key a user's records by: the id itself."""
    return user.removeprefix(ANONYMOUS).encode()


def _canonical(raw: str, field: str) -> str:
    name = raw.strip() if raw.isascii() else normalize("NFC", raw).strip()
    if len(name) <= _LONGEST_PLACEHOLDER and name.lower() in _PLACEHOLDERS:
        raise Rejected(Reason.BAD_USER, f"{raw!r} at `$.{field}` is a placeholder, not a user")
    if len(name) > _LONGEST_ID:
        raise Rejected(Reason.BAD_USER, f"`$.{field}` has {len(name)} characters, {_LONGEST_ID} are allowed")
    if field == "user_id":
        if len(_ids) >= _IDS_AT_MOST:
            _ids.clear()
        _ids[raw] = name
    return name


# Crawlers name themselves; the words are those most published lists of crawler user agents have in common. Cubot makes
# telephones.
_CRAWLER = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|phantomjs|curl/|wget/|python-requests|httpclient", re.IGNORECASE
)
_is_crawler: dict[str, bool] = {}


_FIRST_13_DIGITS = 10**12


def _who_and_when(message: _Message) -> tuple[str, int, bool]:
    user_id, time = message.user_id, message.event_time
    # Both have a common case that needs no call: this runs for each event.
    user = (_ids.get(user_id) if user_id else None) or user_of(user_id, message.anonymous_id)
    if type(time) is dt.datetime:
        at_ms = floor(time.timestamp()) * SECOND_MS + time.microsecond // 1_000
        if not 0 <= at_ms < LATEST_MS:
            raise _impossible(time, "event_time")
    elif type(time) is int and _FIRST_13_DIGITS <= time < 10 * _FIRST_13_DIGITS:  # milliseconds as they are
        at_ms = time
    else:
        at_ms = _ms(time, "event_time")
    return user, at_ms, bool(message.is_bot) or (message.user_agent is not None and _crawls(message.user_agent))


def _crawls(user_agent: str) -> bool:
    known = _is_crawler.get(user_agent)
    if known is None:
        if len(_is_crawler) >= 10_000:
            _is_crawler.clear()
        known = _CRAWLER.search(user_agent) is not None
        if len(user_agent) <= _LONGEST_ID:
            _is_crawler[user_agent] = known
    return known


def _ms(time: dt.datetime | int | float | None, field: str) -> int:
    if isinstance(time, dt.datetime):
        return _possible(floor(time.timestamp()) * SECOND_MS + time.microsecond // 1_000, time, field)
    at_ms = None if time is None else epoch_ms(time)
    if at_ms is None:
        told = f"{time} at `$.{field}` has not 10 (s), 13 (ms) or 16 (us) digits"
        raise Rejected(Reason.BAD_TIME, told)
    return at_ms


def _possible(at_ms: int, told: object, field: str) -> int:
    if 0 <= at_ms < LATEST_MS:
        return at_ms
    raise _impossible(told, field)


def _impossible(told: object, field: str) -> Rejected:
    return Rejected(Reason.BAD_TIME, f"{told} at `$.{field}` is not between 1970 and 9999")


_Shape = TypeVar("_Shape", bound=_Message)


def _decoded_otherwise(decode: Callable[[bytes], _Shape], value: bytes, error: Exception) -> _Shape:
    """What could not be decoded, with its times in another form of ISO 8601. Raises Rejected when that is not why."""
    if not isinstance(error, msgspec.ValidationError):
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    told = str(error)
    if not _is_about_a_time(told):
        raise Rejected(_reason_of(told), told) from None
    return _decoded_with_any_iso_time(decode, value)


class _Times(msgspec.Struct):
    event_time: object = None
    started_at: object = None
    ended_at: object = None


_times_of = msgspec.json.Decoder(_Times).decode
_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _decoded_with_any_iso_time(decode: Callable[[bytes], _Shape], value: bytes) -> _Shape:
    """The slow way in, for ISO 8601 beyond RFC 3339: the basic form, no seconds, a comma before the fraction."""
    try:
        times, fields = _times_of(value), _fields_of(value)
        for name in times.__struct_fields__:
            text = getattr(times, name)
            if isinstance(text, str):
                fields[name] = msgspec.Raw(msgspec.json.encode(_in_rfc_3339(text, name)))
        return decode(msgspec.json.encode(fields))
    except msgspec.ValidationError as error:
        told = str(error)
        raise Rejected(Reason.BAD_TIME if _is_about_a_time(told) else _reason_of(told), told) from None
    except _UNDECODABLE as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None


def _in_rfc_3339(text: str, field: str) -> str:
    at_ms = parse_iso(text)
    if at_ms is None:
        raise Rejected(Reason.BAD_TIME, f"{text!r} at `$.{field}` is no ISO 8601 time with an offset")
    return iso(_possible(at_ms, text, field))


def _is_about_a_time(told: str) -> bool:
    # A message of msgspec names the type that was expected; only of an unknown value it repeats what was sent.
    return "datetime" in told and not told.startswith("Invalid enum value")


def _reason_of(told: str) -> Reason:
    if told.startswith("Object missing required field"):
        return Reason.MISSING_FIELD
    if told.startswith("Invalid enum value"):
        return Reason.UNKNOWN_VALUE
    if ">=" in told or "<=" in told or "out of range" in told:
        return Reason.OUT_OF_RANGE
    return Reason.WRONG_TYPE
