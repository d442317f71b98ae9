"""The naive recount of interactions on social networks and of audiences: stream/METRICS.md."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from stream.core.rules import Rules
from tests.core.oracle_events import EventFields, id_of, of_topic, who
from tests.core.oracle_numbers import AnyWindow, Samples, day_of, key, longest

KINDS = ("like", "comment", "share", "save", "mention", "follow")
SENTIMENTS = ("positive", "neutral", "negative", "unknown")


def count_social(  # noqa: C901  one naive count after the other
    samples: Samples,
    events: list[EventFields],
    windows: list[AnyWindow],
    has_come: Callable[[int], bool],
    today: int,
    rules: Rules,
) -> None:
    """Interactions in windows, and the audiences on a day, of which all told so far has come."""
    stand = _standing(events)
    people = _people([told for told in of_topic(events, "social") if has_come(told["event_time"])], today, rules)
    networks = {event["network"].strip() for event in stand if event["event_time"] in longest(windows)}
    names = sorted(networks | {network for network, _ in people})
    if not names:
        return
    for network in names:
        for base in ("followers", "reach"):
            samples[key("engagement_social_audience", network=network, base=base)] = people[network, base]
        for window in windows:
            labels = {"window": window.name, "network": network}
            here = [event for event in stand if event["network"].strip() == network and event["event_time"] in window]
            kinds = Counter(event["type"] for event in here)
            for kind in KINDS:
                samples[key("engagement_social_interactions", type=kind, **labels)] = kinds[kind]
            mentions: Counter[str] = Counter(
                event.get("sentiment") or "unknown" for event in here if event["type"] == "mention"
            )
            for sentiment in SENTIMENTS:
                samples[key("engagement_brand_mentions", sentiment=sentiment, **labels)] = mentions[sentiment]
            engaging = sum(kinds[kind] for kind in ("like", "comment", "share", "save"))
            for base in ("followers", "reach"):
                if people[network, base]:
                    ratio = engaging / people[network, base]
                    samples[key("engagement_social_engagement_ratio", base=base, **labels)] = ratio


def _standing(events: list[EventFields]) -> list[EventFields]:
    """Of each thing the newest event, where that does not take it back."""
    newest: dict[Any, tuple[tuple[Any, ...], EventFields]] = {}
    for event in of_topic(events, "social"):
        kind = event["type"].removeprefix("un")
        if kind == "audience":
            continue
        network, post, interaction = event["network"].strip(), id_of(event, "post_id"), id_of(event, "interaction_id")
        thing: tuple[Any, ...] = (who(event), kind, network, post)
        if kind in ("comment", "mention"):
            alone = (*thing, event["event_time"], event.get("event_id"), event.get("sentiment"))
            thing = alone if interaction is None else (who(event), interaction)
        sentiment = (event.get("sentiment") or "") if kind == "mention" else ""
        rank = (event["event_time"], event["type"] != kind, kind, network, sentiment)
        if thing not in newest or newest[thing][0] < rank:
            newest[thing] = rank, event
    return [event for _, event in newest.values() if not event["type"].startswith("un")]


def _people(told: list[EventFields], today: int, rules: Rules) -> Counter[tuple[str, str]]:
    """By network and base: the newest number of each page, as long as it holds."""
    newest: dict[Any, tuple[int, int]] = {}
    for event in told:
        for base in ("followers", "reach"):
            if event["type"] == "audience" and event.get(base) is not None:
                place = (who(event), event["network"].strip(), base)
                newest[place] = max(newest.get(place, (-1, 0)), (event["event_time"], event[base]))
    held: Counter[tuple[str, str]] = Counter()
    for (_, network, base), (at, count) in newest.items():
        if today - day_of(at, rules.days.zone) <= rules.memory_days:
            held[network, base] += count
    return +held
