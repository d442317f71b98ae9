"""`auto` recognises each message by what its format always has, and guesses nothing."""

import re
from typing import Any

import msgspec
import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind
from stream.inputs.options import Options, Question
from stream.inputs.registry import FORMATS, reader
from tests.inputs.samples import (
    AMPLITUDE,
    BY_FORMAT,
    MIXPANEL,
    NATIVE,
    POSTHOG,
    RUDDERSTACK,
    SEGMENT,
    changed,
    events_in,
    reads,
    snowplow_line,
)
from tests.native import Message

_QUESTIONS = tuple(Question(question=name, kind=Kind.NPS) for name in ("319352786", "QID1", "nps"))


def recognised(told: Any, **record: Any) -> tuple[list[str], Any]:
    """The formats that are told of a message, and what it tells."""
    found: list[str] = []
    read = reader(format="auto", options=Options(questions=_QUESTIONS, time="record"), on_recognised=found.append)
    value = told if isinstance(told, bytes) else msgspec.json.encode(told)
    return found, read(Message(value, **record))


def test_there_is_a_message_of_each_format() -> None:
    assert {*BY_FORMAT, "auto", "mapped"} == set(FORMATS)


@pytest.mark.parametrize("format_", BY_FORMAT)
def test_each_format_is_recognised_and_read_as_itself(format_: str) -> None:
    found, told = recognised(BY_FORMAT[format_], timestamp=1_795_262_400_000)

    assert found[0] == format_
    assert events_in(told)
    if format_ not in ("native", "cloudevents"):
        own = reads(format_, questions=_QUESTIONS, time="record")(BY_FORMAT[format_], timestamp=1_795_262_400_000)
        assert told == own


@pytest.mark.parametrize(
    ("format_", "told"),
    [
        ("segment", {"batch": [SEGMENT], "sentAt": "x"}),
        ("segment", [SEGMENT, SEGMENT]),
        ("posthog", {"api_key": "phc", "batch": [POSTHOG]}),
        ("posthog", {"event": POSTHOG, "person": {}}),
        ("mixpanel", [MIXPANEL]),
        ("amplitude", {"api_key": "k", "events": [AMPLITUDE]}),
        ("snowplow", snowplow_line()),
    ],
)
def test_batches_and_lines_are_recognised_too(format_: str, told: Any) -> None:
    found, read = recognised(told)

    assert found == [format_]
    assert events_in(read)


def test_what_a_format_may_leave_out_is_not_needed_to_recognise_it() -> None:
    untimed = {"event": "click", "properties": {"distinct_id": "ada", "token": "phc"}}
    for told, why in (
        ({**untimed, "offset": 12}, "no time: needs `$.timestamp`"),
        ({**untimed, "api_key": "phc"}, "no time: needs `$.timestamp`"),
        ({"specversion": "1.0", "id": "1", "source": "/shop", "type": "page"}, "without `$.data`"),
    ):
        with pytest.raises(Rejected, match=re.escape(why)):
            reader(format="auto")(Message(msgspec.json.encode(told)))


@pytest.mark.parametrize(
    ("format_", "told"),
    [
        ("segment", {"batch": ["nonsense", {"type": "track"}, SEGMENT], "sentAt": "x"}),
        ("rudderstack", {"batch": [17, {}, RUDDERSTACK]}),
        ("amplitude", {"api_key": "k", "events": [None, {"event_type": None}, {"user_id": "ada"}, AMPLITUDE]}),
        ("mixpanel", [17, {}, MIXPANEL]),
        ("segment", [{"type": "track"}, SEGMENT]),
    ],
)
def test_parts_of_a_batch_that_are_broken_do_not_hide_its_format(format_: str, told: Any) -> None:
    found, read = recognised(told)

    assert found == [format_]
    assert isinstance(read, MultipleEvents)
    assert len(read.events) == 1, "the broken ones cost only themselves"
    assert read.rejections


@pytest.mark.parametrize("format_", [name for name in BY_FORMAT if name != "native"])
def test_of_a_list_in_any_format_a_bad_message_costs_only_itself_and_is_named(format_: str) -> None:
    sample = BY_FORMAT[format_]
    read = reads(format_, questions=_QUESTIONS, time="record")
    told = read([sample, {"who": "knows"}, sample])

    assert isinstance(told, MultipleEvents)
    assert events_in(told) == events_in(read(sample)) * 2
    assert [one.detail.partition(":")[0] for one in told.rejections] == ["at `$[1]`"]


def test_a_list_in_which_nothing_is_of_a_known_format_is_refused() -> None:
    for told, why in (([1, "x"], "a list without an object"), ([1, {"a": 1}, {"b": 2}], "has these fields: a")):
        with pytest.raises(Rejected, match=why):
            recognised(told)


def test_binary_cloudevents_are_recognised_by_their_headers_and_so_is_what_they_carry() -> None:
    found, told = recognised(AMPLITUDE, headers=(("ce_specversion", b"1.0"), ("ce_type", b"x")))

    assert sorted(found) == ["amplitude", "cloudevents"]
    assert len(events_in(told)) == 1


def test_each_format_is_told_once() -> None:
    found: list[str] = []
    read = reader(format="auto", on_recognised=found.append)
    for told in (SEGMENT, AMPLITUDE, SEGMENT, AMPLITUDE):
        read(Message(msgspec.json.encode(told)))

    assert found == ["segment", "amplitude"]


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (NATIVE, "Step"),
        ({"user_id": "ada", "event_time": 1795262400, "success": False}, "Login"),
        ({"user_id": "ada", "event_time": 1795262400, "response_id": 1, "kind": "nps", "score": 9}, "Answer"),
    ],
)
def test_our_own_messages_are_of_the_kind_that_their_fields_tell(told: dict[str, Any], kind: str) -> None:
    assert type(recognised(told)[1]).__name__ == kind


def test_what_fits_two_formats_or_none_is_refused_with_both_names() -> None:
    for told, why in (
        (changed(AMPLITUDE, event_time=1795262400), "could be native or amplitude: set the format of the input"),
        ({**MIXPANEL, "distinct_id": "ada"}, "could be posthog or mixpanel"),
        ({"who": "ada", "when": 1795262400}, "no format that is known has these fields: who, when"),
        ({"user_id": "ada", "event_time": 1795262400}, "set the kind of the input"),
        ([], "no format that is known"),
    ):
        with pytest.raises(Rejected, match=why):
            recognised(told)


def test_what_is_no_json_is_refused() -> None:
    for value, reason in ((b"\x00\x01", Reason.NOT_JSON), (b"7", Reason.WRONG_TYPE), (b"", Reason.NOT_JSON)):
        with pytest.raises(Rejected) as rejected:
            recognised(value)
        assert rejected.value.reason is reason


def test_parts_of_another_format_are_refused_by_themselves() -> None:
    _, told = recognised([SEGMENT, AMPLITUDE])

    assert isinstance(told, MultipleEvents)
    assert (len(told.events), [one.event_index for one in told.rejections]) == (1, [1])
