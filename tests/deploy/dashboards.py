"""A dashboard's file as Grafana would work with it: its panels, its variables, and what it would ask Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream.core.time import seconds_of
from tests.deploy.prometheus import PrometheusApi

Json = dict[str, Any]

# What Grafana knows of the scrape interval, from provisioning/datasources/prometheus.yaml.
SCRAPE_SECONDS = 15

# A wide screen: so many points a panel of full width asks for.
_PIXELS = 1_800
# How Grafana rounds the seconds between two points: below this, that.
_STEPS = (
    *((7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60), (210, 120), (450, 300), (750, 600), (1_050, 900)),
    *((1_500, 1_200), (2_700, 1_800), (5_400, 3_600), (9_000, 7_200), (16_200, 10_800), (32_400, 21_600)),
)

_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")
_QUERY_RESULT = re.compile(r"query_result\((?P<expression>.+)\)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a panel or an annotation, with its variables in place."""

    ref: str
    expression: str
    legend: str
    instant: bool
    start: float
    end: float
    step: float


def panels(board: Json) -> list[Json]:
    """All panels that show something, those of folded rows too."""
    nested = (each for panel in board["panels"] for each in (panel, *panel.get("panels", ())))
    return [panel for panel in nested if panel["type"] != "row"]


def variables(board: Json) -> dict[str, Json]:
    """The variables by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def expressions(board: Json) -> list[str]:
    """Every piece of PromQL in a dashboard: of panels, annotations and variables."""
    asked = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    asked += [annotation["target"]["expr"] for annotation in board["annotations"]["list"]]
    return asked + [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]


def asked_for_values(variable: Json, chosen: Mapping[str, str]) -> tuple[str, str] | None:
    """Selector and label whose values a variable offers; None for one that asks nobody."""
    found = _LABEL_VALUES.fullmatch(str(variable["query"])) if variable["type"] == "query" else None
    return (replaced(found["selector"], chosen), found["label"]) if found else None


def offered_by(variable: Json, chosen: Mapping[str, str], prometheus: PrometheusApi, *, now: float) -> list[str] | None:
    """The values that a variable offers, in their order; None for one that asks nobody."""
    asked = asked_for_values(variable, chosen)
    if asked is not None:
        return prometheus.label_values(*asked, start=now - 3_600, end=now)
    found = _QUERY_RESULT.fullmatch(str(variable["query"])) if variable["type"] == "query" else None
    if found is None:
        return None
    assert variable["sort"] == 0, "what the query sorts is sorted once more"
    series = prometheus.at(replaced(found["expression"], chosen), seconds=now)
    # Grafana shows each series as it is written, with its value and time, and takes what the group matches.
    lines = [",".join(f'{name}="{value}"' for name, value in one["metric"].items()) for one in series]
    return [match[1] for line in lines if (match := re.search(variable["regex"].strip("/"), line))]


def replaced(text: str, chosen: Mapping[str, str]) -> str:
    """The text with variables replaced. Raises KeyError for one that is not there."""
    return _VARIABLE.sub(lambda found: chosen[found[1]], text)


def asked_by_panel(panel: Json, board: Json, chosen: Mapping[str, str], *, now: float) -> Iterator[Asked]:
    """What a panel asks at a moment."""
    shown = panel.get("timeFrom") or board["time"]["from"].removeprefix("now-")
    points = panel.get("maxDataPoints", _PIXELS * panel["gridPos"]["w"] // 24)
    least = seconds_of(panel["interval"]) if "interval" in panel else SCRAPE_SECONDS
    for target in panel["targets"]:
        yield _asked(target, chosen, seconds=seconds_of(shown), points=points, least_step=least, now=now)


def asked_by_annotation(annotation: Json, board: Json, chosen: Mapping[str, str], *, now: float) -> Asked:
    """What an annotation asks at a moment."""
    target, shown = annotation["target"], board["time"]["from"].removeprefix("now-")
    least = seconds_of(target["interval"])
    return _asked(target, chosen, seconds=seconds_of(shown), points=_PIXELS, least_step=least, now=now)


def _asked(target: Json, chosen: Mapping[str, str], *, seconds: int, points: int, least_step: int, now: float) -> Asked:
    """As Grafana asks: a rounded step, and both ends rounded down to a multiple of it."""
    step = max(next(step for below, step in _STEPS if seconds / points < below), least_step)
    chosen = {
        **chosen,
        "__interval": f"{step}s",
        "__rate_interval": f"{max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)}s",
    }
    expression = replaced(target["expr"], chosen)
    instant = bool(target.get("instant"))
    start, end = (now - seconds, now) if instant else ((now - seconds) // step * step, now // step * step)
    return Asked(target["refId"], expression, target.get("legendFormat", ""), instant, start, end, step)


def named(legend: str, labels: Mapping[str, str]) -> str:
    """What a series is called. Raises KeyError for a label that it has not."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels[found[1]], legend)


def chosen_at_first(
    board: Json, prometheus: PrometheusApi, *, job: str, namespace: str = "", now: float
) -> dict[str, str]:
    """What is chosen where nobody has chosen anything yet, of these deployments that of the job and namespace."""
    ours = {"job": job, "namespace": namespace}
    found: dict[str, str] = {}
    for name, variable in variables(board).items():
        current = variable.get("current", {}).get("value", "")
        offered = offered_by(variable, found, prometheus, now=now)
        if offered is not None:
            if not offered:
                # As Grafana does: nothing is put in place of a variable that offers nothing.
                assert name in ("namespace", "cluster"), f"variable {name} offers nothing"
                found[name] = ""
            elif variable.get("includeAll"):
                assert variable["multi"], name
                found[name] = variable["allValue"]
            else:
                # As Grafana does: what the file says where it is there, else the first; but of two deployments ours.
                assert not current or current in offered, f"variable {name} has no {current}, but {offered}"
                found[name] = ours.get(name, current or offered[0])
                assert found[name] in offered, f"variable {name} has no {found[name]!r}, but {offered}"
        else:
            found[name] = str(current or variable["query"])
    return found


def answer(prometheus: PrometheusApi, asked: Asked) -> list[dict[str, Any]]:
    """The series that Prometheus answers with."""
    if asked.instant:
        return prometheus.at(asked.expression, seconds=asked.end)
    return prometheus.over(asked.expression, start=asked.start, end=asked.end, step=asked.step)
