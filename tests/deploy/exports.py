"""What the servers of a deployment would have exported over five weeks, for a Prometheus to read.

A simulated population goes through the partitions of the core; at each moment their reports are put on a board, and the
page that it gives is taken down as two servers would give it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import itemgetter

from stream.core.partition.partition import Partition
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, parse_iso
from stream.core.users import partition_key
from stream.export.board import Board
from stream.export.prometheus import exposition
from stream.partitioning import partition_of
from stream.settings import load
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from stream.simulate.subscriptions import STEPS
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, ClockReading, Report, Standby, Timings, Unowned
from tests.core.live import deliver
from tests.further_kinds import TOPICS as FURTHER_TOPICS
from tests.further_kinds import WEIGHTS, with_further_kinds
from tests.native import TOPICS, Message

PARTITIONS, WORKERS = 4, ("worker-1", "worker-2")

# Both deployments have one job, in two namespaces. Prometheus also keeps the node of each server, which differs.
JOB, NAMESPACE, SERVERS = "engagement", "prod", ("server-1:8600", "server-2:8600")
# With something of everything that can go wrong with events.
_POPULATION = SimulatorSettings(
    seed=11, users=400, customers=True, late=0.02, duplicate=0.02, misrouted=0.01, bot=0.02, broken=0.02, shuffled=0.02
)

# A demo: nothing goes wrong, and Prometheus was started a few minutes ago.
DEMO_NAMESPACE, _DEMO_SERVERS, _DEMO_FOR_MS = "demo", ("demo:8600",), 5 * MINUTE_MS
_DEMO_POPULATION = SimulatorSettings(seed=12, users=1_000, customers=True)

# Enough that the days before are already on record where the exports begin.
_HISTORY_MS = 10 * DAY_MS
_SHOWN_MS = 35 * DAY_MS
# A demo begins with five weeks of history; two, and the days before all is known, are enough for every panel.
_DEMO_HISTORY_MS = 17 * DAY_MS
# The page is made anew every two minutes, and the scrapes in between repeat it: rates are of several minutes. Only
# counters are stored again then: a gauge that has not moved is found for five minutes.
_SCRAPE_MS, _PAGE_LASTS_MS = 30_000, 2 * MINUTE_MS
# For ten minutes of the last hour one partition is recovered.
_RECOVERED, _RECOVERY_BEFORE_END_MS, _RECOVERY_MS = 3, 50 * MINUTE_MS, 10 * MINUTE_MS
# Half an hour before the end another version is deployed.
_DEPLOYED_BEFORE_END_MS = HOUR_MS // 2

_COUNTER = re.compile(r"^\w+_(?:total|bucket|count|sum)\{.*\n", re.MULTILINE)
_LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)


def end_ms() -> int:
    """The moment at which the dashboards are looked at: noon, hours after the day before has closed."""
    at_ms = parse_iso("2026-03-10T12:00:00Z")
    assert at_ms is not None
    return at_ms


class Deployment:
    """The partitions of a deployment, without Kafka between them."""

    def __init__(self) -> None:
        capital = {"period": "winter", "first": "2026-01-01", "last": "2026-02-28", "amount": "2500", "currency": "USD"}
        further = {**FURTHER_TOPICS, "features": WEIGHTS, "health.enabled": True}
        of_customers = {"onboarding_steps": STEPS, "gross_margin": "0.75", "capex": [capital]}
        asked = {"topics.partitions": PARTITIONS, "allowed_lateness": "1d", **of_customers}
        self.settings = load(None, {}, {**asked, **further, "topics.accounts": "accounts", "topics.orders": "orders"})
        self._partitions = [Partition(self.settings.rules) for _ in range(PARTITIONS)]
        self._timed = [0] * PARTITIONS

    def arrive(self, event: SimulatedEvent) -> None:
        """Apply one event in the partition its key leads to; one of another user goes on to that user's own."""
        key = event.key.encode()
        record = Message(event.value, timestamp=event.arrives_at_ms, key=key)
        self._apply(partition_of(key, PARTITIONS), event, record)

    def _apply(self, number: int, event: SimulatedEvent, record: Message) -> None:
        misplaced = deliver(
            self._partitions[number],
            event.topic,
            [record],
            not_after_ms=event.arrives_at_ms + HOUR_MS,
            belongs=lambda user: _owner_of(user) == number,
        )[1]
        for place in misplaced:
            self._apply(_owner_of(place.user), event, record)
        self._timed[number] += 1

    def report(self, number: int, *, at_ms: int) -> Report:
        """What the owner of a partition tells at this moment."""
        partition = self._partitions[number]
        partition.tick(at_ms, behind=())
        timed = self._timed[number]
        return Report(
            partition=number,
            worker=WORKERS[number % len(WORKERS)],
            reported_ms=at_ms - 400 * number,
            snapshot=partition.snapshot(closed_days=1),  # the page has one
            lag={topic: (at_ms // 30_000 * (place + number + 1)) % 7 for place, topic in enumerate(TOPICS)},
            behind=(),
            event_latency=_timings(timed, 0.4, LATENCY_BOUNDS),
            checkpoints=_timings(at_ms // 1_000 % 10_000_000, 0.02, CHECKPOINT_BOUNDS),
            recovery_seconds=0.5 + number,
            settings=self.settings.shared,
            epoch=at_ms // HOUR_MS,  # a rebalance each hour
            generation=at_ms // HOUR_MS,
            started_ms=1,
        )


def _owner_of(user: str) -> int:
    return partition_of(partition_key(user), PARTITIONS)


def _timings(count: int, seconds: float, bounds: tuple[float, ...]) -> Timings:
    """So many, most about `seconds`, one in twenty twice and one in a hundred four times as long."""
    counts = [0] * (len(bounds) + 1)
    for factor, share in ((4, 0.01), (2, 0.04), (1, 0.95)):
        place = next(place for place, bound in enumerate(bounds) if bound >= factor * seconds)
        counts[place] += int(count * share)
    return Timings(tuple(counts), seconds * count)


def exports(end: int) -> Iterator[tuple[int, str]]:
    """Each moment at which Prometheus scraped servers, up to `end`, with the lines that it would have stored."""
    often_since = end - HOUR_MS
    scraped_at = [*range(end - _SHOWN_MS, often_since, 12 * HOUR_MS), *range(often_since, end + 1, _SCRAPE_MS)]
    lately = range(end - _DEMO_FOR_MS, end + 1, _SCRAPE_MS)
    return merge(
        _exported(NAMESPACE, SERVERS, _POPULATION, scraped_at, history_ms=_HISTORY_MS, incidents=True),
        _exported(
            DEMO_NAMESPACE, _DEMO_SERVERS, _DEMO_POPULATION, lately, history_ms=_DEMO_HISTORY_MS, incidents=False
        ),
        key=itemgetter(0),
    )


def _exported(
    namespace: str,
    servers: Iterable[str],
    population: SimulatorSettings,
    scraped_at: Sequence[int],
    *,
    history_ms: int,
    incidents: bool,
) -> Iterator[tuple[int, str]]:
    deployment, end = Deployment(), scraped_at[-1]
    events = with_further_kinds(simulate(population, start_ms=scraped_at[0] - history_ms, end_ms=end))
    coming = next(events, None)
    counters, made_ms = "", -_PAGE_LASTS_MS
    for at_ms in scraped_at:
        if at_ms - made_ms < _PAGE_LASTS_MS and at_ms != end:
            yield at_ms, _at(counters, at_ms) + (_alerts(at_ms, until_ms=end) if incidents else "")
            continue
        while coming is not None and coming.arrives_at_ms <= at_ms:
            deployment.arrive(coming)
            coming = next(events, None)
        board = Board(deployment.settings, now_ms=lambda at_ms=at_ms: at_ms)  # type: ignore[misc]
        for number in range(PARTITIONS):
            board.put(deployment.report(number, at_ms=at_ms))
        if incidents:
            board.put(Standby(_RECOVERED, WORKERS[-1], at_ms, lag=120))
        for place, worker in enumerate(WORKERS):
            board.put(ClockReading(worker, at_ms, 1, skew_seconds=0.002 * place))
        left_ms = end - _RECOVERY_BEFORE_END_MS + _RECOVERY_MS - at_ms
        if incidents and 0 < left_ms <= _RECOVERY_MS:
            board.put(_recovering(_RECOVERED, at_ms=at_ms, left_ms=left_ms))
        version = "1.1.0" if at_ms >= end - _DEPLOYED_BEFORE_END_MS else "1.0.0"
        page = exposition(board, version=version).decode()
        lines, made_ms = "".join(_scraped(page, namespace, server) for server in servers), at_ms
        counters = "".join(found[0] for found in _COUNTER.finditer(lines))
        yield at_ms, _at(lines, at_ms) + (_alerts(at_ms, until_ms=end) if incidents else "")


def _recovering(number: int, *, at_ms: int, left_ms: int) -> Unowned:
    left = left_ms // SECOND_MS
    why = "its state is being recovered"
    return Unowned(number, WORKERS[0], at_ms, why, rows_left=left * 10_000, seconds_left=left)


def _alerts(at_ms: int, *, until_ms: int) -> str:
    """As Prometheus itself tells of them: one fires in the last half hour, one always, one of another deployment."""
    firing = [("EngagementWatchdog", NAMESPACE), ("EngagementBounceRise", DEMO_NAMESPACE)]
    if at_ms >= until_ms - HOUR_MS // 2:
        firing.append(("EngagementStickinessDrop", NAMESPACE))
    lines = (
        f'ALERTS{{alertname="{alert}",alertstate="firing",severity="critical",job="{JOB}",namespace="{namespace}"}} 1'
        for alert, namespace in firing
    )
    return "".join(f"{line} {at_ms / 1_000:.3f}\n" for line in lines)


def _scraped(page: str, namespace: str, server: str) -> str:
    """The page's samples with the labels of their target, a line each."""
    target = f'job="{JOB}",namespace="{namespace}",instance="{server}",node="node-of-{server}"'

    def stored(line: re.Match[str]) -> str:
        labels = ",".join(filter(None, (line["labels"], target)))
        return f"{line['name']}{{{labels}}} {line['value']}\n"

    return "".join(stored(line) for line in _LINE.finditer(page))


def _at(lines: str, at_ms: int) -> str:
    """The lines as Prometheus stores them: with the time."""
    return lines.replace("\n", f" {at_ms / 1_000:.3f}\n")
