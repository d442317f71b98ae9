"""What must hold between numbers, whatever happened."""

from hypothesis import given

from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.samples import Sample
from tests.core.live import line
from tests.core.oracle_events import moment, visits
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
        for name, labels in [key for key in found if key[0].endswith("_ratio")]:
            lower, upper = found[f"{name}_lower", labels], found[f"{name}_upper", labels]
            assert 0 <= lower <= upper <= 1
            assert lower - 1e-9 <= found[name, labels] <= upper + 1e-9
