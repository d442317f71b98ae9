"""Events in, gauges out: real processes on both kinds of brokers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.agents.partition_task import QUIET_SECONDS
from stream.core.rejections import Reason
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, parse_iso
from stream.simulate.recording import Recording, ReplayEvent
from stream.simulate.replay import native_event_of, read_events
from tests.integration.deployment import Deployment, StoredRecord, login, simulated
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka
from tests.native import TOPICS

AnyDeploy = Callable[..., Deployment]

_REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def shop() -> list[ReplayEvent]:
    """Half a year of page views of a shop: 600 users, 3,605 sessions (retentioneering 5.2.4, Apache-2.0)."""
    path = str(_REPOSITORY / "tests" / "data" / "ecom.jsonl.gz")
    unusable: list[int] = []
    with Recording() as recording:
        read_events(
            recording,
            [path],
            native_event_of(TOPICS),
            max_message_bytes=1_000_000,
            on_unusable=lambda _, line, __: unusable.append(line),
        )
        assert not unusable
        return list(recording)


def test_a_recorded_shop_shows_the_figures_that_other_programs_found(
    any_deploy: AnyDeploy, shop: list[ReplayEvent]
) -> None:
    deployment = any_deploy(**{"windows.sessions": "1h,1d,7d,28d,30d,365d"})
    server = deployment.start()
    server.wait_until_ready()

    # Noon of the day after: the day has closed, and no other one yet.
    for noon, dau, wau, mau in (("2024-03-02T12:00Z", 10, 65, 172), ("2024-06-16T12:00Z", 37, 200, 468)):
        until_ms = parse_iso(noon)
        assert until_ms is not None
        deployment.send(event for event in shop if event.at_ms <= until_ms)
        shop = [event for event in shop if event.at_ms > until_ms]
        deployment.wait_until_every_gauge_equals_the_recount(server)

        told = server.metrics()
        assert [told[f'engagement_active_users_closed{{window="{days}d"}}'] for days in (1, 7, 30)] == [dau, wau, mau]

    deployment.send(shop)
    # The last session closes half an hour after its last step: somebody must come later than that.
    deployment.send([login("late-bird", shop[-1].at_ms + 31 * MINUTE_MS)])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    told = server.metrics()
    assert told["engagement_open_sessions"] == 0
    assert told['engagement_sessions{window="365d"}'] == told['engagement_sessions_with_views{window="365d"}'] == 3_605
    assert told['engagement_bounced_sessions{rule="single_page",window="365d"}'] == 231
    assert told['engagement_bounce_ratio{rule="single_page",window="365d"}'] == pytest.approx(0.064078, abs=5e-7)
    assert told['engagement_session_duration_mean_seconds{window="365d"}'] == pytest.approx(1_039.5545, abs=5e-5)
    assert told['engagement_page_views_per_session{window="365d"}'] == pytest.approx(8.628571, abs=5e-7)
    assert server.outcomes() == {"applied": 31_107}


def test_what_goes_wrong_on_the_way_spoils_no_number_and_is_all_accounted_for(any_deploy: AnyDeploy) -> None:
    deployment = any_deploy()
    faults = {"duplicate": 0.03, "shuffled": 0.05, "late": 0.03, "misrouted": 0.03, "bot": 0.03, "broken": 0.03}
    events = simulated(users=400, days=14, **faults)
    server = deployment.start()
    server.wait_until_ready()

    deployment.send(events)
    deployment.wait_until_every_gauge_equals_the_recount(server)

    outcomes = server.outcomes()
    assert sum(outcomes.values()) - outcomes["rekeyed"] == len(events)
    # Of the events under a key of nobody, a quarter lies in the right one of four partitions by chance.
    assert 0.5 < outcomes["rekeyed"] / (0.03 * len(events)) < 1
    assert outcomes["duplicate"] > 0.02 * len(events)
    letters = read_dead_letters(deployment, outcomes["invalid"])
    assert len(letters) == outcomes["invalid"] > 0.02 * len(events)


def test_events_out_of_reach_in_time_are_refused_and_kept(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address, allowed_lateness="72h")
    events = simulated(users=100, days=2)  # none of them late, whichever topic is read first
    newest_ms = max(event.at_ms for event in events)
    server = deployment.start()
    server.wait_until_ready()
    deployment.send(events)
    # Now all partitions know the same newest moment, which is what being late is measured by.
    deployment.send(login(user, newest_ms + HOUR_MS) for user in deployment.user_of_each_partition)
    deployment.wait_until_every_gauge_equals_the_recount(server)
    time.sleep(QUIET_SECONDS + 2)  # until then the older newest moment of the other topics holds the watermark back

    on_the_edge, too_late = newest_ms + HOUR_MS - 3 * DAY_MS, newest_ms + HOUR_MS - 3 * DAY_MS - 1
    deployment.send([login("a-little-late", on_the_edge)])
    far_away = parse_iso("2099-01-01T00:00:00Z")
    assert far_away is not None
    deployment.send_refused(Reason.LATE, [login("much-too-late", too_late)])
    deployment.send_refused(Reason.FUTURE, [login("from-the-future", far_away)])
    deployment.wait_until_every_gauge_equals_the_recount(server)

    letters = read_dead_letters(deployment, 2)
    assert sorted(letter.headers["reason"] for letter in letters) == [b"future", b"late"]


def read_dead_letters(deployment: Deployment, at_least: int) -> list[StoredRecord]:
    """All dead letters, each held against the record that it says it comes from."""
    letters = deployment.dead_letters(at_least=at_least)
    produced = deployment.produced()
    for letter in letters:
        origin = produced[letter.origin]
        assert letter.topic == deployment.settings.dead_letter_topic(origin.topic)
        assert (letter.key, letter.value) == (origin.key, origin.value)
        assert Reason(letter.headers["reason"].decode())
        assert int(letter.headers["origin-timestamp"]) > 0
    return letters
