"""Times and ids as other formats write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.rejections import Reason, Rejected
from stream.core.time import iso, parse_time
from stream.inputs import telling
from stream.inputs.options import Options
from stream.inputs.telling import UTC, Clock, person, text_ms
from tests.inputs.samples import NOON_MS
from tests.native import Message

TIMES = [
    ("2026-11-21T12:00:00Z", NOON_MS),
    ("2026-11-21T12:00:00.25z", NOON_MS + 250),
    ("2026-11-21 12:00:00 UTC", NOON_MS),
    ("2026-11-21 13:30:00 +0130", NOON_MS),
    ("2026-11-21T12:00+00:00", NOON_MS),
    ("20261121T120000Z", NOON_MS),
    (" 2026-11-21T12:00:00Z ", NOON_MS),
    ("1795262400.5", NOON_MS + 500),
    ("2026-11-21T24:00:00Z", NOON_MS + 12 * 3_600_000),
]


@pytest.mark.parametrize("knows_letter_z", [True, False])
@pytest.mark.parametrize(("text", "at_ms"), TIMES)
def test_times_are_read_however_they_are_written(
    text: str, at_ms: int, knows_letter_z: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_NO_LETTER_Z", not knows_letter_z)

    assert text_ms(text, "time", None) == at_ms


@given(st.integers(86_400_000, 4_102_444_800_000), st.sampled_from(["+00:00", "-08:00", "+05:30"]))
def test_what_is_read_fast_is_what_is_read_slowly(at_ms: int, offset: str) -> None:
    shown = iso(at_ms).removesuffix("Z") + offset

    assert text_ms(shown, "time", None) == parse_time(shown)


def test_an_offset_that_is_told_wins_over_the_zone() -> None:
    clock = Clock(Options(zone="Asia/Tokyo"), zone=UTC)

    assert clock.at_ms(Message(b""), "2026-11-21T12:00:00Z", "time") == NOON_MS
    assert clock.at_ms(Message(b""), "2026-11-21T21:00:00", "time") == NOON_MS
    assert Clock(Options(), zone=UTC).at_ms(Message(b""), "2026-11-21T12:00:00", "time") == NOON_MS


@pytest.mark.parametrize("time", ["", None])
def test_a_blank_time_is_none(time: Any) -> None:
    assert Clock(Options(time="record")).at_ms(Message(b"", timestamp=NOON_MS), time, "time") == NOON_MS
    with pytest.raises(Rejected, match=r"no time: needs `\$\.time`"):
        Clock(Options()).at_ms(Message(b"", timestamp=NOON_MS), time, "time")


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "2026-11-21", "20261121", "x" * 500])
def test_a_text_that_is_no_moment_is_refused_and_shown_cut(text: str) -> None:
    with pytest.raises(Rejected) as rejected:
        text_ms(text, "time", UTC)

    assert rejected.value.reason is Reason.BAD_TIME
    assert len(str(rejected.value)) < 200


def test_who_is_not_told_is_told_by_the_fields_that_the_format_has() -> None:
    for user_id, device_field, why in (
        (None, "device", "needs `$.user` or `$.device`"),
        (None, "", "needs `$.user`"),
        ("null", "device", "tells no user: 'null' at `$.user` is a placeholder, no `$.device`"),
        ("null", "", "tells no user: 'null' at `$.user` is a placeholder"),
    ):
        with pytest.raises(Rejected) as rejected:
            person(user_id, None, user_field="user", device_field=device_field)
        assert str(rejected.value) == why
