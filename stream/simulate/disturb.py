"""What goes wrong on the way: late, duplicate, shuffled, misrouted, bot and broken events.

A disturbance moves or adds, it never takes away and never changes what a good event says: late and shuffled
events arrive later, misrouted ones under another key; duplicates, bots and broken ones come on top. So a
correct reader of a disturbed stream ends with the very numbers of the undisturbed one.
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
class Shares:
    """How many of the undisturbed events each fault befalls, or is added to, as shares of one."""

    late: float = 0.0
    duplicate: float = 0.0
    shuffled: float = 0.0
    misrouted: float = 0.0
    bot: float = 0.0
    broken: float = 0.0

    @property
    def by_fault(self) -> dict[str, float]:
        """The shares that are asked for, by name."""
        shares = {field.name: float(getattr(self, field.name)) for field in fields(self)}
        return {fault: share for fault, share in shares.items() if share > 0}

    @property
    def at_most_ms(self) -> int:
        """The longest time by which an event may be moved."""
        if self.late:
            return LATE_BY_MS[1]
        return DUPLICATE_AFTER_MS if self.duplicate else SHUFFLED_BY_MS


def disturbed(events: list[SimulatedEvent], shares: Shares, rng: np.random.Generator) -> list[SimulatedEvent]:
    """Disturb the asked shares of events; an event meets one fault at most."""
    by_fault = shares.by_fault
    if not by_fault:
        return events
    luck = rng.random((3, len(events)))
    faults = (*by_fault, "")
    fate = np.searchsorted(np.cumsum(tuple(by_fault.values())), luck[0], side="right")
    result: list[SimulatedEvent] = []
    for event, fault, amount, choice in zip(events, fate.tolist(), luck[1].tolist(), luck[2].tolist(), strict=True):
        result += _befallen(event, faults[fault], amount, choice)
    return result


def _befallen(event: SimulatedEvent, fault: str, amount: float, choice: float) -> tuple[SimulatedEvent, ...]:
    """Turn one event into what arrives of it; `amount` and `choice` are draws from [0, 1)."""
    match fault:
        case "":
            return (event,)
        case "late" | "shuffled" | "misrouted":
            return (_moved(event, fault, amount, choice),)
    return event, _added(event, fault, amount, choice)


def _moved(event: SimulatedEvent, fault: str, amount: float, choice: float) -> SimulatedEvent:
    match fault:
        case "late":
            shortest, longest = LATE_BY_MS
            # log-uniform: minutes are as likely as hours as days
            return _altered(event, fault, after_ms=int(shortest * (longest / shortest) ** amount))
        case "shuffled":
            return _altered(event, fault, after_ms=1_000 + int((SHUFFLED_BY_MS - 1_000) * amount))
    return _altered(event, fault, key=f"x{int(choice * 2**52):x}")


def _added(event: SimulatedEvent, fault: str, amount: float, choice: float) -> SimulatedEvent:
    match fault:
        case "duplicate":
            return _altered(event, fault, after_ms=100 + int((DUPLICATE_AFTER_MS - 100) * amount**2))
        case "bot":
            return _bot(event, amount, choice)
    return _altered(event, fault, value=_broken(event, amount, choice))


def _altered(
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


def _bot(event: SimulatedEvent, amount: float, choice: float) -> SimulatedEvent:
    """Let a crawler look at a page at that moment; it says so in the flag, or in the user agent."""
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


_SPOILT = (
    (_IDENTITY, b""),
    (_IDENTITY, b'"user_id":"undefined",'),  # what tracking code sends when nobody is signed in
    (_TIME, b'"sent":0'),
    (_TIME, b'"event_time":"yesterday"'),
)


def _broken(event: SimulatedEvent, amount: float, choice: float) -> bytes:
    """Spoil a copy so that no reader can use it, in one of seven ways."""
    value, way = event.value, int(choice * (len(_SPOILT) + 3))
    if way < len(_SPOILT):
        pattern, instead = _SPOILT[way]
        return pattern.sub(instead, value, count=1)
    match way - len(_SPOILT):
        case 0:  # cut off on the way
            return value[: 1 + int(amount * (len(value) - 2))]
        case 1:  # noise; the first byte starts no JSON and no UTF-8
            return b"\xff" + int(amount * 2**52).to_bytes(7, "big")
    return _wrong_field(event, amount)


def _wrong_field(event: SimulatedEvent, amount: float) -> bytes:
    """Give the field that matters most in its topic a value that means nothing."""
    message = msgspec.json.decode(event.value)
    if event.topic == "surveys":
        message["status"] = "completed"
        score = 99 if amount < 0.5 else 3.5
        message.update({"scores": {"effort": score}} if message["kind"] == "cxi" else {"score": score})
    elif event.topic == "logins":
        message["success"] = "maybe"
    else:
        message.update({"type": 7} if amount < 0.5 else {"engaged_ms": -1})
    return msgspec.json.encode(message)
