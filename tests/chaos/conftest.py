"""Options of `make chaos`, the Kafka that it attacks, and the table at the end.

make chaos                                              every store, for some minutes, by a seed of the moment
make chaos ARGS="--seed 7 --minutes 10 --store rocksdb"
make chaos ARGS="--runs 10 --minutes 6 --report hour.jsonl"   ten set-ups on each store, and their figures as JSON
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from tests.chaos.report import Report
from tests.chaos.setups import SERVERS, STORES, WORKERS, Pins
from tests.chaos.world import ProxiedKafka, proxied_kafka
from tests.integration.fixtures import start_kafka_or_skip
from tests.timeouts import TIMEOUT_SECONDS

# The short form: a part of every run of all tests, always the same. Together these seeds have workers with names and
# without, standbys and none, one server and two, different numbers of workers and partitions, and most kinds of faults
# (`test_short_forms.py`).
SHORT_SEEDS = {"rocksdb": 7005, "memory": 8370, "redis": 4316}
SHORT_MINUTES = 1.0

_reports: list[Report] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known only where the tests of this folder are asked for by name."""
    group = parser.getgroup("chaos")
    group.addoption("--seed", dest="chaos_seed", metavar="N|random", help="the same seed, the same faults")
    group.addoption("--runs", dest="chaos_runs", type=int, metavar="N", help="on each store, each with the next seed")
    group.addoption("--minutes", dest="chaos_minutes", type=float, help="how long faults go on in a run")
    group.addoption("--store", dest="chaos_store", choices=STORES, help="only one store")
    group.addoption("--only", dest="chaos_only", metavar="WORDS", help="only faults whose name has one of these words")
    group.addoption("--rate", dest="chaos_rate", type=float, help="events a second")
    group.addoption(
        "--well-within", dest="chaos_well_within", type=float, metavar="SECONDS", help="after each storm of faults"
    )
    group.addoption("--other-version", dest="chaos_commit", metavar="COMMIT", help="that a worker runs for a while")
    group.addoption(
        "--report", dest="chaos_report", type=Path, metavar="FILE", help="append a line of JSON for each run"
    )
    setup = parser.getgroup("chaos: what the seed does not decide")
    for part in ("workers", "servers", "partitions", "standbys"):
        setup.addoption(f"--{part}", dest=f"chaos_{part}", type=int, metavar="N")
    for name, part, value in (
        ("--named", "named", True),
        ("--unnamed", "named", False),
        ("--transactions", "transactional", True),
        ("--no-transactions", "transactional", False),
    ):
        setup.addoption(name, dest=f"chaos_{part}", action="store_const", const=value)


def _option(config: pytest.Config, name: str, default: float) -> float:
    asked = config.getoption(f"chaos_{name}", default=None)
    return default if asked is None else float(asked)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A run for each store, or for the one that was asked for; several where that was asked for."""
    if "store" in metafunc.fixturenames:
        only = metafunc.config.getoption("chaos_store", default=None)
        metafunc.parametrize("store", [store for store in STORES if only in (None, store)])
        metafunc.parametrize("number", range(int(_option(metafunc.config, "runs", 1))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run takes as long as it was asked to, and some minutes more to become well and be checked."""
    seconds = 60 * _option(config, "minutes", SHORT_MINUTES)
    for item in items:
        if "store" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(2 * seconds + 6 * TIMEOUT_SECONDS))


@pytest.fixture
def seed(pytestconfig: pytest.Config, store: str, number: int) -> int:
    """What decides how a run is set up and which faults come when."""
    asked = pytestconfig.getoption("chaos_seed", default=None)
    if asked == "random":
        return random.SystemRandom().randrange(1_000_000)
    return int(asked or SHORT_SEEDS[store]) + number


@pytest.fixture(scope="session")
def minutes(pytestconfig: pytest.Config) -> float:
    """For how long faults come."""
    return _option(pytestconfig, "minutes", SHORT_MINUTES)


@pytest.fixture(scope="session")
def only(pytestconfig: pytest.Config) -> list[str]:
    """Words of which a fault must have one; none: every fault."""
    return (pytestconfig.getoption("chaos_only", default=None) or "").split(",")


@pytest.fixture(scope="session")
def pins(pytestconfig: pytest.Config) -> Pins:
    """What of a set-up the seed does not decide."""
    parts = [field.name for field in fields(Pins)]
    return Pins(**{part: pytestconfig.getoption(f"chaos_{part}", default=None) for part in parts})


@pytest.fixture(scope="session")
def well_within(pytestconfig: pytest.Config) -> float:
    """Within how many seconds after a storm all must be well."""
    return _option(pytestconfig, "well_within", TIMEOUT_SECONDS)


@pytest.fixture(scope="session")
def rate(pytestconfig: pytest.Config) -> float:
    """Events a second."""
    return _option(pytestconfig, "rate", 150.0)


@pytest.fixture(scope="session")
def commit(pytestconfig: pytest.Config) -> str:
    """Where the other version of the code is taken from; empty: from before the last change."""
    return pytestconfig.getoption("chaos_commit", default=None) or ""


@pytest.fixture(scope="module")
def chaos_kafka(pins: Pins) -> Iterator[ProxiedKafka]:
    """A real Apache Kafka behind proxies: one for the producer, and one for each server and worker there may be."""
    proxies = 1 + max(*SERVERS, pins.servers or 0) + max(*WORKERS, pins.workers or 0)
    with proxied_kafka(start_kafka_or_skip, proxies=proxies) as proxied:
        yield proxied


@pytest.fixture(autouse=True)
def quiet_clients() -> Iterator[None]:
    """What the Kafka clients of the test log while they can't reach Kafka is thousands of lines."""
    clients = logging.getLogger("kafka")
    level = clients.level
    clients.setLevel(logging.CRITICAL)
    yield
    clients.setLevel(level)


@pytest.fixture
def reports() -> list[Report]:
    """Where a run puts what is shown when all are over."""
    return _reports


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A table for each run, and a line in the file that was asked for."""
    file = config.getoption("chaos_report", default=None)
    for report in _reports:
        terminalreporter.ensure_newline()
        terminalreporter.write_line(report.as_text())
        if file is not None:
            with file.open("a") as lines:
                lines.write(report.as_line() + "\n")
