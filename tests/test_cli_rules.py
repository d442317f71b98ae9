"""`engagement compute --rules`: both columns, and the rule that makes each difference."""

import io
import re
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from stream.core.offline import Offline
from stream.core.reconciliation.actions import Recorder
from stream.core.reconciliation.comparison import compare
from stream.core.reconciliation.conventions import WITH_US
from stream.core.reconciliation.tools import TOOLS
from stream.core.rules import Rules
from stream.export.reconciliation import print_comparison
from tests.native import READERS
from tests.test_cli import engagement

GOLDEN = Path(__file__).parent / "data" / "rules.golden.txt"
DAY = "2026-03-04"
AT_MS = 1_772_758_800_000  # 2026-03-06T01:00:00Z


def told(user: str, time: str, type_: str = "page_view", **more: Any) -> dict[str, Any]:
    return {"topic": "sessions", "user_id": user, "event_time": f"2026-03-{time}Z", "type": type_, **more}


EVENTS = (
    told("ann", "02T09:00:00"),
    told("ann", "04T09:00:00", session_id="s"),
    told("ann", "04T09:30:00", session_id="s"),
    told("ann", "04T10:20:00", session_id="s"),
    told("bob", "04T12:00:00"),
    told("bob", "04T12:00:40", "heartbeat"),
    told("cat", "04T13:00:00"),
    told("cat", "04T13:00:03", "event", interactive=False),
    told("dan", "04T23:50:00"),
    told("dan", "05T00:10:00"),
    told("bot", "04T14:00:00", is_bot=True),
    {"topic": "logins", "user_id": "eve", "event_time": "2026-03-04T08:00:00Z"},
    told("ann", "05T15:00:00"),
)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in EVENTS))
    return path


compare_by = partial(engagement, "compute")


def printed(name: str, width: int) -> str:
    tool, recorder, out = TOOLS[name], Recorder(not_after_ms=AT_MS), io.StringIO()
    readers = {topic: recorder.recording(reader) for topic, reader in READERS.items()}
    offline = Offline(Rules(), readers, at_ms=AT_MS)
    assert list(offline.apply(map(msgspec.json.encode, EVENTS))) == []
    days = [day for day, _ in offline.computed(days=2).closed][:1]
    print_comparison(compare(recorder.people, tool, Rules(), days), tool, Console(file=out, width=width), zone="UTC")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_the_help_tells_the_tools() -> None:
    help_page = " ".join(engagement("compute", "--help").output.split())

    assert "--rules [ga4|plausible|posthog|mixpanel|matomo]" in help_page
    assert "--arrival-order" in help_page
    assert "engagement compute events.jsonl.gz --rules plausible" in help_page


def test_the_tables_are_those_that_were_looked_at() -> None:
    """Written anew by: python -m tests.test_cli_rules."""
    assert GOLDEN.read_text() == golden()


def golden() -> str:
    return "\n".join(f"== {name}, {width} columns\n{printed(name, width)}\n" for width in (80, 120) for name in TOOLS)


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(name: str, width: int) -> None:
    lines = printed(name, width).splitlines()

    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    first = next(line for line in lines if line.startswith("number"))
    assert first.split()[-3:] == ["ours", TOOLS[name].title, "difference"]


def test_without_a_terminal_the_table_is_the_same_as_on_a_wide_one(events: Path) -> None:
    result = compare_by(str(events), "--rules", "matomo", "--at", "2026-03-05T02:00:00Z")

    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == printed("matomo", 120).splitlines()


