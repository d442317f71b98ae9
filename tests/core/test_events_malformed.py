"""Any bytes in a topic become an event or a known rejection, and never another error."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream.core.events import Event
from stream.core.rejections import Reason, Rejected
from stream.core.segments import SEGMENTS
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
        (b'{"x":' + b"[" * 100_000, Reason.NOT_JSON),
        (b"null", Reason.WRONG_TYPE),
        (b"[]", Reason.WRONG_TYPE),
        (b"17", Reason.WRONG_TYPE),
    ],
)
def test_what_is_no_json_object_is_refused(topic: str, value: bytes, reason: Reason) -> None:
    assert refusal(topic, value)[0] is reason


@pytest.mark.parametrize("time", [b"1704067200", b'"2024-01-01T00:00:00Z"', b'"20240101T000000Z"'])
@pytest.mark.parametrize(
    "unknown",
    [
        *(b"1e999", b"1" * 5_000, b'"\xff"', b'{"a":[null,{}]}', b"[" * 500 + b"]" * 500, b"[" * 9_999 + b"]" * 9_999),
        *(b'"x \\ud83c"', b'"\\udf89 x"', b'"\\ud83c\\ud83c"', b'{"\\ud83c":1}', b'"\xed\xa0\xbc"', b'"\xf0\x9f\x8e"'),
    ],
)
def test_unknown_fields_are_ignored_whatever_they_hold(time: bytes, unknown: bytes) -> None:
    assert decode_login(b'{"user_id":"ann","event_time":%s,"x":%s}' % (time, unknown)).at_ms == AT_MS


BROKEN = [b'"\\u12"', b'"\\x"', b'"a\nb"', b"NaN", b"[" * 9_999, b"[" * 999 + b"}" * 999, b"01"]


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_nested_without_end_is_refused(topic: str) -> None:
    message = msgspec.json.encode(COMPLETE[topic])[:-1] + b',"x":%s%s}'

    DECODERS[topic](message % (b"[" * 90_000, b"]" * 90_000))
    refused = refusal(topic, message % (b"[" * 100_001, b"]" * 100_001))
    assert refused == (Reason.NOT_JSON, "nested deeper than 100000 levels")


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("broken", BROKEN)
def test_json_that_is_broken_is_refused_wherever_it_is_broken(topic: str, broken: bytes) -> None:
    message = msgspec.json.encode(COMPLETE[topic])[:-1]

    assert refusal(topic, b'%s,"x":%s}' % (message, broken))[0] is Reason.NOT_JSON


# Values of fields in lenient JSON, which the strict decoder may refuse.
characters = st.one_of(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\').map(str.encode),
    st.integers(0xD800, 0xDFFF).map(lambda unit: b"\\u%04x" % unit),
    st.sampled_from([b"\\n", b"\\\\", b'\\"', b"\\/", b"\xff", b"\xed\xa0\xbc", b"\xf0\x9f", b"\\uFFFD"]),
)
texts = st.lists(characters, max_size=6).map(lambda some: b'"%s"' % b"".join(some))
numbers = st.from_regex(r"\A-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?\Z").map(str.encode)
anything = st.recursive(
    st.sampled_from([b"null", b"true", b"false"]) | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: b"[%s]" % b",".join(some))
        | st.lists(st.tuples(texts, inner), max_size=3).map(
            lambda some: b"{%s}" % b",".join(b"%s:%s" % member for member in some)
        )
        | st.tuples(st.sampled_from([2, 1_200]), inner).map(lambda told: b"[" * told[0] + told[1] + b"]" * told[0])
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.sampled_from(TOPICS), st.lists(st.tuples(texts.map(lambda text: b'"x' + text[1:]), anything), max_size=3))
def test_an_event_is_never_refused_for_what_stands_in_a_field_that_is_ignored(
    topic: str, ignored: list[tuple[bytes, bytes]]
) -> None:
    message = msgspec.json.encode(COMPLETE[topic])
    more = b"".join(b",%s:%s" % member for member in ignored)

    assert DECODERS[topic](message[:-1] + more + b"}") == DECODERS[topic](message)


@settings(max_examples=300)
@given(st.sampled_from(["sessions", "logins"]), st.sampled_from(SEGMENTS), anything)
def test_a_label_costs_no_event_whatever_it_holds(topic: str, segment: str, label: bytes) -> None:
    message = msgspec.json.encode(COMPLETE[topic])

    event = DECODERS[topic](b'%s,"%s":%s}' % (message[:-1], segment.encode(), label))

    assert replace(event, segments=()) == replace(DECODERS[topic](message), segments=())


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
