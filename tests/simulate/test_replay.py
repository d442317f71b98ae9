"""Reading recordings and moving them in time."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from stream.core.time import parse_iso
from stream.simulate import replay as replaying
from stream.simulate.recording import Recording, ReplayEvent
from stream.simulate.replay import rebase, replay
from tests.native import TOPICS

NOW_MS = parse_iso("2026-11-21T12:00:00.500Z") or 0


def line(**fields: object) -> str:
    return json.dumps({"topic": "logins", "user_id": "ada", "event_time": "2024-05-01T10:00:00Z", **fields})


def recording(folder: Path, *lines: str, name: str = "events.jsonl") -> str:
    path = folder / name
    text = "".join(f"{one}\n" for one in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return str(path)


Unusable = tuple[str, int, str]

MAX_MESSAGE_BYTES = 1_000_000


def read_events(paths: list[str], unusable: list[Unusable] | None = None) -> list[ReplayEvent]:
    """The events of files; lines that can't be used are told, or there are none."""
    told: list[Unusable] = [] if unusable is None else unusable
    with Recording() as recording:
        empty = replaying.read_events(
            recording,
            paths,
            replaying.native_event_of(TOPICS),
            max_message_bytes=MAX_MESSAGE_BYTES,
            on_unusable=lambda *line: told.append(line),
        )
        assert empty == 0
        assert unusable is not None or not told
        return list(recording)


def event(**fields: object) -> ReplayEvent:
    """An event as it is read, of a line with these fields."""
    whole = {"topic": "logins", "user_id": "ada", **fields}
    time = whole["event_time"]
    at_ms = parse_iso(time) if isinstance(time, str) else time
    assert isinstance(at_ms, int)
    return ReplayEvent(at_ms, "logins", "ada", json.dumps(whole).encode())


def rebased(*events: ReplayEvent) -> list[ReplayEvent]:
    return list(rebase(events, last_ms=max(one.at_ms for one in events), now_ms=NOW_MS))


def moved(*events: ReplayEvent) -> list[dict[str, Any]]:
    return [json.loads(one.value) for one in rebased(*events)]


def test_events_of_all_files_come_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    plain = recording(tmp_path, line(event_time=1714557603), line(event_time="2024-05-01T12:00:01+02:00"))
    packed = recording(tmp_path, line(event_time=1714557602000, topic="sessions"), "", name="more.jsonl.gz")

    events = read_events([plain, packed])

    assert [one.at_ms for one in events] == [1714557601000, 1714557602000, 1714557603000]
    assert [one.topic for one in events] == ["logins", "sessions", "logins"]


def test_events_of_the_same_moment_keep_their_order(tmp_path: Path) -> None:
    path = recording(tmp_path, *(line(event_id=str(number)) for number in range(50)))

    assert [json.loads(one.value)["event_id"] for one in read_events([path])] == [str(number) for number in range(50)]


def test_a_line_keeps_its_bytes(tmp_path: Path) -> None:
    odd = '{"user_id" :"ada","x":1.50,"event_time":"2024-05-01T10:00:00Z","topic":"logins","note":"\\u00e9"}'

    assert read_events([recording(tmp_path, odd)])[0].value == odd.encode()


def test_the_key_is_the_user_as_the_workers_name_it(tmp_path: Path) -> None:
    path = recording(
        tmp_path,
        line(user_id=" ada "),
        line(user_id="Zoe\u0308"),
        line(user_id=None, anonymous_id="cookie-1"),
        line(user_id="grace", anonymous_id="cookie-2"),
    )

    assert [one.key for one in read_events([path])] == ["ada", "Zo\u00eb", "cookie-1", "grace"]


def test_a_line_with_text_that_is_cut_and_an_epoch_number_as_text_is_sent_as_it_is(tmp_path: Path) -> None:
    odd = '{"user_id":"ada","event_time":"1714557601","topic":"logins","title":"x \\ud83c"}'

    (read,) = read_events([recording(tmp_path, odd)])
    (shifted,) = rebased(read)
    assert (read.at_ms, read.value) == (1714557601000, odd.encode())
    assert json.loads(shifted.value)["event_time"] == str(NOW_MS // 1_000)


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line().encode())))

    assert len(read_events(["-"])) == 1


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line().encode())

    assert [one.value for one in read_events([str(path)])] == [line().encode()]


