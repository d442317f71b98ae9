"""CloudEvents carry messages of any other format, in the value of a record or with headers around it."""

import base64
from typing import Any

import msgspec
import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.registry import reader
from tests.inputs.samples import (
    AMPLITUDE,
    CLOUDEVENTS,
    NATIVE,
    NOON,
    NOON_MS,
    SEGMENT,
    changed,
    events_in,
    reads,
    snowplow_line,
    steps_in,
)
from tests.native import Message

read = reads("cloudevents", inside="segment")

_BINARY = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"page"))


def test_structured_and_binary_mode_carry_the_same() -> None:
    plain = reads("segment")(SEGMENT)
    packed = base64.b64encode(msgspec.json.encode(SEGMENT)).decode()

    assert read(CLOUDEVENTS) == plain
    assert read(changed(CLOUDEVENTS, data=None, data_base64=packed)) == plain
    assert read(SEGMENT, headers=(*_BINARY, ("content-type", b"application/json"))) == plain
    structured = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
    assert read(CLOUDEVENTS, headers=structured) == plain


def test_what_is_inside_is_recognised_unless_the_settings_say_it() -> None:
    read = reads("cloudevents")

    assert len(steps_in(read(CLOUDEVENTS))) == 1
    assert len(steps_in(read(changed(CLOUDEVENTS, data=AMPLITUDE)))) == 1
    line = changed(CLOUDEVENTS, data=snowplow_line().decode())
    assert steps_in(read(line))[0].session_id == "s-1"


def test_the_time_of_the_envelope_counts_where_what_is_inside_has_none() -> None:
    timeless = changed(SEGMENT, timestamp=None, originalTimestamp=None, receivedAt=None, sentAt=None)
    (step,) = steps_in(read(changed(CLOUDEVENTS, data=timeless, time="2026-11-21T12:00:05Z")))
    (by_header,) = steps_in(read(timeless, headers=(*_BINARY, ("ce_time", NOON.encode()))))
    (own,) = steps_in(read(changed(CLOUDEVENTS, time="2026-11-21T13:00:00Z")))
    with pytest.raises(Rejected, match="no time"):
        read(changed(CLOUDEVENTS, data=timeless, time=None))

    assert (step.at_ms, by_header.at_ms, own.at_ms) == (NOON_MS + 5_000, NOON_MS, NOON_MS)


def native(read_options: dict[str, Any], told: Any) -> Any:
    read = reader(format="cloudevents", kind="sessions", options=Options(inside="native", **read_options))
    return read(Message(msgspec.json.encode(told)))


def test_our_own_messages_may_leave_time_and_user_to_the_envelope() -> None:
    inside = {"type": "page_view", "session_id": "s-1"}

    by_subject = native({"user": "subject"}, changed(CLOUDEVENTS, data=inside))
    by_extension = native({"user": "tenantuser"}, changed(CLOUDEVENTS, data=inside, tenantuser="bob"))
    own = native({"user": "subject"}, changed(CLOUDEVENTS, data=changed(NATIVE, user_id="eve")))
    with pytest.raises(Rejected, match=r"needs `\$.user_id`"):
        native({}, changed(CLOUDEVENTS, data=inside))

    assert (by_subject.user, by_subject.at_ms) == ("ada", NOON_MS)
    assert (by_extension.user, own.user) == ("bob", "eve")


def test_one_bad_event_of_a_list_costs_only_itself() -> None:
    told = read(
        [CLOUDEVENTS, changed(CLOUDEVENTS, data=None), changed(CLOUDEVENTS, data={"batch": [SEGMENT, SEGMENT]})]
    )

    assert isinstance(told, MultipleEvents)
    assert [place for place, _ in told.events] == [0, 2, 3]
    assert [(one.event_index, one.detail) for one in told.rejections] == [
        (1, "at `$[1]`: an envelope of CloudEvents without `$.data`")
    ]


def test_what_is_no_envelope_is_refused() -> None:
    for odd, why in (
        (changed(CLOUDEVENTS, specversion=None), r"needs `\$.specversion`"),
        (changed(CLOUDEVENTS, data=None, data_base64="!"), "is no base64"),
        (changed(CLOUDEVENTS, time="noon"), r"'noon' at `\$.time`"),
    ):
        with pytest.raises(Rejected, match=why):
            read(odd)
    with pytest.raises(Rejected, match="an event in binary mode without data") as rejected:
        read(None, headers=_BINARY)

    assert rejected.value.reason is Reason.MISSING_FIELD
    assert events_in(read(CLOUDEVENTS))
