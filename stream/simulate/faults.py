"""Simulate faults on the way to Kafka: late, duplicate, shuffled, misrouted, bot and broken events.

A fault moves or adds an event. It never removes one, and never changes what a good event says: late and shuffled events
arrive later, misrouted events have another key; duplicate, bot and broken events are added. So a correct reader gets
the same numbers from a stream with faults as from the one without.
"""

import re
from dataclasses import dataclass, fields

import msgspec
import numpy as np

from stream.simulate.messages import SimulatedEvent

MINUTE_MS = 60_000
LATE_BY_MS = (2 * MINUTE_MS, 48 * 60 * MINUTE_MS)  # well within the 72 h a deployment waits by default
SHUFFLED_BY_MS = MINUTE_MS
DUPLICATE_AFTER_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultShares:
    """How many of the good events get each fault, or get an event with this fault added, as shares of 1."""

    late: float = 0.0
    duplicate: float = 0.0
    shuffled: float = 0.0
    misrouted: float = 0.0
    bot: float = 0.0
    broken: float = 0.0

    @property
    def by_fault(self) -> dict[str, float]:
        """The shares that are not zero, by the name of the fault."""
        shares = {field.name: float(getattr(self, field.name)) for field in fields(self)}
        return {fault: share for fault, share in shares.items() if share > 0}

    @property
    def max_delay_ms(self) -> int:
        """The longest time by which an event may be delayed."""
        if self.late:
            return LATE_BY_MS[1]
        return DUPLICATE_AFTER_MS if self.duplicate else SHUFFLED_BY_MS


def apply_faults(events: list[SimulatedEvent], shares: FaultShares, rng: np.random.Generator) -> list[SimulatedEvent]:
    """Apply the faults to these shares of the events. Each event gets at most one fault."""
    by_fault = shares.by_fault
    if not by_fault:
        return events
    luck = rng.random((3, len(events)))
    faults = (*by_fault, "")
    chosen_faults = np.searchsorted(np.cumsum(tuple(by_fault.values())), luck[0], side="right")
    result: list[SimulatedEvent] = []
    for event, fault, amount, choice in zip(
        events, chosen_faults.tolist(), luck[1].tolist(), luck[2].tolist(), strict=True
    ):
        result += _with_fault(event, faults[fault], amount, choice)
    return result


def _with_fault(event: SimulatedEvent, fault: str, amount: float, choice: float) -> tuple[SimulatedEvent, ...]:
    """Return what arrives of one event with a fault. `amount` and `choice` are draws from [0, 1)."""
    match fault:
        case "":
            return (event,)
        case "late" | "shuffled" | "misrouted":
            return (_delayed_or_misrouted(event, fault, amount, choice),)
    return event, _additional_event(event, fault, amount, choice)


def _delayed_or_misrouted(event: SimulatedEvent, fault: str, amount: float, choice: float) -> SimulatedEvent:
    match fault:
        case "late":
            shortest, longest = LATE_BY_MS
            # Log-uniform: minutes, hours and days are equally likely.
            return _copy_with(event, fault, after_ms=int(shortest * (longest / shortest) ** amount))
        case "shuffled":
            return _copy_with(event, fault, after_ms=1_000 + int((SHUFFLED_BY_MS - 1_000) * amount))
    return _copy_with(event, fault, key=f"x{int(choice * 2**52):x}")


def _additional_event(event: SimulatedEvent, fault: str, amount: float, choice: float) -> SimulatedEvent:
    match fault:
        case "duplicate":
            return _copy_with(event, fault, after_ms=100 + int((DUPLICATE_AFTER_MS - 100) * amount**2))
        case "bot":
            return _crawler_event(event, amount, choice)
    return _copy_with(event, fault, value=_break_value(event, amount, choice))


def _copy_with(
    event: SimulatedEvent,
    fault: str,
    *,
    after_ms: int = 0,
    key: str | None = None,
    value: bytes | None = None,
) -> SimulatedEvent:
    return SimulatedEvent(
        event.at_ms,
        event.arrives_at_ms + after_ms,
        event.topic,
        event.key if key is None else key,
        event.value if value is None else value,
        fault,
    )


_BOTS = 50
_CRAWLERS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
)


def _crawler_event(event: SimulatedEvent, amount: float, choice: float) -> SimulatedEvent:
    """Return a page view of a crawler at the same time. Either its flag or its user agent says that it is one."""
    name = f"crawler-{int(choice * _BOTS)}"
    event_id = msgspec.json.decode(event.value)["event_id"]
    page = {
        "type": "page_view",
        "anonymous_id": name,
        "event_time": event.at_ms,
        "event_id": f"{event_id}-bot",
        "platform": "web",
    }
    if amount < 0.5:
        page["is_bot"] = True
    else:
        page["user_agent"] = _CRAWLERS[int(amount * 1_000) % len(_CRAWLERS)]
    return SimulatedEvent(event.at_ms, event.arrives_at_ms, "sessions", name, msgspec.json.encode(page), "bot")


_TIME = re.compile(rb'"event_time":("[^"]*"|\d+)')
_IDENTITY = re.compile(rb'"(user_id|anonymous_id)":"[^"]*",')


_INVALID_REPLACEMENTS = (
    (_IDENTITY, b""),
    (_IDENTITY, b'"user_id":"undefined",'),  # what tracking code sends when nobody is signed in
    (_TIME, b'"sent":0'),
    (_TIME, b'"event_time":"yesterday"'),
)


def _break_value(event: SimulatedEvent, amount: float, choice: float) -> bytes:
    """Return a message that no reader can use, made from a good one in one of seven ways."""
    value, way = event.value, int(choice * (len(_INVALID_REPLACEMENTS) + 3))
    if way < len(_INVALID_REPLACEMENTS):
        pattern, replacement = _INVALID_REPLACEMENTS[way]
        return pattern.sub(replacement, value, count=1)
    match way - len(_INVALID_REPLACEMENTS):
        case 0:  # cut off
            return value[: 1 + int(amount * (len(value) - 2))]
        case 1:  # noise; its first byte begins neither JSON nor UTF-8
            return b"\xff" + int(amount * 2**52).to_bytes(7, "big")
    return _wrong_field(event, amount)


# By topic, two ways in which a message can be wrong.
_WRONG_FIELDS = {
    "logins": ({"success": "maybe"}, {"success": "maybe"}),
    "accounts": ({"type": "onboarding_step", "step": ""}, {"type": "signed"}),
    "orders": ({"currency": "EURO"}, {"amount": "-1"}),
    "features": ({"feature": ""}, {"type": "seen"}),
    "contacts": ({"conversation_id": ""}, {"type": "answered"}),
    "social": ({"network": ""}, {"type": "dislike"}),
    "reviews": ({"status": "published", "stars": 6}, {"status": "published", "stars": 4.5}),
}


def _wrong_field(event: SimulatedEvent, amount: float) -> bytes:
    """Return a message in which the most important field of its topic has an invalid value."""
    message = msgspec.json.decode(event.value)
    if event.topic in _WRONG_FIELDS:
        message.update(_WRONG_FIELDS[event.topic][amount < 0.5])
    elif event.topic == "surveys":
        message["status"] = "completed"
        score = 99 if amount < 0.5 else 3.5
        message.update({"scores": {"effort": score}} if message["kind"] == "cxi" else {"score": score})
    else:
        message.update({"type": 7} if amount < 0.5 else {"engaged_ms": -1})
    return msgspec.json.encode(message)
