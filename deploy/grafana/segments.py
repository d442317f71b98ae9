"""The row of segments: the same number by platform, plan, country or version of the app."""

from collections.abc import Iterable

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row, chosen
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, number
from stream.core.catalogue import CATALOGUE
from stream.core.metrics import Metric

_PREFIX = "engagement_segment_"
_LABELS = ("window", "segment", "value")


def segment_metrics(catalogue: Iterable[Metric] = CATALOGUE) -> list[Metric]:
    """The metrics that are counted by segment, where the catalogue has any."""
    return [metric for metric in catalogue if metric.name.startswith(_PREFIX)]


def segments(metrics: list[Metric]) -> list[Row]:
    """A panel a metric, its values stacked; no row where nothing is counted by segment."""
    panels = [_panel(metric) for metric in metrics]
    return [Row("By $segment, over $window", panels)] if panels else []


def segment_variables(metrics: list[Metric]) -> list[dashboard.QueryVariable]:
    """Which segment the row shows."""
    return [chosen("segment", "Segment", metric.name, "segment", default="platform") for metric in metrics[:1]]


def _panel(metric: Metric) -> timeseries.Panel:
    query = Query(number(metric.name, by="value", where='window="$window", segment="$segment"'), "{{value}}")
    title = metric.name.removeprefix(_PREFIX).replace("_", " ").capitalize()
    return trend(title, [query], unit=units.Short, width=12, stacked=True)
