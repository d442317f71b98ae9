"""A deployment for tests: `engagement` as real processes, what was sent to it, and what its numbers must then be.

Tests produce to it, kill parts of it, and end with one question: does every gauge equal a recount of all that was
produced? The recount is `engagement compute` on the same messages: the same core, but one partition, one pass, no
broker, no checkpoint and no crash.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from stream.core import catalogue
from stream.core.families.registry import message_kinds
from stream.core.offline import Computed, Offline
from stream.core.rejections import Reason
from stream.core.samples import Sample
from stream.core.time import DAY_MS, HOUR_MS, date_of
from stream.kafka.topic_specs import topic_specs
from stream.kafka.topics import TopicSpec, admin_client, create_topics
from stream.partitioning import partition_of
from stream.processes import command_that_dies_with_parent
from stream.settings import Settings, load
from stream.simulate.bulk_producer import BulkProducer
from stream.simulate.producer import EventProducer
from stream.simulate.recording import ReplayEvent
from stream.simulate.simulator import SimulatorSettings, simulate
from tests import faked_clock
from tests.faked_clock import FakedClock
from tests.integration.processes import PROGRAM, Executed, Forked, Process
from tests.native import READERS
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

STALE_AFTER_SECONDS = 4

# 2025-03-01T00:00Z. Any fixed moment of the past does: `--clock event` is blind to today.
LOAD_STARTS_MS = 1_740_787_200_000

# A look keeps the server and the test busy. Between two looks a test sleeps for at least so many seconds, and for three
# times as long as a look takes, so that the machine is free for what the test waits for.
_POLL_SECONDS = 0.2
_PAUSE_OF_A_LOOK = 3
_LONGEST_PAUSE_SECONDS = 2.0
_TOLERANCE = 1e-9
_CLOSED_DAYS = 35  # the most that the API tells
# Of a difference in many numbers, so many are shown.
_SHOWN = 15
# Outages of Kafka may add up to more than the minute after which a producer gives up, and so may a busy machine.
_PATIENT = {"delivery_timeout_ms": 900_000, "max_block_ms": 900_000}

# Settings of a population that sends every kind of messages.
ALL_KINDS: dict[str, float] = {"customers": True, "further_topics": True}

_EVENTS = "engagement_events_total"
_BUSINESS = frozenset(name for metric in catalogue.BUSINESS for name in metric.names)

Numbers = dict[str, float]


def simulated(*, users: int, days: int, **population: float) -> list[ReplayEvent]:
    """A believable load in order of arrival, `topic` being ours.

    `population` are more settings of the simulator: shares of events that are faults, and which topics there are.
    """
    return list(arriving(users=users, days=days, **population))


def arriving(*, users: int, days: int, **population: float) -> Iterator[ReplayEvent]:
    """The same, each event when it is asked for."""
    world = SimulatorSettings(users=users, **population)  # type: ignore[arg-type]  # mypy takes them for the seed
    for event in simulate(world, start_ms=LOAD_STARTS_MS, end_ms=LOAD_STARTS_MS + days * DAY_MS):
        yield ReplayEvent(event.arrives_at_ms, event.topic, event.key, event.value)


def login(user: str, at_ms: int) -> ReplayEvent:
    """A successful login."""
    value = json.dumps({"user_id": user, "event_time": at_ms}).encode()
    return ReplayEvent(at_ms, "logins", user, value)


class Program:
    """One process of `engagement`, from its start until `end`."""

    def __init__(self, process: Process, *, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self.started = time.monotonic()
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All it has written, to standard output and standard error."""
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.status

    @property
    def partitions(self) -> set[int]:
        """The partitions that it has taken over last, by its log."""
        taken = [line for line in self.log.splitlines() if "partitions taken over" in line]
        return set(json.loads(taken[-1])["partitions"]) if taken else set()

    @property
    def takeovers(self) -> int:
        """How often it has taken partitions over: after each rebalance that it took part in."""
        return self.log.count("partitions taken over")

    # -- what it serves --------------------------------------------------------------------------------------------

    def get(self, path: str, *, seconds: float = 10) -> tuple[int, str]:
        """Status and body of a page; status 0 and the reason where nobody answers within so many seconds."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def api(self, *, days: int = 1) -> dict[str, Any]:
        """What /api/v1/metrics tells, with so many closed days, or nothing. That of many days costs a second of CPU."""
        status, body = self.get(f"/api/v1/metrics?days={days}")
        return msgspec.json.decode(body) if status == 200 else {}

    def metrics(self, *names: str) -> Numbers:
        """What /metrics tells, each sample under its name and labels; of these metrics alone, where any are named."""
        status, page = self.get(_page_of(names), seconds=TIMEOUT_SECONDS)
        assert status == 200, page
        return {_named(sample.name, sample.labels): sample.value for sample in _samples_of(page)}

    def standings(self) -> list[dict[str, Any]]:
        """How it says that each partition stands."""
        standings: list[dict[str, Any]] = self.api().get("partitions", [])
        return standings

    def outcomes(self) -> Counter[str]:
        """How many events met which fate, over all topics; none where nobody answers."""
        status, page = self.get(_page_of([_EVENTS]))
        counts: Counter[str] = Counter()
        for sample in _samples_of(page) if status == 200 else ():
            if sample.value:
                counts[sample.labels["outcome"]] += int(sample.value)
        return counts

    def read(self) -> int:
        """How many of the events sent it has dealt with."""
        return sum(count for outcome, count in self.outcomes().items() if outcome != "rekeyed")

    # -- waiting for it --------------------------------------------------------------------------------------------

    def wait_until(self, holds: Callable[[], object], what: str, *, seconds: float = TIMEOUT_SECONDS) -> float:
        """Wait for something to hold while it runs; returns how long that took. Fails with its log."""
        started = looked = time.monotonic()
        while not holds():
            assert self.status is None, f"it ended with {self.status} before {what}:\n{self._tail()}"
            waited = time.monotonic() - started
            assert waited < seconds, f"not within {seconds:g} s: {what}; {self.get('/readyz')}\n{self._tail()}"
            took = time.monotonic() - looked
            time.sleep(min(max(_POLL_SECONDS, _PAUSE_OF_A_LOOK * took), _LONGEST_PAUSE_SECONDS))
            looked = time.monotonic()
        return time.monotonic() - started

    def wait_until_ready(self) -> float:
        """Wait for /readyz; returns the seconds since its start."""
        self.wait_until(lambda: self.get("/readyz")[0] == 200, "ready")
        return time.monotonic() - self.started

    def wait_for_exit(self, *, seconds: float = TIMEOUT_SECONDS) -> int:
        """Wait until it has ended by itself; returns its status."""
        status = self._process.wait(seconds)
        assert status is not None, f"it still runs after {seconds:g} s:\n{self._tail()}"
        return status

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-25:])

    # -- ending it -------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it as a power cut does."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it stand still, as a machine does that is suspended."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if no time had passed."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that it is gone."""
        self._process.end()

    def _signal(self, number: signal.Signals) -> None:
        # It may have ended since.
        with suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.pid, number)


