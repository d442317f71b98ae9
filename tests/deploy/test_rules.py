"""What holds for every rule and every alert."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from stream.core.catalogue import BY_NAME, CATALOGUE
from tests.deploy import promtool
from tests.deploy.rules import DEPLOYMENT, FOREIGN, Rule, alerts, metrics_of, recordings, rules

_SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
_TESTS = ("pipeline.test.yml", "numbers.test.yml", "silence.test.yml")
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_QUERY = re.compile(r'printf "((?:[^"\\]|\\.)*)"([^|]*)')

each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    status, said = promtool.run("promtool", "check", "config", promtool.PROMETHEUS_CONFIG)

    assert status == 0, said
    assert f"{len(promtool.RULE_FILES)} rule files found" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", _TESTS)
def test_the_alerts_on_the_pipeline_do_what_the_tests_of_promtool_say(name: str) -> None:
    status, said = promtool.run("promtool", "test", "rules", Path(__file__).parent / name, environment={"GOGC": "400"})

    assert status == 0, said


def test_every_alert_on_the_pipeline_is_tested_by_its_whole_text() -> None:
    tested = "".join((Path(__file__).parent / name).read_text() for name in _TESTS)

    for alert in alerts():
        if alert.labels["layer"] != "business":
            assert f"summary: {alert.annotations['summary']}\n" in tested, alert.name


def test_rules_name_only_metrics_that_exist() -> None:
    recorded = {rule.name for rule in recordings()}
    known = {*BY_NAME, *recorded, *FOREIGN}

    unknown = {rule.name: metrics_of(rule.expr) - known for rule in rules()}
    assert {name: names for name, names in unknown.items() if names} == {}


def test_labels_that_rules_select_by_are_labels_of_the_metric() -> None:
    wrong = [
        (rule.name, metric, label)
        for rule in rules()
        for metric, selected in re.findall(r"\b(engagement_\w+)\{([^}]*)\}", rule.expr)
        for label in re.findall(r"(\w+)\s*[=!]", selected)
        if label not in BY_NAME[metric].labels
    ]

    assert wrong == []


def test_recordings_are_named_level_metric_operation_after_the_labels_they_keep() -> None:
    metrics = {name for metric in CATALOGUE for name in metric.names}
    for rule in recordings():
        level, metric, operation = rule.name.split(":")
        assert level.split("_")[0] == "job", rule.name
        assert operation, rule.name
        if metric in metrics:
            assert set(level.split("_")[1:]) <= set(BY_NAME[metric].labels), rule.name
        for kept in re.findall(r"\bby \(([^)]*)\)", rule.expr)[:1]:  # the outermost aggregation
            assert level == "_".join(["job", *kept.split(", ")[3:]]), rule.name


def test_no_recording_is_made_twice_and_none_in_vain() -> None:
    names = [rule.name for rule in recordings()]
    used = set().union(*(metrics_of(rule.expr) for rule in rules()))
    asked = {
        name
        for alert in alerts()
        for text, _ in _QUERY.findall(alert.annotations["description"])
        for name in metrics_of(text.replace("\\", "").replace("%q", '""'))
    }

    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert set(names) - used - asked == set()


def test_rules_keep_labels_by_name_and_always_those_that_name_the_deployment() -> None:
    """A target may have any other label: one that differs between two servers, or that changes with each rollout."""
    metrics = {label for metric in CATALOGUE for label in metric.labels}
    for rule in rules():
        named = _GROUPING.findall(rule.expr)
        assert not re.search(r"\b(?:without|ignoring)\b", rule.expr), rule.name
        for labels in named:
            kept = [label.strip() for label in labels.split(",")]
            assert tuple(kept[:3]) == DEPLOYMENT, rule.name
            assert set(kept[3:]) <= metrics, rule.name


def test_texts_of_alerts_ask_for_the_numbers_of_their_own_deployment() -> None:
    for alert in alerts():
        for query, arguments in _QUERY.findall(alert.annotations["description"]):
            if "{" in query:
                assert "{job=%q,namespace=%q,cluster=%q" in query, alert.name
                assert arguments.split()[:3] == [f"$labels.{label}" for label in DEPLOYMENT], alert.name


@each_alert
def test_every_alert_has_what_its_reader_needs(alert: Rule) -> None:
    assert re.fullmatch(r"Engagement([A-Z][a-z]+)+", alert.name)
    assert alert.labels["severity"] in ("critical", "warning", "info")
    assert alert.labels["layer"] in ("business", "pipeline", "watchdog")
    assert ("family" in alert.labels) == (alert.labels["layer"] == "business")
    assert "{{" not in alert.annotations["summary"]
    assert alert.annotations["runbook_url"] == f"deploy/runbooks/{alert.name}.md"
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}


@each_alert
def test_every_alert_takes_its_time_to_come_and_to_go(alert: Rule) -> None:
    if alert.name != "EngagementWatchdog":
        assert alert.lasts
        assert alert.keeps


@each_alert
def test_every_alert_has_a_runbook_that_says_what_it_means_and_what_to_do(alert: Rule) -> None:
    page = (promtool.REPOSITORY / alert.annotations["runbook_url"]).read_text()

    assert page.startswith(f"# {alert.name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == _SECTIONS
    assert all(len(section.split()) >= 10 for section in page.split("\n## ")[1:])


def test_every_runbook_is_that_of_an_alert() -> None:
    assert sorted(page.stem for page in promtool.RUNBOOKS.glob("*.md")) == sorted(alert.name for alert in alerts())


def test_runbooks_name_only_metrics_alerts_and_files_that_exist() -> None:
    known = {*BY_NAME, *(rule.name for rule in rules()), *FOREIGN}
    for page in promtool.RUNBOOKS.glob("*.md"):
        text = page.read_text()
        named = set(re.findall(r"(?:job[\w]*:)?\bengagement_\w+(?::\w+)?|\bEngagement\w+", text))
        linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert {name for name in named - known if not name.startswith("engagement_event_latency")} == set(), page.name
        assert [link for link in linked if not (page.parent / link).exists()] == [], page.name


@each_alert
def test_alerts_on_numbers_wait_until_they_can_be_trusted_and_ask_for_a_sample(alert: Rule) -> None:
    if alert.labels["layer"] == "business":
        assert "and on (job, namespace, cluster) job:engagement_alerts:armed == 1" in alert.conditions
        assert any(
            re.search(r"(users|sessions|views|answers|closed|conversations)\S* >= \d+$", text)
            for text in alert.conditions
        )
