"""The native messages of sessions: steps, and summaries of whole sessions."""

from typing import Annotated, Literal

import msgspec

from stream.core.events import Step, Summary
from stream.core.ids import Id, id_of
from stream.core.messages import Count, LabelledMessage, MessageKind, Time, identity_of, segments_of, time_field_ms
from stream.core.rejections import Reason, Rejected
from stream.core.time import DAY_MS, iso

# No session is longer than a day, so no engaged time is either. Browsers measure fractions of a millisecond, which are
# rounded.
_EngagedMs = Annotated[int, msgspec.Meta(ge=0, le=DAY_MS)] | Annotated[float, msgspec.Meta(ge=-0.5, le=DAY_MS + 0.5)]


class SessionMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `sessions`."""

    type: Literal["page_view", "screen_view", "heartbeat", "event", "start", "end", "summary"]
    session_id: Id | None = None
    engaged_ms: _EngagedMs | None = None
    key_event: bool | None = False
    interactive: bool | None = True
    in_session: bool | None = True
    prompted: bool | None = None
    started_at: Time | None = None
    ended_at: Time | None = None
    page_views: Count | None = None
    key_events: Count | None = 0
    revision: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = 0


_STEP_CODES = {"page_view": 0, "screen_view": 1, "heartbeat": 2, "event": 3, "start": 4, "end": 5}
_STEP_TYPES = len(_STEP_CODES)
# Arbitrary bits that are flipped in an identity. They differ in many places from all changes by other fields.
_PROMPTED, _UNPROMPTED = 0x9E37_79B9, 0x6A09_E667
_VIEWS = ("page_view", "screen_view")


def event_of(message: SessionMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Step | Summary:
    """The step or the summary of a message. Raises Rejected."""
    kind = message.type
    if kind == "summary":
        return _summary(message, user, is_bot)
    is_key_event, is_interactive = message.key_event is True, message.interactive is not False
    in_session, prompted, engaged_ms = message.in_session is not False, message.prompted, message.engaged_ms
    # All values that count are part of the identity of a step. Types, flags and a day of milliseconds just fit into 32
    # bits.
    content = _STEP_CODES[kind] + _STEP_TYPES * (is_key_event + 2 * is_interactive + 4 * in_session)
    if engaged_ms is not None:
        if type(engaged_ms) is not int:
            engaged_ms = round(engaged_ms)
        content += 8 * _STEP_TYPES * (engaged_ms + 1)
    if prompted is not None:
        content ^= _PROMPTED if prompted else _UNPROMPTED
    return Step(
        user,
        at_ms,
        is_bot,
        identity_of(at_ms, message.event_id, content),
        id_of(message.session_id),
        kind in _VIEWS,
        kind == "end",
        is_key_event,
        is_interactive,
        in_session,
        prompted,
        engaged_ms,
        segments_of(message),
        kind == "event",
    )


def _summary(message: SessionMessage, user: str, is_bot: bool) -> Summary:
    """The event of a summary. Its time is the end of the session; the time at which it was sent does not matter."""
    session_id = id_of(message.session_id)
    if session_id is None:
        raise Rejected(Reason.MISSING_FIELD, "a session summary needs `$.session_id`")
    for field in _NEEDED_BY_SUMMARIES:
        if getattr(message, field) is None:
            raise Rejected(Reason.MISSING_FIELD, f"a session summary needs `$.{field}`")
    assert message.page_views is not None
    engaged_ms = message.engaged_ms
    if engaged_ms is not None and type(engaged_ms) is not int:
        engaged_ms = round(engaged_ms)
    started_ms = time_field_ms(message.started_at, "started_at")
    ended_ms = time_field_ms(message.ended_at, "ended_at")
    if ended_ms < started_ms:
        detail = f"ended_at {iso(ended_ms)} is before started_at {iso(started_ms)}"
        raise Rejected(Reason.OUT_OF_RANGE, f"a session can't end before it starts: {detail}")
    return Summary(
        user,
        ended_ms,
        is_bot,
        session_id,
        started_ms,
        message.page_views,
        message.key_events or 0,
        engaged_ms,
        message.revision or 0,
        message.prompted,
        segments_of(message),
    )


_NEEDED_BY_SUMMARIES = ("started_at", "ended_at", "page_views")
_STEP_FIELDS = frozenset({"key_event", "interactive", "in_session"})
_SUMMARY_FIELDS = frozenset({"started_at", "ended_at", "page_views", "key_events", "revision"})

SESSIONS = MessageKind(
    "sessions",
    SessionMessage,
    event_of,
    type_field="type",
    ignored_fields={**dict.fromkeys(_STEP_CODES, _SUMMARY_FIELDS), "summary": _STEP_FIELDS},
    needs={"summary": ("session_id", *_NEEDED_BY_SUMMARIES)},
    fields={
        "type": "what happened: a step, or with summary a whole session",
        "session_id": "the id of the session; without one a session ends after 30 minutes of silence",
        "engaged_ms": "how long the user was engaged, in milliseconds: in this step, or in the whole session",
        "key_event": "of a step: true for a key event",
        "interactive": "of a step: false for what no user did, as an autoplay; it makes nobody active",
        "in_session": "of a step: false for what happens outside of sessions, as in a widget",
        "prompted": "true if a push, a mail or an ad has brought the user",
        "started_at": "of a summary: when the session began",
        "ended_at": "of a summary: when it ended",
        "page_views": "of a summary: how many pages or screens were seen",
        "key_events": "of a summary: how many key events it has",
        "revision": "of a summary: the highest revision counts",
    },
    examples=(
        {"user_id": "ada", "event_time": "2026-11-21T10:00:00Z", "type": "page_view", "session_id": "s-1"},
        {
            "user_id": "ada",
            "event_time": 1795255800,
            "type": "summary",
            "session_id": "s-2",
            "started_at": 1795255200,
            "ended_at": 1795255800,
            "page_views": 4,
        },
    ),
)
