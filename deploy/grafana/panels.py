"""The kinds of panel that the dashboards are made of, each with a description taken from the catalogue.

What is not there is shown as "no data", never as 0: a stat reads the present moment, not the last value of the time
shown, and a line has a gap where there was no number.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.queries import Query, change, lower_end, metrics_in, number, upper_end

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel
AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_DATA = "no data"

# Five weeks: a closed number says little in a day, and a week is compared with the one before.
CLOSED_DAYS_SHOWN = "35d"
# A point each five minutes, though they change once a day: Grafana asks for whole multiples of the time between two
# points, so that a Prometheus that has just begun has nothing to show until the first of them has come.
_CLOSED_POINTS, _CLOSED_STEP = 11_000, "5m"
AGAINST_LAST_WEEK = "against last week"

# From which value on a panel has which colour; the first holds below all others.
Steps = Sequence[tuple[float | None, str]]
_NEVER_NEGATIVE = (units.Short, units.Seconds, units.EventsPerSecond, units.MessagesPerSecond)
_PALE = (
    DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "text"}),
    DynamicConfigValue("custom.lineWidth", 1),
    DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [2, 6]}),
)
CHANGES: Steps = ((None, "red"), (-0.1, "orange"), (-0.05, "text"), (0.05, "green"))


def trend(
    title: str,
    queries: Sequence[Query],
    *,
    unit: str,
    width: int = 8,
    bands: Sequence[tuple[str, str]] = (),
    sample: Query | None = None,
    before: Query | None = None,
    closed: bool = False,
    stacked: bool = False,
    signed: bool = False,
    steps: Steps = (),
    note: str = "",
    alerts: Iterable[str] = (),
) -> timeseries.Panel:
    """Lines over time.

    `bands` are the legends whose interval is filled, each with its colour; `sample` has an axis of its own at the
    right, `before` is what the rest is compared with. A `closed` panel shows five weeks, in steps, whatever the
    dashboard shows. What is `signed` has values below 0, and `stacked` they lie below the axis.
    """
    asked = [*queries, *filter(None, (sample, before))]
    panel = _made(timeseries.Panel(), title, asked, width=width, height=8, note=note, alerts=alerts)
    panel.unit(unit).line_width(2 if len(queries) < 5 or bands else 1).fill_opacity(0)
    panel.show_points(VisibilityMode.AUTO).point_size(4).span_nulls(False)
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.NONE))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(True).calcs([]))
    if unit in _NEVER_NEGATIVE and not signed:
        panel.min(0)
    if closed:
        panel.time_from(CLOSED_DAYS_SHOWN).interval(_CLOSED_STEP).max_data_points(_CLOSED_POINTS)
        panel.line_interpolation(LineInterpolation.STEP_AFTER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A")).fill_opacity(40).line_width(1)
    if steps:
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for legend_text, color in bands:
        _fill_interval(panel, legend_text, color)
    if sample:
        panel.override_by_name(sample.legend, [*_PALE, *_axis_at_the_right(sample.legend)])
    if before:
        panel.override_by_name(before.legend, list(_PALE))
    return panel


def figure(
    title: str,
    queries: Sequence[Query],
    *,
    unit: str,
    width: int,
    height: int = 4,
    decimals: int | None = None,
    steps: Steps = ((None, "text"),),
    names: bool = False,
    note: str = "",
    alerts: Iterable[str] = (),
) -> stat.Panel:
    """A number of this moment, large. With `names` it shows the legend instead of the value."""
    panel = _made(stat.Panel(), title, queries, width=width, height=height, note=note, alerts=alerts, instant=True)
    panel.unit(unit).thresholds(_thresholds(steps)).graph_mode(BigValueGraphMode.NONE)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)).color_mode(BigValueColorMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.text_mode(BigValueTextMode.NAME if names else BigValueTextMode.AUTO)
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def closed_figure(
    title: str, name: str, *, window: str, unit: str, note: str = "", alerts: Iterable[str] = ()
) -> stat.Panel:
    """A number of the last closed day, and how it differs from a week earlier."""
    where = f'window="{window}"'
    queries = (Query(number(name, where=where), "last closed day"), Query(change(name, where=where), AGAINST_LAST_WEEK))
    told = (
        "Against last week: the same number seven days earlier, as a share of it;"
        " absent for the first week and where either sample is smaller than the one chosen above."
    )
    decimals = 1 if unit == units.PercentUnit else 0
    text = f"{note} {told}".strip()
    panel = figure(title, queries, unit=unit, width=4, height=5, decimals=decimals, note=text, alerts=alerts)
    panel.orientation(VizOrientation.HORIZONTAL)
    panel.override_by_name(
        AGAINST_LAST_WEEK,
        [
            DynamicConfigValue("unit", units.PercentUnit),
            DynamicConfigValue("decimals", 1),
            DynamicConfigValue("thresholds", _thresholds(CHANGES).build()),
        ],
    )
    return panel


def bars(
    title: str,
    queries: Sequence[Query],
    *,
    unit: str,
    width: int = 8,
    steps: Steps = ((None, "blue"),),
    note: str = "",
    alerts: Iterable[str] = (),
) -> bargauge.Panel:
    """Numbers of this moment beside each other."""
    panel = _made(bargauge.Panel(), title, queries, width=width, height=8, note=note, alerts=alerts, instant=True)
    panel.unit(unit).thresholds(_thresholds(steps)).orientation(VizOrientation.HORIZONTAL)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))


def listing(
    title: str, expression: str, *, columns: Sequence[tuple[str, str]], width: int, note: str = ""
) -> table.Panel:
    """A table of this moment's series: `columns` are the labels it has and their titles, in order, then the value."""
    panel = _made(table.Panel(), title, [Query(expression, "")], width=width, height=12, note=note, instant=True)
    panel.targets([_target(0, Query(expression, ""), instant=True).format(PromQueryFormat.TABLE)])
    order = {label: place for place, (label, _) in enumerate((*columns, ("Value", "")))}
    titles = {**dict(columns), "Value": "value"}
    organized = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles}
    return panel.unit(units.Short).with_transformation(DataTransformerConfig(id_val="organize", options=organized))


