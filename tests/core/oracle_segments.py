"""The naive recount by segment: whatever is counted is put into groups first, then each group is counted by itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from stream.core.rules import Rules
from stream.core.windows import SEGMENTS_ACTIVITY, SEGMENTS_SESSIONS, SEGMENTS_SURVEYS, Windows
from tests.core.oracle_events import SEGMENTS, EventFields, Person, Visit, newest_values, scale_of, score, value_told
from tests.core.oracle_numbers import AnyWindow, Samples, key, mean, net, share

Thing = TypeVar("Thing")


def windows_of(rules: Rules, told: Windows, family: Iterable[str]) -> list[str]:
    """Those windows of a family that are told by segment."""
    return [name for name in family if name in rules.windows_of(told)]


def users_by_segment(
    samples: Samples,
    events: list[EventFields],
    active: Mapping[str, set[Person]],
    forgotten: Mapping[Person, int],
    rules: Rules,
) -> None:
    """Active users and stickiness; `active` are the people of each window, `forgotten` until when some were."""
    told = windows_of(rules, SEGMENTS_ACTIVITY, active)
    for segment in rules.segments if told else ():
        values = newest_values(events, segment, rules, forgotten)
        groups = {name: _groups((values.get(person, "unknown"), person) for person in active[name]) for name in told}
        for value in groups[max(told, key=_length)]:
            labels = {"segment": segment, "value": value}
            users = {name: len(groups[name].get(value, ())) for name in told}
            for name in told:
                samples[key("engagement_segment_active_users", window=name, **labels)] = users[name]
                if "1d" in told and _length(name) > _length("1d"):
                    share(
                        samples, "engagement_segment_stickiness_ratio", users["1d"], users[name], window=name, **labels
                    )


def sessions_by_segment(samples: Samples, visits: list[Visit], windows: Sequence[AnyWindow], rules: Rules) -> None:
    """Sessions, how long they are, and how many bounced."""
    told = [one for one in windows if one.name in rules.windows_of(SEGMENTS_SESSIONS)]
    for segment in rules.segments if told else ():
        place = SEGMENTS.index(segment)
        groups = {
            one.name: _groups((visit.values[place], visit) for visit in visits if visit.closes in one) for one in told
        }
        for value in groups[max(groups, key=_length)]:
            for name in groups:
                _sessions(samples, groups[name].get(value, []), window=name, segment=segment, value=value)


def _sessions(samples: Samples, closed: list[Visit], **labels: str) -> None:
    samples[key("engagement_segment_sessions", **labels)] = len(closed)
    seconds = [visit.duration / 1_000 for visit in closed]
    samples[key("engagement_segment_session_time_seconds", **labels)] = sum(seconds)
    mean(samples, "engagement_segment_session_duration_mean_seconds", seconds, **labels)
    viewed = [visit for visit in closed if visit.views]
    samples[key("engagement_segment_sessions_with_views", **labels)] = len(viewed)
    for rule, bounced in (("single_page", Visit.has_one_page), ("ga4", Visit.is_not_engaged)):
        part = sum(bounced(visit) for visit in viewed)
        samples[key("engagement_segment_bounced_sessions", rule=rule, **labels)] = part
        share(samples, "engagement_segment_bounce_ratio", part, len(viewed), rule=rule, **labels)


def answers_by_segment(
    samples: Samples,
    counting: Callable[[AnyWindow, str], list[EventFields]],
    windows: Sequence[AnyWindow],
    rules: Rules,
) -> None:
    """CSAT and NPS; `counting` are the answers of a kind that count in a window."""
    told = [one for one in windows if one.name in rules.windows_of(SEGMENTS_SURVEYS)]
    for segment in rules.segments if told else ():
        groups = {
            one.name: _groups(
                (value_told(answer, segment) or "unknown", answer)
                for answer in (*counting(one, "csat"), *counting(one, "nps"))
            )
            for one in told
        }
        for value in groups[max(groups, key=_length)]:
            for name in groups:
                _answers(samples, groups[name].get(value, []), window=name, segment=segment, value=value)


def _answers(samples: Samples, answers: list[EventFields], **labels: str) -> None:
    csat = [told for told in answers if told["kind"] == "csat"]
    satisfied = sum(is_satisfied(told) for told in csat)
    samples[key("engagement_segment_csat_satisfied", **labels)] = satisfied
    samples[key("engagement_segment_csat_answers", **labels)] = len(csat)
    share(samples, "engagement_segment_csat_ratio", satisfied, len(csat), **labels)
    given = [score(told, (0, 10)) for told in answers if told["kind"] == "nps"]
    promoters, detractors = sum(one >= 9 for one in given), sum(one <= 6 for one in given)
    groups = {"promoter": promoters, "detractor": detractors, "passive": len(given) - promoters - detractors}
    for group, count in groups.items():
        samples[key("engagement_segment_nps_answers", group=group, **labels)] = count
    net(samples, "engagement_segment_nps", promoters, detractors, len(given), **labels)


def is_satisfied(told: EventFields) -> bool:
    """Whether a CSAT answer is in the best boxes of its scale."""
    low, high = scale_of(told)
    best = {2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 3, 9: 3, 10: 3, 11: 3, 101: 30}[high - low + 1]
    return score(told, (low, high)) > high - best


def _groups(things: Iterable[tuple[str, Thing]]) -> dict[str, list[Thing]]:
    groups: dict[str, list[Thing]] = {}
    for value, thing in things:
        groups.setdefault(value, []).append(thing)
    assert len(groups) <= 20, "more values than have a name"
    return groups


def _length(window: Any) -> int:
    return int(window[:-1]) * {"m": 1, "h": 60, "d": 1_440}[window[-1]]
