"""What is measured every few seconds: processes from outside (Linux), the state's disk, and what the server tells."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kafka import KafkaAdminClient

from stream.core.time import SECOND_MS
from tests.bench.processes import memory_mib
from tests.integration.deployment import Program, logs_of
from tests.soak.growth import MIB, Measure, Sample, Values

# Counted rows and open files must be flat but for what arrives by chance and for the round of who looks at old rows.
# Files of RocksDB and segments of Kafka come and go by megabytes. Memory that was freed is not always given back.
CHANGELOG: Final = Measure("changelog", "MiB", 0.25, per=MIB)
MEASURES: Final = (
    Measure("rows of users", "", 0.10),
    Measure("rows of totals", "", 0.10),
    Measure("store", "MiB", 0.25, per=MIB),
    CHANGELOG,
    Measure("worker memory", "MiB", 0.10, per=MIB),
    Measure("server memory", "MiB", 0.10, per=MIB),
    Measure("worker open files", "", 0.25),
    Measure("server open files", "", 0.10),
    Measure("worker threads", "", 0.10),
    Measure("checkpoint", "ms", None, per=0.001),
    Measure("lag", "records", None),
    Measure("closing backlog", "days", None),
    Measure("applied", "records/s", None),
)

_CHECKPOINTS: Final = "engagement_checkpoint_seconds"
# The metrics that a sample is made of: to read all others too would cost more than what is watched.
_TOLD: Final = (
    "engagement_events_total",
    _CHECKPOINTS,
    "engagement_state_rows",
    "engagement_clock_seconds",
    "engagement_lag_events",
    "engagement_closing_backlog",
)


def directory_bytes(directory: Path) -> int:
    """The size of all files under a directory, of which some may vanish meanwhile."""
    size = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


class TopicSize:
    """What Kafka has of a topic on disk, asked over one connection."""

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        self._client, self._topic = client, topic
        self._admin: KafkaAdminClient | None = None

    def __call__(self) -> float:
        if self._admin is None:
            self._admin = KafkaAdminClient(**self._client)
        sizes: list[int] = [log["partition_size"] for log in logs_of(self._topic, self._admin)]
        return sum(sizes)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._admin is not None:
            self._admin.close()


def process_values(name: str, pid: int) -> dict[str, float]:
    """Memory, open files and threads of a process."""
    return {
        f"{name} memory": memory_mib(pid)[1] * MIB,
        f"{name} open files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        f"{name} threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
    }


class Watching(threading.Thread):
    """Takes a sample every `seconds` until it is stopped. `sizes` are further things to measure, by name.

    The moment of a sample is by the clock of the worker, which began at `start_ms` and goes `pace` milliseconds a
    second: what is in the state follows from that clock, and a machine that is busy with other things lets it fall
    behind.
    """

    def __init__(
        self,
        worker: Program,
        server: Program,
        sizes: Mapping[str, Callable[[], float]],
        *,
        seconds: float,
        start_ms: int,
        pace: float,
    ) -> None:
        super().__init__(name="watching", daemon=True)
        self._worker, self._server, self._sizes, self._seconds = worker, server, sizes, seconds
        self._start_ms, self._pace = start_ms, pace
        self._enough = threading.Event()
        self._began = time.monotonic()
        self._before: dict[str, float] = {}
        self._failure: BaseException | None = None
        self.read: Mapping[str, int] = {}  # of each topic, when it last looked
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Sample until it is enough."""
        try:
            while not self._enough.wait(self._seconds):
                values = self._values()
                at = (values["clock"] * SECOND_MS - self._start_ms) / self._pace
                if at >= 0:  # before the first event it is of no time
                    self.samples.append(Sample(at, values))
        except Exception as error:  # noqa: BLE001  raised again where it is stopped
            self._failure = error

    @property
    def checkpoints(self) -> float:
        """How many the partitions had written in all when it last looked."""
        return self._before.get("checkpoints", 0.0)

    def last(self, name: str) -> float:
        """A value of the last sample; 0 before the first one."""
        return self.samples[-1].values[name] if self.samples else 0.0

    def check(self) -> None:
        """Raises what went wrong meanwhile."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no more samples."""
        self._enough.set()
        self.join()

    def _values(self) -> Values:
        return {
            **process_values("worker", self._worker.pid),
            **process_values("server", self._server.pid),
            **{name: size() for name, size in self._sizes.items()},
            **self._told(),
        }

    def _told(self) -> Values:
        """What the server tells of rows, lag and speed."""
        page = self._server.metrics(*_TOLD)
        self.read = read_by_topic(page)
        now = {
            "at": time.monotonic(),
            "applied": _sum(page, "engagement_events_total"),
            "seconds": _sum(page, f"{_CHECKPOINTS}_sum"),
            "checkpoints": checkpoints(page),
        }
        before, self._before = self._before or {**now, "at": self._began}, now
        since = {name: value - before[name] for name, value in now.items()}
        return {
            "rows of users": page['engagement_state_rows{kind="user"}'],
            "rows of totals": page['engagement_state_rows{kind="page"}'],
            "clock": page.get("engagement_clock_seconds", 0.0),  # absent until an event was read
            "lag": _sum(page, "engagement_lag_events"),
            "closing backlog": page["engagement_closing_backlog"],
            "applied": since["applied"] / since["at"],
            "checkpoint": since["seconds"] / max(1, since["checkpoints"]),
        }


def read_by_topic(page: Mapping[str, float]) -> Mapping[str, int]:
    """How many messages of each topic were dealt with, by what a server tells; one that is forwarded is so once."""
    read: Counter[str] = Counter()
    for name, value in page.items():
        if name.startswith("engagement_events_total{") and 'outcome="rekeyed"' not in name:
            read[name.partition('topic="')[2].partition('"')[0]] += round(value)
    return read


def saved(server: Program) -> int:
    """How often the partitions have saved, as a server tells it now."""
    return checkpoints(server.metrics(_CHECKPOINTS))


def checkpoints(page: Mapping[str, float]) -> int:
    """How often the partitions have saved, by what a server tells."""
    return round(_sum(page, f"{_CHECKPOINTS}_count"))


def _sum(page: Mapping[str, float], name: str) -> float:
    return sum(value for told, value in page.items() if told.partition("{")[0] == name)
