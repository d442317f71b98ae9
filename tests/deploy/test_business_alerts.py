"""Alerts on business numbers over nine weeks of thirty apps: told is what must be told, and nothing else, ever."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.deploy.matrix import Outcome, Probe, mutants, played
from tests.deploy.rules import Rule, alerts, recordings
from tests.deploy.scenarios import SCENARIOS, TEXTS, Scenario, Text
from tests.deploy.worlds import MONDAY, STEP_HOURS

# The first test waits for the run of all: a minute of CPU.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]

BUSINESS = [alert for alert in alerts() if alert.labels["layer"] == "business"]
TRUSTED = next(rule for rule in recordings() if rule.name == "job:engagement_numbers:trusted")

# An alert waits up to three hours, so a condition must make a difference at both ends of them.
MOMENTS = [(day, day + STEP_HOURS / 24) for day in (MONDAY + 1.5, MONDAY + 2.5, MONDAY + 6.5, MONDAY + 9.5, 57.5, 62.5)]

each_condition = pytest.mark.parametrize(
    ("alert", "condition"),
    [
        pytest.param(alert, place, id=f"{alert.name}-{' '.join(text.split())[:70]}")
        for alert in BUSINESS
        for place, text in enumerate(alert.conditions)
    ],
)


def reasons() -> list[str]:
    """The reasons for distrust, one a clause: the first is that a partition has no owner."""
    listed = TRUSTED.expr.partition("(\n")[2].partition("\n)\nor ")[0]
    return re.split(r"\n *(?=unless on \([^)]*\))", listed)


def trusted_without(reason: int) -> str:
    """What would be trusted with one of the reasons for distrust left out."""
    first, *others = reasons()
    rest = [text for place, text in enumerate(others, start=1) if place != reason]
    return "\n".join([first if reason else first.replace("== 0", ">= 0"), *rest])


def probes(expressions: Iterable[str]) -> list[Probe]:
    return [Probe(expr, day) for expr in expressions for moment in MOMENTS for day in moment]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One run for all tests here: it takes a minute."""
    expressions = [expr for alert in BUSINESS for expr in (alert.expr, *mutants(alert))]
    trust = ["job:engagement_numbers:trusted == 1", *(trusted_without(reason) for reason in range(len(reasons())))]
    return played(tmp_path_factory.mktemp("matrix"), SCENARIOS, TEXTS, probes([*expressions, *trust]))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.app.job)
def test_what_happens_is_told_and_nothing_else(scenario: Scenario, outcome: Outcome) -> None:
    assert outcome.failures(scenario) == [], scenario.says


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.alert)
def test_an_alert_says_how_much_and_what_is_usual(text: Text, outcome: Outcome) -> None:
    assert outcome.wrong_texts(text) == []


@each_condition
def test_without_any_of_its_conditions_an_alert_would_cry_wolf(alert: Rule, condition: int, outcome: Outcome) -> None:
    expr = mutants(alert)[condition]

    assert any(_lasting(outcome, expr, moment) - _lasting(outcome, alert.expr, moment) for moment in MOMENTS)


# Of what happens within minutes a world has no sample in which to see it: pipeline.test.yml tries it.
_WITHIN_MINUTES = ("job:engagement_takeovers:increase5m",)
assert len(reasons()) == TRUSTED.expr.count("unless on (") + 1
_SEEN_HERE = [place for place, text in enumerate(reasons()) if not any(name in text for name in _WITHIN_MINUTES)]


@pytest.mark.parametrize("reason", _SEEN_HERE, ids=[" ".join(reasons()[place].split())[:70] for place in _SEEN_HERE])
def test_without_any_reason_for_distrust_numbers_that_are_wrong_would_be_trusted(reason: int, outcome: Outcome) -> None:
    trusted = "job:engagement_numbers:trusted == 1"

    found = [_lasting(outcome, trusted_without(reason), at) - _lasting(outcome, trusted, at) for at in MOMENTS]
    assert any(found)


def test_every_alert_is_tried_by_a_scenario_in_which_it_fires_and_ends_and_by_many_in_which_it_must_not() -> None:
    for alert in BUSINESS:
        firing = [scenario for scenario in SCENARIOS if alert.name in {fires.alert for fires in scenario.fires}]
        assert firing, alert.name
        assert any(fires.alert == alert.name and fires.gone_at for one in firing for fires in one.fires), alert.name
        assert len(SCENARIOS) - len(firing) > 20


def _lasting(outcome: Outcome, expr: str, moment: tuple[float, float]) -> frozenset[str]:
    """The jobs for which an expression holds at both ends of a while."""
    first, last = (outcome.jobs(Probe(expr, day)) for day in moment)
    return first & last
