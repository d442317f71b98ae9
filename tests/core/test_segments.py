"""Active users by segment: how labels are read, which event counts, and which values are shown by name."""

from collections import Counter
from functools import reduce
from operator import add
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import segments
from stream.core.partition.partition import Partition
from stream.core.partition.progress import RulesChanged
from stream.core.report import live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import (
    NO_ATTRIBUTES,
    SEGMENTS,
    Attributes,
    AttributeValues,
    attribute_values_of,
    in_order,
    newest_attributes,
)
from stream.core.snapshot import Snapshot
from stream.core.time import DAY_MS, HOUR_MS
from stream.core.windows import SEGMENTS_ACTIVITY
from tests.core.live import Worker, message, with_sums
from tests.core.worlds import World, logins, steps_by_gap, steps_by_id, summaries, worlds
from tests.native import READERS, decode_login, decode_session

NOON_MS = 1_704_110_400_000
NEVER_MS = 1 << 60
NAME = "engagement_segment_active_users"


def login(user: str = "ann", after_ms: int = 0, **labels: object) -> dict[str, Any]:
    return {"topic": "logins", "user_id": user, "event_time": NOON_MS + after_ms, **labels}


def view(user: str = "ann", after_ms: int = 0, **labels: object) -> dict[str, Any]:
    return {"topic": "sessions", "type": "page_view", "user_id": user, "event_time": NOON_MS + after_ms, **labels}


def counted(*events: dict[str, Any], rules: Rules | None = None, after_ms: int = HOUR_MS) -> Partition:
    """A partition that has read these events."""
    worker = Worker(rules or Rules())
    for event in events:
        worker.apply(event["topic"], [message(event)], not_after_ms=NEVER_MS)
    worker.partition.tick(NOON_MS + after_ms, behind=())
    return worker.partition


def users(samples: list[Sample], segment: str, window: str = "1d") -> dict[str, float]:
    """Users of each value."""
    return {
        sample.labels["value"]: sample.value
        for sample in samples
        if sample.name == NAME and sample.labels["segment"] == segment and sample.labels["window"] == window
    }


def platforms(*events: dict[str, Any], **options: Any) -> dict[str, float]:
    return users(live_samples(counted(*events, **options).snapshot(), Rules()), "platform")


# -- what a label means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("web", "web"),
        (" web\t", "web"),
        ("Web", "Web"),  # another one than "web"
        ("zoe\u0308", "zoë"),
        ("x" * 64, "x" * 64),
        ("x" * 65, ""),
        (42, "42"),
        (-1, "-1"),
        (10**64, ""),
        (3.1, ""),  # it may have been 3.10
        (True, ""),
        (None, ""),
        ("", ""),
        ("  ", ""),
        ("unknown", ""),
        ("Unknown", "Unknown"),
        ("other", "other"),
        ("pro\u202e", ""),  # format characters: it would read as another
        ("p\u200bro", ""),
        ("\ufeffpro", ""),
        ("pro\u2028plus", ""),
        ("pro\x00", ""),
        ("pro\u00a0plus", "pro\u00a0plus"),
        ({"os": "ios"}, ""),
        (["web"], ""),
    ],
)
def test_a_label_is_trimmed_text_or_a_whole_number_and_anything_else_is_none(label: object, value: str) -> None:
    for _ in range(2):  # the second time as one that was seen before
        assert attribute_values_of((label, "pro", None, None)) == (value, "pro", "", "")


def test_a_label_is_the_same_whatever_was_seen_before() -> None:
    told = [attribute_values_of((label, None, None, None))[0] for label in (1, True, 1.0, "1", 1, True, 1.0, "1")]

    assert told == ["1", "", "", "1"] * 2


def test_what_is_remembered_of_labels_stays_small() -> None:
    segments.cached_attribute_values.clear()
    for number in range(100):
        attribute_values_of((f"{number}" + "x" * 1_000_000, "pro", None, None))
        attribute_values_of((f"{number}", "pro", None, None))
    assert len(segments.cached_attribute_values) == 100
    assert len(str(segments.cached_attribute_values)) < 20_000

    for number in range(segments._MAX_CACHED):
        attribute_values_of((None, None, None, f"{number}"))
    assert len(segments.cached_attribute_values) <= segments._MAX_CACHED
    assert attribute_values_of((None, None, None, None)) is NO_ATTRIBUTES


