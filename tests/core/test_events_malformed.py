"""Anything at all may lie in a topic: it becomes an event or one known rejection, never another error."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.events import Event
from stream.core.rejections import Reason, Rejected
from stream.core.time import LATEST_MS
from tests.core.test_events import AT_MS, COMPLETE, STEP, SUMMARY, refusal
from tests.native import DECODERS, TOPICS, decode_login


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b'{"user_id":"\xff"}', Reason.NOT_JSON),
        (b'{"user_id":"\\ud800"}', Reason.NOT_JSON),
        (b'{"x":' + b"[" * 100_000, Reason.NOT_JSON),
        (b"null", Reason.WRONG_TYPE),
        (b"[]", Reason.WRONG_TYPE),
        (b"17", Reason.WRONG_TYPE),
    ],
)
def test_what_is_no_json_object_is_refused(topic: str, value: bytes, reason: Reason) -> None:
    assert refusal(topic, value)[0] is reason


@pytest.mark.parametrize("time", [b"1704067200", b'"2024-01-01T00:00:00Z"', b'"20240101T000000Z"'])
@pytest.mark.parametrize("unknown", [b"1e999", b"1" * 5_000, b'"\xff"', b"[" * 500 + b"]" * 500, b'{"a":[null,{}]}'])
def test_unknown_fields_are_ignored_whatever_they_hold(time: bytes, unknown: bytes) -> None:
    assert decode_login(b'{"user_id":"ann","event_time":%s,"x":%s}' % (time, unknown)).at_ms == AT_MS


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
times = st.one_of(
    st.integers(), st.floats(), st.datetimes().map(str), st.text("0123456789-:TZ+. ", max_size=30), st.just(AT_MS)
)
FIELDS = sorted({*STEP, *SUMMARY, "engaged_ms", "revision", "response_id", "score", "scores", "scale_min", "status"})


@settings(max_examples=300)
@given(
    st.sampled_from(TOPICS), st.one_of(st.binary(), st.dictionaries(st.sampled_from(FIELDS), json | times)), st.data()
)
@example("logins", b'{"user_id":"a","event_time":"9999-12-31T23-01"}', None)
@example("logins", b'{"user_id":"a","event_time":"20240101T000000Z","x":' + b"[" * 100_000 + b"}", None)
def test_a_message_becomes_an_event_or_one_known_rejection(
    topic: str, message: bytes | dict[str, Any], data: st.DataObject | None
) -> None:
    if isinstance(message, dict):
        kept = data.draw(st.sets(st.sampled_from(sorted(COMPLETE[topic])))) if data else set()
        message = msgspec.json.encode({**COMPLETE[topic], **message, **{name: COMPLETE[topic][name] for name in kept}})
    event: Event | None = None
    with suppress(Rejected):
        event = DECODERS[topic](message)

    assert event is None or (event.user and 0 <= event.at_ms < LATEST_MS)
