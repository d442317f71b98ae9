"""A soak from beginning to end: start, fill, watch, recount, look into what is left."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from stream.core.time import DAY_MS
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import TopicSpec, create_topics
from tests.integration.deployment import Deployment, Program, login
from tests.integration.kafka_server import start_kafka
from tests.soak.growth import MIB, Measure, Sample, Trend, are_enough, trend, verdict
from tests.soak.left import checkpoints_of_a_round, kept_days, left_in
from tests.soak.population import LATE_BY_AT_MOST_MS, Moving
from tests.soak.recount import Compared, compared
from tests.soak.sending import Sending
from tests.soak.watching import CHANGELOG, MEASURES, TopicSize, Watching, directory_bytes, saved
from tests.state.redis_server import RedisServer
from tests.timeouts import TIMEOUT_SECONDS

# 2020-01-01T00:00Z: years pass before such a clock meets today's.
STARTS_MS: Final = 1_577_836_800_000

# The state is full after this part of a soak; its second half begins long after.
_FILLS_IN: Final = 1 / 6

# Kafka merges segments of the changelog within seconds, so that a soak sees what otherwise takes hours or days.
_QUICK_CHANGELOG: Final = {
    "segment.bytes": str(4 * MIB),
    "segment.ms": "10000",
    "min.cleanable.dirty.ratio": "0.3",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "30000",
    "delete.retention.ms": "20000",
}
# Of each partition of the inputs this much is kept: a soak must not fill the disk of who runs it.
_INPUT_LIMITS: Final = {"retention.bytes": str(16 * MIB), "segment.bytes": str(4 * MIB)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What kind of soak. `settings` are those of the deployment, by dotted name, and win over those of the soak."""

    seconds: float = 1_200.0
    users: int = 20_000  # known to the state once it is full
    store: str = "rocksdb"  # or redis
    seed: int = 1
    sampled_every: float = 2.0
    settings: Mapping[str, object] | None = None


class Outcome(NamedTuple):
    """What came of it."""

    samples: list[Sample]
    trends: list[Trend]
    wrong: list[str]  # numbers that differ from the recount, and what is left in the state that should not be
    told: list[str]  # what else is worth knowing

    @property
    def problems(self) -> list[str]:
        """Empty: everything is bounded and every number right."""
        return [*verdict(self.trends), *self.wrong]


def soak(wanted: Soak, folder: Path, tell: Callable[[str], None], *, address: str = "") -> Outcome:
    """Run a soak on the Kafka at `address`, or on one of its own; `tell` is told how it goes."""
    suffix = uuid.uuid4().hex[:8]
    with _kafka(address) as servers, _store(wanted.store, folder) as (url, store_bytes):
        chosen: dict[str, Any] = {
            "allowed_lateness": "72h",  # the default, where tests of other things take more
            "memory": "1d",  # or who has gone would be remembered for longer than a soak lasts
            "history_days": 35,  # or closed days would be added for longer than a soak lasts
            "state.url": url,
            # Far less than there is: rows, blocks and files come and go, and each limit is reached.
            "state.cached_users": wanted.users // 4,
            "state.rocksdb_memory_bytes": 8 * MIB,
            **(wanted.settings or {}),
        }
        deployment = Deployment(servers, lambda name: f"{name}-{suffix}", folder, all_kinds=False, **chosen)
        try:
            return _Run(wanted, deployment, store_bytes, tell).outcome()
        finally:
            deployment.end()


@contextmanager
def _kafka(address: str) -> Iterator[str]:
    if address:
        yield address
        return
    server = start_kafka()
    try:
        yield server.address
    finally:
        server.discard()


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """The address of the store, and what tells its size."""
    if kind == "rocksdb":
        directory = folder / "state"
        yield f"rocksdb://{directory}", lambda: directory_bytes(directory)
        return
    server = RedisServer(options={"appendonly": "yes"})
    server.start()
    try:
        yield server.url, lambda: _used_memory(server)
    finally:
        server.discard()


def _used_memory(server: RedisServer) -> float:
    told: Any = server.ask("INFO", "memory")
    return float(told["used_memory"])