def test_labels_that_are_none_cost_no_event() -> None:
    told = {"user_id": "ann", "event_time": NOON_MS, "platform": {"a": [1]}, "plan": 3.5, "country": False}
    summary = {"type": "summary", "session_id": "s", "started_at": NOON_MS, "ended_at": NOON_MS, "page_views": 1}

    for event in (
        decode_login(msgspec.json.encode(told)),
        decode_session(msgspec.json.encode({**told, "type": "start"})),
        decode_session(msgspec.json.encode({**told, **summary})),
    ):
        assert event.segments is NO_ATTRIBUTES


def test_each_kind_of_activity_tells() -> None:
    told = {"user_id": "ann", "event_time": NOON_MS, "platform": "web", "app_version": 42, "country": "DE", "plan": "p"}
    summary = {"type": "summary", "session_id": "s", "started_at": NOON_MS, "ended_at": NOON_MS, "page_views": 1}

    for event in (
        decode_login(msgspec.json.encode(told)),
        decode_session(msgspec.json.encode({**told, "type": "heartbeat"})),
        decode_session(msgspec.json.encode({**told, **summary})),
    ):
        assert event.segments == ("web", "p", "DE", "42")


# -- which event tells -------------------------------------------------------------------------------------------------


def test_a_user_counts_under_the_value_of_the_newest_event_in_whatever_order_they_come() -> None:
    web, ios = login(platform="web"), view(after_ms=1, platform="ios")

    assert platforms(web, ios) == platforms(ios, web) == {"ios": 1}


def test_of_equal_times_the_greatest_value_counts_also_when_it_is_the_same_event() -> None:
    web, ios = login(platform="web"), login(platform="ios")

    assert platforms(web, ios) == platforms(ios, web) == {"web": 1}


def test_an_event_that_tells_no_value_leaves_it_as_it_was() -> None:
    assert platforms(login(platform="web"), view(after_ms=1), login(after_ms=2, platform="unknown")) == {"web": 1}


@pytest.mark.parametrize("same", [True, False], ids=["the same login told otherwise", "another login of that minute"])
def test_a_value_that_changes_within_the_minute_moves_the_user_also_once_it_was_counted(same: bool) -> None:
    partition = counted(login(platform="ios"))
    assert users(live_samples(partition.snapshot(), Rules()), "platform") == {"ios": 1}

    later = message(login(after_ms=0 if same else 1, platform="web"))
    batch = partition.read("logins", [later], READERS["logins"], not_after_ms=NEVER_MS)
    partition.apply(batch, {})
    assert users(live_samples(partition.snapshot(), Rules()), "platform") == {"web": 1}


def test_each_segment_is_told_for_itself() -> None:
    events = login(platform="web", plan="pro"), login(after_ms=2, platform="ios"), login(after_ms=1, plan="free")
    for order in (events, events[::-1]):
        samples = live_samples(counted(*order).snapshot(), Rules())

        assert users(samples, "platform") == {"ios": 1}
        assert users(samples, "plan") == {"free": 1}
        assert users(samples, "country") == {"unknown": 1}


def test_what_makes_nobody_active_tells_nothing() -> None:
    failed = login(after_ms=1, success=False, platform="ios")
    idle = view(after_ms=2, interactive=False, platform="android")
    answer = {**login(after_ms=3, platform="tv"), "topic": "surveys", "kind": "nps", "response_id": "r", "score": 9}
    crawler = view(after_ms=4, is_bot=True, platform="bot")

    assert platforms(login(platform="web"), failed, idle, answer, crawler) == {"web": 1}
    assert platforms(failed, idle, answer, crawler) == {}


def test_a_user_of_whom_nothing_was_told_is_unknown() -> None:
    assert platforms(login("ann"), login("bob", platform="web"), login("cat")) == {"web": 1, "unknown": 2}


