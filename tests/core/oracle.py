"""The naive recount: METRICS.md, sections 1 to 3, in lists, sets and sorting, and nothing of the code it checks.

Events are JSON objects with their `topic`; times in them are epoch milliseconds. An event the pipeline would refuse
must not be among them. A sample is told as (name, labels) -> value; what is undefined is not there.
"""

import datetime as dt
from collections import Counter
from fractions import Fraction
from itertools import groupby
from math import ceil
from operator import itemgetter
from statistics import fmean
from zoneinfo import ZoneInfo

from stream.core.rules import Rules
from stream.core.windows import ACTIVITY, SESSIONS, SURVEYS
from tests.core.oracle_events import (
    DIMENSIONS,
    SCALES,
    STATUSES,
    Reply,
    Told,
    Visit,
    activity,
    beginnings,
    logins,
    responses,
    scale_of,
    score,
    values_told,
    visits,
    volume,
)
from tests.core.oracle_numbers import MINUTE, MINUTES, Samples, Window, has_come, key, mean, net, share


def live(events: list[Told], at_ms: int, rules: Rules) -> Samples:
    """Every live sample when the clock shows `at_ms`."""
    samples: Samples = {}
    active = activity(events)
    users = {}
    for name in rules.windows_of(ACTIVITY):
        users[name] = len({person for person, at in active if at in Window(name, at_ms)})
        samples[key("engagement_active_users", window=name)] = users[name]
        if Window(name, at_ms).minutes > MINUTES["d"] and "1d" in rules.windows_of(ACTIVITY):
            daily = len({person for person, at in active if at in Window("1d", at_ms)})
            share(samples, "engagement_stickiness_ratio", daily, users.get(name, 0), window=name)
    new = beginnings(events, rules)
    for name in rules.windows_of(ACTIVITY):
        samples[key("engagement_new_users", window=name)] = sum(at in Window(name, at_ms) for at in new)
    _segments(samples, events, at_ms, rules)
    all_visits = visits(events, rules)
    samples[key("engagement_open_sessions")] = sum(not has_come(visit.closes, at_ms) for visit in all_visits)
    for name in rules.windows_of(SESSIONS):
        window = Window(name, at_ms)
        _sessions(samples, [visit for visit in all_visits if visit.closes in window], name)
        steps = sum(at in window for at in volume(events))
        samples[key("engagement_steps", window=name)] = steps
        if users.get(name):
            samples[key("engagement_steps_per_active_user", window=name)] = steps / users[name]
        for success, metric in ((True, "engagement_logins"), (False, "engagement_login_failures")):
            samples[key(metric, window=name)] = sum(how is success and at in window for how, at in logins(events))
    for name in rules.windows_of(SURVEYS):
        longest = max(Window(each, at_ms).minutes for each in rules.windows_of(SURVEYS))
        pause = max(90 * MINUTES["d"], longest) * MINUTE
        _surveys(samples, responses(events, pause=pause), Window(name, at_ms))
    return samples


def _segments(samples: Samples, events: list[Told], at_ms: int, rules: Rules) -> None:
    """Each active user under the last value told; the 20 values with the most users by name, the rest as other."""
    active = activity(events)
    people = {
        name: {person for person, at in active if at in Window(name, at_ms)} for name in rules.windows_of(ACTIVITY)
    }
    longest = max(rules.windows_of(ACTIVITY), key=lambda name: Window(name, at_ms).minutes)
    for segment in rules.segments:
        told = values_told(events, segment, rules)
        users = Counter(told.get(person, "unknown") for person in people[longest])
        ranked = sorted((value for value in users if value not in ("other", "unknown")), key=lambda v: (-users[v], v))
        shown = {value: value if value in (*ranked[:20], "unknown") else "other" for value in users}
        for name in rules.windows_of(ACTIVITY):
            counted = Counter(shown.get(told.get(person, "unknown")) for person in people[name])
            for value in set(shown.values()):
                labels = {"window": name, "segment": segment, "value": value}
                samples[key("engagement_segment_active_users", **labels)] = counted[value]