def test_the_document_has_what_the_table_has(events: Path) -> None:
    result = compare_by(
        str(events), "--rules", "plausible", "--days", "2", "--at", "2026-03-06T02:00:00Z", "--as", "json"
    )
    document = msgspec.json.decode(result.stdout.encode())

    assert list(document) == [
        *("at", "rules", "timezone", "closed", "alike", "assumed", "unseen", "sources", "events", "left_out"),
    ]
    assert (document["at"], document["rules"], document["timezone"]) == ("2026-03-06T02:00:00Z", "plausible", "UTC")
    assert [day["day"] for day in document["closed"]] == [DAY, "2026-03-05"]
    by_number = {one["number"]: one for one in document["closed"][0]["numbers"]}
    assert by_number["active_7d"] == {
        "number": "active_7d",
        "metric": "engagement_active_users_closed",
        "labels": {"window": "7d"},
        "unit": "users",
        "ours": 5.0,
        "theirs": 5.0,
        "difference": 0.0,
        "contributions": [
            {
                "rule": "a visitor is who has a visit: a login alone is none",
                "with_us": WITH_US["active_by"],
                "source": "Metrics definitions, plausible.io/docs/metrics-definitions",
                "amount": -1.0,
            },
            {
                "rule": "who comes on two days is two visitors, unless one visit goes on over midnight",
                "with_us": "a user is one user, on however many days",
                "source": "Metrics definitions, plausible.io/docs/metrics-definitions",
                "amount": 1.0,
            },
        ],
        "undefined": None,
    }
    for day in document["closed"]:
        for one in day["numbers"]:
            if one["difference"] is not None:
                assert sum(each["amount"] for each in one["contributions"]) == pytest.approx(one["difference"])


def test_our_column_has_the_numbers_that_compute_prints(events: Path) -> None:
    arguments = (str(events), "--at", "2026-03-05T02:00:00Z", "--as", "json")
    plain = msgspec.json.decode(compare_by(*arguments).stdout.encode())
    samples = {(one["name"], str(one["labels"])): one["value"] for one in plain["closed"][0]["samples"]}

    for name in TOOLS:
        document = msgspec.json.decode(compare_by(*arguments, "--rules", name).stdout.encode())
        for one in document["closed"][0]["numbers"]:
            assert one["ours"] == pytest.approx(samples[one["metric"], str(one["labels"])])
        assert document["events"] == plain["events"]


def test_the_zone_asked_for_cuts_the_days_of_both(events: Path) -> None:
    """At 23:50 UTC it is the next day in Berlin: midnight lies between no two events of dan."""
    arguments = (str(events), "--rules", "matomo", "--at", "2026-03-06T02:00:00Z", "--as", "json")

    documents = {
        zone: msgspec.json.decode(compare_by(*arguments, "--timezone", zone).stdout.encode())
        for zone in ("UTC", "Europe/Berlin")
    }
    sessions = {
        zone: [one["theirs"] for one in document["closed"][-1]["numbers"] if one["number"] == "sessions"]
        for zone, document in documents.items()
    }
    assert sessions == {"UTC": [2], "Europe/Berlin": [2]}
    duration = {
        zone: [one["theirs"] for one in document["closed"][-1]["numbers"] if one["number"] == "duration"]
        for zone, document in documents.items()
    }
    assert duration == {"UTC": [0], "Europe/Berlin": [600]}


_GA4_ROWS = """\
{"event_name":"page_view","event_timestamp":1772618400000000,"user_pseudo_id":"a.1","event_params":[{"key":"ga_session_id","value":{"int_value":"1"}}]}
{"event_name":"scroll","event_timestamp":1772618400500000,"user_pseudo_id":"a.1","event_params":[{"key":"ga_session_id","value":{"int_value":"1"}}]}
"""
_POSTHOG = """\
{"event":"$pageview","uuid":"1","distinct_id":"a","timestamp":"2026-03-04T10:00:00Z","properties":{"$session_id":"s"}}
{"event":"$autocapture","uuid":"2","distinct_id":"a","timestamp":"2026-03-04T10:00:01Z","properties":{"$session_id":"s"}}
"""
_MIXPANEL = """\
{"event":"$mp_web_page_view","properties":{"time":1772618400,"distinct_id":"a","$insert_id":"1"}}
{"event":"Song Played","properties":{"time":1772618401,"distinct_id":"a","$insert_id":"2"}}
"""