class _Run:
    """One soak under way."""

    def __init__(
        self, wanted: Soak, deployment: Deployment, store_bytes: Callable[[], float], tell: Callable[[str], None]
    ) -> None:
        self._wanted, self._deployment, self._tell = wanted, deployment, tell
        self._settings = deployment.settings
        self._kept_days = kept_days(self._settings.rules)
        self._days_a_second = self._kept_days / (wanted.seconds * _FILLS_IN)
        self._pace = self._days_a_second * DAY_MS
        self._sizes = {"store": store_bytes}
        self._changelog = TopicSize(deployment.client, self._settings.changelog_topic)
        if wanted.store == "rocksdb":
            self._sizes[CHANGELOG.name] = self._changelog

    def outcome(self) -> Outcome:
        wanted = self._wanted
        users_a_day = wanted.users / self._kept_days
        self._tell(
            f"seed {wanted.seed}, {wanted.seconds / 60:g} minutes of {self._days_a_second:.2f} days a second; "
            f"a row is kept for {self._kept_days} days after its last event, which pass {1 / _FILLS_IN:g} times; "
            f"{users_a_day:,.0f} users a day arrive and never come back"
        )
        self._create_topics()
        server = self._deployment.start("serve")
        worker = self._deployment.start("worker")
        server.wait_until_ready()
        watching = Watching(
            worker, server, self._sizes, seconds=wanted.sampled_every, start_ms=STARTS_MS, pace=self._pace
        )
        sending = self._sending(users_a_day, watching)
        self._watch(sending, watching, worker)
        numbers = self._numbers(sending, server)
        self._wait_for_a_round(server)
        worker.terminate()
        worker.wait_for_exit()
        left = left_in(self._settings)
        trends = [trend(measure, watching.samples) for measure in self._measures()]
        late = f"{numbers.late:,} refused as late, {sending.too_late:,} of them on purpose"
        return Outcome(
            watching.samples,
            trends,
            wrong=[*numbers.differences, *left.problems],
            told=[f"{sending.sent:,} messages, {late}; {numbers.compared:,} numbers compared", left.told],
        )

    def _measures(self) -> list[Measure]:
        return [measure for measure in MEASURES if measure is not CHANGELOG or CHANGELOG.name in self._sizes]

    def _create_topics(self) -> None:
        more = dict.fromkeys(self._settings.input_topics.values(), _INPUT_LIMITS)
        more[self._settings.changelog_topic] = _QUICK_CHANGELOG
        specs = [
            TopicSpec(spec.name, spec.partitions, {**spec.config, **more.get(spec.name, {})})
            for spec in topic_specs(self._settings)
        ]
        create_topics(specs, client_options=self._deployment.client, replication=1)

    def _sending(self, users_a_day: float, watching: Watching) -> Sending:
        rules = self._settings.rules
        population = Moving(
            seed=self._wanted.seed,
            users_a_day=users_a_day,
            start_ms=STARTS_MS,
            late_after_ms=rules.allowed_lateness_ms or 0,
            largest_bytes=self._settings.max_message_bytes,
        )
        return Sending(
            population.messages(),
            self._settings.input_topics,
            self._deployment.client,
            start_ms=STARTS_MS,
            pace=self._pace,
            remembered_ms=(self._kept_days + 2) * DAY_MS,
            most_behind_ms=(rules.allowed_lateness_ms or 0) - LATE_BY_AT_MOST_MS,
            read=lambda: watching.read,
            closing_backlog=lambda: watching.last("closing backlog"),
            checkpoints=lambda: watching.checkpoints / self._settings.topics.partitions,
            sampled_every=self._wanted.sampled_every,
        )

    def _watch(self, sending: Sending, watching: Watching, worker: Program) -> None:
        """Send and take samples until the worker's clock has come to the end, telling now and then how it goes."""
        sending.start()
        watching.start()
        moved_at, passed, told = time.monotonic(), 0.0, 0.0
        try:
            while passed < self._wanted.seconds or not are_enough(watching.samples):
                time.sleep(0.5)
                assert worker.status is None, worker.log[-3_000:]
                sending.check()
                watching.check()
                before, passed = passed, watching.samples[-1].at if watching.samples else 0.0
                moved_at = time.monotonic() if passed > before else moved_at
                assert time.monotonic() - moved_at < TIMEOUT_SECONDS, f"the clock stands still at {passed:.0f} s"
                if watching.samples and passed >= told:
                    told += max(15.0, self._wanted.seconds / 20)
                    self._tell(_progress(watching.samples[-1]))
        finally:
            watching.stop()
            self._changelog.close()
            sending.stop()
        sending.check()

    def _numbers(self, sending: Sending, server: Program) -> Compared:
        """Wait until every message was dealt with and every number is right, for some time at most."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            counted = server.read()
            numbers = Compared(0, 0, [f"{counted:,} of {sending.sent:,} messages were dealt with"])
            if counted == sending.sent:
                numbers = compared(self._deployment, sending, server)
            if not numbers.differences or time.monotonic() > deadline:
                return numbers
            time.sleep(1.0)

    def _wait_for_a_round(self, server: Program) -> None:
        """Wait until each partition has looked at all of its rows, however long a checkpoint takes here.

        A partition saves nothing while nothing comes: each is sent an event, too late to count, for each checkpoint.
        """
        deployment = self._deployment
        for _ in range(checkpoints_of_a_round(self._wanted.users, self._settings.topics.partitions)):
            wanted = saved(server) + self._settings.topics.partitions
            deployment.send(login(user, STARTS_MS) for user in deployment.user_of_each_partition)
            server.wait_until(partial(has_saved, server, wanted), "each partition has saved")


def has_saved(server: Program, wanted: int) -> bool:
    """Whether the partitions have saved at least so often."""
    return saved(server) >= wanted


def _progress(sample: Sample) -> str:
    values = sample.values
    date = time.strftime("%Y-%m-%d", time.gmtime(values["clock"]))
    sizes = {name: values[name] / MIB for name in ("store", CHANGELOG.name, "worker memory") if name in values}
    told = ", ".join(f"{name} {size:.1f} MiB" for name, size in sizes.items())
    return (
        f"{sample.at:5.0f} s  {date}  {values['rows of users']:,.0f} users, {told}, lag {values['lag']:,.0f}, "
        f"{values['applied']:,.0f} records/s"
    )
