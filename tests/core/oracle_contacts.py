"""The naive recount of conversations: stream/METRICS.md, from the raw events, with a loop over each of them."""

import datetime as dt
from collections import Counter
from fractions import Fraction
from math import ceil
from statistics import fmean
from typing import NamedTuple
from zoneinfo import ZoneInfo

from stream.core.rules import Rules
from tests.core.oracle_events import EventFields, id_of, of_topic, who
from tests.core.oracle_numbers import MINUTES, AnyWindow, Samples, key, share

ORDER = ("opened", "customer_message", "bot_reply", "agent_reply", "resolved", "reopened", "deleted")
DAY = 86_400_000

Told = tuple[int, int, str, bool]  # time, place in the order, channel, and whether we have written first


class Conversation(NamedTuple):
    """What the events of a conversation come to."""

    first: int
    is_of_customer: bool
    channel: str
    replies: list[tuple[int, int]]  # from when on somebody waited, and when an agent replied
    resolution: tuple[int, int] | None  # from the first wait to the latest resolution
    waits_since: int | None


def _told(event: EventFields) -> Told:
    kind = "deleted" if id_of(event, "merged_into") is not None else event["type"]
    outbound = kind == "opened" and event.get("outbound") is True
    return event["event_time"], ORDER.index(kind), (id_of(event, "channel") or "").replace("unknown", ""), outbound


def _waits(  # noqa: C901  a loop with a branch for each kind of event
    told: list[Told],
) -> list[tuple[int, int | None, str]]:
    """Each wait: its begin, its end, and what ended it. What no reopening follows after a resolution does not count."""
    real: list[Told] = []
    held: list[Told] | None = None
    for event in told:
        kind = ORDER[event[1]]
        if kind == "resolved":
            real.append(event)
            held = []
        elif kind == "reopened":
            real += held or []
            held = None
        elif held is not None:
            held.append(event)
        else:
            real.append(event)
    waits: list[tuple[int, int | None, str]] = []
    begun: int | None = None
    for at, number, _, outbound in real:
        kind = ORDER[number]
        if kind in ("agent_reply", "resolved"):
            if begun is not None:
                waits.append((begun, at, kind))
            begun = None
        elif kind == "customer_message" or (kind == "opened" and not outbound):
            begun = at if begun is None else begun
    return waits if begun is None else [*waits, (begun, None, "")]


def _conversation(told: list[Told]) -> Conversation | None:
    if any(ORDER[number] == "deleted" for _, number, _, _ in told):
        return None
    waits = _waits(told)
    resolved = None
    for at, number, _, _ in told:
        if ORDER[number] in ("resolved", "reopened"):
            resolved = at if ORDER[number] == "resolved" else None
    # Who waited first is asked of what was known when it was resolved.
    known = (
        []
        if resolved is None
        else _waits([event for event in told if event[:2] <= (resolved, ORDER.index("resolved"))])
    )
    began = known[0][0] if known else told[0][0]
    first = ORDER[told[0][1]]
    return Conversation(
        told[0][0],
        first == "customer_message" or (first == "opened" and not told[0][3]),
        [channel for _, _, channel, _ in told if channel][-1:][0] if any(event[2] for event in told) else "",
        [(begin, end) for begin, end, how in waits if how == "agent_reply" and end is not None],
        None if resolved is None else (began, resolved),
        next((begin for begin, end, _ in waits if end is None), None),
    )


def conversations(events: list[EventFields], rules: Rules) -> list[Conversation]:
    """All conversations that were not deleted."""
    longest = max(int(name[:-1]) * MINUTES[name[-1]] * 60_000 for name in rules.windows.get("contacts", ("90d",)))
    pause = max(90 * DAY, longest)
    of_id: dict[tuple[object, ...], set[Told]] = {}
    for event in of_topic(events, "contacts"):
        of_id.setdefault((who(event), id_of(event, "conversation_id")), set()).add(_told(event))
    found = []
    for told in of_id.values():
        parts: list[list[Told]] = []
        for one_of_it in sorted(told):
            before = _conversation(parts[-1]) if parts else None
            waits = before is not None and before.waits_since is not None
            if parts and (one_of_it[0] - parts[-1][-1][0] <= pause or waits):
                parts[-1].append(one_of_it)
            else:
                parts.append([one_of_it])
        found += [_conversation(part) for part in parts]
    return [one for one in found if one is not None]


