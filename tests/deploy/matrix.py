"""Scenarios as input of `promtool test rules`, and what it says of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tests.deploy import promtool
from tests.deploy.rules import Rule
from tests.deploy.scenarios import END, Fires, Scenario, Text
from tests.deploy.worlds import STEP_HOURS, Curve

# Nine weeks of almost fifty apps, evaluated every three hours: what fires for less is the matter of pipeline.test.yml.
_SAMPLES_AN_HOUR = 4  # of what runs: rules compare it with a quarter of an hour ago
_RUNNING = ("engagement_events_total", "engagement_clock_seconds", "engagement_event_time_seconds")
_GROUPS = (
    "engagement-numbers",
    "engagement-usual",
    "engagement-session-interval",
    "engagement-reply-interval",
    "engagement-trust",
    "engagement-business",
    "engagement-pipeline",
)

# What was looked at, at which time, and the lines after it that are deeper: what was expected and what came instead.
_FAILURE = re.compile(r"^ {4}((?:expr|alertname): .*, time: .*(?:\n {8}.*)*)", re.MULTILINE)
_JOB = re.compile(r'\{job="([\w-]+)"\}')


@dataclass(frozen=True)
class Probe:
    """An expression whose jobs are asked for at a moment, whatever they are."""

    expr: str
    day: float

    def check(self) -> dict[str, Any]:
        """As a check that always fails where there is anything to tell: promtool then prints it."""
        return _expected(f"group by (job) ({' '.join(self.expr.split())})", self.day, [])


class Outcome:
    """What one run of promtool found."""

    def __init__(self, said: Sequence[str]) -> None:
        self._said = said

    def failures(self, scenario: Scenario) -> list[str]:
        """What went otherwise than a scenario says."""
        selected = f'job=\\"{scenario.app.job}\\",alertstate='
        return [text for text in self._said if text.startswith("expr: ") and selected in text]

    def wrong_texts(self, text: Text) -> list[str]:
        """What is wrong with an alert as its reader gets it."""
        return [said for said in self._said if said.startswith(f"alertname: {text.alert}, ")]

    def jobs(self, probe: Probe) -> frozenset[str]:
        """The jobs that a probe found."""
        check = probe.check()
        asked = f"expr: {json.dumps(check['expr'])}, time: {_promtool_time(probe.day)},"
        said = [text for text in self._said if text.startswith(asked)]
        return frozenset(_JOB.findall("".join(said).partition("got:")[2]))


def played(folder: Path, scenarios: Sequence[Scenario], texts: Sequence[Text], probes: Sequence[Probe]) -> Outcome:
    """Run all scenarios side by side, a scrape job each, in one process: each evaluates all rules anew."""
    path = folder / "matrix.yml"
    with path.open("w") as out:
        _write(out, scenarios, texts, probes)
    status, said = promtool.run("promtool", "test", "rules", path, environment={"GOGC": "400"})
    found = _FAILURE.findall(said)
    assert status == 0 or found, said
    return Outcome(found)


def _write(out: TextIO, scenarios: Sequence[Scenario], texts: Iterable[Text], probes: Iterable[Probe]) -> None:
    out.write(f"rule_files: {json.dumps([str(file) for file in promtool.RULE_FILES])}\n")
    out.write(f"evaluation_interval: {STEP_HOURS}h\n")
    out.write(f"group_eval_order: {json.dumps(_GROUPS)}\n")
    out.write(f"tests:\n  - interval: {60 // _SAMPLES_AN_HOUR}m\n    input_series:\n")
    for scenario in scenarios:
        for name, curve in scenario.app.series():
            values = _notation(curve, runs=name.startswith(_RUNNING))
            out.write(f"      - series: {json.dumps(name)}\n        values: {json.dumps(values)}\n")
    out.write("    promql_expr_test:\n")
    checks = [check for scenario in scenarios for check in _checks(scenario)]
    out.writelines(f"      - {json.dumps(check)}\n" for check in (*checks, *(probe.check() for probe in probes)))
    out.write("    alert_rule_test:\n")
    jobs = {scenario.app.job for scenario in scenarios}
    out.writelines(f"      - {json.dumps(text.check(jobs))}\n" for text in texts)


def _notation(curve: Curve, *, runs: bool) -> str:
    """The values in promtool's notation: one an evaluation and, of what runs, one a quarter of an hour before it."""
    spread = STEP_HOURS * _SAMPLES_AN_HOUR - 1
    words = [_word(curve[0])]
    for hour in range(STEP_HOURS, len(curve), STEP_HOURS):
        before = curve[hour - 1] + (curve[hour] - curve[hour - 1]) * (1 - 1 / _SAMPLES_AN_HOUR)
        words += [f"_x{spread - 1}", _word(before)] if runs else [f"_x{spread}"]
        words.append(_word(curve[hour]))
    return " ".join(words)


def _word(value: float) -> str:
    return "_" if np.isnan(value) else f"{value:.10g}"


def _checks(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """First that nothing else ever fires, then when each alert does."""
    of_job = f'job="{scenario.app.job}",alertstate="firing"'
    fired = [_sample(f'{{alertname="{fires.alert}"}}') for fires in scenario.fires]
    yield _expected(f"group by (alertname) (count_over_time(ALERTS{{{of_job}}}[{END:.0f}d]))", END, fired)
    for fires in scenario.fires:
        for day, expected in _when(fires):
            now = f'group(ALERTS{{{of_job},alertname="{fires.alert}"}})'
            yield _expected(now, day, [_sample("{}")] if expected else [])


def _when(fires: Fires) -> Iterator[tuple[float, bool]]:
    yield fires.not_at, False
    yield fires.at, True
    if fires.gone_at is not None:
        yield fires.gone_at, False


def _expected(expr: str, day: float, samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {"expr": expr, "eval_time": _promtool_time(day), "exp_samples": samples}


def _promtool_time(day: float) -> str:
    """A time as promtool itself writes it, at an evaluation."""
    hours = round(day * 24 / STEP_HOURS) * STEP_HOURS
    weeks, days = hours // 24 // 7, hours // 24
    if hours % (7 * 24) == 0:
        return f"{weeks}w"
    return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"


def _sample(labels: str) -> dict[str, Any]:
    return {"labels": labels, "value": 1}


def mutants(alert: Rule) -> list[str]:
    """The expression of an alert, each time without one of its conditions."""
    return [alert.without(condition) for condition in range(len(alert.conditions))]
