"""A board with a small, fixed set of events, for the tests of what is shown."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from stream.core.partition.partition import Partition
from stream.core.time import parse_iso
from stream.export.board import Board
from stream.settings import Settings, load
from stream.telemetry import CHECKPOINT_BOUNDS, LATENCY_BOUNDS, Report, Timings
from tests.core.live import deliver

NOW = "2026-03-10T12:00:00Z"


@dataclass
class Event:
    """A record as it would be read from Kafka."""

    value: bytes | None
    offset: int
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = field(default=())


def moment(text: str) -> int:
    at_ms = parse_iso(text)
    assert at_ms is not None
    return at_ms


def settings(**overrides: object) -> Settings:
    return load(None, {}, {"topics.partitions": 2, **overrides})


def report(number: int, events: list[dict[str, object]], *, at: str = NOW, behind: tuple[str, ...] = ()) -> Report:
    """The report of a partition that has read these events."""
    partition = Partition(settings().rules)
    for offset, event in enumerate(events):
        topic = str(event["topic"])
        record = Event(msgspec.json.encode({name: value for name, value in event.items() if name != "topic"}), offset)
        deliver(partition, topic, [record], not_after_ms=moment(NOW) + 3_600_000)
    partition.tick(moment(at), behind=())
    return Report(
        partition=number,
        worker="worker-1",
        reported_ms=moment(at),
        snapshot=partition.snapshot(closed_days=35),
        lag={"sessions": 0, "logins": 3},
        behind=behind,
        event_latency=Timings((0, 1, 2, *(0,) * (len(LATENCY_BOUNDS) - 2)), 1.25),
        checkpoints=Timings((4, *(0,) * len(CHECKPOINT_BOUNDS)), 0.016),
        recovery_seconds=0.25,
        settings=settings().shared,
        epoch=3,
        generation=5,
        started_ms=1,
    )


def view(user: str, at: str, **more: object) -> dict[str, object]:
    return {"topic": "sessions", "user_id": user, "event_time": at, "type": "page_view", **more}


def login(user: str, at: str, **more: object) -> dict[str, object]:
    return {"topic": "logins", "user_id": user, "event_time": at, **more}


def answer(user: str, at: str, kind: str, score: int, **more: object) -> dict[str, object]:
    told = {"topic": "surveys", "user_id": user, "event_time": at, "kind": kind, "score": score}
    return {**told, "response_id": f"{user}-{kind}-{at}", "status": "completed", **more}


WORLD: tuple[list[dict[str, object]], list[dict[str, object]]] = (
    [
        view("ann", "2026-03-08T09:00:00Z"),
        view("ann", "2026-03-10T11:00:00Z"),
        view("ann", "2026-03-10T11:04:00Z", platform="web", plan="pro", country="DE", app_version=42),
        answer("ann", "2026-03-10T11:05:00Z", "csat", 5),
        answer("ann", "2026-03-10T11:06:00Z", "nps", 9),
        login("ann", "2026-03-10T10:59:00Z"),
        login("ann", "2026-03-10T10:58:00Z", success=False),
        view("crawler", "2026-03-10T10:00:00Z", is_bot=True),
        {"topic": "logins", "user_id": "null", "event_time": "2026-03-10T10:00:00Z"},
    ],
    [
        view("bob", "2026-03-09T20:00:00Z", session_id="s1"),
        view("bob", "2026-03-10T11:58:00Z", session_id="s2", platform="ios"),
        answer("bob", "2026-03-09T20:01:00Z", "csat", 2),
    ],
)


def board(*, now: str | Callable[[], str] = NOW, partitions: tuple[int, ...] = (0, 1), **reported: object) -> Board:
    """The board of that world; `partitions` are those that have reported, at noon."""
    shown = Board(settings(), now_ms=lambda: moment(now if isinstance(now, str) else now()))
    for number in partitions:
        shown.put(report(number, WORLD[number], **reported))  # type: ignore[arg-type]
    return shown


def change_hands(shown: Board, *, times: int) -> None:
    """Let the owners of all partitions take them over again and again."""
    now_ms = shown.now_ms() + 1
    shown.now_ms = lambda: now_ms
    for told in shown.reports:
        shown.put(msgspec.structs.replace(told, epoch=told.epoch + times, reported_ms=now_ms))
