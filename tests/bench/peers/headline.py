"""The headline numbers that are asked of ClickHouse, counted anew from the events by the plainest code there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stream.core.time import DAY_MS
from stream.simulate.simulator import SimulatedEvent
from tests.bench.peers.recount import at_ms_of_text, is_activity

_VIEWS = ("page_view", "screen_view")
_HISTORY_MS = 30 * DAY_MS


def headline(events: Iterable[SimulatedEvent], *, now_ms: int) -> dict[str, Any]:
    """The numbers of the 30 days that end with `now_ms`, which belongs to them."""
    last_active_ms: dict[str, int] = {}
    sessions: dict[str, list[dict[str, Any]]] = {}
    answers: dict[str, dict[str, Any]] = {}
    logins = 0
    for event in events:
        fields = json.loads(event.value)
        at_ms = fields["at_ms"] = at_ms_of_text(fields["event_time"])
        if not now_ms - _HISTORY_MS < at_ms <= now_ms:
            continue
        if event.topic == "surveys":
            if fields["kind"] == "csat" and fields["status"] in ("completed", "partial", "retracted"):
                known = answers.get(fields["response_id"])
                if known is None or at_ms > known["at_ms"]:
                    answers[fields["response_id"]] = fields
            continue
        if is_activity(event.topic, fields) and fields.get("type") != "end":
            last_active_ms[event.key] = max(at_ms, last_active_ms.get(event.key, 0))
        logins += event.topic == "logins" and fields["success"]
        if "session_id" in fields:
            sessions.setdefault(fields["session_id"], []).append(fields)
    shapes = [_shape(steps) for steps in sessions.values()]
    standing = [answer for answer in answers.values() if answer["status"] != "retracted"]
    return {
        **{
            f"active_{days}d": sum(at_ms > now_ms - days * DAY_MS for at_ms in last_active_ms.values())
            for days in (1, 7, 30)
        },
        "sessions": len(shapes),
        "mean_duration_ms": round(sum(duration_ms for duration_ms, _, _ in shapes) / len(shapes)) if shapes else None,
        "with_views": sum(views > 0 for _, views, _ in shapes),
        "bounced": sum(views == 1 and keys == 0 for _, views, keys in shapes),
        "logins": logins,
        "csat_answers": len(standing),
        "csat_satisfied": sum(answer["score"] >= 4 for answer in standing),
    }


def _shape(steps: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Duration in ms, views and key events of a session: of its steps, or as its last summary has them."""
    begins = [at_ms_of_text(step["started_at"]) if "started_at" in step else step["at_ms"] for step in steps]
    views = sum(step["type"] in _VIEWS for step in steps) + max(step.get("page_views", 0) for step in steps)
    keys = sum(step.get("key_event", False) for step in steps) + max(step.get("key_events", 0) for step in steps)
    return max(step["at_ms"] for step in steps) - min(begins), views, keys