def _sessions(samples: Samples, closed: list[Visit], window: str) -> None:
    seconds = sum(visit.duration for visit in closed) / 1_000
    ordered = sorted(visit.duration / 1_000 for visit in closed)
    samples[key("engagement_sessions", window=window)] = len(closed)
    samples[key("engagement_session_time_seconds", window=window)] = seconds
    if closed:
        samples[key("engagement_session_duration_mean_seconds", window=window)] = fmean(ordered)
        for quantile in ("0.5", "0.75", "0.9", "0.95", "0.99"):
            nearest = ordered[ceil(Fraction(quantile) * len(ordered)) - 1]
            samples[key("engagement_session_duration_seconds", window=window, quantile=quantile)] = nearest
    engaged = [visit.engaged / 1_000 for visit in closed if visit.engaged is not None]
    samples[key("engagement_session_engaged_time_seconds", window=window)] = sum(engaged)
    samples[key("engagement_sessions_with_engaged_time", window=window)] = len(engaged)
    mean(samples, "engagement_session_engaged_mean_seconds", engaged, window=window)
    viewed = [visit for visit in closed if visit.views]
    samples[key("engagement_page_views", window=window)] = sum(visit.views for visit in viewed)
    samples[key("engagement_sessions_with_views", window=window)] = len(viewed)
    mean(samples, "engagement_page_views_per_session", [visit.views for visit in viewed], window=window)
    for rule, bounced in (("single_page", _one_page), ("ga4", _not_engaged)):
        part = sum(bounced(visit) for visit in viewed)
        samples[key("engagement_bounced_sessions", window=window, rule=rule)] = part
        share(samples, "engagement_bounce_ratio", part, len(viewed), window=window, rule=rule)
    visitors = len({visit.who for visit in closed})
    samples[key("engagement_visitors", window=window)] = visitors
    if visitors:
        samples[key("engagement_time_on_site_seconds", window=window)] = seconds / visitors
    came = Counter(visit.who for visit in closed)
    repeated = sum(count >= 2 for count in came.values())
    samples[key("engagement_repeat_visitors", window=window)] = repeated
    share(samples, "engagement_repeat_visit_ratio", repeated, visitors, window=window)
    engaged_visits = sum(not _not_engaged(visit) for visit in viewed)
    samples[key("engagement_engaged_sessions", window=window)] = engaged_visits
    share(samples, "engagement_engaged_session_ratio", engaged_visits, len(viewed), window=window)
    unprompted = sum(visit.prompted is not True for visit in closed)
    samples[key("engagement_unprompted_sessions", window=window)] = unprompted
    if any(visit.says_prompted for visit in closed):
        share(samples, "engagement_unprompted_session_ratio", unprompted, len(closed), window=window)


def _one_page(visit: Visit) -> bool:
    return visit.views == 1 and visit.key_events == 0


def _not_engaged(visit: Visit) -> bool:
    attention = visit.duration if visit.engaged is None else visit.engaged
    return not (attention >= 10_000 or visit.views >= 2 or visit.key_events >= 1)


def _surveys(samples: Samples, replies: list[Reply], window: Window) -> None:
    come = [reply for reply in replies if reply.answers and has_come(reply.at, window.now)]
    ordered = sorted(come, key=lambda reply: (reply.at, reply.told["response_id"]))
    latest = {reply.one_of: reply for reply in ordered}.values()
    counting = {kind: [r.told for r in latest if r.at in window and r.told["kind"] == kind] for kind in SCALES}
    csat, ces = counting["csat"], counting["ces"]
    _boxes(samples, "csat", "satisfied", [(score(told, (1, 5)), _is_satisfied(told)) for told in csat], window.name)
    _boxes(samples, "ces", "easy", [(score(told, (1, 7)), score(told, (1, 7)) >= 5) for told in ces], window.name)
    given = [score(told, (0, 10)) for told in counting["nps"]]
    groups = {
        "promoter": sum(score >= 9 for score in given),
        "passive": sum(7 <= score <= 8 for score in given),
        "detractor": sum(score <= 6 for score in given),
    }
    for group, answers in groups.items():
        samples[key("engagement_nps_answers", window=window.name, group=group)] = answers
    net(samples, "engagement_nps", groups["promoter"], groups["detractor"], len(given), window=window.name)
    _cxi(samples, counting["cxi"], window.name)
    for kind in SCALES:
        of_kind = [reply for reply in replies if reply.told["kind"] == kind]
        shown = [reply for reply in of_kind if reply.shown is not None and reply.shown in window]
        for status in STATUSES[1:4]:
            count = sum(reply.status == status and reply.at in window for reply in of_kind)
            samples[key("engagement_survey_responses", window=window.name, kind=kind, status=status)] = count
        samples[key("engagement_survey_responses", window=window.name, kind=kind, status="shown")] = len(shown)
        completed = sum(reply.status == "completed" for reply in shown)
        samples[key("engagement_survey_shown_completed", window=window.name, kind=kind)] = completed
        share(samples, "engagement_survey_response_ratio", completed, len(shown), window=window.name, kind=kind)