def test_a_value_called_other_counts_as_other_and_one_called_unknown_is_none() -> None:
    told = [login("ann", platform="other"), login("bob", platform="unknown"), login("cat", platform="Other")]

    assert platforms(*told) == {"Other": 1, "other": 1, "unknown": 1}


def test_a_value_that_nobody_has_any_more_is_absent_and_0_where_only_a_shorter_window_lacks_it() -> None:
    samples = live_samples(counted(login(platform="web"), login(after_ms=1, platform="ios")).snapshot(), Rules())
    assert users(samples, "platform", "7d") == {"ios": 1}

    told = [login(platform="web"), login("bob", 2 * DAY_MS, platform="ios")]
    samples = live_samples(counted(*told, after_ms=2 * DAY_MS).snapshot(), Rules())
    assert users(samples, "platform", "1d") == {"ios": 1, "web": 0}
    assert users(samples, "platform", "7d") == {"ios": 1, "web": 1}


MOMENTS = st.integers(0, 3)
TOLD: st.SearchStrategy[AttributeValues] = st.tuples(*(st.sampled_from(("", "a", "b")) for _ in SEGMENTS))


@given(st.lists(st.tuples(TOLD, MOMENTS), max_size=6), st.randoms(use_true_random=False))
def test_what_is_known_depends_on_no_order_and_on_no_repetition(
    events: list[tuple[AttributeValues, int]], random: Any
) -> None:
    def known(told: list[tuple[AttributeValues, int]]) -> Attributes | None:
        before = None
        for values, at_ms in told:
            before = newest_attributes(before, values if any(values) else NO_ATTRIBUTES, at_ms)
        return before

    again = [*events, *random.choices(events, k=2)] if events else []
    random.shuffle(again)

    assert known(events) == known(again)
    for place, value in enumerate((known(events) or Attributes(0, NO_ATTRIBUTES)).values):
        newest = max(((at_ms, values[place]) for values, at_ms in events if values[place]), default=(0, ""))
        assert value == newest[1]


@given(worlds(logins, steps_by_id, steps_by_gap, summaries))
def test_the_values_of_each_segment_add_up_to_the_active_users(world: World) -> None:
    partition = Partition(world.rules)
    for arrival in world.arrivals:
        topic = arrival.event["topic"]
        batch = partition.read(topic, [message(arrival.event)], READERS[topic], not_after_ms=NEVER_MS)
        partition.apply(batch, dict.fromkeys(partition.keys_to_fetch(batch, {})))
        partition.tick(arrival.at_ms, behind=())
        samples = live_samples(partition.snapshot(), world.rules)
        active = {one.labels["window"]: one.value for one in samples if one.name == "engagement_active_users"}
        told = world.rules.windows_of(SEGMENTS_ACTIVITY)
        for segment in world.rules.segments:
            for window, expected in active.items():
                if window in told:
                    assert sum(users(samples, segment, window).values()) == expected


# -- which values have a name ------------------------------------------------------------------------------------------


def crowd(of_value: dict[str, int], *, first: int = 0) -> list[dict[str, Any]]:
    told = [value for value, count in of_value.items() for _ in range(count)]
    return [login(f"u{number}", platform=value) for number, value in enumerate(told, start=first)]


def test_the_20_values_with_the_most_users_over_all_partitions_have_a_name() -> None:
    # A value with few users in each partition may have many in all of them, and the largest one of a partition may be
    # small
    # in the sum.
    here = {f"v{number:02}": 3 for number in range(20)} | {"everywhere": 2}
    there = {f"w{number:02}": 3 for number in range(5)} | {"everywhere": 2}
    one, other = counted(*crowd(here)).snapshot(), counted(*crowd(there)).snapshot()

    found = users(live_samples(one + other, Rules()), "platform")
    names = sorted([*here, *there])
    assert found == {"everywhere": 4, **dict.fromkeys(sorted({*names} - {"everywhere"})[:19], 3), "other": 6 * 3}


