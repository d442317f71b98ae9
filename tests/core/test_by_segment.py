"""Numbers by segment: under which value sessions, answers and users of closed days count, and that values are all."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.offline import Offline
from stream.core.partition.partition import Partition
from stream.core.report import closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.segments import Apart
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS
from tests.core.live import Stream, Worker, line, message
from tests.core.oracle_events import EventFields
from tests.core.worlds import World, answers, logins, steps_by_gap, steps_by_id, summaries, worlds
from tests.native import READERS

MIDNIGHT_MS = 1_704_067_200_000
FIRST = MIDNIGHT_MS // DAY_MS
NEVER_MS = 1 << 60


def view(user: str = "ann", day: float = 0.5, after_ms: int = 0, **told: object) -> dict[str, Any]:
    at_ms = MIDNIGHT_MS + int(day * DAY_MS) + after_ms
    return {"topic": "sessions", "type": "page_view", "session_id": "s", "user_id": user, "event_time": at_ms, **told}


def login(user: str = "ann", day: float = 0.5, after_ms: int = 0, **told: object) -> dict[str, Any]:
    return {"topic": "logins", "user_id": user, "event_time": MIDNIGHT_MS + int(day * DAY_MS) + after_ms, **told}


def answer(user: str = "ann", day: float = 0.5, score: int = 10, **told: object) -> dict[str, Any]:
    own = {"topic": "surveys", "kind": "nps", "response_id": f"{user}-{day}", "score": score}
    return {**login(user, day), **own, **told}


def read(*events: dict[str, Any], day: float, rules: Rules | None = None) -> Partition:
    """A partition that has read these events when the clock shows that day."""
    worker = Worker(rules or Rules(allowed_lateness_ms=30 * DAY_MS))
    for event in events:
        worker.apply(event["topic"], [message(event)], not_after_ms=NEVER_MS)
        worker.restart()
    worker.partition.tick(MIDNIGHT_MS + int(day * DAY_MS), behind=())
    return worker.partition


def live(name: str, segment: str, window: str, *events: dict[str, Any], day: float = 1.2) -> dict[str, float]:
    """A number by value, a day and some hours later."""
    return of(live_samples(read(*events, day=day).snapshot(), Rules()), name, segment, window)


def closed(name: str, segment: str, window: str, partition: Partition, day: int) -> dict[str, float]:
    """The same of a closed day, counted from the first."""
    samples = closed_samples(partition.snapshot(closed_days=40), partition.rules, FIRST + day)
    return of(samples, name, segment, window)


def of(samples: Iterable[Sample], name: str, segment: str, window: str, **labels: str) -> dict[str, float]:
    wanted = {"segment": segment, "window": window, **labels}
    return {
        one.labels["value"]: one.value
        for one in samples
        if one.name == f"engagement_segment_{name}" and wanted.items() <= one.labels.items()
    }


# -- active users ------------------------------------------------------------------------------------------------------


def test_what_an_account_told_on_a_later_day_does_not_count_on_an_active_day_that_is_read_after_it() -> None:
    joined = {**login(day=3.5), "topic": "accounts", "type": "newsletter_joined", "country": "DE"}
    partition = read(joined, view(day=0.5), day=6)

    assert closed("active_users_closed", "country", "7d", partition, 2)["unknown"] == 1
    assert closed("active_users_closed", "country", "7d", partition, 2).get("DE", 0) == 0
    assert closed("active_users_closed", "country", "7d", partition, 3) == {"DE": 1}


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_a_session_counts_under_the_newest_value_of_its_own_steps_in_whatever_order_they_come() -> None:
    steps = (
        view(platform="web", plan="free"),
        view(after_ms=2 * MINUTE_MS, platform="ios"),
        view(after_ms=MINUTE_MS, platform="android", plan="pro"),
        view(after_ms=3 * MINUTE_MS),
    )
    for order in permutations(steps):
        assert live("sessions", "platform", "1d", *order) == {"ios": 1}
        assert live("sessions", "plan", "1d", *order) == {"pro": 1}
        assert live("sessions", "country", "1d", *order) == {"unknown": 1}


def test_no_other_event_moves_a_session() -> None:
    others = (
        login(after_ms=MINUTE_MS, platform="ios"),
        view(after_ms=MINUTE_MS, session_id="t", platform="android"),
        view(after_ms=MINUTE_MS, interactive=False, platform="tv"),
        view(after_ms=MINUTE_MS, in_session=False, platform="watch"),
        view(after_ms=MINUTE_MS, type="end", platform="car"),
        answer(platform="mail"),
    )

    assert live("sessions", "platform", "1d", view(platform="web"), *others) == {"web": 1, "android": 1}
    assert live("sessions", "platform", "1d", *others, view(platform="web")) == {"web": 1, "android": 1}


def test_of_two_steps_of_one_moment_and_of_one_sent_twice_the_greater_value_counts() -> None:
    same = view(platform="ios"), view(platform="web")
    another = view(platform="ios", key_event=True), view(platform="web")
    for steps in (same, another):
        for order in permutations((*steps, view(after_ms=-MINUTE_MS, platform="zzz"))):
            partition = read(*order, day=1.2)
            samples = live_samples(partition.snapshot(), Rules())

            assert of(samples, "sessions", "platform", "1d") == {"web": 1}
            (steps_counted,) = (
                one.value for one in samples if (one.name, one.labels) == ("engagement_steps", {"window": "1d"})
            )
            assert steps_counted == (2 if steps is same else 3)


def test_a_summary_tells_the_value_of_its_session() -> None:
    at = MIDNIGHT_MS + DAY_MS // 2
    told: dict[str, Any] = {
        "type": "summary",
        "started_at": at,
        "ended_at": at + MINUTE_MS,
        "page_views": 1,
        "revision": 1,
    }
    summary = view(**told, platform="ios")
    revised = view(**{**told, "revision": 2}, platform="web")
    steps = view(platform="android"), view(after_ms=MINUTE_MS, platform="android")

    for order in permutations((summary, revised, *steps)):
        assert live("sessions", "platform", "1d", *order) == {"web": 1}


def test_of_two_summaries_that_differ_in_values_alone_the_greater_counts_by_the_segments_that_are_counted() -> None:
    at = MIDNIGHT_MS + DAY_MS // 2
    told: dict[str, Any] = {"type": "summary", "started_at": at, "ended_at": at, "page_views": 1, "revision": 1}
    both = view(**told, platform="web", plan="free"), view(**told, platform="ios", plan="pro")
    for segments, plan in ((("platform", "plan"), "free"), (("plan",), "pro")):
        rules = Rules(segments=segments)
        for order in permutations(both):
            samples = live_samples(read(*order, day=0.6, rules=rules).snapshot(), rules)
            assert of(samples, "sessions", "plan", "1d") == {plan: 1}


def test_the_numbers_of_a_value_are_those_of_its_sessions() -> None:
    engaged = view("ann", platform="web"), view("ann", after_ms=20_000, platform="web")
    bounced = view("bob", platform="web")
    without_view = view("cat", type="heartbeat", platform="web")
    other = view("dan", platform="ios"), view("dan", type="heartbeat", after_ms=60_000)
    partition = read(*engaged, bounced, without_view, *other, day=1.2)

    for samples, middle in (
        (live_samples(partition.snapshot(), Rules()), ""),
        (closed_samples(partition.snapshot(), Rules(), FIRST), "_closed"),
    ):
        assert of(samples, f"sessions{middle}", "platform", "1d") == {"web": 3, "ios": 1}
        assert of(samples, f"session_time{middle}_seconds", "platform", "1d") == {"web": 20, "ios": 60}
        means = of(samples, f"session_duration_mean{middle}_seconds", "platform", "1d")
        assert means == {"web": pytest.approx(20 / 3), "ios": 60}
        ga4, single_page = (
            of(samples, f"bounce{middle}_ratio", "platform", "1d", rule=rule) for rule in ("ga4", "single_page")
        )
        assert (ga4, single_page) == ({"web": 0.5, "ios": 0}, {"web": 0.5, "ios": 1})
        assert of(samples, f"bounced_sessions{middle}", "platform", "1d", rule="single_page") == {"web": 1, "ios": 1}
        assert of(samples, f"sessions_with_views{middle}", "platform", "1d") == {"web": 2, "ios": 1}
        assert of(samples, f"bounce{middle}_ratio_upper", "platform", "1d", rule="ga4")["web"] < 1


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_counts_under_what_its_own_message_told() -> None:
    events = (
        view(platform="ios"),
        answer("ann", score=9, platform="web"),
        answer("bob", score=0, platform="web"),
        answer("cat", score=9),
    )
    partition = read(*events, day=1.2)
    samples = live_samples(partition.snapshot(), Rules())

    assert of(samples, "nps", "platform", "30d") == {"web": 0, "unknown": 100}
    assert of(samples, "nps_answers", "platform", "30d", group="promoter") == {"web": 1, "unknown": 1}
    assert closed("nps_closed", "platform", "30d", partition, 0) == {"web": 0, "unknown": 100}


def test_the_newest_answer_of_a_user_is_chosen_first_and_put_under_its_value_then() -> None:
    one, later = answer(day=0.5, score=0, platform="web"), answer(day=0.6, score=10, platform="ios")

    for order in ((one, later), (later, one)):
        assert live("nps", "platform", "30d", *order) == {"ios": 100}
    partition = read(one, answer(day=1.5, score=10, platform="ios"), day=2.2)
    assert closed("nps_closed", "platform", "30d", partition, 0) == {"web": -100}
    assert closed("nps_closed", "platform", "30d", partition, 1) == {"ios": 100}


def test_satisfied_answers_are_a_share_of_those_of_their_value() -> None:
    told: dict[str, Any] = {"kind": "csat", "platform": "web"}
    events = answer("ann", score=5, **told), answer("bob", score=3, **told), answer("cat", score=5, kind="csat")

    assert live("csat_ratio", "platform", "30d", *events) == {"web": 0.5, "unknown": 1}
    assert live("csat_answers", "platform", "30d", *events) == {"web": 2, "unknown": 1}


# -- closed days of users ----------------------------------------------------------------------------------------------


def test_on_a_closed_day_a_user_counts_under_the_value_told_up_to_its_end() -> None:
    days = login(day=0.5, platform="web"), login(day=2.5, platform="ios"), login(day=4.5)
    for order in permutations(days):
        partition = read(*order, day=6.1)

        told = [closed("active_users_closed", "platform", "7d", partition, day) for day in range(6)]
        assert told == [{"web": 1}] * 2 + [{"ios": 1}] * 4
        assert closed("active_users_closed", "platform", "1d", partition, 3) == {"ios": 0}
        assert closed("active_users_closed", "platform", "1d", partition, 4) == {"ios": 1}
        assert closed("stickiness_closed_ratio", "platform", "7d", partition, 4) == {"ios": 1}
        assert closed("stickiness_closed_ratio", "platform", "7d", partition, 5) == {"ios": 0}


def test_a_late_event_tells_its_own_day_and_those_until_another_value_was_told() -> None:
    told = login(day=0.5, platform="web"), login(day=3.5, platform="web"), login(day=1.5, platform="ios")
    for order in permutations(told):
        partition = read(*order, day=5.1)

        days = [closed("active_users_closed", "platform", "7d", partition, day) for day in range(5)]
        assert days == [{"web": 1}, {"ios": 1}, {"ios": 1}, {"web": 1}, {"web": 1}]


def test_what_is_told_on_an_active_day_counts_on_it_though_the_next_day_is_read_before_the_totals_are_needed() -> None:
    worker = Worker(Rules())
    for events in ([login(day=0.1)], [login(day=0.5, platform="web"), login(day=1.5)]):
        worker.apply("logins", [message(event) for event in events], not_after_ms=NEVER_MS)
        worker.partition.tick(events[-1]["event_time"], behind=())
        worker.partition.snapshot()
    worker.partition.tick(MIDNIGHT_MS + 3 * DAY_MS, behind=())

    for day in (0, 1):
        assert closed("active_users_closed", "platform", "1d", worker.partition, day) == {"web": 1}


# What happens to one user: on which half day, what it tells, whether an account tells it, and whether the totals are
# needed after it.
_told = st.tuples(st.integers(0, 9), st.sampled_from(("", "", "web", "ios")), st.booleans(), st.booleans())


@settings(max_examples=4 * settings().max_examples)
@given(st.lists(_told, min_size=2, max_size=6), st.booleans())
def test_whatever_is_read_between_two_snapshots_closed_days_say_what_was_told_up_to_their_end(
    told: list[tuple[int, str, bool, bool]], is_in_order: bool
) -> None:
    stream, events = Stream(Rules(allowed_lateness_ms=30 * DAY_MS)), list[EventFields]()
    for number, (half, value, is_account, is_needed) in enumerate(sorted(told) if is_in_order else told):
        label = {"platform": value} if value else {}
        own = {"topic": "accounts", "type": "newsletter_joined"} if is_account else {}
        events.append({**login(day=half / 2 + 0.1, after_ms=number), **label, **own})
        stream.apply(events[-1]["topic"], [events[-1]], not_after_ms=NEVER_MS)
        stream.tick(max(event["event_time"] for event in events))
        if is_needed:
            stream.snapshot()
    at_ms = MIDNIGHT_MS + 6 * DAY_MS
    stream.tick(at_ms)
    stream.agrees_with_recount(events, at_ms, days_back=5)


def test_what_late_events_told_is_known_as_long_as_they_are_applied_and_no_longer() -> None:
    worker = Worker(Rules(allowed_lateness_ms=2 * DAY_MS))
    for day in range(30):
        event = login(day=day + 0.5, platform="web" if day % 2 else "ios")
        worker.apply("logins", [message(event)], not_after_ms=NEVER_MS)
        worker.partition.tick(event["event_time"] + HOUR_MS, behind=())
        worker.restart()
    (part,) = (worker.partition.families[0].decode(raw) for raw in _parts(worker))

    assert [(told.at_ms - MIDNIGHT_MS) // DAY_MS for told in part.earlier_attributes] == [26, 27, 28]


def _parts(worker: Worker) -> Iterable[Any]:
    for value in (value for key, value in worker.store.items() if key.startswith(b"user/")):
        yield msgspec.msgpack.decode(value, type=dict[int, msgspec.Raw])[1]


# -- the values are all of it ------------------------------------------------------------------------------------------

# Counts of things that have one value each, with the labels that are not of the segment.
COUNTS = (
    "active_users",
    "sessions",
    "session_time_seconds",
    "sessions_with_views",
    "bounced_sessions",
    "csat_answers",
    "csat_satisfied",
    "nps_answers",
)
everything = worlds(logins, steps_by_id, steps_by_gap, summaries, answers, zones=("UTC", "America/New_York"))


def add_up(samples: list[Sample], middle: str) -> None:
    whole = {(one.name, tuple(sorted(one.labels.items()))): one.value for one in samples}
    parts: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for one in samples:
        if "segment" in one.labels:
            rest = {name: value for name, value in one.labels.items() if name not in ("segment", "value")}
            name = one.name.replace("engagement_segment_", "engagement_")
            told = name, one.labels["segment"], tuple(sorted(rest.items()))
            parts[told] = parts.get(told, 0) + one.value
    names = {f"engagement_{name.replace('_seconds', '')}{middle}{'_seconds' * ('_seconds' in name)}" for name in COUNTS}
    for (name, segment, labels), total in parts.items():
        if name in names:
            assert total == pytest.approx(whole[name, labels]), (name, segment, labels)


@settings(max_examples=min(40, settings().max_examples))
@given(everything)
def test_the_values_of_each_segment_add_up_to_the_whole_live_and_on_closed_days(world: World) -> None:
    offline = Offline(world.rules, READERS, at_ms=world.clocks[-1])
    list(offline.apply(line(told) for told in world.events))
    computed = offline.computed(days=40)

    add_up(computed.live, "")
    for _, samples in computed.closed:
        add_up(samples, "_closed")


# -- what is counted and told ------------------------------------------------------------------------------------------


def test_only_those_metrics_are_counted_by_segment_that_are_listed_with_what_they_are_made_of() -> None:
    rules = Rules(segment_metrics=("stickiness_ratio", "csat_ratio"))
    events = view(platform="web"), answer(kind="csat", score=5, platform="web")
    partition = read(*events, day=1.2, rules=rules)

    for samples, middle in (
        (live_samples(partition.snapshot(), rules), ""),
        (closed_samples(partition.snapshot(), rules, FIRST), "_closed"),
    ):
        names = {one.name.removeprefix("engagement_segment_") for one in samples if "segment" in one.labels}
        assert names == {
            f"active_users{middle}",
            *(f"{share}{middle}_ratio{end}" for share in ("stickiness", "csat") for end in ("", "_lower", "_upper")),
            f"csat_satisfied{middle}",
            f"csat_answers{middle}",
        }
    assert not [key for key, value in _pages(partition) if key.startswith(b"ring/sessions/") and b"web" in value]
    some = read(*events, day=1.2, rules=Rules(segment_metrics=("sessions",)))
    assert not [key for key, value in _pages(some) if key.startswith(b"ring/activity/") and b"web" in value]


def _pages(partition: Partition) -> list[tuple[bytes, bytes]]:
    return [(key, value) for key, value in partition.collect_delta() if value is not None]


def test_values_that_are_listed_have_a_name_and_all_others_are_other() -> None:
    rules = Rules(named_values={"platform": ("tv", "web")})
    events = [login(f"u{place}", platform=value) for place, value in enumerate(("ios", "ios", "web", "car"))]
    samples = live_samples(read(*events, day=1.2, rules=rules).snapshot(), rules)

    assert of(samples, "active_users", "platform", "7d") == {"web": 1, "other": 3}


def test_a_partition_keeps_so_many_values_apart_and_what_comes_beyond_is_other_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Apart.__init__, "__defaults__", (5,))
    worker = Worker(Rules(allowed_lateness_ms=DAY_MS))
    many = [login(f"u{place}", app_version=f"v{place}") for place in range(8)]
    for event in (*many, view("u7", app_version="v7"), view("u0", app_version="v0", plan="pro")):
        worker.apply(event["topic"], [message(event)], not_after_ms=NEVER_MS)

    def told() -> tuple[int, int, dict[str, float]]:
        worker.partition.tick(max(worker.partition.progress.now_ms, MIDNIGHT_MS + DAY_MS), behind=())
        snapshot = worker.partition.snapshot()
        users = of(live_samples(snapshot, Rules()), "active_users", "app_version", "30d")
        return snapshot.rows["value"], snapshot.values_beyond, users

    five = {f"v{place}": 1 for place in range(5)}
    assert told() == (6, 3, {**five, "other": 3})
    worker.forget()
    assert b"v7" not in worker.store[b"user/u7"]
    worker.restart()
    assert told() == (6, 3, {**five, "other": 3})
    worker.apply("logins", [message(login("u1", day=1.5, app_version="v7"))], not_after_ms=NEVER_MS)
    assert told()[:2] == (6, 4)

    # When no closed day reaches back to them any more there is room again.
    for day in (105.5, 106.5):
        worker.apply("logins", [message(login("u2", day=day, app_version=f"w{day}"))], not_after_ms=NEVER_MS)
        worker.partition.tick(MIDNIGHT_MS + int(day * DAY_MS), behind=())
        worker.partition.update_totals()
        for _ in range(40):
            worker.partition.close_days()
        worker.checkpoint()
    worker.apply("logins", [message(login("u3", day=106.4, app_version="v7"))], not_after_ms=NEVER_MS)
    assert told()[0] < 5
    assert told()[2]["v7"] == 1


def test_the_same_values_have_a_name_in_all_numbers_of_a_segment() -> None:
    events = [login(f"u{place}", platform=f"p{place:02}") for place in range(25)]
    events += [login(f"v{place}", platform=f"p{place:02}") for place in range(5, 25)]
    sessions = [view(f"u{place}", platform=f"p{place:02}") for place in range(25)]
    samples = live_samples(read(*events, *sessions, day=1.2).snapshot(), Rules())

    named = {f"p{place:02}" for place in range(5, 25)}
    assert set(of(samples, "active_users", "platform", "1d")) == {*named, "other"}
    assert of(samples, "sessions", "platform", "1d") == {**dict.fromkeys(named, 1), "other": 5}


def test_a_closed_day_takes_its_names_from_its_own_month() -> None:
    before = [login(f"u{place}", day=0.5, platform=f"old{place:02}") for place in range(20)]
    after = [login(f"v{place}", day=40.5, platform=f"new{place:02}") for place in range(20)]
    after += [login(f"w{place}", day=40.5, platform=f"new{place:02}") for place in range(20)]
    partition = read(*before, *after, day=41.2, rules=Rules(allowed_lateness_ms=90 * DAY_MS))

    assert set(closed("active_users_closed", "platform", "30d", partition, 5)) == {f"old{n:02}" for n in range(20)}
    assert set(closed("active_users_closed", "platform", "30d", partition, 40)) == {f"new{n:02}" for n in range(20)}
