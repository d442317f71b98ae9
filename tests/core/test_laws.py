"""What must hold between numbers, whatever happened."""

from math import isclose

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.catalogue import BY_NAME
from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.samples import Sample
from tests.core.live import line
from tests.core.oracle_events import EventFields, moment, visits
from tests.core.worlds import World, answers, logins, steps_by_gap, steps_by_id, summaries, worlds
from tests.native import READERS

LENGTHS = ("1d", "7d", "28d", "30d")

everything = worlds(logins, steps_by_id, steps_by_gap, summaries, answers, span_days=40)


def computed(world: World) -> tuple[list[Sample], list[tuple[int, list[Sample]]]]:
    offline = Offline(Rules(days=world.rules.days, windows={"sessions": ("365d",)}), READERS, at_ms=world.clocks[-1])
    list(offline.apply(line(event) for event in world.events))
    found = offline.computed(days=40)
    return found.live, found.closed


def values(samples: list[Sample], name: str, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in samples if sample.name == name}


@given(worlds(logins, summaries, zones=("UTC", "America/New_York"), span_days=40))
def test_dau_is_at_most_wau_at_most_mau_at_most_the_sum_of_dau(world: World) -> None:
    for _, samples in computed(world)[1]:
        users = values(samples, "engagement_active_users_closed", "window")
        user_days = values(samples, "engagement_daily_active_users_summed_closed", "window")

        assert users["1d"] <= users["7d"] <= users["28d"] <= users["30d"]
        assert all(users[window] <= user_days[window] for window in LENGTHS[1:])


@given(everything)
def test_a_longer_live_window_holds_at_least_as_many_users(world: World) -> None:
    users = values(computed(world)[0], "engagement_active_users", "window")

    counts = list(users.values())
    assert list(users) == ["5m", "1h", *LENGTHS]
    assert counts == sorted(counts)


@given(worlds(steps_by_id, steps_by_gap, summaries))
def test_under_ga4_a_session_with_views_bounced_or_was_engaged(world: World) -> None:
    live, _ = computed(world)
    happened = [event for event in world.events if moment(event) <= world.clocks[-1]]
    closed = [v for v in visits(happened, world.rules) if v.closes // 60_000 <= world.clocks[-1] // 60_000 and v.views]
    attention = {visit: visit.duration if visit.engaged is None else visit.engaged for visit in closed}
    engaged = sum(attention[v] >= 10_000 or v.views >= 2 or v.key_events >= 1 for v in closed)

    bounced = values(live, "engagement_bounced_sessions", "rule")
    with_views = values(live, "engagement_sessions_with_views", "window")["365d"]
    assert bounced["ga4"] + engaged == with_views
    assert bounced["ga4"] <= bounced["single_page"] <= with_views


@given(everything)
def test_every_share_lies_between_0_and_1_and_in_its_interval(world: World) -> None:
    live, closed = computed(world)
    for samples in [live, *(samples for _, samples in closed)]:
        found = {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}
        for name, labels in [key for key in found if key[0].endswith("_ratio") and BY_NAME[key[0]].interval]:
            lower, upper = found[f"{name}_lower", labels], found[f"{name}_upper", labels]
            assert 0 <= lower <= upper <= 1
            assert lower - 1e-9 <= found[name, labels] <= upper + 1e-9


# -- closed days ------------------------------------------------------------------------------------------------------

Found = dict[tuple[str, ...], float]

# Each looks at six weeks of days.
few = settings(max_examples=settings().max_examples // 2)


def closed_days_of(
    world: World, *, events: list[EventFields] | None = None, at_ms: int | None = None
) -> dict[int, Found]:
    """The samples of every closed day, where all is known since long before the first event."""
    rules = Rules(days=world.rules.days, cohorts_from=0)
    offline = Offline(rules, READERS, at_ms=world.clocks[-1] if at_ms is None else at_ms)
    list(offline.apply(line(event) for event in (world.events if events is None else events)))
    return {
        day: {(one.name.removeprefix("engagement_"), *one.labels.values()): one.value for one in samples}
        for day, samples in offline.computed(days=200).closed
    }


comings = worlds(logins, steps_by_id, steps_by_gap, zones=("UTC", "America/New_York", "Asia/Kathmandu"), span_days=40)


@few
@given(comings)
def test_lifecycle_states_add_up_to_the_users_of_both_windows(world: World) -> None:
    days = closed_days_of(world)
    for day, found in days.items():
        for window in LENGTHS:
            new, returning, resurrected, dormant = (
                found["lifecycle_users_closed", window, state]
                for state in ("new", "returning", "resurrected", "dormant")
            )
            before = days.get(day - int(window[:-1]), {}).get(("active_users_closed", window), 0)
            assert new + returning + resurrected == found["active_users_closed", window]
            assert returning + dormant == before == found["previous_active_users_closed", window]


@few
@given(comings)
def test_l28_adds_up_to_the_month_and_to_its_days(world: World) -> None:
    for found in closed_days_of(world).values():
        users = [found["l28_users_closed", str(count)] for count in range(1, 29)]

        assert sum(users) == found["active_users_closed", "28d"]
        user_days = sum(count * users_of for count, users_of in enumerate(users, 1))
        assert user_days == found["daily_active_users_summed_closed", "28d"]


@few
@given(comings)
def test_users_new_and_established_are_all_users(world: World) -> None:
    for found in closed_days_of(world).values():
        for window in LENGTHS:
            parts = [found["tenure_active_users_closed", window, tenure] for tenure in ("new", "established")]
            assert sum(parts) == found["active_users_closed", window] == found["user_tenure_users_closed", window]


@few
@given(comings)
def test_who_came_on_the_day_came_on_it_or_later_and_is_of_the_cohort(world: World) -> None:
    for found in closed_days_of(world).values():
        for day in ("1", "3", "7", "14", "30"):
            exact, later = (found["retention_retained_users_closed", day, mode] for mode in ("exact", "on_or_after"))
            assert exact <= later <= found["retention_cohort_users_closed", day]
        for week in map(str, range(1, 9)):
            retained = found["weekly_retention_retained_users_closed", week]
            assert retained <= found["weekly_retention_cohort_users_closed", week]


@few
@given(worlds(steps_by_id, steps_by_gap, summaries))
def test_on_closed_days_too_a_session_with_views_bounced_or_was_engaged(world: World) -> None:
    for found in closed_days_of(world).values():
        for window in LENGTHS:
            ratios = ("bounce_closed_ratio", window, "ga4"), ("engaged_session_closed_ratio", window)
            assert sum(found[key] for key in ratios if key in found) in (0, 1) or isclose(
                sum(found[key] for key in ratios), 1
            )
            parts = found["bounced_sessions_closed", window, "ga4"] + found["engaged_sessions_closed", window]
            assert parts == found["sessions_with_views_closed", window]


@few
@given(worlds(logins, steps_by_id, steps_by_gap, answers, zones=("UTC", "Australia/Lord_Howe"), span_days=6), st.data())
def test_a_closed_day_says_what_the_events_before_its_end_say_alone(world: World, data: st.DataObject) -> None:
    days = closed_days_of(world)
    if days:
        day = data.draw(st.sampled_from(sorted(days)))
        ends_ms = world.rules.days.starts_ms(day + 1)
        before = [event for event in world.events if moment(event) < ends_ms]

        assert closed_days_of(world, events=before, at_ms=world.clocks[-1])[day] == days[day]