def test_ties_go_by_name_and_exactly_20_need_no_other() -> None:
    of_value = {f"v{number:02}": 1 for number in range(20)}
    assert platforms(*crowd(of_value)) == of_value

    more = platforms(*crowd({"u": 1, **of_value}))
    assert more == {"u": 1, **{f"v{number:02}": 1 for number in range(19)}, "other": 1}


def test_what_is_called_other_takes_no_place_of_a_value_with_a_name() -> None:
    of_value = {f"v{number:02}": 1 for number in range(21)}

    found = platforms(*crowd({"other": 3, **of_value}))
    assert found == {**dict.fromkeys(list(of_value)[:20], 1), "other": 4}


def test_a_report_stays_small_whatever_producers_send() -> None:
    many = {f"v{number:04}": 1 for number in range(990)} | {"web": 2}
    snapshot = counted(*crowd(many)).snapshot()

    told = snapshot.families["activity"].segments[1_440]
    assert len(told) == 201
    assert told["Auweb"] == 2
    assert told["Auother"] == 791
    assert len(msgspec.msgpack.encode(snapshot)) < 20_000


@given(
    st.lists(st.dictionaries(st.sampled_from([f"v{n}" for n in range(30)] + ["other"]), st.integers(1, 3)), max_size=3)
)
def test_values_by_name_agree_with_counting_all_users_by_hand(partitions: list[dict[str, int]]) -> None:
    snapshots = [counted(*crowd(of_value)).snapshot() for of_value in partitions]
    found = users(live_samples(reduce(add, snapshots, Snapshot()), Rules()), "platform")

    total: Counter[str] = sum(map(Counter, partitions), Counter())
    named = sorted(total.keys() - {"other"}, key=lambda value: (-total[value], value))[:20]
    assert {value: count for value, count in found.items() if value != "other"} == {v: total[v] for v in named}
    assert found.get("other", 0) == total.total() - sum(total[value] for value in named)


def test_sums_of_which_a_part_is_larger_than_the_whole_are_refused() -> None:
    snapshot = counted(login(platform="web")).snapshot()
    impossible = with_sums(snapshot, "activity", segments={1_440: {"Auweb": 2}, 43_200: {"Auweb": 2}})

    with pytest.raises(ValueError, match="the values of platform in activity are 1 more than there are"):
        live_samples(impossible, Rules())


# -- settings and stored state -----------------------------------------------------------------------------------------


def test_only_the_segments_that_are_listed_are_counted_and_kept() -> None:
    rules = Rules(segments=("plan",))
    worker = Worker(rules)
    worker.apply("logins", [message(login(platform="web", plan="pro", country="DE"))], not_after_ms=NEVER_MS)
    worker.partition.tick(NOON_MS, behind=())
    worker.checkpoint()

    samples = live_samples(worker.partition.snapshot(), rules)
    assert {one.labels["segment"] for one in samples if one.name == NAME} == {"plan"}
    assert users(samples, "plan") == {"pro": 1}
    assert b"DE" not in worker.store[b"user/ann"]
    assert b"web" not in worker.store[b"user/ann"]


def test_without_segments_nothing_is_counted_apart() -> None:
    rules = Rules(segments=())
    snapshot = counted(login(platform="web"), rules=rules).snapshot()

    assert [one for one in live_samples(snapshot, rules) if one.name == NAME] == []


def test_the_order_in_which_segments_are_listed_does_not_matter() -> None:
    assert in_order(reversed(SEGMENTS)) is SEGMENTS
    assert in_order(("plan", "platform")) == ("platform", "plan")


def test_state_built_under_other_segments_is_refused_and_state_from_before_them_is_not() -> None:
    worker = Worker(Rules())
    worker.checkpoint()
    with pytest.raises(
        RulesChanged, match=r"segments is none, the state was built with platform,plan,country,app_version of activity,"
    ):
        Partition(Rules(segments=())).restore(worker.store.pages)

    del worker.partition.progress.rules["segments"]
    worker.store[b"progress"] = msgspec.msgpack.encode(worker.partition.progress)
    Partition(Rules()).restore(worker.store.pages)