@pytest.mark.parametrize(("format_", "text"), [("ga4", _GA4_ROWS), ("posthog", _POSTHOG), ("mixpanel", _MIXPANEL)])
def test_events_of_any_format_are_compared_by_the_rules_of_any_tool(format_: str, text: str) -> None:
    """One view and one custom event within a second: what each tool calls it."""
    bounces = {}
    for name in TOOLS:
        arguments = ("-", "--format", format_, "--rules", name, "--at", "2026-03-05T02:00:00Z", "--as", "json")
        document = msgspec.json.decode(compare_by(*arguments, stdin=text).stdout.encode())
        (numbers,) = (day["numbers"] for day in document["closed"])
        bounces[name] = next(one["theirs"] for one in numbers if one["number"] == "bounce")

    assert bounces == {"ga4": 1, "plausible": 0, "posthog": 0, "mixpanel": None, "matomo": 0}


def test_a_late_event_counts_unless_lines_are_said_to_be_in_the_order_of_arrival() -> None:
    late = [told("ann", "10T10:00:00"), told("bob", "04T10:00:00"), told("bob", "10T10:00:00")]
    text = "\n".join(msgspec.json.encode(event).decode() for event in late)
    arguments = ("-", "--rules", "ga4", "--at", "2026-03-05T02:00:00Z", "--as", "json")
    later = ("-", "--rules", "ga4", "--at", "2026-03-11T02:00:00Z", "--days", "7", "--as", "json")

    def active(result: bytes) -> list[tuple[str, float, float]]:
        numbers = [(day["day"], day["numbers"][0]) for day in msgspec.json.decode(result)["closed"]]
        return [(day, one["ours"], one["theirs"]) for day, one in numbers if one["ours"]]

    assert active(compare_by(*later, stdin=text).stdout.encode()) == [(DAY, 1, 1), ("2026-03-10", 2, 1)]
    assert active(compare_by(*later, "--arrival-order", stdin=text).stdout.encode()) == [
        *((DAY, 1, 0), ("2026-03-10", 2, 2)),
    ]
    # What is after --at has not happened, and makes nothing late.
    assert active(compare_by(*arguments, "--arrival-order", stdin=text).stdout.encode()) == [(DAY, 1, 1)]


def test_where_no_day_has_closed_the_table_says_so() -> None:
    one = msgspec.json.encode(EVENTS[0]).decode()

    result = compare_by("-", "--rules", "ga4", stdin=one)

    assert result.exit_code == 0
    assert "no day has closed yet, so there is none to compare" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rules", "adobe"), "'adobe' is not one of 'ga4', 'plausible', 'posthog', 'mixpanel', 'matomo'"),
        (("--rules", "ga4", "--days", "0"), "--days: 0 leaves no closed day to compare by --rules"),
        (("--rules", "ga4", "--processes", "2"), "--processes: 2 can't be used with --rules, which takes one"),
        (("--arrival-order",), "--arrival-order: needs --rules"),
        (("--rules", "matomo", "--arrival-order"), "--arrival-order: Matomo documents no limit for late events"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_can_not_be_compared_is_refused_in_a_line(arguments: tuple[str, ...], message: str, events: Path) -> None:
    result = compare_by(str(events), *arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_in_a_table_too_each_difference_is_the_sum_of_what_is_under_it() -> None:
    """As far as the digits go that people are shown: of whole numbers all of them."""
    for name in TOOLS:
        rows = [line for line in printed(name, 120).splitlines() if re.match(r"( {2}|active|sessions)", line)]
        heads = [index for index, row in enumerate(rows) if not row.startswith("  ")]
        for first, following in pairwise([*heads, len(rows)]):
            whole, *under = (re.search(r"([+−]?\d+)$", row) for row in rows[first:following])
            if whole and all(under):
                numbers = [int(found[1].replace("−", "-")) for found in under if found]
                assert sum(numbers) == int(whole[1].replace("−", "-"))


if __name__ == "__main__":
    GOLDEN.write_text(golden())
