"""Whatever a producer puts into a field costs one message at most, and never the partition that reads it."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.partition.batch_applier import NOTHING_STORED
from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.survey_scales import Kind
from stream.inputs.options import Options, Question
from stream.inputs.registry import reader
from tests.inputs.samples import BY_FORMAT, SNOWPLOW_COLUMNS, TYPEFORM, snowplow_line
from tests.native import Message

_QUESTIONS = tuple(
    Question(question=name, kind=Kind.NPS)
    for name in ("319352786", "319352787", "QID1", "QID4", "nps", "cs7k2jzq", "support", "spring")
)
_READERS = {
    name: reader(
        format=name,
        kind="sessions" if name == "native" else "",
        options=Options(questions=_QUESTIONS if name not in ("native", "ga4") else (), time="record"),
    )
    for name in (*BY_FORMAT, "auto")
}

_SURVEY = {
    "$survey_id": "spring",
    "$survey_questions": [{"id": "nps"}, {"id": "why"}],
    "$survey_response": "9",
    "$survey_response_1": "quick",
    "$survey_submission_id": "s-1",
    "$survey_completed": True,
}
_SAMPLES = {
    **BY_FORMAT,
    "posthog ": {**BY_FORMAT["posthog"], "event": "survey sent", "properties": _SURVEY},
    "posthog  ": {**BY_FORMAT["posthog"], "event": "survey shown", "properties": _SURVEY},
    "segment ": {
        **BY_FORMAT["segment"],
        "type": "track",
        "event": "Survey Submitted",
        "properties": {"kind": "nps", "score": 9, "survey_id": "spring", "response_id": "r"},
    },
    "typeform ": {**TYPEFORM, "event_type": "form_response_partial"},
}

_ODD: tuple[Any, ...] = (
    None,
    "",
    " ",
    "x",
    "9" * 400,
    "2026-11-21T12:00:00",
    0,
    -1,
    7,
    "9" * 30,  # written as a number
    1.5,
    1e300,
    True,
    False,
    [],
    {},
    [[]],
    [{}],
    [None, 1, "x"],
    {"a": {"b": [1, {"c": None}]}},
    {"id": []},
    "\ufffd",
    "a\x00b",
)


def _places(told: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a message."""
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for name, value in inner:
        yield (*path, name)
        yield from _places(value, (*path, name))


def _with(told: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    name, *rest = path
    copied = dict(told) if isinstance(told, dict) else list(told)
    copied[name] = _with(told[name], tuple(rest), value)
    return copied


def _count(format_: str, records: list[Message]) -> int:
    """Read and apply messages, as a partition does it; returns how many were refused, and checks that none is lost."""
    partition = Partition(Rules(allowed_lateness_ms=None))
    batch = partition.read("any", records, _READERS[format_], not_after_ms=1 << 62)
    events = len(batch.events) + batch.bot_events
    refused, _ = partition.apply(batch, NOTHING_STORED, moves_clock=True)
    assert sum(partition.snapshot().outcomes["any"].values()) == events + len(refused)
    assert events + len(refused) + len(batch.left_out) >= len(records)
    assert all(0 < len(one.detail) < 1_000 for one in refused)
    assert partition.collect_delta()
    return len(refused)


def _records(*values: bytes, **record: Any) -> list[Message]:
    return [Message(value, number, timestamp=1_795_262_400_000, **record) for number, value in enumerate(values)]


@pytest.mark.parametrize("name", _SAMPLES)
def test_an_odd_value_in_any_field_is_counted_or_refused(name: str) -> None:
    format_, sample = name.strip(), _SAMPLES[name]
    values = [_encoded(_with(sample, path, odd)) for path in _places(sample) for odd in _ODD]

    assert 0 < _count(format_, _records(*values)) < len(values)


_LARGE = "9" * 30


def _encoded(told: Any) -> bytes:
    """As JSON; msgspec writes no number of more than 64 bits."""
    return msgspec.json.encode(told).replace(f'"{_LARGE}"'.encode(), _LARGE.encode())


def test_an_odd_column_of_a_line_is_counted_or_refused() -> None:
    columns = snowplow_line().split(b"\t")
    odd = (b"", b"\xff\xfe", b"{", b"9" * 400, b"1", b'{"data":[{"schema":"x/client_session/y","data":7}]}')
    values = [
        b"\t".join([*columns[:place], one, *columns[place + 1 :]])
        for place in range(len(SNOWPLOW_COLUMNS))
        for one in odd
    ]

    assert 0 < _count("snowplow", _records(*values)) < len(values)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=_json, format_=st.sampled_from(sorted(_READERS)))
def test_any_json_is_counted_or_refused(value: Any, format_: str) -> None:
    _count(format_, _records(msgspec.json.encode(value)))


@given(value=st.binary(max_size=40), format_=st.sampled_from(sorted(_READERS)))
def test_any_bytes_are_refused(value: bytes, format_: str) -> None:
    headers = (("ce_specversion", b"1.0"), ("ce_time", value), ("ce_subject", value))

    assert _count(format_, [*_records(value), *_records(value, headers=headers)]) == 2
