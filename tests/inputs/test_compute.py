"""`engagement compute --format`: the numbers of files of messages of another format."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.inputs.samples import (
    AMPLITUDE,
    BY_FORMAT,
    CHATWOOT,
    SEGMENT,
    changed,
    snowplow_line,
)
from tests.test_cli import engagement

_AT = ("--at", "2026-11-21T13:00:00Z", "--as", "json")

_QUESTIONS = """
[[inputs]]
topic = "answers"
format = "{format}"
[[inputs.questions]]
question = "{question}"
kind = "nps"
"""


@pytest.fixture
def compute(tmp_path: Path) -> Callable[..., Any]:
    """Computes the numbers of some messages, each on a line of its own."""

    def of(told: list[Any], *options: str, settings: str = "") -> Any:
        lines, file = tmp_path / "told.jsonl", tmp_path / "settings.toml"
        lines.write_bytes(b"\n".join(one if isinstance(one, bytes) else msgspec.json.encode(one) for one in told))
        file.write_text(settings)
        with_settings = ("--settings", str(file)) if settings else ()
        return engagement("compute", str(lines), *with_settings, *options)

    return of


def document(done: Any) -> Any:
    return msgspec.json.decode(done.stdout.encode())


def value(told: Any, name: str, **labels: str) -> Any:
    return next(
        (one["value"] for one in told["live"] if one["name"] == name and one["labels"] == labels),
        None,
    )


@pytest.mark.parametrize(
    "format_", ["segment", "rudderstack", "snowplow", "posthog", "ga4", "mixpanel", "amplitude", "cloudevents"]
)
def test_views_of_every_format_are_active_users_and_sessions(format_: str, compute: Callable[..., Any]) -> None:
    sample = BY_FORMAT[format_]
    bob = msgspec.json.decode(msgspec.json.encode(sample).replace(b'"ada"', b'"bob"').replace(b'"d-1"', b'"d-2"'))
    done = compute([sample, bob, sample], "--format", format_, *_AT)
    told = document(done)

    assert done.exit_code == 0
    assert told["events"]["applied"] == 2
    assert told["events"]["duplicate"] == 1
    assert value(told, "engagement_active_users", window="1d") == 2
    assert value(told, "engagement_sessions", window="1d") == 2


def test_lines_of_columns_need_be_no_json(compute: Callable[..., Any]) -> None:
    told = document(compute([snowplow_line(), b"", snowplow_line(user_id="bob")], "--format", "snowplow", *_AT))

    assert value(told, "engagement_active_users", window="1d") == 2


@pytest.mark.parametrize(
    ("format_", "question"),
    [("surveymonkey", "319352786"), ("qualtrics", "QID1"), ("formbricks", "nps"), ("typeform", "recommend")],
)
def test_answers_of_surveys_are_an_nps(format_: str, question: str, compute: Callable[..., Any]) -> None:
    settings = _QUESTIONS.format(format=format_, question=question)
    told = document(compute([BY_FORMAT[format_]], "--format", format_, *_AT, settings=settings))

    assert value(told, "engagement_nps", window="1d") == 100


def test_delighted_needs_no_settings_and_chatwoot_a_time(compute: Callable[..., Any]) -> None:
    told = document(compute([BY_FORMAT["delighted"]], "--format", "delighted", *_AT))
    refused = compute([CHATWOOT], "--format", "chatwoot", *_AT)

    assert value(told, "engagement_nps", window="1d") == 100
    assert refused.exit_code == 1
    assert ":1: missing_field: no time" in refused.stderr


def test_what_is_told_and_not_counted_is_printed_by_its_word(compute: Callable[..., Any]) -> None:
    order = changed(SEGMENT, type="track", event="Order Completed")
    identify = changed(SEGMENT, type="identify")
    done = compute([SEGMENT, order, identify, identify], "--format", "segment", "--at", "2026-11-21T13:00:00Z")
    only = compute([identify], "--format", "segment", *_AT)

    assert "told and not counted: 2 identity, 1 order" in done.stdout
    assert (only.exit_code, document(only)["left_out"]) == (0, {"identity": 1})


def test_auto_says_what_it_recognised_and_names_the_line_of_what_it_could_not(compute: Callable[..., Any]) -> None:
    done = compute([SEGMENT, AMPLITUDE, {"a": 1}, SEGMENT], "--format", "auto", *_AT)

    assert done.exit_code == 3
    assert done.stderr.index("recognised segment") < done.stderr.index("recognised amplitude")
    assert ":3: unknown_value: no format that is known has these fields: a" in done.stderr


def test_one_bad_event_of_a_batch_is_named_with_its_line_and_its_place(compute: Callable[..., Any]) -> None:
    done = compute([SEGMENT, {"batch": [SEGMENT, {"type": "page"}]}], "--format", "segment", *_AT)

    assert document(done)["events"]["duplicate"] == 1
    assert ":2: missing_field: at `$.batch[1]`: needs `$.userId`" in done.stderr


def test_events_that_can_not_be_used_are_named_in_their_order_and_their_lines_counted(
    compute: Callable[..., Any],
) -> None:
    late = {**SEGMENT, "timestamp": "yesterday"}
    done = compute([{"batch": [late, SEGMENT, {}, late]}, {}, SEGMENT], "--format", "segment", *_AT)

    places = [line.partition(": at `")[2].partition("`")[0] for line in done.stderr.splitlines()[:-1]]
    assert places == ["$.batch[0]", "$.batch[2]", "$.batch[3]", ""]
    assert done.stderr.endswith("engagement: 4 events of 2 lines could not be used; the others were\n")


def test_who_names_no_format_for_messages_of_another_tool_is_told_of_it(compute: Callable[..., Any]) -> None:
    done = compute([SEGMENT, SEGMENT])

    assert done.exit_code == 1
    assert "there are no others; messages of another tool need --format (auto recognises them)" in done.stderr


def test_what_a_segment_is_called_is_printed_as_it_is(compute: Callable[..., Any]) -> None:
    done = compute([changed(SEGMENT, context__device={"type": "[/web]"})], "--format", "segment")

    assert (done.exit_code, done.exception) == (0, None)
    assert "segment_active_users platform, [/web] " in done.stdout


def test_where_nothing_is_counted_no_numbers_are_printed(compute: Callable[..., Any]) -> None:
    done = compute([changed(SEGMENT, type="identify")], "--format", "segment")

    assert done.stdout.splitlines()[0] == "no event"
    assert done.stdout.splitlines()[-1] == "told and not counted: 1 identity"


def test_files_may_be_packed_and_a_line_that_is_too_large_is_named(tmp_path: Path) -> None:
    file, settings = tmp_path / "told.gz", tmp_path / "settings.toml"
    large = changed(SEGMENT, properties={"x": "y" * 5_000})
    file.write_bytes(gzip.compress(b"\n".join(map(msgspec.json.encode, (large, SEGMENT)))))
    settings.write_text("max_message_bytes = 4000")
    done = engagement("compute", str(file), "--format", "segment", "--settings", str(settings), *_AT)

    assert document(done)["events"]["applied"] == 1
    assert ":1: too_large: " in done.stderr


def test_what_can_not_be_asked_for_is_refused_with_the_option(compute: Callable[..., Any]) -> None:
    shared = compute([SEGMENT], "--format", "segment", "--processes", "2")
    unasked = compute([SEGMENT], "--format", "qualtrics")

    assert (shared.exit_code, unasked.exit_code) == (2, 2)
    assert "--processes: 2 can't share lines of --format" in shared.stderr
    assert "--format qualtrics: format 'qualtrics': its messages do not say what a question asks for" in unasked.stderr