class StoredRecord(NamedTuple):
    """A record as it lies in Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset

    @property
    def origin(self) -> tuple[str, int, int]:
        """Where its headers say that it was produced to."""
        partition, offset = (int(self.headers[f"origin-{name}"]) for name in ("partition", "offset"))
        return self.headers["origin-topic"].decode(), partition, offset


def logs_of(topic: str, admin: Any) -> list[Any]:
    """What an open admin client says of the logs of a topic's partitions, of all brokers: none once it is deleted."""
    return [
        log
        for broker in admin.describe_log_dirs([topic])
        for directory in broker["log_dirs"]
        for described in directory["topics"]
        for log in described["partitions"]
    ]


class Deployment:
    """A deployment with topics and state of its own, and a topic for every kind of messages if it reads `all_kinds`.

    `settings` are overrides by dotted name.
    """

    def __init__(
        self,
        address: str,
        unique: Callable[[str], str],
        folder: Path,
        *,
        all_kinds: bool = False,
        **settings: object,
    ) -> None:
        self.address = address
        inputs = message_kinds() if all_kinds else ("sessions", "logins", "surveys")
        self._folder = folder
        chosen = {
            "app_id": unique("app"),
            "clock": "event",
            "allowed_lateness": "30d",
            "kafka.servers": address,
            "kafka.session_timeout": "6s",
            "server.stale_after": f"{STALE_AFTER_SECONDS}s",
            "log.format": "json",
            "health.enabled": "true",
            **{f"topics.{topic}": unique(topic) for topic in inputs},
            **settings,
        }
        self.variables = {f"ENGAGEMENT_{name.replace('.', '_').upper()}": str(value) for name, value in chosen.items()}
        self.settings: Settings = load(None, self.variables)
        self.client: dict[str, object] = {"bootstrap_servers": address}
        self.programs: list[Program] = []
        self.module = PROGRAM  # what is run, as in python -m
        self.piped: set[str] = set()  # names of programs whose log another process writes
        self.forks = False  # whether processes are forked from one that has imported everything
        self.code: dict[str, Path] = {}  # by name of those that are of another version: where it lies
        # By name of those whose machine has a clock that can be set. Another version goes by the clock of this machine.
        self.clocks: dict[str, FakedClock] = {}
        self._commands: list[subprocess.Popen[str]] = []
        self._recounting: Offline | None = None
        self._lines: list[bytes] = []  # what was sent since the last recount
        self._expected: Counter[str] = Counter()

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self, command: str = "run", *options: str, name: str = "", **settings: str) -> Program:
        """Start `engagement run`, `worker` or `serve`. Those of one `name` share a disk."""
        port = free_port()
        name = name or command
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")}
        environment |= {"ENGAGEMENT_STATE_URL": f"rocksdb://{self.disk(name)}", **self.variables}
        environment |= {"ENGAGEMENT_SERVER_PORT": str(port), **settings}
        log = self._folder / f"{name}-{len(self.programs)}.log"
        module = self.module
        if name in self.clocks and name not in self.code:
            environment |= self.clocks[name].variables
            module = faked_clock.__name__
        process: Process
        if self.forks and name not in self.piped and name not in self.code and module == PROGRAM:
            process = Forked([command, *options], environment, log)
        else:
            piped, code = name in self.piped, self.code.get(name)
            process = Executed([command, *options], environment, log, piped=piped, code=code, module=module)
        program = Program(process, port=port, log=log)
        self.programs.append(program)
        return program

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `engagement` to its end."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")}
        environment |= {**self.variables, **settings}
        if self.forks:
            return self._forked(arguments, environment)
        return subprocess.run(
            [sys.executable, "-m", PROGRAM, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    def _forked(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            output, errors = Path(folder, "output"), Path(folder, "errors")
            process = Forked(arguments, environment, output, errors=errors)
            try:
                status = process.wait(TIMEOUT_SECONDS)
            finally:
                process.end()
            assert status is not None, f"{arguments} still runs after {TIMEOUT_SECONDS:g} s"
            return subprocess.CompletedProcess(arguments, status, output.read_text(), errors.read_text())

    @property
    def each_partition(self) -> list[str]:
        """The options that name all partitions."""
        return [word for number in self.all_partitions for word in ("--partition", str(number))]

    def begin(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start a command of `engagement` that ends by itself; its output is text in pipes."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGEMENT_")}
        process = subprocess.Popen(
            command_that_dies_with_parent([sys.executable, "-m", "stream.cli", *arguments]),
            env={**environment, **self.variables, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._commands.append(process)
        return process

    def disk(self, name: str = "run") -> Path:
        """Where the state of the processes of a name lies."""
        return self._folder / f"state-{name}"

    def end(self) -> None:
        """End all processes that were started."""
        for program in self.programs:
            program.end()
        for process in self._commands:
            process.kill()
            process.communicate()

    # -- events ----------------------------------------------------------------------------------------------------

    def create_topics(self, *, changelog: Mapping[str, str] | None = None, **config: str) -> None:
        """Create the topics, the inputs with some settings of Kafka's (dots as underscores), the changelog too."""
        told = {name.replace("_", "."): value for name, value in config.items()}
        more = dict.fromkeys(self.settings.input_topics.values(), told)
        more[self.settings.changelog_topic] = dict(changelog or {})
        specs = [
            TopicSpec(spec.name, spec.partitions, {**spec.config, **more.get(spec.name, {})})
            for spec in topic_specs(self.settings)
        ]
        create_topics(specs, client_options=self.client, replication=1)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic, and wait until Kafka has closed its logs.

        Until then it would still write into them what is produced to a new topic of that name, confirm it, and lose it.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with admin_client(self.client) as admin:
            admin.delete_topics([topic])
            while logs_of(topic, admin):
                assert time.monotonic() < deadline, f"{topic} is still there"
                time.sleep(0.05)

    def recreate_topic(self, topic: str, **config: str) -> None:
        """Delete a topic, and create it again with the settings that `create_topics` would give it."""
        self.delete_topic(topic)
        self.create_topics(changelog=None, **config)

    def send(self, events: Iterable[ReplayEvent]) -> None:
        """Produce events in the given order and take them into the recount; returns when Kafka has all."""
        wanted = list(events)
        self.expect((event.topic, event.value) for event in wanted)
        self._produce(wanted)

    def send_refused(self, reason: Reason, events: list[ReplayEvent]) -> None:
        """Produce events that must be refused for their time, which a recount does not know about."""
        self.expect_refused(reason, len(events))
        self._produce(events)

    def send_unexpected(self, events: list[ReplayEvent]) -> None:
        """Produce events that nothing will count."""
        self._produce(events)

    def _produce(self, events: Sequence[ReplayEvent]) -> None:
        asyncio.run(self._produce_in_bulk(events))

    async def _produce_in_bulk(self, events: Sequence[ReplayEvent]) -> None:
        topics, partitions = self.settings.input_topics, self.settings.topics.partitions
        async with BulkProducer({"bootstrap_servers": self.address}, topics=topics, partitions=partitions) as producer:
            await producer.send(events)
            await producer.flush()

    @contextmanager
    def load(
        self, events: Iterable[ReplayEvent], *, rate: float, kind: type[Load] | None = None, **options: object
    ) -> Iterator[Load]:
        """Produce events at a rate for as long as the block runs; all that were sent are in Kafka after it.

        `options` are those of the producer, such as another address of Kafka's.
        """
        load = (kind or Load)(events, self.settings.input_topics, {**self.client, **_PATIENT, **options}, rate=rate)
        load.start()
        try:
            yield load
        finally:
            load.stop()
        self.expect((event.topic, event.value) for event in load.sent)

    def send_to_every_partition(self) -> None:
        """Produce an event to each partition, all of one moment after the newest.

        With `--clock event` each worker's clock is the newest event of its own partitions: now all are the same.
        """
        newest_ms = self.newest_ms + HOUR_MS
        self.send(login(user, newest_ms) for user in self.user_of_each_partition)

    def expect(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Take messages, by input and value, into the recount."""
        for topic, value in messages:
            self._lines.append(line_of(topic, value))
            if not value.strip():  # a file may have blank lines, which are no messages
                self._expected["invalid"] += 1

    def expect_refused(self, reason: Reason, count: int) -> None:
        """Expect messages to be refused that a recount can't see: null ones, late ones, ones of the future."""
        outcome = reason.value if reason in (Reason.LATE, Reason.FUTURE) else "invalid"
        self._expected[outcome] += count

    def stored(
        self, topics: Iterable[str], *, at_least: int = 0, seconds: float = TIMEOUT_SECONDS, committed: bool = True
    ) -> list[StoredRecord]:
        """All records of some topics, or `committed` ones. Reads up to where they end now, and `at_least` many."""
        names = list(topics)
        consumer = KafkaConsumer(
            **self.client,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=64 * 1024 * 1024,
            isolation_level="read_committed" if committed else "read_uncommitted",
            check_crcs=False,  # it adds them up in Python, byte by byte
        )
        places = [TopicPartition(name, number) for name in names for number in self.all_partitions]
        consumer.assign(places)
        found: list[StoredRecord] = []
        deadline = time.monotonic() + seconds
        ends = consumer.end_offsets(places)
        while time.monotonic() < deadline and (
            len(found) < at_least or any(consumer.position(place) < end for place, end in ends.items())
        ):
            fetched = consumer.poll(timeout_ms=300)
            found += [_stored(record) for batch in fetched.values() for record in batch]
        consumer.close()
        return found

    def committed(self) -> dict[tuple[str, int], int]:
        """The offsets that the consumer group has committed, by topic and partition."""
        group = self.settings.app_id
        admin = KafkaAdminClient(**self.client)
        committed = admin.list_group_offsets({group: None})[group]
        admin.close()
        return {(place.topic, place.partition): told.offset for place, told in committed.items() if told.offset > 0}

    def produced(
        self, *, at_least: int = 1, seconds: float = TIMEOUT_SECONDS
    ) -> dict[tuple[str, int, int], StoredRecord]:
        """What lies in the inputs, by topic, partition and offset."""
        found = self.stored(self.settings.input_topics.values(), at_least=at_least, seconds=seconds)
        return {record.place: record for record in found}

    def dead_letters(self, *, at_least: int, seconds: float = TIMEOUT_SECONDS) -> list[StoredRecord]:
        """What lies in the dead-letter topics."""
        topics = (self.settings.dead_letter_topic(topic) for topic in self.settings.input_topics.values())
        return self.stored(topics, at_least=at_least, seconds=seconds)

    @property
    def newest_ms(self) -> int:
        """The newest event time of all that was sent."""
        return self._recount_of_all().newest_ms

    @property
    def user_of_each_partition(self) -> list[str]:
        """A user for each partition, in order: an event of each at one moment sets the same clock everywhere."""
        partitions = self.settings.topics.partitions
        users = {partition_of(f"user-{n}".encode(), partitions): f"user-{n}" for n in range(100 * partitions)}
        return [users[number] for number in self.all_partitions]

    @property
    def all_partitions(self) -> range:
        """The numbers of all partitions."""
        return range(self.settings.topics.partitions)

    # -- what must come out ----------------------------------------------------------------------------------------

    def recount(self) -> Computed:
        """All numbers of what was sent, counted apart."""
        return self._recount_of_all().computed(days=_CLOSED_DAYS)

    def _recount_of_all(self) -> Offline:
        """The one pass over what was sent, continued up to now."""
        if self._recounting is None:
            self._recounting = Offline(self.settings.rules, READERS)
        for _ in self._recounting.apply(self._lines):
            pass
        self._lines.clear()
        return self._recounting

    def expected_outcomes(self, recount: Computed) -> Counter[str]:
        """What must have become of all events. Whether one counts as a duplicate may depend on the order of arrival."""
        return _accepted_or_not(Counter(recount.events) + self._expected)

    def wait_until_every_gauge_equals_the_recount(
        self, program: Program, *, seconds: float = TIMEOUT_SECONDS, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Wait until a server is ready and tells the recounted numbers, all of them and no others."""
        recount = self.recount()
        expected, page = self.expected_outcomes(recount), _page_numbers_of(recount)
        numbers = {days: _numbers_of(recount, days=days) for days in (1, _CLOSED_DAYS)}
        differing = ["nothing was read"]

        def equal() -> bool:
            meanwhile()
            differing[:] = _differences_between(program, expected, numbers) or _differences_of_page(program, page)
            return not differing

        try:
            program.wait_until(equal, "every gauge equals the recount", seconds=seconds)
        except AssertionError as error:
            more = f"\n… and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
            raise AssertionError(f"{error}\n\n" + "\n".join(differing[:_SHOWN]) + more) from None


class Load(threading.Thread):
    """A producer at work while a test does other things. `sent` is what will be in Kafka to be counted."""

    def __init__(
        self, events: Iterable[ReplayEvent], topics: dict[str, str], client: dict[str, object], *, rate: float
    ) -> None:
        super().__init__(name="load", daemon=True)
        self._events, self._topics, self._client, self._rate = iter(events), topics, client, rate
        self._enough = threading.Event()
        self._repeated: deque[int] = deque()
        self._failure: Exception | None = None
        self.sent: list[ReplayEvent] = []
        self.lost: list[str] = []  # what Kafka said it had and has not, known when the load has stopped

    def run(self) -> None:
        """Produce until it is enough."""
        try:
            self._produce()
        except Exception as error:  # noqa: BLE001  raised again where the load is stopped
            self._failure = error

    def _produce(self) -> None:
        """Send a tenth of a second's worth ten times a second."""
        with EventProducer(self._client) as producer:
            while not self._enough.wait(0.1):
                self.sent += self._hand_over(producer, self._due())

    def _hand_over(self, producer: EventProducer, events: list[ReplayEvent]) -> list[ReplayEvent]:
        """Give events to a producer; returns them."""
        for event in events:
            producer.send(self._topics[event.topic], event.key, event.value)
        return events

    def _due(self) -> list[ReplayEvent]:
        """What is to be sent within the next tenth of a second."""
        again = self.sent[-self._repeated.popleft() :] if self._repeated else []
        return [*again, *islice(self._events, round(self._rate / 10))]

    def repeat(self, count: int) -> None:
        """Send the last so many events again, as a producer does that has lost its place."""
        self._repeated.append(count)

    def through(self) -> Callable[[], bool]:
        """What tells whether nothing that was begun before this moment keeps readers from what is sent after it."""
        return lambda: True

    def why_sent(self, number: int) -> str:
        """Why an event, by its place in `sent`, is believed to be in Kafka."""
        return "Kafka has confirmed it"

    def stop(self) -> None:
        """Stop when all that was sent is delivered. Raises what went wrong meanwhile."""
        self._enough.set()
        self.join()
        if self._failure is not None:
            raise self._failure


# -- numbers by name ---------------------------------------------------------------------------------------------


def _differences_between(program: Program, expected: Counter[str], numbers: Mapping[int, Numbers]) -> list[str]:
    """Why a server can't be trusted, and each number in which it differs from what was recounted; one a line.

    `numbers` are those with so many closed days, few first: those of five weeks are megabytes, and are asked for when
    nothing else is wrong any more.
    """
    differences = _differences(_prefixed(expected), _prefixed(_accepted_or_not(program.outcomes())))
    for days, wanted in numbers.items():
        differences = differences or _differences_of_api(program, expected, wanted, days=days)
    return differences


def _differences_of_api(program: Program, expected: Counter[str], numbers: Numbers, *, days: int) -> list[str]:
    """The same, of what the API tells with so many closed days."""
    status, body = program.get(f"/api/v1/metrics?days={days}")
    if status != 200:
        return ["the server does not answer"]
    told = msgspec.json.decode(body, type=_Told)
    return [
        *(f"not ready: {reason}" for reason in told.unready),
        *_differences(_prefixed(expected), _prefixed(_accepted_or_not(_outcomes(told)))),
        *_differences(numbers, _told_numbers(told)),
    ]


class _ToldSample(msgspec.Struct, gc=False):
    """A sample of the API, of which it tells more."""

    name: str
    labels: dict[str, str]
    value: float


class _ToldDay(msgspec.Struct):
    day: str
    samples: list[_ToldSample]


class _Told(msgspec.Struct):
    """What the API tells, as far as it is compared."""

    unready: list[str]
    live: list[_ToldSample]
    closed: list[_ToldDay]
    health: list[_ToldSample]


def _page_numbers_of(recount: Computed) -> Numbers:
    """What /metrics must tell of users: the live numbers and those of the last closed day, and no others."""
    return dict(_numbers("", [*recount.live, *(one for _, samples in recount.closed[-1:] for one in samples)]))


def _differences_of_page(program: Program, wanted: Numbers) -> list[str]:
    """Each number of /metrics in which a server differs from what it must tell; one a line."""
    status, text = program.get("/metrics")
    if status != 200:
        return [f"/metrics answers {status}: {text}"]
    told = {_named(sample.name, sample.labels): sample.value for sample in _samples_of(text)}
    page = {name: value for name, value in told.items() if name.partition("{")[0] in _BUSINESS}
    page.pop("engagement_closed_day_timestamp_seconds", None)
    return [f"/metrics: {difference}" for difference in _differences(wanted, page)]


def _page_of(names: Iterable[str]) -> str:
    """The path of /metrics with these metrics alone; with all where none is named."""
    return "/metrics?" + urllib.parse.urlencode([("name[]", name) for name in names])


def _samples_of(page: str) -> Iterator[Any]:
    return (sample for family in text_string_to_metric_families(page) for sample in family.samples)


def _named(name: str, labels: Mapping[str, str]) -> str:
    return _named_by(name, *labels.items())


# Each day has the same ones.
@lru_cache(maxsize=50_000)
def _named_by(name: str, *labels: tuple[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in sorted(labels))
    return f"{name}{{{told}}}" if told else name


def _numbers(prefix: str, samples: Iterable[Sample | _ToldSample]) -> Iterator[tuple[str, float]]:
    for sample in samples:
        yield prefix + _named(sample.name, sample.labels), sample.value


def _numbers_of(computed: Computed, *, days: int) -> Numbers:
    numbers = dict(_numbers("", computed.live))
    for day, samples in computed.closed[-days:]:
        numbers.update(_numbers(f"{date_of(day).isoformat()} ", samples))
    return numbers


def _told_numbers(told: _Told) -> Numbers:
    numbers = dict(_numbers("", told.live))
    for day in told.closed:
        numbers.update(_numbers(f"{day.day} ", day.samples))
    return numbers


def _outcomes(told: _Told) -> Counter[str]:
    counts: Counter[str] = Counter()
    for sample in told.health:
        if sample.name == _EVENTS and sample.value:
            counts[sample.labels["outcome"]] += int(sample.value)
    return counts


def _accepted_or_not(outcomes: Counter[str]) -> Counter[str]:
    """The outcomes that add up to what was produced."""
    told = {outcome: outcomes[outcome] for outcome in ("late", "future", "invalid", "bot")}
    return Counter({"applied or duplicate": outcomes["applied"] + outcomes["duplicate"], **told})


def _prefixed(outcomes: Counter[str]) -> Numbers:
    return {f"events {outcome}": count for outcome, count in outcomes.items()}


def _differences(wanted: Numbers, told: Numbers) -> list[str]:
    different = [
        name
        for name in wanted.keys() | told.keys()
        if name not in wanted or name not in told or abs(wanted[name] - told[name]) > _TOLERANCE
    ]
    return [
        f"{name}: recounted {wanted.get(name, 'absent')}, told {told.get(name, 'absent')}" for name in sorted(different)
    ]


# -- messages ----------------------------------------------------------------------------------------------------


def line_of(topic: str, value: bytes) -> bytes:
    """A line of a file: the message with its topic. What is no object stays as it is, and is refused for that."""
    bare = value.lstrip(b" \t\r\n")
    if bare[:1] != b"{":
        return value
    comma = b"" if bare[1:].lstrip(b" \t\r\n")[:1] == b"}" else b","
    return b'{"topic":"' + topic.encode() + b'"' + comma + bare[1:]


def _stored(record: Any) -> StoredRecord:
    headers = dict(record.headers)
    return StoredRecord(record.topic, record.partition, record.offset, record.key, record.value, headers)
