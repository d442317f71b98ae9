"""What the benches of the peers count and show: the small job, its recount, the table and what is drawn."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from stream.core.time import DAY_MS, HOUR_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.bench.figures import steady_rate
from tests.bench.peers import job
from tests.bench.peers.contestants import PEERS, NotHere, pinned, streams_version
from tests.bench.peers.headline import headline
from tests.bench.peers.job import Session, answer_key, milliseconds, numbers, with_step
from tests.bench.peers.measure import PeerFailed, measured, told_by
from tests.bench.peers.recount import active_users, differences, recount
from tests.bench.peers.table import Row, plot_data, table

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
_REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"


def event(topic: str, at_ms: int, **fields: object) -> SimulatedEvent:
    """An event of ada's."""
    value = json.dumps({"user_id": "ada", "event_time": at_ms, **fields}).encode()
    return SimulatedEvent(at_ms, at_ms, topic, "ada", value, "")


# -- the small job ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event_time",
    [
        "2026-11-21T10:00:00Z",
        "2026-11-21T11:00:00.000+01:00",
        NOW_MS // 1_000,
        NOW_MS,
        NOW_MS * 1_000,
    ],
)
def test_a_time_is_the_same_in_each_form(event_time: str | int) -> None:
    if isinstance(event_time, str):
        event_time = event_time.replace("Z", "+00:00")  # which Python 3.10 does not read
    assert milliseconds(event_time) == NOW_MS


def test_a_session_spans_its_steps_whatever_their_order() -> None:
    session = with_step(with_step(with_step(None, 20, 1), 30, 0), 10, 1)

    assert session == Session(views=2, begin_ms=10, end_ms=30)


def test_an_answer_without_a_score_has_a_name_too() -> None:
    assert answer_key("csat", "completed", 5.0) == "csat/completed/5"
    assert answer_key("nps", "shown", None) == "nps/shown/-"


def test_numbers_of_nothing_are_zero() -> None:
    found = numbers({}, [], [], {})

    assert (found["users"], found["sessions"], found["begin_ms"], found["answers"]) == (0, 0, 0, {})


def test_the_recount_agrees_with_the_job_done_event_by_event() -> None:
    events = list(simulate(SimulatorSettings(users=300), start_ms=NOW_MS - 12 * HOUR_MS, end_ms=NOW_MS))
    counted, answers = Counter[str](), Counter[str]()
    seen: dict[str, int] = {}
    sessions: dict[str, Session] = {}
    for each in events:
        fields = json.loads(each.value)
        counted[each.topic] += 1
        if each.topic == "surveys":
            answers[answer_key(fields["kind"], fields["status"], fields.get("score"))] += 1
        elif fields.get("interactive", fields.get("success", True)):
            seen[each.key] = max(each.at_ms, seen.get(each.key, 0))
        if each.topic == "sessions" and "session_id" in fields:
            known = sessions.get(fields["session_id"])
            sessions[fields["session_id"]] = with_step(known, each.at_ms, fields["type"] in job.VIEWS)
    done = numbers(counted, seen.values(), sessions.values(), answers)

    assert min(done["events"].values()) > 0
    assert differences(done, recount(events)) == []


def test_an_end_makes_nobody_active_and_a_passive_step_does_not() -> None:
    ends = [event("sessions", NOW_MS, type="end"), event("sessions", NOW_MS, type="event", interactive=False)]

    assert active_users(ends) == 0
    assert active_users([*ends, event("logins", NOW_MS, success=True)]) == 1


def test_a_peer_is_held_to_the_numbers_that_it_tells_and_to_no_others() -> None:
    recounted = {"events": {"sessions": 2, "logins": 1}, "users": 1, "answers": {"nps/shown/-": 1}}

    assert differences({"events": {"sessions": 2, "logins": 1}}, recounted) == []
    assert differences({"events": {"sessions": 2}}, recounted) == ["events.logins: told None, recounted 1"]
    assert differences({"answers": {}}, recounted) == ["answers.nps/shown/-: told None, recounted 1"]
    assert differences({"users": 2}, recounted) == ["users: told 2, recounted 1"]


# -- the headline numbers --------------------------------------------------------------------------------------------


def test_a_day_of_the_headline_is_half_open_at_its_beginning() -> None:
    day_before, just_in = NOW_MS - DAY_MS, NOW_MS - DAY_MS + 1

    assert headline([event("logins", day_before, success=True)], now_ms=NOW_MS)["active_1d"] == 0
    assert headline([event("logins", just_in, success=True)], now_ms=NOW_MS)["active_1d"] == 1


def test_a_session_of_the_headline_is_its_steps_or_its_summary() -> None:
    steps = [
        event("sessions", NOW_MS - 9_000, type="page_view", session_id="s"),
        event("sessions", NOW_MS, type="event", session_id="s"),
    ]
    summary = event("sessions", NOW_MS, type="summary", session_id="t", started_at=NOW_MS - 1_000, page_views=3)

    found = headline([*steps, summary], now_ms=NOW_MS)

    assert (found["sessions"], found["with_views"], found["bounced"]) == (2, 2, 1)
    assert found["mean_duration_ms"] == 5_000


