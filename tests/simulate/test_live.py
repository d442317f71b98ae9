"""A simulated population that goes on from its history into the present."""

from __future__ import annotations

from stream.simulate.live import send_as_they_happen
from stream.simulate.simulator import SimulatedEvent

NOW_MS = 1_795_255_200_000
TOPICS = {"logins": "app.logins"}


def login(at_ms: int) -> SimulatedEvent:
    return SimulatedEvent(at_ms, at_ms, "logins", "ada", b"{}", "")


class EventFields:
    """A sink that remembers, a clock that moves while one waits, and a patience."""

    def __init__(self, *, waits: int) -> None:
        self.now_ms = NOW_MS
        self.waits = waits
        self.log: list[str] = []

    def send(self, topic: str, key: str, value: bytes) -> None:
        self.log.append(f"{topic} {self.now_ms - NOW_MS}")

    def flush(self) -> None:
        if self.log and self.log[-1] != "flush":
            self.log.append("flush")

    def wait(self, seconds: float) -> bool:
        self.now_ms += int(seconds * 1_000)
        self.waits -= seconds > 0
        return self.waits < 0


def sent(told: EventFields, *events: SimulatedEvent) -> int:
    return send_as_they_happen(
        events,
        told,
        topics=TOPICS,
        wait=told.wait,
        now_ms=lambda: told.now_ms,
        on_live=lambda count: told.log.append(f"live after {count}"),
    )


def test_history_is_sent_at_once_and_each_later_event_when_it_happens() -> None:
    told = EventFields(waits=1_000)

    count = sent(told, login(NOW_MS - 86_400_000), login(NOW_MS), login(NOW_MS + 1), login(NOW_MS + 900))

    assert count == 4
    assert told.log == [
        *("app.logins 0", "flush", "app.logins 0", "flush", "live after 2"),
        *("app.logins 200", "flush", "app.logins 1000"),
    ]


def test_no_topic_gets_more_than_hours_ahead_of_another() -> None:
    """What is sent waits in batches, a busy topic's shorter than a quiet one's."""
    told = EventFields(waits=1_000)

    sent(told, *(login(NOW_MS - 86_400_000 + hour * 3_600_000) for hour in range(24)))

    delivered = [len(batch.split()) / 2 for batch in " ".join(told.log).split("flush")[:3]]
    assert delivered == [7, 7, 7]


def test_it_ends_soon_after_it_was_asked_to_with_all_that_it_sent_delivered() -> None:
    told = EventFields(waits=2)

    count = sent(told, login(NOW_MS), login(NOW_MS + 86_400_000))

    assert count == 1
    assert told.log == ["app.logins 0", "flush", "live after 1", "flush"]
    assert told.now_ms <= NOW_MS + 1_000


def test_the_history_too_can_be_stopped() -> None:
    told = EventFields(waits=-1)

    assert sent(told, *(login(NOW_MS - 1) for _ in range(5_000))) == 0
