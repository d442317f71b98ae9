"""What each number means in a deployment: its rule, its windows, the time zone of its days, and what its sample is."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stream.core import catalogue
from stream.core.families.registry import FAMILIES
from stream.core.metrics import Metric, is_by_segment, is_closed
from stream.core.rules import Rules
from stream.core.time import minutes_of
from stream.core.windows import ACTIVITY, whole_days

_FAMILY_OF = {metric.name: family for family in FAMILIES for metric in family.metrics}
_BUSINESS = frozenset(metric.name for metric in catalogue.BUSINESS)


def definitions(rules: Rules) -> list[dict[str, Any]]:
    """All metrics of the catalogue, in its order.

    `definition` is the rule. `window` says which windows there are, and with what they end; `zone` the time zone that
    cuts the days, null where no day is cut; `sample` what one observation is, and which metric counts them.
    """
    return [
        {
            "name": metric.name,
            "definition": metric.help,
            "type": metric.type,
            "unit": metric.unit,
            "labels": list(metric.labels),
            "parts": list(metric.parts),
            "interval": {"lower": metric.names[1], "upper": metric.names[2], "method": metric.interval}
            if metric.interval
            else None,
            "window": _window_of(metric, rules),
            "zone": rules.days.zone if is_closed(metric.name) else None,
            "sample": _sample_of(metric),
        }
        for metric in catalogue.CATALOGUE
    ]


def _window_of(metric: Metric, rules: Rules) -> dict[str, Any]:
    lengths = _lengths_of(metric, rules) if "window" in metric.labels else ()
    if metric.type in ("counter", "histogram"):
        ends, text = "now", "Since the state of the deployment began."
    elif is_closed(metric.name):
        ends = "the last closed day"
        own = f"Windows of {_listed(lengths)} that end" if lengths else "Of whole days, and ends"
        text = f"{own} with the last closed day, {rules.days.zone}."
    else:
        ends, text = "now", f"Rolling windows of {_listed(lengths)} that end now." if lengths else "Now."
    return {"ends": ends, "lengths": list(lengths), "text": text}


def _listed(lengths: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(lengths[:-1]), lengths[-1])))


def _lengths_of(metric: Metric, rules: Rules) -> tuple[str, ...]:
    """The windows in which a metric may have a value."""
    family = _FAMILY_OF.get(metric.name)
    if family is None:  # a number of several families has the windows that all of them have
        of_parts = [_lengths_of(catalogue.BY_NAME[part], rules) for part in metric.parts]
        told = of_parts[0] if of_parts else rules.windows_of(ACTIVITY)
        return tuple(one for one in told if all(one in others for others in of_parts))
    told = rules.windows_of(family.windows)
    if is_by_segment(metric.name) and family.by_segment is not None:
        told = tuple(one for one in rules.windows_of(family.by_segment.windows) if _is_among(one, told))
    if is_closed(metric.name):
        return tuple(f"{days}d" for days in whole_days(told))
    return tuple(sorted(told, key=minutes_of))


def _is_among(window: str, windows: Iterable[str]) -> bool:
    return minutes_of(window) in map(minutes_of, windows)


def _sample_of(metric: Metric) -> dict[str, Any] | None:
    """What a number is taken from, and the metric that counts it: for a count the number itself."""
    if metric.name not in _BUSINESS:
        return None
    whole = metric if metric.parts else _WHOLE_OF.get(metric.name)
    if whole is None:
        of = None if metric.unit in _MEASURES else metric.unit
        text = f"Counts {of}." if of else _MEASURES[metric.unit]
        return {"of": of, "metric": metric.name, "labels": {}, "text": text}
    counts = catalogue.BY_NAME[whole.parts[-1]]
    while counts.parts:
        whole, counts = counts, catalogue.BY_NAME[counts.parts[-1]]
    text = f"Taken from {counts.unit}, which {counts.name} counts."
    return {"of": counts.unit, "metric": counts.name, "labels": dict(whole.sample_labels), "text": text}


# What is said of a number that counts nothing and is made of no other, by its unit.
_MEASURES = {"seconds": "A single value.", "days": "A sum of days.", "units of the currency": "A sum of amounts."}


def _wholes() -> Iterator[tuple[str, Metric]]:
    """By a number that has no parts of its own the one that has: by a sum of seconds or by quantiles their mean."""
    for metric in reversed(catalogue.BUSINESS):  # of several the first
        if metric.parts and catalogue.BY_NAME[metric.parts[0]].unit == "seconds":
            yield metric.parts[0], metric
        if metric.parts and "_mean" in metric.name:
            yield metric.name.replace("_mean", ""), metric


_WHOLE_OF = dict(_wholes())
