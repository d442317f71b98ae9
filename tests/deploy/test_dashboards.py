"""The dashboards show what they promise: every query is asked of a real Prometheus with five weeks of our exports."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from stream.core.catalogue import BY_NAME, CATALOGUE
from stream.core.families.registry import names_by_segment
from tests.deploy.dashboards import (
    SCRAPE_SECONDS,
    Json,
    answer,
    asked_by_annotation,
    asked_by_panel,
    chosen_at_first,
    expressions,
    named,
    offered_by,
    panels,
    replaced,
    variables,
)
from tests.deploy.exports import DEMO_NAMESPACE, JOB, NAMESPACE, end_ms, exports
from tests.deploy.prometheus import BackfilledPrometheus, PrometheusUnavailable
from tests.missing import missing

pytest.importorskip("grafana_foundation_sdk", reason="grafana-foundation-sdk needs Python 3.11 or later")

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.common import GraphFieldConfig
from grafana_foundation_sdk.models.dashboard import Dashboard, FieldConfig

from deploy.grafana import queries
from deploy.grafana.documents import FOLDER, documents

DEPLOY = FOLDER.parent.parent
BOARDS: dict[str, Json] = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]
NOW = end_ms() / 1_000

boards = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize(
    ("name", "panel"), PANELS, ids=[f"{name}: {panel['title']} ({panel['id']})" for name, panel in PANELS]
)


# -- the files -----------------------------------------------------------------------------------------------------


def test_the_files_are_those_that_the_code_makes() -> None:
    there = {file.name: file.read_text() for file in FOLDER.glob("*.json")}

    assert there == documents(), "write them anew with: make docs"


@boards
def test_grafanas_own_model_knows_every_key(board: Json) -> None:
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))

    assert read == board


@boards
def test_every_metric_named_exists(board: Json) -> None:
    named = {name for text in _texts(board) for name in re.findall(r"\bengagement_\w+", text)}
    recorded = {name for text in expressions(board) for name in re.findall(r"\b\w+:\w+:\w+", text)}

    assert {name for name in named if re.sub(r"_(bucket|count|sum)$", "", name) not in BY_NAME} - set(BY_NAME) == set()
    assert recorded <= _names_in_rules("record")


def test_every_metric_is_on_a_dashboard() -> None:
    asked = {name for board in BOARDS.values() for text in expressions(board) for name in _metrics(text)}
    # All that have a window are in the table of every number.
    listed = {metric.name for metric in CATALOGUE if "window" in metric.labels}

    assert {metric.name for metric in CATALOGUE} - asked - listed == set()


@boards
def test_panels_lie_beside_each_other_and_inside_the_page(board: Json) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels(board):
        place = panel["gridPos"]
        for cell in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]

    assert max(x for x, _ in taken) == 23


@boards
def test_no_two_panels_have_the_same_title(board: Json) -> None:
    titles = [panel["title"] for panel in panels(board)]

    assert len(set(titles)) == len(titles)


@each_panel
def test_a_panel_says_what_it_shows_in_which_unit_and_what_it_says_of_nothing(name: str, panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    told = {metric for target in panel["targets"] for metric in _metrics(target["expr"])}

    assert defaults["unit"]
    assert defaults["noValue"] == "no data"
    assert all(BY_NAME[metric].help in panel["description"] for metric in told)


@each_panel
def test_an_override_sets_what_grafana_knows(name: str, panel: Json) -> None:
    for override in panel["fieldConfig"].get("overrides", ()):
        for prop in override["properties"]:
            model = GraphFieldConfig if prop["id"].startswith("custom.") else FieldConfig
            key = prop["id"].removeprefix("custom.")
            assert key in model.from_json({key: prop["value"]}).to_json(), prop["id"]


@each_panel
def test_an_interval_is_filled_between_its_own_ends(name: str, panel: Json) -> None:
    legends = {target["legendFormat"]: target["expr"] for target in panel["targets"]}
    overrides = panel["fieldConfig"].get("overrides", ())
    styled = {
        each["matcher"]["options"]: {prop["id"]: prop["value"] for prop in each["properties"]} for each in overrides
    }
    filled = {legend: style.get("custom.fillBelowTo") for legend, style in styled.items()}
    lines = panel["type"] == "timeseries"

    assert set(styled) <= set(legends)
    for legend, expr in legends.items():
        upper = lines and "_upper{" in expr
        assert legends.get(filled.get(legend)) == (expr.replace("_upper{", "_lower{") if upper else None)


@boards
def test_each_dashboard_leads_to_the_other_and_to_the_live_page(board: Json) -> None:
    links = {link["title"]: link for link in board["links"]}

    assert all(set(links["Dashboards"]["tags"]) <= set(other["tags"]) for other in BOARDS.values())
    assert links["Live page"]["url"] == "${live_page}"
    assert "live_page" in variables(board)


def test_the_runbooks_that_panels_link_to_are_there() -> None:
    linked = {link["url"].removeprefix("${runbooks}/") for _, panel in PANELS for link in panel.get("links", ())}

    assert {page for page in linked if not (DEPLOY / "runbooks" / page).exists()} == set()
    assert {page.removesuffix(".md") for page in linked} <= _names_in_rules("alert")


def test_the_data_source_is_the_one_that_the_dashboards_take() -> None:
    provisioned = (FOLDER.parent / "provisioning" / "datasources" / "prometheus.yaml").read_text()

    assert re.findall(r"^    (?:uid|type): (.+)$", provisioned, re.MULTILINE) == ["prometheus", "prometheus"]
    assert f"timeInterval: {SCRAPE_SECONDS}s\n" in provisioned
    assert {variables(board)["datasource"]["current"]["value"] for board in BOARDS.values()} == {"prometheus"}
    assert {panel["datasource"]["uid"] for _, panel in PANELS} == {"${datasource}"}


def test_a_metric_or_label_that_is_not_in_the_catalogue_gets_into_no_query() -> None:
    with pytest.raises(KeyError, match="engagement_bouncing"):
        queries.number("engagement_bouncing")
    with pytest.raises(ValueError, match="engagement_sessions has no label rule"):
        queries.number("engagement_sessions", by="window, rule")
    with pytest.raises(ValueError, match="engagement_bounce_ratio needs its labels rule kept or selected"):
        queries.number("engagement_bounce_ratio", where='window="1d"')
    with pytest.raises(ValueError, match="engagement_sessions has no interval"):
        queries.interval("engagement_sessions", "sessions", where='window="1d"')


def test_each_number_that_is_counted_by_segment_has_a_panel() -> None:
    asked = {name for text in expressions(BOARDS["engagement"]) for name in _metrics(text)}

    assert {f"engagement_segment_{name}" for name in names_by_segment()} <= asked


def test_amounts_of_two_currencies_are_never_drawn_on_one_axis() -> None:
    by_currency = {metric.name for metric in CATALOGUE if "currency" in metric.labels}
    with_money = {
        panel["title"]: [target["expr"] for target in panel["targets"]]
        for panel in panels(BOARDS["engagement"])
        if panel["type"] == "timeseries"
        and by_currency & {name for one in panel["targets"] for name in _metrics(one["expr"])}
    }

    assert len(with_money) >= 7
    for title, asked in with_money.items():
        assert all('currency="$currency"' in expression for expression in asked), title


# -- what Prometheus answers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackfilledPrometheus]:
    """Prometheus with five weeks of what two servers exported."""
    samples = exports(end_ms())
    try:
        server = BackfilledPrometheus(tmp_path_factory.mktemp("prometheus"), samples)
    except PrometheusUnavailable as error:
        missing(str(error))
    yield server
    server.close()


@pytest.fixture(scope="module")
def chosen(prometheus: BackfilledPrometheus) -> dict[str, dict[str, str]]:
    """By dashboard: what is chosen where nobody has chosen anything yet."""
    return {
        name: chosen_at_first(board, prometheus, job=JOB, namespace=NAMESPACE, now=NOW)
        for name, board in BOARDS.items()
    }


@each_panel
def test_every_query_of_every_panel_returns_numbers(
    name: str, panel: Json, prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    for asked in asked_by_panel(panel, BOARDS[name], chosen[name], now=NOW):
        series = answer(prometheus, asked)

        assert series, f"{panel['title']}, {asked.legend}: nothing for {asked.expression}"
        assert all(math.isfinite(value) for each in series for value in _values(each)), asked.expression


@each_panel
def test_every_series_of_a_panel_has_a_name_of_its_own(
    name: str, panel: Json, prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    """Two servers tell the same numbers: they are shown once."""
    called = [
        named(asked.legend, each["metric"])
        for asked in asked_by_panel(panel, BOARDS[name], chosen[name], now=NOW)
        for each in answer(prometheus, asked)
        if panel["type"] != "table"
    ]

    assert len(set(called)) == len(called)
    assert len(called) <= 24


def test_what_has_no_series_of_its_own_is_shown_together_and_not_left_out(
    prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    panel = next(each for name, each in PANELS if (name, each["title"]) == ("pipeline", "Dead letters so far"))
    (asked,) = asked_by_panel(panel, BOARDS["pipeline"], chosen["pipeline"], now=NOW)
    shown = {named(asked.legend, each["metric"]): float(each["value"][1]) for each in answer(prometheus, asked)}
    counted = f'max by (topic, reason) (engagement_dead_letters_total{{job="{JOB}", namespace="{NAMESPACE}"}}) > 0'
    every = [float(each["value"][1]) for each in prometheus.at(counted, seconds=NOW)]

    assert sum(shown.values()) == sum(every)
    assert shown["others: together"] == sum(sorted(every)[:-15])


@each_panel
def test_a_panel_shows_nothing_where_there_is_nothing(
    name: str, panel: Json, prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    nobody = {**chosen[name], "namespace": "nobodys"}
    answers = [answer(prometheus, asked) for asked in asked_by_panel(panel, BOARDS[name], nobody, now=NOW)]

    assert not any(answers), "0 is a measurement: what is not there is no data"


@each_panel
def test_no_panel_is_empty_in_a_demo_that_has_just_begun(
    name: str, panel: Json, prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    demo = {**chosen[name], "namespace": DEMO_NAMESPACE}
    answers = [answer(prometheus, asked) for asked in asked_by_panel(panel, BOARDS[name], demo, now=NOW)]

    assert any(answers)


def test_the_currency_in_which_most_users_have_paid_is_chosen_at_first(
    prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    variable = variables(BOARDS["engagement"])["currency"]
    offered = offered_by(variable, chosen["engagement"], prometheus, now=NOW)
    where = f'job="{JOB}", namespace="{NAMESPACE}"'
    payers = {
        one["metric"]["currency"]: float(one["value"][1])
        for one in prometheus.at(f"max by (currency) (engagement_payers_ever{{{where}}})", seconds=NOW)
    }

    assert len(payers) > 1
    assert offered == sorted(payers, key=lambda currency: -payers[currency])
    assert chosen["engagement"]["currency"] == max(payers, key=lambda currency: payers[currency])


def test_a_closed_number_is_compared_with_that_of_a_week_before(prometheus: BackfilledPrometheus) -> None:
    now, before = _dau(prometheus), _dau(prometheus, "offset 7d")

    assert _change_of_dau(prometheus, least_sample=1) == pytest.approx(now / before - 1)


def test_a_small_sample_is_not_compared(prometheus: BackfilledPrometheus) -> None:
    smaller = min(_dau(prometheus), _dau(prometheus, "offset 7d"))

    assert _change_of_dau(prometheus, least_sample=smaller) is not None
    assert _change_of_dau(prometheus, least_sample=smaller + 1) is None


def test_a_deploy_is_annotated_once_with_its_version(
    prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]
) -> None:
    board = BOARDS["pipeline"]
    annotation = next(each for each in board["annotations"]["list"] if each["name"] == "Deploys")
    asked = asked_by_annotation(annotation, board, chosen["pipeline"], now=NOW)
    found = prometheus.over(asked.expression, start=NOW - 3_000, end=NOW, step=asked.step)

    assert [(named(annotation["titleFormat"], each["metric"]), len(each["values"])) for each in found] == [
        ("version 1.1.0", 1)
    ]


def test_firing_alerts_are_annotated(prometheus: BackfilledPrometheus, chosen: dict[str, dict[str, str]]) -> None:
    for name, board in BOARDS.items():
        annotation = next(each for each in board["annotations"]["list"] if each["name"] == "Alerts")
        found = answer(prometheus, asked_by_annotation(annotation, board, chosen[name], now=NOW))

        assert [named(annotation["titleFormat"], each["metric"]) for each in found] == ["EngagementStickinessDrop"]


def _dau(prometheus: BackfilledPrometheus, ago: str = "") -> float:
    users = f'engagement_active_users_closed{{window="1d", job="{JOB}", namespace="{NAMESPACE}"}}'
    (found,) = prometheus.at(f"max({users} {ago})", seconds=NOW)
    return float(found["value"][1])


def _change_of_dau(prometheus: BackfilledPrometheus, *, least_sample: float) -> float | None:
    expression = queries.change("engagement_active_users_closed", where='window="1d"')
    chosen = {"least_sample": str(least_sample), "job": JOB, "namespace": NAMESPACE, "cluster": ""}
    asked = replaced(expression, chosen)
    found = prometheus.at(asked, seconds=NOW)
    return float(found[0]["value"][1]) if found else None


def _values(series: dict[str, Any]) -> list[float]:
    return [float(value) for _, value in series.get("values", [series.get("value")])]


def _metrics(text: str) -> set[str]:
    """The catalogue's names of the metrics that a text reads."""
    return {BY_NAME[re.sub(r"_(bucket|count|sum)$", "", name)].name for name in re.findall(r"\bengagement_\w+", text)}


def _texts(board: Json) -> list[str]:
    return [*expressions(board), *(panel["description"] for panel in panels(board))]


def _names_in_rules(kind: str) -> set[str]:
    """The alerts, or the recorded series, of the rules in the tree."""
    files = (DEPLOY / "prometheus" / "rules").glob("*.y*ml")
    return {name for file in files for name in re.findall(rf"^\s*- {kind}: *(\S+)", file.read_text(), re.MULTILINE)}
