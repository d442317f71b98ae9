"""The naive recount of customer health: stream/METRICS.md, from the raw events before the end of a day."""

from collections.abc import Callable
from statistics import fmean

from stream.core.rules import Rules
from tests.core.oracle_accounts import lives_of, status_at
from tests.core.oracle_contacts import conversations
from tests.core.oracle_events import EventFields, Person, Reply, id_of, is_interactive, of_topic, responses, score, who
from tests.core.oracle_numbers import Samples, day_of, key

POINTS = {"active": 100, "trialing": 60, "paused": 30, "cancelled": 0}


def count_health(
    samples: Samples, known: list[EventFields], active: dict[Person, list[int]], day: int, rules: Rules
) -> None:
    """The bands and the means of a closed day. `known` are the events before its end, `active` the active days."""
    if rules.health is None:
        return
    bands = dict.fromkeys(("at_risk", "neutral", "healthy"), 0)
    scores, coverages = [], []
    for person in {*active, *map(who, known)}:
        own = [event for event in known if who(event) == person]
        scored = _score(person, own, active.get(person, []), day, rules)
        if scored is not None:
            found, coverage = scored
            is_healthy, is_at_risk = found >= rules.health.healthy_from, found < rules.health.at_risk_below
            bands["healthy" if is_healthy else "at_risk" if is_at_risk else "neutral"] += 1
            scores.append(found)
            coverages.append(coverage)
    if scores:
        for band, users in bands.items():
            samples[key("engagement_health_users_closed", band=band)] = users
        samples[key("engagement_health_score_mean_closed")] = fmean(scores)
        samples[key("engagement_health_coverage_mean_closed")] = fmean(coverages)


def _score(
    person: Person, own: list[EventFields], active: list[int], day: int, rules: Rules
) -> tuple[float, float] | None:
    assert rules.health is not None
    zone = rules.days.zone
    lives = lives_of(own, rules).get(person, [])
    status = status_at(lives, rules.days.starts_ms(day + 1) - 1) if lives else None
    if not any(day - 90 < one <= day for one in active) and status not in ("trialing", "active", "paused"):
        return None
    days = len({one for one in active if day - 28 < one <= day})
    parts: list[float | None] = [
        min(100, 100 * days / rules.health.target_days),
        _adoption(own, lambda at: day - 28 < day_of(at, zone) <= day, rules),
        _satisfaction(responses(own, rules), lambda at: day - 90 < day_of(at, zone) <= day),
        _support(own, lambda at: day - 90 < day_of(at, zone) <= day, rules),
        None if status is None else POINTS[status],
    ]
    told = [(weight, part) for weight, part in zip(rules.health.weights, parts, strict=True) if part is not None]
    weights = sum(weight for weight, _ in told)
    if not weights:
        return None
    return sum(weight * part for weight, part in told) / weights, weights / sum(rules.health.weights)


def _adoption(own: list[EventFields], is_near: Callable[[int], bool], rules: Rules) -> float | None:
    vital = {name: weight for name, weight in rules.features.items() if weight}
    used = {
        id_of(event, "feature")
        for event in of_topic(own, "features")
        if is_interactive(event) and is_near(event["event_time"])
    }
    return 100 * sum(vital[name] for name in vital if name in used) / sum(vital.values()) if vital else None


def _satisfaction(replies: list[Reply], is_near: Callable[[int], bool]) -> float | None:
    newest: dict[str, tuple[int, str, float]] = {}
    for reply in replies:
        if reply.answers and is_near(reply.at):
            kind, event = reply.event["kind"], reply.event
            if kind == "cxi":
                points = fmean(25 * (given - 1) for given in event["scores"].values())
            else:
                points = float(score(event, (0, 100)))
            newest[kind] = max(newest.get(kind, (-1, "", 0.0)), (reply.at, str(id_of(event, "response_id")), points))
    return fmean(points for _, _, points in newest.values()) if newest else None


def _support(own: list[EventFields], is_near: Callable[[int], bool], rules: Rules) -> float | None:
    begun = [one for one in conversations(own, rules) if is_near(one.first)]
    balance = sum((one.resolution is not None) - (one.waits_since is not None) for one in begun)
    return max(0, 100 * balance / len(begun)) if begun else None
