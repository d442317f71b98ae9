"""PromQL, made from the catalogue: a metric or a label that the catalogue doesn't know gets into no dashboard.

Each server tells the same numbers, so `max by` makes one series of those of all servers, whatever labels Prometheus
has given them. Rates are taken before it: a counter must not jump from one server's to another's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stream.core.catalogue import BY_NAME
from stream.core.metrics import Metric

# The least sample on either side of a comparison; chosen on the dashboard.
LEAST_SAMPLE = "$least_sample"

_LABEL = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")
_METRIC = re.compile(r"\bengagement_\w+")
_HISTOGRAM_LINE = re.compile(r"_(?:bucket|count|sum)$")


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its series are called; `{{label}}` stands for a label's value."""

    expr: str
    legend: str


def number(name: str, *, by: str = "", where: str = "", ago: str = "") -> str:
    """A gauge, one series for each value of the labels `by`. `where` selects, `ago` looks back.

    Raises KeyError for a metric, and ValueError for a label, that the catalogue doesn't know; ValueError also when
    labels are neither kept nor selected, as their values would be thrown together.
    """
    back = f" offset {ago}" if ago else ""
    return _max(by, f"{_selector(name, by, where)}{back}")


def latest(name: str, *, by: str = "", where: str = "") -> str:
    """What a counter stood at when the time shown ended, or up to a day before that: the same at each point of a line.

    So a line does not come and go where it is chosen by this, and is still there when the servers are not.
    """
    return _max(by, f"last_over_time({_selector(name, by, where)}[1d] @ end())")


def rate(name: str, *, by: str = "", where: str = "") -> str:
    """A counter's growth a second."""
    return _max(by, f"rate({_selector(name, by, where)}[$__rate_interval])")


def growth(name: str, *, over: str, by: str = "", where: str = "") -> str:
    """A counter's growth over a time."""
    return _max(by, f"increase({_selector(name, by, where)}[{over}])")


def quantile(share: float, name: str) -> str:
    """A quantile of a histogram, of what was measured in the last minutes."""
    selected = _selector(name, "", "").replace(name, f"{name}_bucket")
    # Of nothing measured the quantile is NaN, which no comparison lets through.
    return f"histogram_quantile({share}, {_max('le', f'rate({selected}[$__rate_interval])')}) >= 0"


def mean(name: str) -> str:
    """The mean of a histogram, of what was measured in the last minutes; absent while nothing was."""
    seconds, count = (
        _max("", f"rate({_selector(name, '', '').replace(name, name + end)}[$__rate_interval])")
        for end in ("_sum", "_count")
    )
    return f"{seconds} / ({count} > 0)"


def change(name: str, *, where: str) -> str:
    """How much a closed number differs from a week earlier, as a share of it.

    Absent while there is no number of a week ago, and where the sample on either side is too small to tell.
    """
    now, before = number(name, where=where), number(name, where=where, ago="7d")
    sample = BY_NAME[name].parts[-1] if BY_NAME[name].parts else name
    enough = " and ".join(f"({number(sample, where=where, ago=ago)} >= {LEAST_SAMPLE})" for ago in ("", "7d"))
    return f"({now} / {before} - 1) and {enough}"


def interval(name: str, legend: str, *, where: str) -> tuple[Query, Query, Query]:
    """A number with both ends of its 95 % interval, for a panel that fills between the ends."""
    if not BY_NAME[name].interval:
        raise ValueError(f"{name} has no interval")
    return (
        Query(number(name, where=where), legend),
        Query(number(f"{name}_upper", where=where), upper_end(legend)),
        Query(number(f"{name}_lower", where=where), lower_end(legend)),
    )


def upper_end(legend: str) -> str:
    """What the upper end of a number's interval is called."""
    return f"{legend}, upper end"


def lower_end(legend: str) -> str:
    """What the lower end of a number's interval is called."""
    return f"{legend}, lower end"


def metrics_in(expressions: Iterable[str]) -> list[Metric]:
    """The metrics that expressions read, in the order in which they are named. Raises KeyError for an unknown one."""
    names = (name for expression in expressions for name in _METRIC.findall(expression))
    found = (BY_NAME[name] if name in BY_NAME else BY_NAME[_HISTOGRAM_LINE.sub("", name)] for name in names)
    return list(dict.fromkeys(found))


def _selector(name: str, by: str, where: str) -> str:
    metric = BY_NAME[name]
    kept, selected = {label.strip() for label in by.split(",") if label}, set(_LABEL.findall(where))
    unknown = (kept | selected) - set(metric.labels)
    lost = set(metric.labels) - kept - selected
    if unknown:
        raise ValueError(f"{name} has no label {', '.join(sorted(unknown))}")
    if lost:
        raise ValueError(f"{name} needs its labels {', '.join(sorted(lost))} kept or selected")
    return f"{name}{{{', '.join(filter(None, (where, DEPLOYMENT)))}}}"


def _max(by: str, expression: str) -> str:
    return f"max by ({by}) ({expression})" if by else f"max({expression})"


# Which deployment is meant. Where no target has a namespace or a cluster, Grafana finds no value to choose from and
# puts nothing in place of the variable, which selects series without the label.
DEPLOYMENT = 'job="$job", namespace="$namespace", cluster="$cluster"'