def count_contacts(
    samples: Samples,
    events: list[EventFields],
    windows: list[AnyWindow],
    at: int,
    users: dict[str, int],
    rules: Rules,
    *,
    matured: list[AnyWindow],
) -> None:
    """The numbers that are told live and of closed days. All events have come when the clock shows `at`."""
    found = conversations(events, rules)
    waiting = [one.waits_since for one in found if one.waits_since is not None]
    places = [one.first for one in found] + [end for one in found for _, end in one.replies]
    places += [one.resolution[1] for one in found if one.resolution is not None]
    begun_before = any(one.first in window for one in found for window in matured)
    if not waiting and not begun_before and not any(place in window for place in places for window in windows):
        return
    samples[key("engagement_waiting_conversations")] = len(waiting)
    if waiting:
        since = min(waiting) // 1_000 * 1_000
        samples[key("engagement_oldest_waiting_seconds")] = max(0, _waited(since, at, rules))
    longest = max(windows, key=lambda window: int(window.name[:-1]) * MINUTES[window.name[-1]])
    channels = {one.channel or "unknown" for one in found if one.first in longest}
    for window in windows:
        begun = [one for one in found if one.first in window]
        by_channel = Counter(one.channel or "unknown" for one in begun)
        labels = {"window": window.name}
        for channel in channels or {"unknown"}:
            samples[key("engagement_contacts", channel=channel, **labels)] = by_channel[channel]
        if users.get(window.name):
            samples[key("engagement_contacts_per_active_user", **labels)] = len(begun) / users[window.name]
        of_customers = sum(one.is_of_customer for one in begun)
        samples[key("engagement_contacts_of_customers", **labels)] = of_customers
        share(samples, "engagement_contacts_of_customers_ratio", of_customers, len(begun), **labels)
        resolved = sum(one.resolution is not None for one in begun)
        samples[key("engagement_contacts_resolved", **labels)] = resolved
        share(samples, "engagement_resolved_ratio", resolved, len(begun), **labels)
        replies = [_waited(*reply, rules) for one in found for reply in one.replies if reply[1] in window]
        first = [_waited(*one.replies[0], rules) for one in found if one.replies and one.replies[0][1] in window]
        ended = [one.resolution for one in found if one.resolution is not None and one.resolution[1] in window]
        _durations(samples, "first_reply", "first_replies", first, window.name)
        _durations(samples, "reply", "replies", replies, window.name)
        _durations(samples, "resolution", "resolutions", [(end - begin) // 1_000 for begin, end in ended], window.name)


def count_matured(samples: Samples, events: list[EventFields], windows: list[AnyWindow], rules: Rules) -> None:
    """How many of the conversations begun in these windows, which ended a week ago, are resolved."""
    found = conversations(events, rules)
    for window in windows:
        begun = [one for one in found if one.first in window]
        resolved = sum(one.resolution is not None for one in begun)
        samples[key("engagement_contacts_matured_closed", window=window.name)] = len(begun)
        samples[key("engagement_contacts_resolved_closed", window=window.name)] = resolved
        share(samples, "engagement_resolved_closed_ratio", resolved, len(begun), window=window.name)


def _durations(samples: Samples, name: str, counted: str, seconds: list[int], window: str) -> None:
    samples[key(f"engagement_{counted}", window=window)] = len(seconds)
    if seconds:
        samples[key(f"engagement_{name}_mean_seconds", window=window)] = fmean(seconds)
    for quantile in ("0.5", "0.75", "0.9", "0.95", "0.99"):
        if seconds:
            nearest = sorted(seconds)[ceil(Fraction(quantile) * len(seconds)) - 1]
            samples[key(f"engagement_{name}_seconds", window=window, quantile=quantile)] = nearest


def _waited(begin: int, end: int, rules: Rules) -> int:
    """The whole seconds of a wait; of business time minute for minute."""
    hours = rules.contact_hours
    if hours is None:
        return (end - begin) // 1_000
    zone, total, at = ZoneInfo(hours.zone), 0, begin
    while at < end:
        following = min(end, (at // 60_000 + 1) * 60_000)
        moment = dt.datetime.fromtimestamp(at // 1_000, zone)
        minute = moment.hour * 60 + moment.minute
        is_open = any(opens <= minute < closes for opens, closes in hours.week[moment.weekday()])
        total += following - at if is_open and moment.date() not in hours.holidays else 0
        at = following
    return total // 1_000
