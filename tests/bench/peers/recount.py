"""The numbers of the small job counted anew, by the plainest code there is, from the events themselves.

It shares nothing with the peers but the names of the numbers: each peer's numbers must be these.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from stream.simulate.simulator import SimulatedEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def recount(events: Iterable[SimulatedEvent]) -> dict[str, Any]:
    """The numbers of these events: each step, login and answer by itself, all of them kept until the end."""
    by_topic: Counter[str] = Counter()
    seen: dict[str, list[int]] = {}
    steps: dict[str, list[tuple[int, bool]]] = {}
    answers: Counter[str] = Counter()
    for event in events:
        by_topic[event.topic] += 1
        fields = json.loads(event.value)
        if event.topic == "surveys":
            score = fields.get("score")
            answers[f"{fields['kind']}/{fields['status']}/{'-' if score is None else score}"] += 1
            continue
        at_ms = at_ms_of_text(fields["event_time"])
        if is_activity(event.topic, fields):
            seen.setdefault(event.key, []).append(at_ms)
        if fields.get("session_id") is not None:
            steps.setdefault(fields["session_id"], []).append((at_ms, fields["type"] in ("page_view", "screen_view")))
    return {
        "events": dict(by_topic),
        "users": len(seen),
        "last_seen_ms": sum(map(max, seen.values())),
        "sessions": len(steps),
        "views": sum(is_view for session in steps.values() for _, is_view in session),
        "begin_ms": sum(min(session)[0] for session in steps.values()),
        "end_ms": sum(max(session)[0] for session in steps.values()),
        "answers": dict(sorted(answers.items())),
    }


def active_users(events: Iterable[SimulatedEvent]) -> int:
    """How many users were active as METRICS.md defines it: an end of a session makes nobody active, a summary does."""
    return len(
        {
            event.key
            for event in events
            if event.topic != "surveys"
            and is_activity(event.topic, fields := json.loads(event.value))
            and fields.get("type") != "end"
        }
    )


def differences(told: Mapping[str, Any], recounted: Mapping[str, Any]) -> list[str]:
    """Each number that a peer tells and that is not the recount's, a line each; a peer tells those that it keeps."""
    wanted = _flat(recounted)
    found = _flat(told)
    names = [name for name in {**wanted, **found} if name.partition(".")[0] in told]
    return [
        f"{name}: told {found.get(name)}, recounted {wanted.get(name)}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _flat(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers within numbers under names such as `answers.csat/completed/5`."""
    flat: dict[str, Any] = {}
    for name, number in numbers.items():
        if isinstance(number, Mapping):
            flat |= {f"{name}.{inner}": value for inner, value in number.items()}
        else:
            flat[name] = number
    return flat


def is_activity(topic: str, fields: Mapping[str, Any]) -> bool:
    """Whether a step or a login is something that its user did."""
    did: bool = fields.get("interactive", True) if topic == "sessions" else fields["success"]
    return did


def at_ms_of_text(event_time: str | int) -> int:
    """A time in ms since 1970: ISO 8601 with an offset, or a number of ms."""
    if isinstance(event_time, int):
        return event_time
    return (datetime.fromisoformat(event_time.replace("Z", "+00:00")) - _EPOCH) // timedelta(milliseconds=1)
