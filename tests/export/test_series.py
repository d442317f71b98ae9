"""How many series a scrape has: with everything on and four full segments no more than is promised."""

import re
from collections import Counter, defaultdict

import pytest

from stream.core.catalogue import CATALOGUE
from stream.core.segments import NAMED_VALUES, OTHER, SEGMENTS, UNKNOWN
from stream.export.prometheus import exposition
from tests.export.everything import MOST_BYTES, MOST_SERIES, filled, series_of, settings

_NAME = re.compile(r"\w+")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# Of a partition that no worker owns, of a standby, and of a worker that tells its clock: about the number of these.
_SELDOM = {
    "engagement_clock_skew_seconds",
    "engagement_recovery_remaining_seconds",
    "engagement_recovery_rows_remaining",
    "engagement_standby_lag_rows",
}


@pytest.fixture(scope="module")
def page() -> bytes:
    """A page with everything on."""
    return exposition(filled(settings(), every_days=8).board, version="1")


def name_of(series: str) -> str:
    """The name of the metric of a line."""
    return _NAME.match(series)[0]  # type: ignore[index]


def test_a_scrape_with_everything_on_has_every_metric_and_four_full_segments(page: bytes) -> None:
    series = series_of(page)
    names = {re.sub("_(bucket|count|sum)$", "", name_of(one)) for one in series} | set(map(name_of, series))
    values = defaultdict[tuple[str, str], set[str]](set)
    for one in series:
        labels = dict(_LABEL.findall(one))
        if "segment" in labels:
            values[name_of(one), labels["segment"]].add(labels["value"])

    assert {name for metric in CATALOGUE for name in metric.names} - names == _SELDOM
    assert {segment for _, segment in values} == set(SEGMENTS)
    assert all(len(found) == NAMED_VALUES + 2 and {OTHER, UNKNOWN} < found for found in values.values())


def test_a_scrape_with_everything_on_and_four_full_segments_stays_under_ten_thousand_series_and_two_megabytes(
    page: bytes,
) -> None:
    assert len(series_of(page)) < MOST_SERIES
    assert len(page) < MOST_BYTES


def test_labels_that_nothing_ever_had_are_absent_and_what_adds_up_to_a_whole_is_not(page: bytes) -> None:
    """Of networks, channels and types of orders all have a name; of some orders and conversations none is told."""
    texts = defaultdict[str, Counter[str]](Counter)
    for one in series_of(page):
        for label, text in _LABEL.findall(one):
            texts[label][text] += 1

    assert set(texts["network"]) == {"instagram", "linkedin", "mastodon"}
    assert set(texts["channel"]) == {"chat", "mail", "phone", UNKNOWN}
    assert set(texts["transaction_type"]) == {"shop", "subscription", "upgrade", UNKNOWN}
    for label in ("network", "channel", "transaction_type"):
        assert len(set(texts[label].values())) == 1, "each has all its series, those that are 0 too"
