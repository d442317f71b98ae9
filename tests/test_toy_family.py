"""A family is a module and a line in the list: a toy family is part of all, though `stream/` does not name it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.core.families.registry import FAMILIES
from stream.core.partition.partition import Partition
from stream.core.report import closed_samples, live_samples
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.time import DAY_MS, HOUR_MS
from stream.inputs.registry import reader
from stream.settings import SettingsError, load
from tests.core.live import Worker, message
from tests.timeouts import TIMEOUT_SECONDS
from tests.toy_family import ToysFamily

NOON_MS = 1_704_110_400_000
DAY = NOON_MS // DAY_MS
NEVER_MS = 1 << 60


@pytest.fixture
def _with_toys() -> Iterator[None]:
    FAMILIES.append(ToysFamily)
    yield
    FAMILIES.remove(ToysFamily)


def play(user: str, after_ms: int = 0, toy: str = "ball", **told: Any) -> dict[str, Any]:
    return {"user_id": user, "event_time": NOON_MS + after_ms, "toy": toy, **told}


PLAYS = (
    play("ann"),
    play("ann"),  # the same sent twice
    play("ann", 1, "car", broke=True),
    play("bob", -DAY_MS, "doll"),
    play("cat", 2, "kite"),
    play("cat", 2 - 40 * DAY_MS, "kite"),  # late, and before all windows
)

EXPECTED = {
    ("engagement_toys_played", "1h"): 3,
    ("engagement_toys_played", "1d"): 3,
    ("engagement_toys_played", "7d"): 4,
    ("engagement_toys_broken", "7d"): 1,
    ("engagement_toys_broken_ratio", "7d"): 0.25,
}
EXPECTED_CLOSED = {
    ("engagement_toy_players_closed", "1d"): 2,
    ("engagement_toy_players_closed", "7d"): 3,
    ("engagement_toys_played_closed", "1d"): 3,
    ("engagement_toys_broken_closed_ratio", "7d"): 0.25,
}


def values(samples: list[Sample]) -> dict[tuple[str, str], float]:
    return {(one.name, one.labels.get("window", "")): one.value for one in samples}


def deliver(worker: Worker, *told: dict[str, Any]) -> list[str]:
    toys = reader(format="native", kind="toys")
    refused, _ = worker.apply("toys", [message(one) for one in told], reader=toys, not_after_ms=NEVER_MS)
    return [one.reason.value for one in refused]


def numbers(*partitions: Partition) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """The live numbers of partitions together, and those of the closed day."""
    first, *others = (partition.snapshot() for partition in partitions)
    for other in others:
        first = first + other
    return values(live_samples(first, Rules())), values(closed_samples(first, Rules(), DAY))


@pytest.mark.usefixtures("_with_toys")
def test_a_partition_counts_it_and_goes_on_after_each_crash() -> None:
    rules = Rules(allowed_lateness_ms=50 * DAY_MS)
    worker = Worker(rules)
    for told in PLAYS:
        assert deliver(worker, told) == []
        worker.partition.tick(NOON_MS + HOUR_MS - 1, behind=())
        worker.restart()
    live, _ = numbers(worker.partition)
    assert EXPECTED.items() <= live.items()

    worker.partition.tick(NOON_MS + DAY_MS, behind=())
    assert EXPECTED_CLOSED.items() <= numbers(worker.partition)[1].items()
    assert worker.partition.progress.outcomes["toys"] == {"applied": 5, "duplicate": 1}
    assert deliver(worker, play("dan", toy="")) == ["out_of_range"]


@pytest.mark.usefixtures("_with_toys")
def test_partitions_add() -> None:
    workers = {user: Worker(Rules(allowed_lateness_ms=50 * DAY_MS)) for user in ("ann", "bob", "cat")}
    for told in PLAYS:
        deliver(workers[told["user_id"]], told)
    for worker in workers.values():
        worker.partition.tick(NOON_MS + HOUR_MS - 1, behind=())
    live, _ = numbers(*(worker.partition for worker in workers.values()))
    assert EXPECTED.items() <= live.items()

    for worker in workers.values():
        worker.partition.tick(NOON_MS + DAY_MS, behind=())
    assert EXPECTED_CLOSED.items() <= numbers(*(worker.partition for worker in workers.values()))[1].items()


@pytest.mark.usefixtures("_with_toys")
def test_its_part_lies_beside_the_others_and_costs_them_nothing() -> None:
    worker = Worker(Rules())
    login = message({"user_id": "ann", "event_time": NOON_MS})
    worker.apply("logins", [login], not_after_ms=NEVER_MS)
    worker.checkpoint()
    assert sorted(msgspec.msgpack.decode(worker.store[b"user/ann"])) == [0, 1, 3]

    deliver(worker, play("ann"))
    worker.forget()
    assert sorted(msgspec.msgpack.decode(worker.store[b"user/ann"])) == [0, 1, 3, 1_000]
    assert any(key.startswith(b"ring/toys/") for key in worker.store)
    assert any(key.startswith(b"days/toys/") for key in worker.store)


@pytest.mark.usefixtures("_with_toys")
def test_state_from_before_the_family_was_there_goes_on() -> None:
    FAMILIES.remove(ToysFamily)
    before = Worker(Rules())
    before.apply("logins", [message({"user_id": "ann", "event_time": NOON_MS})], not_after_ms=NEVER_MS)
    before.forget()
    FAMILIES.append(ToysFamily)

    worker = Worker(Rules())
    worker.store = before.store
    worker.partition.restore(worker.store.pages)
    deliver(worker, play("ann", 1))
    worker.partition.tick(NOON_MS + HOUR_MS - 1, behind=())
    live, _ = numbers(worker.partition)

    assert (live["engagement_toys_played", "1d"], live["engagement_logins", "1d"]) == (1, 1)


@pytest.mark.usefixtures("_with_toys")
def test_its_windows_and_its_topic_are_settings_like_any_other() -> None:
    settings = load(None, {"ENGAGEMENT_WINDOWS_TOYS": "1d"})

    assert settings.rules.windows_of(ToysFamily.windows) == ("1d",)
    assert settings.shared["windows.toys"] == "1d"
    assert settings.input_topics["toys"] == "toys"
    assert "toys" in settings.readers


def test_without_it_nobody_knows_its_settings() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting: the variable ENGAGEMENT_WINDOWS_TOYS"):
        load(None, {"ENGAGEMENT_WINDOWS_TOYS": "1d"})
    assert "toys" not in load(None, {}).readers


def engagement(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `engagement` with the family."""
    command = [sys.executable, "-m", "tests.toy_engagement", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


def test_compute_reads_its_lines_and_tells_its_numbers(tmp_path: Path) -> None:
    lines = [{"topic": "toys", **told} for told in PLAYS]
    lines.append({"topic": "logins", "user_id": "ann", "event_time": NOON_MS + HOUR_MS - 1})
    file = tmp_path / "toys.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))

    done = engagement("compute", str(file), "--as", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    live = {(one["name"], one["labels"].get("window", "")): one["value"] for one in told["live"]}
    assert EXPECTED.items() <= live.items()
    assert live["engagement_toys_broken_ratio_lower", "7d"] < 0.25 < live["engagement_toys_broken_ratio_upper", "7d"]
    assert told["events"]["applied"] == 6

    table = engagement("compute", str(file), "--at", "2024-01-02T12:00:00Z")
    assert "toys_broken_ratio" in table.stdout
    assert "toy_players_closed" in table.stdout


@pytest.mark.usefixtures("_with_toys")
@pytest.mark.parametrize("forgets", [False, True])
def test_whoever_is_erased_is_taken_out_of_the_toys_too(forgets: bool) -> None:
    worker, kept = (Worker(Rules(erases=True)) for _ in range(2))
    for one in PLAYS:
        deliver(worker, one)
        if one["user_id"] != "ann":
            deliver(kept, one)
    request = message({"user_id": "ann", "event_time": NOON_MS + 9, "type": "erase"})
    for day in range(5):
        for either in (worker, kept):
            deliver(either, play("dan", day * DAY_MS, "ball"))
            either.partition.tick(NOON_MS + day * DAY_MS, behind=())
            if forgets:  # what late events can't change any more
                either.restart()
    worker.apply("privacy", [request], not_after_ms=NEVER_MS)

    live, closed = numbers(worker.partition)
    assert (live, closed) == numbers(kept.partition)
    assert live["engagement_toys_played", "7d"] == 7
