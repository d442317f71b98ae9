"""Numbers of files, lines that can't be used, and numbers that other programs calculated from the same data."""

import gzip
from pathlib import Path

import pytest

from stream.core.offline import Computed, Offline
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.time import date_of
from tests.native import READERS, TOPICS

NOON = b'"2024-01-01T12:00:00Z"'


def login(user: bytes = b"ann", at: bytes = NOON) -> bytes:
    return b'{"topic":"logins","user_id":"%s","event_time":%s}' % (user, at)


def value(samples: list[Sample], name: str, **labels: str) -> float | None:
    found: list[tuple[Labels, float]] = [(sample.labels, sample.value) for sample in samples if sample.name == name]
    return next((value for told, value in found if told == labels), None)


def test_a_request_of_a_person_holds_from_its_line_on_for_lines_before_and_after_it() -> None:
    asked = b'{"topic":"privacy","type":"erase","user_id":"ann","event_time":%s}' % NOON
    before, after = login(at=b'"2024-01-01T11:00:00Z"'), login(at=b'"2024-01-01T13:00:00Z"')
    found = {}
    for name, lines in {
        "first": [asked, before, login(b"bob"), after],
        "last": [before, after, login(b"bob"), asked],
        "between": [before, login(b"bob"), asked, after],
        "twice": [asked, before, after, login(b"bob"), asked],
    }.items():
        offline = Offline(Rules(erases=True), READERS)
        assert list(offline.apply(lines)) == []
        computed = offline.computed()
        found[name] = (value(computed.live, "engagement_logins", window="1d"), computed.events["erased"])

    # What was read before is taken out whole, whatever its time; what is read after is dropped up to the request.
    assert found == {"first": (2, 1), "last": (1, 0), "between": (2, 0), "twice": (2, 1)}


def test_a_line_that_cant_be_used_is_told_with_its_number_and_reason() -> None:
    lines = [login(), b"", b" \n", b"{", b"[]", b'{"user_id":"ann"}', b'{"topic":"clicks"}', b'{"topic":1}']
    lines += [b'{"topic":"logins","user_id":"null","event_time":%s}' % NOON, b'{"x":' + b"[" * 100_000, login()]
    offline = Offline(Rules(), READERS)
    refused = [(one.number, one.reason.value) for one in offline.apply(lines)]

    assert sorted(refused) == [
        *((4, "not_json"), (5, "missing_field"), (6, "missing_field"), (7, "unknown_value"), (8, "missing_field")),
        *((9, "bad_user"), (10, "not_json")),
    ]
    assert offline.computed().events == {
        "applied": 1, "duplicate": 1, "late": 0, "future": 0, "invalid": 7, "bot": 0, "erased": 0,
    }  # fmt: skip


def test_an_unknown_topic_is_told_with_those_that_are_known() -> None:
    (refused,) = Offline(Rules(), READERS).apply([b'{"topic":"clicks"}'])

    assert refused.detail == f"'clicks' at `$.topic` is none of {', '.join((*TOPICS, 'privacy'))}"


def test_a_line_whose_text_is_cut_in_the_middle_of_a_character_is_an_event() -> None:
    offline = Offline(Rules(), READERS)
    cut = b',"title":"x \\ud83c"}'

    assert list(offline.apply([cut.join([login()[:-1], b""]), b"{" + cut[1:-1] + b"," + login()[1:]])) == []
    assert offline.computed().events["applied"] == 1


def test_the_clock_is_the_newest_event_unless_it_is_given() -> None:
    lines = [login(), login(b"bob", b'"2024-01-01T18:00:00Z"')]
    newest, given, early = (
        Offline(Rules(), READERS, at_ms=at_ms) for at_ms in (None, 1_704_243_600_000, 1_704_110_400_000)
    )
    assert [list(offline.apply(lines)) for offline in (newest, given)] == [[], []]
    assert [one.reason.value for one in early.apply(lines)] == ["future"]

    assert newest.computed().at_ms == 1_704_132_000_000
    assert value(newest.computed().live, "engagement_active_users", window="1d") == 2
    assert value(newest.computed().live, "engagement_active_users", window="5m") == 1
    assert value(given.computed().live, "engagement_active_users", window="1d") == 0
    assert [date_of(day).isoformat() for day, _ in given.computed(days=9).closed] == ["2024-01-01", "2024-01-02"]
    assert value(early.computed().live, "engagement_active_users", window="1d") == 1


def test_of_nothing_there_is_no_number() -> None:
    offline = Offline(Rules(), READERS)
    assert list(offline.apply([])) == []

    computed = offline.computed(days=5)
    assert (computed.live, computed.closed, sum(computed.events.values())) == ([], [], 0)


# -- figures of others ------------------------------------------------------------------------------------------------

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def ecom() -> Computed:
    """31,106 page views with session ids of 600 users (retentioneering 5.2.4, Apache-2.0)."""
    path = DATA / "ecom.jsonl.gz"
    offline = Offline(
        Rules(windows={"sessions": ("365d",)}), READERS, at_ms=1_719_705_600_000
    )  # 2024-06-30, all sessions have closed
    with gzip.open(path) as lines:
        assert list(offline.apply(lines)) == []
    return offline.computed(days=365)


def test_ecom_gives_the_sessions_that_other_programs_found(ecom: Computed) -> None:
    year = {"window": "365d"}

    assert ecom.events["applied"] == 31_106
    assert value(ecom.live, "engagement_sessions", **year) == 3_605
    assert value(ecom.live, "engagement_open_sessions") == 0
    assert value(ecom.live, "engagement_bounced_sessions", rule="single_page", **year) == 231
    assert value(ecom.live, "engagement_bounce_ratio", rule="single_page", **year) == pytest.approx(0.064078, abs=5e-7)
    assert value(ecom.live, "engagement_session_duration_mean_seconds", **year) == pytest.approx(1_039.5545, abs=5e-5)
    assert value(ecom.live, "engagement_page_views_per_session", **year) == pytest.approx(8.628571, abs=5e-7)


@pytest.mark.parametrize(("date", "dau", "wau", "mau"), [("2024-03-01", 10, 65, 172), ("2024-06-15", 37, 200, 468)])
def test_ecom_gives_the_closed_days_that_other_programs_found(
    ecom: Computed, date: str, dau: int, wau: int, mau: int
) -> None:
    (samples,) = (samples for day, samples in ecom.closed if date_of(day).isoformat() == date)

    assert [value(samples, "engagement_active_users_closed", window=window) for window in ("1d", "7d", "30d")] == [
        *(dau, wau, mau)
    ]
    assert value(samples, "engagement_stickiness_closed_ratio", window="30d") == pytest.approx(dau / mau)