def _made(
    panel: AnyPanel,
    title: str,
    queries: Sequence[Query],
    *,
    width: int,
    height: int,
    note: str,
    alerts: Iterable[str] = (),
    instant: bool = False,
) -> AnyPanel:
    """What all kinds have in common."""
    panel.title(title).description(_description(queries, note)).datasource(DATASOURCE).span(width).height(height)
    panel.targets([_target(place, query, instant=instant) for place, query in enumerate(queries)])
    panel.no_value(NO_DATA)
    links = [_runbook(alert) for alert in alerts]
    if links:
        panel.links(links)
    return panel


def _target(place: int, query: Query, *, instant: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(chr(ord("A") + place)).datasource(DATASOURCE)
    target.expr(query.expr).legend_format(query.legend)
    return target.instant() if instant else target.range()


def _description(queries: Sequence[Query], note: str) -> str:
    """The catalogue's text of each metric that is read, then the note."""
    told = metrics_in(query.expr for query in queries)
    ends = {metric: f" With its 95 % interval ({metric.interval})." if metric.interval else "" for metric in told}
    lines = [f"**{metric.name}**: {metric.help}{ends[metric]}" for metric in told]
    return "\n\n".join([*lines, note] if note else lines)


def _runbook(alert: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(f"Runbook: {alert}").url(f"${{runbooks}}/{alert}.md").target_blank(True)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    config = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value=value, color=color) for value, color in steps])


def _fill_interval(panel: timeseries.Panel, legend: str, color: str) -> None:
    fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})
    unseen = [
        fixed,
        DynamicConfigValue("custom.lineWidth", 0),
        DynamicConfigValue("custom.showPoints", "never"),
        DynamicConfigValue("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
    ]
    filled = [
        DynamicConfigValue("custom.fillBelowTo", lower_end(legend)),
        DynamicConfigValue("custom.fillOpacity", 20),
    ]
    panel.override_by_name(legend, [fixed])
    panel.override_by_name(upper_end(legend), [*unseen, *filled])
    panel.override_by_name(lower_end(legend), unseen)


def _axis_at_the_right(label: str) -> list[Any]:
    return [
        DynamicConfigValue("unit", units.Short),
        DynamicConfigValue("min", 0),
        DynamicConfigValue("custom.axisPlacement", AxisPlacement.RIGHT),
        DynamicConfigValue("custom.axisLabel", label),
    ]
