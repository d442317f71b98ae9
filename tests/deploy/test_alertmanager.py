"""Who is told of which alert, and which alert waits for which: the shipped configuration, in a real Alertmanager."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import promtool
from tests.deploy.monitoring import Alertmanager
from tests.deploy.rules import alerts

LABELS = {alert.name: {"alertname": alert.name, "job": "engagement", **alert.labels} for alert in alerts()}
# The slow alert waits for the fast one, which is tested apart.
BUSINESS = sorted(
    name for name, labels in LABELS.items() if labels["layer"] == "business" and name != "EngagementStickinessErosion"
)
# By input: what is made of its events.
MADE_OF = {
    "surveys": {"EngagementCsatDrop", "EngagementNpsDrop", "EngagementHealthAtRisk"},
    "accounts": {"EngagementCustomerChurnRise", "EngagementOnboardingDrop", "EngagementHealthAtRisk"},
    "orders": {"EngagementRevenuePerUserDrop"},
    "contacts": {"EngagementFirstReplySlow", "EngagementWaitingLong", "EngagementHealthAtRisk"},
    "features": {"EngagementAdoptionDrop", "EngagementHealthAtRisk"},
    "reviews": {"EngagementReviewsTurning"},
}
# What concerns everything, and so spoils every number.
PIPELINE = (
    "EngagementTargetMissing",
    "EngagementNoNumbers",
    "EngagementNoEvents",
    "EngagementPartitionsUnowned",
    "EngagementRebalancing",
    "EngagementStreamBehind",
    "EngagementRecoverySlow",
    "EngagementStoreUnavailable",
)
OF_A_TOPIC = (
    "EngagementEventTimeStale",
    "EngagementDeadLettersRising",
    "EngagementTransactionOpen",
    "EngagementTopicUnread",
)


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    """One that knows of no alert. Nobody is told anything: its addresses are the examples."""
    started = Alertmanager(promtool.ALERTMANAGER_CONFIG, tmp_path / "alertmanager")
    started.start()
    yield started
    started.stop()


def held_back(alertmanager: Alertmanager, expected: set[str]) -> bool:
    """Whether exactly these alerts wait for others. Alertmanager finds out a moment after it was told of them."""
    alertmanager.wait_until(lambda: alertmanager.held_back() == expected, f"held back: {expected}")
    time.sleep(0.3)
    return alertmanager.held_back() == expected


def test_amtool_accepts_the_configuration() -> None:
    status, said = promtool.run("amtool", "check-config", promtool.ALERTMANAGER_CONFIG)

    assert status == 0, said


@pytest.mark.parametrize("name", sorted(LABELS))
def test_alerts_go_to_those_who_care_by_severity(name: str) -> None:
    labels = [f"{label}={value}" for label, value in LABELS[name].items()]
    status, said = promtool.run(
        "amtool", "config", "routes", "test", f"--config.file={promtool.ALERTMANAGER_CONFIG}", *labels
    )

    receivers = {"critical": "on-call", "warning": "team", "info": "journal"}
    expected = "heartbeat" if name == "EngagementWatchdog" else receivers[LABELS[name]["severity"]]
    assert (status, said.splitlines()[0]) == (0, expected)  # a warning may follow


def test_no_address_in_it_is_that_of_anybody() -> None:
    hosts = re.findall(r"https?://([^/\s]+)", promtool.ALERTMANAGER_CONFIG.read_text())

    assert set(hosts) == {"webhook.invalid"}


@pytest.mark.parametrize("source", PIPELINE)
def test_no_number_is_told_while_the_pipeline_that_makes_it_has_an_alert(
    alertmanager: Alertmanager, source: str
) -> None:
    alertmanager.tell(LABELS[source], *(LABELS[name] for name in BUSINESS))

    assert held_back(alertmanager, set(BUSINESS))


def test_a_wrong_clock_holds_no_number_back_because_it_changes_none(alertmanager: Alertmanager) -> None:
    alertmanager.tell(LABELS["EngagementClockWrong"], *(LABELS[name] for name in BUSINESS))

    assert held_back(alertmanager, set())


@pytest.mark.parametrize("source", OF_A_TOPIC)
def test_what_one_input_lacks_holds_back_only_what_is_made_of_it(alertmanager: Alertmanager, source: str) -> None:
    alertmanager.tell(*(LABELS[name] for name in BUSINESS))
    waiting: set[str] = set()
    for topic, made in MADE_OF.items():
        alertmanager.tell({**LABELS[source], "topic": topic})
        waiting |= made

        assert held_back(alertmanager, waiting), topic

    alertmanager.tell({**LABELS[source], "topic": "sessions"})

    assert held_back(alertmanager, set(BUSINESS))


def test_of_alerts_with_one_cause_only_the_cause_is_told(alertmanager: Alertmanager) -> None:
    sources = (
        "EngagementEventTimeStale",
        "EngagementNoEvents",
        "EngagementStreamBehind",
        "EngagementPartitionsUnowned",
        "EngagementStoreUnavailable",
        "EngagementTargetMissing",
    )
    for place, source in enumerate(sources):
        alertmanager.tell(LABELS[source])

        assert held_back(alertmanager, set(sources[:place])), source


@pytest.mark.parametrize("cause", ["EngagementTransactionOpen", "EngagementTopicUnread"])
def test_an_input_that_can_not_be_read_is_not_told_as_silent_too(alertmanager: Alertmanager, cause: str) -> None:
    unread = {**LABELS[cause], "topic": "logins"}
    silent = {**LABELS["EngagementEventTimeStale"], "topic": "logins"}
    alertmanager.tell(unread, silent, LABELS["EngagementNoEvents"])

    assert held_back(alertmanager, {"EngagementEventTimeStale", "EngagementNoEvents"})


def test_a_group_that_only_rebalances_is_told_and_not_what_it_does_not_read(alertmanager: Alertmanager) -> None:
    waiting = {"EngagementStreamBehind", "EngagementNoEvents", "EngagementEventTimeStale"}
    others = ("EngagementRebalancing", "EngagementPartitionsUnowned", "EngagementRecoverySlow")
    alertmanager.tell(*(LABELS[name] for name in (*waiting, *others)))

    assert held_back(alertmanager, waiting)

    alertmanager.tell(LABELS["EngagementStoreUnavailable"])
    assert held_back(alertmanager, {*waiting, *others})


def test_a_sudden_fall_is_told_once(alertmanager: Alertmanager) -> None:
    alertmanager.tell(LABELS["EngagementStickinessErosion"], LABELS["EngagementStickinessDrop"])

    assert held_back(alertmanager, {"EngagementStickinessErosion"})


def test_neither_another_deployment_nor_the_watchdog_holds_anything_back(alertmanager: Alertmanager) -> None:
    other = {**LABELS["EngagementPartitionsUnowned"], "job": "another"}
    watchdog = {label: value for label, value in LABELS["EngagementWatchdog"].items() if label != "job"}
    failing = {**LABELS["EngagementRulesFailing"], "job": "prometheus"}
    alertmanager.tell(other, watchdog, failing, *(LABELS[name] for name in BUSINESS))

    assert held_back(alertmanager, set())


def test_a_deployment_with_the_same_job_in_another_namespace_holds_nothing_back(alertmanager: Alertmanager) -> None:
    here = [{**LABELS[name], "namespace": "prod"} for name in BUSINESS]
    alertmanager.tell({**LABELS["EngagementPartitionsUnowned"], "namespace": "test"}, *here)

    assert held_back(alertmanager, set())

    alertmanager.tell({**LABELS["EngagementPartitionsUnowned"], "namespace": "prod"})

    assert held_back(alertmanager, set(BUSINESS))


def test_a_job_without_any_target_is_told_alone_though_its_alert_knows_no_namespace(alertmanager: Alertmanager) -> None:
    others = [{**LABELS[name], "namespace": "prod"} for name in ("EngagementNoEvents", "EngagementNoNumbers")]
    alertmanager.tell(LABELS["EngagementTargetMissing"], *others)

    assert held_back(alertmanager, {"EngagementNoEvents", "EngagementNoNumbers"})
