"""The short form of `make soak`: half a minute in which years pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.kafka_server import RunningKafka
from tests.soak.growth import table, verdict
from tests.soak.run import Soak, soak

# Memory and files settle within many minutes: these are judged by the long form.
COUNTED = ("rows of users", "rows of totals", "worker threads")
# What is never dropped grows by two thirds. In so short a time one checkpoint is a tenth.
MAY_GROW = 0.3

# So fast a clock is weeks ahead in one topic while another is still read: that makes nobody late.
SETTINGS = {"allowed_lateness": "30d", "retention": "1d", "windows.surveys": "1d,7d,28d"}


@pytest.mark.slow
def test_what_is_kept_is_bounded_while_users_come_and_go(kafka: RunningKafka, tmp_path: Path) -> None:
    wanted = Soak(seconds=45, users=1_500, sampled_every=1, settings=SETTINGS)

    outcome = soak(wanted, tmp_path, print, address=kafka.address)

    print(table(outcome.trends), *outcome.told, sep="\n")  # noqa: T201  shown when the test fails
    assert outcome.wrong == []
    counted = [trend for trend in outcome.trends if trend.measure.name in COUNTED]
    assert len(counted) == len(COUNTED)
    assert verdict([replace(trend, measure=replace(trend.measure, may_grow=MAY_GROW)) for trend in counted]) == []