BAD_LINES = {
    "nonsense": "no event: JSON is malformed: invalid character (byte 4)",
    "[1]": "no event: Expected `object`, got `array`",
    '{"topic":"logins","user_id":"ada"}': "no event: Object missing required field `event_time`",
    '{"user_id":"ada","event_time":1714557603}': "no event: Object missing required field `topic`",
    line(topic=""): f"'' at `$.topic` is none of {', '.join(TOPICS)}",
    line(topic="clicks"): f"'clicks' at `$.topic` is none of {', '.join(TOPICS)}",
    line(user_id=None): "needs `$.user_id` or `$.anonymous_id`",
    line(user_id="null"): "tells no user: 'null' at `$.user_id` is a placeholder, no `$.anonymous_id`",
    line(user_id=7.5): "no event: Expected `int | str | null`, got `float` - at `$.user_id`",
    line(event_time="yesterday"): (
        "'yesterday' at `$.event_time` is neither ISO 8601 with an offset nor an epoch number"
    ),
    line(event_time=12345): "12345 at `$.event_time` is neither ISO 8601 with an offset nor an epoch number",
}


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES.items())
def test_a_line_that_can_not_be_replayed_is_left_out_and_named(tmp_path: Path, bad: str, reason: str) -> None:
    path = recording(tmp_path, line(), bad, line())
    unusable: list[Unusable] = []

    assert len(read_events([path], unusable)) == 2
    assert unusable == [(path, 2, reason)]


def test_a_file_that_ends_in_the_middle_is_refused(tmp_path: Path) -> None:
    whole = Path(recording(tmp_path, *[line(event_id=str(n)) for n in range(500)], name="whole.jsonl.gz")).read_bytes()
    half = tmp_path / "half.jsonl.gz"
    half.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(OSError, match=r"half.jsonl.gz is no whole packed file"):
        read_events([str(half)])


def test_rebased_the_last_event_happens_in_the_second_before_now() -> None:
    first, last = rebased(event(event_time="2015-05-17T10:05:03Z"), event(event_time="2015-05-20T21:05:15Z"))

    assert NOW_MS - 1_000 < last.at_ms <= NOW_MS
    assert last.at_ms - first.at_ms == (3 * 24 + 11) * 3_600_000 + 12_000
    assert json.loads(last.value)["event_time"] == "2026-11-21T12:00:00Z"
    assert json.loads(first.value)["event_time"] == "2026-11-18T00:59:48Z"


def test_rebased_every_time_keeps_its_form_and_all_else_its_bytes() -> None:
    summary = event(
        event_time="2024-05-01T10:00:00Z",
        started_at="2024-05-01T11:30:00.250+02:00",
        ended_at=1714557540,
        effective_at="2024-06-01T10:00:00Z",
        x=1714557540,
    )
    (fields,) = moved(summary)

    assert fields["event_time"] == "2026-11-21T12:00:00Z"
    assert fields["started_at"] == "2026-11-21T11:30:00.250Z"
    assert fields["ended_at"] == 1795262340  # 11:59
    assert fields["effective_at"] == "2026-12-22T12:00:00Z"
    assert fields["x"] == 1714557540

    odd = ReplayEvent(
        1714557600000, "logins", "ada", b'{"event_time": 1714557600000, "x": 1.50, "y": {"z": "\\u00e9"}}'
    )
    (shifted,) = rebased(odd)
    assert shifted.value == b'{"event_time":1795262400000,"x":1.50,"y":{"z": "\\u00e9"}}'


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (1714557600, 1795262400),
        (1714557600123, 1795262400123),
        (1714557600123456, 1795262400123456),
        ("2024-05-01T10:00:00.123456Z", "2026-11-21T12:00:00.123456Z"),
        ("2024-05-01t10:00:00z", "2026-11-21T12:00:00Z"),
    ],
)
def test_seconds_milliseconds_and_microseconds_stay_what_they_are(then: int | str, now: int | str) -> None:
    anchor = event(event_time="2024-05-01T10:00:00Z")
    unit = event(event_time="2024-05-01T10:00:00Z", started_at=then)

    assert moved(anchor, unit)[1]["started_at"] == now


def test_what_is_no_time_is_left_for_the_workers_to_refuse() -> None:
    (fields,) = moved(event(event_time="2024-05-01T10:00:00Z", started_at="soon", ended_at=None))

    assert fields["started_at"] == "soon"
    assert fields["ended_at"] is None

    no_times: tuple[object, ...] = (True, {}, [1], "9999-12-31T00:00:00Z")
    for odd in no_times:
        (fields,) = moved(event(event_time="2024-05-01T10:00:00Z", started_at=odd))
        assert (fields["started_at"], fields["event_time"]) == (odd, "2026-11-21T12:00:00Z")


def test_nothing_rebased_is_nothing() -> None:
    assert list(rebase([], last_ms=0, now_ms=NOW_MS)) == []


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a rate must be more than 0 events a second: 0"):
        replay([], {}, rate=0, on_progress=print)
