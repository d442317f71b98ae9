"""The table of README.md of how many series each family adds to a scrape, counted on a page with everything on."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, NamedTuple

from stream.core.catalogue import BUSINESS
from stream.core.families import cross_family
from stream.core.families.family import Family
from stream.core.families.health.family import HealthFamily
from stream.core.families.registry import FAMILIES
from stream.core.metrics import Metric
from stream.core.segments import OTHER, PLATFORM
from stream.export.prometheus import exposition
from stream.settings import Topics
from tests.export.everything import filled, series_of, settings

TITLES = (
    "family",
    "of the whole",
    "of them for each",
    "to leave out",
    "of each value of a segment",
    "of four full segments",
    "in `segments.metrics`",
)
# Labels that may have any number of texts, each with one that has all its series on that page.
_ANY_NUMBER = {
    "currency": "EUR",
    "transaction_type": "shop",
    "channel": "mail",
    "network": "mastodon",
    "feature": "search",
    "step": "invite",
    "topic": "logins",
    "partition": "0",
}
_LINE = re.compile(r"(\w+)(?:\{(.*)\})? ")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

_NONE = "none"


class _Series(NamedTuple):
    name: str
    labels: dict[str, str]


@cache
def rows() -> tuple[tuple[str, ...], ...]:
    """A row for each family, one for numbers of several families, and one for the health of the pipeline."""
    page = exposition(filled(settings(), every_days=8).board, version="1")
    lines = [_LINE.match(line) for line in series_of(page)]
    told = [_Series(one[1], dict(_LABEL.findall(one[2] or ""))) for one in lines if one]
    by_segment = [one for one in told if "segment" in one.labels]
    whole = [one for one in told if "segment" not in one.labels]
    return (
        *(_row_of(family, whole, by_segment) for family in FAMILIES),
        _row("of several families", _of(cross_family.METRICS, whole), "any of these families"),
        _row("the pipeline", [one for one in whole if one.name not in _names(BUSINESS)], ""),
    )


def _row_of(family: type[Family[Any]], whole: list[_Series], by_segment: list[_Series]) -> tuple[str, ...]:
    full = _of(family.metrics, by_segment)
    value = [one for one in full if (one.labels["segment"], one.labels["value"]) == (PLATFORM, OTHER)]
    listed = family.by_segment.metrics if family.by_segment else ()
    return _row(family.name, _of(family.metrics, whole), _left_out_by(family), value, full, listed)


def _row(
    name: str,
    whole: list[_Series],
    left_out_by: str,
    value: Collection[_Series] = (),
    full: Collection[_Series] = (),
    listed: Iterable[str] = (),
) -> tuple[str, ...]:
    of_value, of_four = (f"{len(found):,}" if found else _NONE for found in (value, full))
    names = ", ".join(f"`{metric}`" for metric in listed)
    return name, f"{len(whole):,}", _for_each(whole), left_out_by, of_value, of_four, names


def _left_out_by(family: type[Family[Any]]) -> str:
    """What leaves its series out: of what nothing is read there are none; fewer windows leave out some."""
    if family is HealthFamily:
        return "`health.enabled = false`"
    windows = f"fewer `windows.{family.windows.name}`"
    kinds = [kind.kind for kind in family.message_kinds if getattr(Topics(), kind.kind) == ""]
    return f"`topics.{kinds[0]}` empty, or {windows}" if kinds else windows


def _for_each(own: Iterable[_Series]) -> str:
    """How many each text adds of the labels that may have any number of them."""
    counts = Counter[tuple[str, ...]]()
    for one in own:
        labels = tuple(label for label in _ANY_NUMBER if label in one.labels)
        if labels and all(one.labels[label] == _ANY_NUMBER[label] for label in labels):
            counts[labels] += 1
    return ", ".join(f"{count} a {' and '.join(labels).replace('_', ' ')}" for labels, count in counts.items())


def _of(metrics: Iterable[Metric], series: Iterable[_Series]) -> list[_Series]:
    """Those of them that are of these metrics."""
    names = _names(metrics)
    return [one for one in series if one.name in names]


def _names(metrics: Iterable[Metric]) -> set[str]:
    return {name for metric in metrics for name in metric.names}