def test_an_answer_of_the_headline_that_was_taken_back_does_not_count() -> None:
    given = event("surveys", NOW_MS - 1, kind="csat", status="completed", response_id="r", score=5)
    taken_back = event("surveys", NOW_MS, kind="csat", status="retracted", response_id="r")

    assert headline([given], now_ms=NOW_MS)["csat_satisfied"] == 1
    assert headline([given, taken_back], now_ms=NOW_MS)["csat_answers"] == 0


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_what_a_library_prints_is_not_taken_for_what_the_peer_tells() -> None:
    told = told_by(["counted 1.5 0\n", "Starting up ...\n", "counted 2.5 10\n", '{"events": {}}\n'])

    assert told.course == [(1.5, 0.0), (2.5, 10.0)]
    assert told.numbers == {"events": {}}


def test_a_peer_is_measured_until_it_tells_its_numbers(tmp_path: Path) -> None:
    peer = """
import time
for count in range(0, 110, 10):
    print("counted", time.time(), count, flush=True)
    time.sleep(0.1)
print('{"events": {"logins": 100}}', flush=True)
"""
    found = measured([sys.executable, "-c", peer], 100, tmp_path / "log", timeout_seconds=60.0)

    assert found.numbers == {"events": {"logins": 100}}
    assert found.events_a_second > 0
    assert found.cpu_us_an_event >= 0
    assert found.peak_mib > 1


def test_a_peer_that_ends_without_numbers_has_failed_and_its_log_says_why(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match="no such topic"):
        measured([sys.executable, "-c", "exit('no such topic')"], 1, tmp_path / "log", timeout_seconds=60.0)


@pytest.fixture
def rows() -> tuple[Row, list[Row]]:
    """Ours, one that is faster and one that is not here."""
    ours, faster = Row("ours", "1", "all", ""), Row("fast", "2", "little", "much")
    absent = Row("absent", "3", "little", "much", not_here="no `javac`")
    for rate in (100.0, 90_000.0, 80_000.0):
        ours.took(events_a_second=rate, cpu_us_an_event=12.0, peak_mib=500.0)
        faster.took(events_a_second=2 * rate, cpu_us_an_event=6.04, peak_mib=1_200.0)
    return ours, [absent, faster]


def test_the_table_shows_the_fastest_first_and_why_one_is_not_here(rows: tuple[Row, list[Row]]) -> None:
    assert table(*rows).splitlines()[2:] == [
        "| fast | 2 | 160,000 | 200 to 180,000 | 6.0 | 1,200 | little | much | 0.5 times as fast |",
        "| ours | 1 | 80,000 | 100 to 90,000 | 12.0 | 500 | all |  |  |",
        "| absent | 3 | not here: no `javac` |  |  |  |  |  |  |",
    ]


def test_the_lines_of_the_table_have_as_many_cells(rows: tuple[Row, list[Row]]) -> None:
    assert len({line.count("|") for line in table(*rows).splitlines()}) == 1


def test_the_plot_has_those_that_are_here(rows: tuple[Row, list[Row]]) -> None:
    drawn = plot_data(*rows)

    assert drawn["names"] == ["fast 2", "ours 1"]
    assert (drawn["rates"], drawn["least"], drawn["most"]) == ([160_000, 80_000], [200, 100], [180_000, 90_000])
    assert drawn["ours"] == [False, True]


# -- who takes part --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(_REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_what_a_peer_needs_is_pinned_to_the_last_package_and_names_no_host(path: Path) -> None:
    packages = [line for line in path.read_text().splitlines() if not line.startswith("#")]

    assert packages
    assert all("==" in line for line in packages)
    assert "://" not in path.read_text()


def test_who_can_not_be_made_ready_is_not_here_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no `java` is
    task = job.Task("127.0.0.1:9092", "group", "mixed-", str(tmp_path), 1)
    reasons = {}
    for peer in PEERS:
        if peer.name.startswith(("Kafka Streams", "PyFlink")):
            with pytest.raises(NotHere) as error:
                peer.started_by(task)
            reasons[peer.name.partition(",")[0]] = str(error.value)

    assert reasons == {
        "Kafka Streams": "no `javac` (install a JDK of Java 17 or newer)",
        "PyFlink": "no `java` (install Java 17)",
    }


def test_each_peer_has_a_name_of_its_own_and_a_version() -> None:
    names = [peer.name for peer in PEERS]

    assert len(set(names)) == len(names)
    assert all(peer.version()[0].isdigit() for peer in PEERS)
    assert pinned("quix", "quixstreams").startswith("3.")
    assert streams_version()[0].isdigit()


def test_a_load_that_is_gone_between_two_reports_has_a_rate() -> None:
    rate, cpu_us = steady_rate([(1.0, 0.0), (1.0, 50.0), (1.0, 100.0)], 100, [(0.0, 0.0), (2.0, 1.0)])

    assert (rate, cpu_us) == (80_000.0, 0.0)
