"""What both dashboards share: how rows become a page, the variables, the annotations and the links."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.panels import DATASOURCE, Panel
from deploy.grafana.queries import DEPLOYMENT, number
from stream.core.catalogue import BY_NAME

TAG = "engagement"

# Which servers are meant: every server exports this one.
_ANY_SERVER = "engagement_partitions"
ENGAGEMENT_UID, PIPELINE_UID = "engagement", "engagement-pipeline"


@dataclass(frozen=True, slots=True)
class Row:
    """A titled row of panels, laid out from left to right; a `folded` one is shown when it is opened."""

    title: str
    panels: Sequence[Panel]
    folded: bool = False


def page(
    board: dashboard.Dashboard,
    rows: Sequence[Row],
    variables: Sequence[dashboard.QueryVariable | dashboard.CustomVariable],
) -> Dashboard:
    """The dashboard with what both have, its rows, and panels numbered from 1 so that links to a panel stay."""
    board.tags([TAG]).timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).refresh("30s").editable()
    board.variables([_datasource(), *_deployment(), *variables, _live_page(), _runbooks()])
    board.annotations([_alerts(), _versions()])
    board.links([_other_dashboards(), _to_live_page()])
    for row in rows:
        _lay(board, row)
    built = board.build()
    number_of = 0
    for panel in built.panels or []:
        for each in (panel, *(getattr(panel, "panels", None) or [])):
            number_of += 1
            each.id_val = number_of
    return built


def _lay(board: dashboard.Dashboard, row: Row) -> None:
    titled = dashboard.Row(row.title).collapsed(row.folded)
    if row.folded:
        for panel in row.panels:
            titled.with_panel(panel)
    board.with_row(titled)
    if not row.folded:
        for panel in row.panels:
            board.with_panel(panel)


# -- variables -----------------------------------------------------------------------------------------------------


def chosen(name: str, label: str, metric: str, values_of: str, *, default: str) -> dashboard.QueryVariable:
    """One value of a label, from those that a metric has."""
    variable = _values(name, label, metric, values_of)
    return variable.current(VariableOption(text=default, value=default, selected=True))


def chosen_most(name: str, label: str, metric: str, values_of: str) -> dashboard.QueryVariable:
    """One value of a label, from those that a gauge has, the one with the largest number first. That is chosen."""
    query = f"query_result(sort_desc({number(metric, by=values_of)}))"
    variable = _query_variable(name, query).sort(VariableSort.DISABLED).regex(f'/{values_of}="([^"]+)"/')
    return variable.label(label).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def chosen_number(name: str, label: str, pattern: str, *, default: str) -> dashboard.QueryVariable:
    """One metric, from those there are whose names match a regular expression."""
    variable = _query_variable(name, f'label_values({{__name__=~"{pattern}", {DEPLOYMENT}}}, __name__)')
    variable.label(label).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.current(VariableOption(text=default, value=default, selected=True))


def any_of(name: str, label: str, metric: str, values_of: str) -> dashboard.QueryVariable:
    """Some or all values of a label, from those that a metric has."""
    variable = _values(name, label, metric, values_of).multi(True).include_all(True).all_value(".*")
    return variable.current(VariableOption(text=["All"], value=["$__all"], selected=True))


def _values(name: str, label: str, metric: str, values_of: str) -> dashboard.QueryVariable:
    if values_of not in BY_NAME[metric].labels:
        raise ValueError(f"{metric} has no label {values_of}")
    variable = _query_variable(name, f"label_values({metric}{{{DEPLOYMENT}}}, {values_of})")
    return variable.label(label).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def _query_variable(name: str, query: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).datasource(DATASOURCE).query(query).definition(query)
    return variable.sort(VariableSort.NATURAL_ASC)


def _datasource() -> dashboard.DatasourceVariable:
    variable = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return variable.current(VariableOption(text="Prometheus", value="prometheus", selected=True))


def _deployment() -> list[dashboard.QueryVariable]:
    """The scrape job; and its namespace and cluster, where targets have these labels."""
    queries = {
        "job": ("Deployment", f"label_values({_ANY_SERVER}, job)"),
        "namespace": ("Namespace", f'label_values({_ANY_SERVER}{{job="$job", namespace!=""}}, namespace)'),
        "cluster": (
            "Cluster",
            f'label_values({_ANY_SERVER}{{job="$job", namespace="$namespace", cluster!=""}}, cluster)',
        ),
    }
    return [
        _query_variable(name, query).label(label).refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        for name, (label, query) in queries.items()
    ]


def _live_page() -> dashboard.TextBoxVariable:
    variable = dashboard.TextBoxVariable("live_page").label("Live page").default_value("http://localhost:8600/")
    return variable.hide(VariableHide.HIDE_VARIABLE)


def _runbooks() -> dashboard.TextBoxVariable:
    variable = dashboard.TextBoxVariable("runbooks").label("Runbooks").default_value("/public/runbooks")
    return variable.hide(VariableHide.HIDE_VARIABLE)


# -- annotations and links -----------------------------------------------------------------------------------------


def _alerts() -> dashboard.AnnotationQuery:
    """Each time an alert was firing; also one that fired between two points of the time shown."""
    # The watchdog fires always. Alerts that nothing is there any more have no namespace, and may have no job.
    of_deployment = 'job=~"$job|", namespace=~"$namespace|", cluster=~"$cluster|"'
    selected = f'alertname=~"Engagement.+", alertname!="EngagementWatchdog", alertstate="firing", {of_deployment}'
    firing = f"max_over_time(ALERTS{{{selected}}}[$__interval])"
    annotation = _annotation("Alerts", f"max by (alertname, severity) ({firing})", color="red")
    return annotation.title_format("{{alertname}}").text_format("{{severity}}").tag_keys("severity")


def _versions() -> dashboard.AnnotationQuery:
    """When a version was first seen."""
    now, before = (number("engagement_build_info", by="version", ago=ago) for ago in ("", "$__interval"))
    annotation = _annotation("Deploys", f"{now} unless {before}", color="blue")
    return annotation.title_format("version {{version}}").text_format("first seen")


def _annotation(name: str, expression: str, *, color: str) -> dashboard.AnnotationQuery:
    target = prometheus.Dataquery().ref_id("Anno").datasource(DATASOURCE).expr(expression).range().interval("1m")
    annotation = dashboard.AnnotationQuery().name(name).datasource(DATASOURCE).icon_color(color)
    return annotation.enable(True).hide(False).target(target)


def _other_dashboards() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True)


def _to_live_page() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Live page").type(DashboardLinkType.LINK).url("${live_page}")
    return link.icon("external link").target_blank(True)