def _is_satisfied(told: Told) -> bool:
    low, high = scale_of(told)
    best = {2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 3, 9: 3, 10: 3, 11: 3, 101: 30}[high - low + 1]
    return score(told, (low, high)) > high - best


def _boxes(samples: Samples, kind: str, good: str, answers: list[tuple[Fraction, bool]], window: str) -> None:
    part = sum(is_good for _, is_good in answers)
    samples[key(f"engagement_{kind}_{good}", window=window)] = part
    samples[key(f"engagement_{kind}_answers", window=window)] = len(answers)
    share(samples, f"engagement_{kind}_ratio", part, len(answers), window=window)
    mean(samples, f"engagement_{kind}_score_mean", [float(score) for score, _ in answers], window=window)


def _cxi(samples: Samples, answers: list[Told], window: str) -> None:
    nets = []
    for name in DIMENSIONS:
        given = [told["scores"][name] for told in answers]
        good, bad = sum(score >= 4 for score in given), sum(score <= 2 for score in given)
        for group, count in (("positive", good), ("neutral", len(given) - good - bad), ("negative", bad)):
            samples[key("engagement_cxi_answers", window=window, dimension=name, group=group)] = count
        net(samples, "engagement_cxi_dimension", good, bad, len(given), window=window, dimension=name)
        if given:
            nets.append(100 * (good - bad) / len(given))
    mean(samples, "engagement_cxi", nets, window=window)


# -- closed days ------------------------------------------------------------------------------------------------------


def day_of(at_ms: int, zone: str) -> int:
    """Number of the local calendar day since 1970-01-01."""
    moment = dt.datetime.fromtimestamp(at_ms // 1_000, ZoneInfo(zone))
    return (moment.date() - dt.date(1970, 1, 1)).days


def last_closed(at_ms: int, rules: Rules) -> int:
    """The newest day whose midnight is `close_after` ago."""
    zone, day = rules.days.zone, day_of(at_ms, rules.days.zone)
    while day_of(at_ms - rules.close_after_ms, zone) <= day:
        day -= 1
    return day


def closed(events: list[Told], day: int, rules: Rules) -> Samples:
    """Every sample of one closed day; none for a day before the first active one."""
    active = sorted((day_of(at, rules.days.zone), person) for person, at in activity(events))
    people = {number: {person for _, person in group} for number, group in groupby(active, key=itemgetter(0))}
    samples: Samples = {}
    if day < min(people, default=day + 1):
        return samples
    lengths = {Fraction(Window(name, 0).minutes, MINUTES["d"]) for name in rules.windows_of(ACTIVITY)} | {1}
    for length in sorted(int(length) for length in lengths if length == int(length)):
        window = f"{length}d"
        days = [people.get(number, set()) for number in range(day - length + 1, day + 1)]
        users = len(set().union(*days))
        samples[key("engagement_active_users_closed", window=window)] = users
        if length == 1:
            continue
        share(samples, "engagement_stickiness_closed_ratio", len(days[-1]), users, window=window)
        total = sum(map(len, days))
        samples[key("engagement_daily_active_users_summed_closed", window=window)] = total
        share(samples, "engagement_stickiness_smoothed_closed_ratio", Fraction(total, length), users, window=window)
    return samples
