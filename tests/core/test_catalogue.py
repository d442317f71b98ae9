"""The catalogue names every number, with exactly its labels."""

from collections import defaultdict

import msgspec
import pytest

from stream.core.catalogue import BUSINESS, BY_NAME, CATALOGUE
from stream.core.metrics import Metric
from stream.core.offline import Computed, Offline
from stream.core.rules import Capex, Health, Rules
from stream.core.samples import Sample
from stream.core.survey_scales import DIMENSIONS
from stream.core.time import Days
from stream.export.definitions import definitions
from tests.native import READERS

DAY_MS = 86_400_000
NOON_MS = 1_704_110_400_000


_OF_A_CONVERSATION = ("opened", "agent_reply", "resolved")


@pytest.fixture(scope="module")
def rich() -> Computed:
    """A day in which something of everything happens, and two months after it."""
    told = {"user_id": "ann", "event_time": NOON_MS}
    old = {"user_id": "bob", "topic": "logins"}
    answer = {**told, "topic": "surveys"}
    events = [
        {**told, "topic": "logins"},
        *({**old, "event_time": NOON_MS - days * DAY_MS} for days in (1, 29, 62)),
        {**old, "user_id": "cat", "event_time": NOON_MS - 30 * DAY_MS},
        {**told, "topic": "sessions", "type": "page_view", "engaged_ms": 5, "prompted": False},
        *({**answer, "kind": kind, "response_id": kind, "score": 3} for kind in ("csat", "nps", "ces")),
        {**answer, "kind": "cxi", "response_id": "cxi", "scores": dict.fromkeys(DIMENSIONS, 4)},
        {**answer, "kind": "nps", "response_id": "shown", "status": "shown"},
        {**answer, "kind": "nps", "response_id": "asked", "status": "shown", "event_time": NOON_MS - 7 * DAY_MS},
    ]
    account, order = {**told, "topic": "accounts"}, {**told, "topic": "orders", "type": "paid", "currency": "EUR"}
    month_ago = {"event_time": NOON_MS - 35 * DAY_MS}
    events += [
        *({**account, **month_ago, "type": kind} for kind in ("signed_up", "subscribed")),
        {**account, **month_ago, "user_id": "bob", "type": "subscribed"},
        {**account, "type": "signed_up", "user_id": "cat", "event_time": NOON_MS - 10 * DAY_MS},
        *({**account, "type": kind} for kind in ("cancelled", "onboarded")),
        {**order, "order_id": "1", "amount": 20},
        *({**told, "topic": "reviews", "review_id": stars, "stars": stars} for stars in (1, 5)),
        {**told, "topic": "features", "feature": "search"},
        {**told, "topic": "social", "type": "like", "network": "mastodon"},
        *({**told, "topic": "contacts", "type": kind, "conversation_id": "c"} for kind in _OF_A_CONVERSATION),
        {**told, "topic": "contacts", "type": "opened", "conversation_id": "old", "event_time": NOON_MS - 7 * DAY_MS},
        {**told, "topic": "social", "type": "audience", "network": "mastodon", "followers": 7},
    ]
    capex = (Capex("spring", NOON_MS // DAY_MS, NOON_MS // DAY_MS, 100, "EUR"),)
    rules = Rules(
        cohorts_from=NOON_MS // DAY_MS - 70, gross_margin=0.8, capex=capex, features={"search": 1}, health=Health()
    )
    offline = Offline(rules, READERS, at_ms=NOON_MS + DAY_MS)
    assert list(offline.apply(map(msgspec.json.encode, events))) == []
    return offline.computed()


def samples_of(computed: Computed) -> list[Sample]:
    return [*computed.live, *(sample for _, samples in computed.closed for sample in samples)]


def test_every_sample_is_of_a_metric_with_exactly_its_labels(rich: Computed) -> None:
    for sample in samples_of(rich):
        assert sample.name in BY_NAME
        assert set(sample.labels) == set(BY_NAME[sample.name].labels), sample.name


def test_a_number_is_told_of_the_windows_that_its_definition_names(rich: Computed) -> None:
    lengths = {one["name"]: one["window"]["lengths"] for one in definitions(Rules())}

    for sample in samples_of(rich):
        metric = BY_NAME[sample.name].name
        assert sample.labels.get("window") in (lengths[metric] or [None]), sample


@pytest.mark.parametrize("windows", [("2d", "5m", "1h"), ("1d",)])
def test_definitions_follow_the_settings_of_the_deployment(windows: tuple[str, ...]) -> None:
    told = {one["name"]: one for one in definitions(Rules(days=Days("Asia/Kathmandu"), windows={"sessions": windows}))}

    assert told["engagement_sessions"]["window"]["lengths"] == [
        one for one in ("5m", "1h", "1d", "2d") if one in windows
    ]
    assert told["engagement_sessions_closed"]["window"]["lengths"] == (["1d", "2d"] if "2d" in windows else ["1d"])
    assert told["engagement_sessions_closed"]["zone"] == "Asia/Kathmandu"
    assert told["engagement_active_users"]["window"]["lengths"][0] == "5m"


def test_every_sample_that_a_definition_names_is_a_count() -> None:
    for one in definitions(Rules()):
        sample = one["sample"]
        if sample is not None and sample["of"] is not None:
            counts = BY_NAME[sample["metric"]]
            assert counts.unit == sample["of"]
            assert counts.unit not in ("ratio", "seconds", "score")
            assert set(sample["labels"]) <= set(counts.labels)


# The moment of the last closed day follows from the day alone: whoever exports it writes it.
EXPORTED_ELSEWHERE = {"engagement_closed_day_timestamp_seconds"}


def test_every_business_metric_has_samples_where_something_of_everything_happened(rich: Computed) -> None:
    emitted = {sample.name for sample in samples_of(rich)}

    assert {name for metric in BUSINESS for name in metric.names} - emitted == EXPORTED_ELSEWHERE


def test_no_sample_is_told_twice(rich: Computed) -> None:
    told = defaultdict(list)
    for _, samples in [(0, rich.live), *rich.closed]:
        for sample in samples:
            told[sample.name, frozenset(sample.labels.items())].append(sample.value)

    assert all(len(values) == 1 for values in told.values())


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_asks(metric: Metric) -> None:
    assert metric.name.startswith("engagement_")
    assert (metric.type == "counter") is metric.name.endswith("_total")
    assert metric.name.endswith("_ratio") is (metric.unit == "ratio")
    assert metric.help.endswith(".")
    assert not {"user", "user_id"} & set(metric.labels)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_ratio_names_its_parts_and_they_are_metrics(metric: Metric) -> None:
    assert bool(metric.parts) or metric.unit != "ratio"
    assert all(part in BY_NAME for part in metric.parts)


def test_names_are_unique() -> None:
    names = [name for metric in CATALOGUE for name in metric.names]

    assert len(names) == len(set(names)) == len(BY_NAME)
