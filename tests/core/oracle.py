"""The naive recount of live numbers: stream/METRICS.md, with lists, sets and sorting.

It uses nothing of the code that it checks. `oracle_days` counts closed days in the same way.

Events are JSON objects with their `topic`; times in them are epoch milliseconds. An event the pipeline would refuse
must not be among them. Samples are a dictionary from (name, labels) to a value; an undefined number is absent.
"""

from collections import Counter
from fractions import Fraction
from math import ceil
from statistics import fmean

from stream.core.rules import Rules
from stream.core.windows import ACCOUNTS, ACTIVITY, CONTACTS, FEATURES, ORDERS, REVIEWS, SESSIONS, SOCIAL, SURVEYS
from tests.core.oracle_accounts import count_accounts
from tests.core.oracle_contacts import count_contacts
from tests.core.oracle_events import (
    DIMENSIONS,
    SCALES,
    STATUSES,
    EventFields,
    Reply,
    Visit,
    activity,
    beginnings,
    forgotten_until,
    lives,
    logins,
    moment,
    responses,
    score,
    visits,
    volume,
    without_uncounted_segments,
)
from tests.core.oracle_features import count_features
from tests.core.oracle_numbers import MINUTE, MINUTES, AnyWindow, Samples, Window, has_come, key, mean, net, share
from tests.core.oracle_orders import count_orders, count_revenue_per_user
from tests.core.oracle_reviews import count_reviews
from tests.core.oracle_segments import answers_by_segment, is_satisfied, sessions_by_segment, users_by_segment
from tests.core.oracle_social import count_social


def live(events: list[EventFields], at_ms: int, rules: Rules) -> Samples:
    """All live samples when the clock shows `at_ms`."""
    events = without_uncounted_segments(events, rules)
    samples: Samples = {}
    active = activity(events)
    people, users = {}, {}
    for name in rules.windows_of(ACTIVITY):
        people[name] = {person for person, at in active if at in Window(name, at_ms)}
        users[name] = len(people[name])
        samples[key("engagement_active_users", window=name)] = users[name]
        if Window(name, at_ms).minutes > MINUTES["d"] and "1d" in rules.windows_of(ACTIVITY):
            daily = len({person for person, at in active if at in Window("1d", at_ms)})
            share(samples, "engagement_stickiness_ratio", daily, users.get(name, 0), window=name)
    new = beginnings(events, rules)
    for name in rules.windows_of(ACTIVITY):
        samples[key("engagement_new_users", window=name)] = sum(at in Window(name, at_ms) for at in new)
    day_of = rules.days.day_of
    forgotten = forgotten_until(lives([(person, day_of(at)) for person, at in active], events, rules))
    users_by_segment(samples, events, people, forgotten, rules)
    all_visits = visits(events, rules)
    samples[key("engagement_open_sessions")] = sum(not has_come(visit.closes, at_ms) for visit in all_visits)
    for name in rules.windows_of(SESSIONS):
        count_sessions_and_logins(samples, events, all_visits, Window(name, at_ms), users.get(name))
    replies = responses(events, rules)
    for name in rules.windows_of(SURVEYS):
        count_surveys(samples, replies, Window(name, at_ms))
    sessions_by_segment(samples, all_visits, [Window(name, at_ms) for name in rules.windows_of(SESSIONS)], rules)
    windows = [Window(name, at_ms) for name in rules.windows_of(SURVEYS)]
    answers_by_segment(samples, lambda window, kind: that_count(replies, window, kind), windows, rules)
    of_accounts: list[AnyWindow] = [Window(name, at_ms) for name in rules.windows_of(ACCOUNTS)]
    last_ms = (at_ms // MINUTE + 1) * MINUTE - 1
    count_accounts(samples, events, of_accounts, lambda at: has_come(at, at_ms), last_ms, rules)
    of_orders: list[AnyWindow] = [Window(name, at_ms) for name in rules.windows_of(ORDERS)]
    count_orders(samples, events, of_orders, lambda at: has_come(at, at_ms), rules)
    count_revenue_per_user(samples, "engagement_revenue", users)
    count_reviews(samples, events, [Window(name, at_ms) for name in rules.windows_of(REVIEWS)])
    count_features(samples, events, [Window(name, at_ms) for name in rules.windows_of(FEATURES)], users, rules)
    of_contacts: list[AnyWindow] = [Window(name, at_ms) for name in rules.windows_of(CONTACTS)]
    come = [told for told in events if has_come(moment(told), at_ms)]
    count_contacts(samples, come, of_contacts, at_ms, users, rules, matured=[])
    of_social: list[AnyWindow] = [Window(name, at_ms) for name in rules.windows_of(SOCIAL)]
    count_social(samples, events, of_social, lambda at: has_come(at, at_ms), rules.days.day_of(at_ms), rules)
    return samples


def count_sessions_and_logins(
    samples: Samples, events: list[EventFields], all_visits: list[Visit], window: AnyWindow, users: int | None
) -> None:
    """What the sessions, steps and logins of a window make, in which so many users were active."""
    name = window.name
    _sessions(samples, [visit for visit in all_visits if visit.closes in window], name)
    steps = sum(at in window for at in volume(events))
    samples[key("engagement_steps", window=name)] = steps
    if users:
        samples[key("engagement_steps_per_active_user", window=name)] = steps / users
    for success, metric in ((True, "engagement_logins"), (False, "engagement_login_failures")):
        samples[key(metric, window=name)] = sum(how is success and at in window for how, at in logins(events))


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
    for rule, bounced in (("single_page", Visit.has_one_page), ("ga4", Visit.is_not_engaged)):
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
    engaged_visits = sum(not visit.is_not_engaged() for visit in viewed)
    samples[key("engagement_engaged_sessions", window=window)] = engaged_visits
    share(samples, "engagement_engaged_session_ratio", engaged_visits, len(viewed), window=window)
    unprompted = sum(visit.prompted is not True for visit in closed)
    samples[key("engagement_unprompted_sessions", window=window)] = unprompted
    if any(visit.has_prompted for visit in closed):
        share(samples, "engagement_unprompted_session_ratio", unprompted, len(closed), window=window)


def that_count(replies: list[Reply], window: AnyWindow, kind: str) -> list[EventFields]:
    """The answers of a kind that count in a window: of those of which only one counts the latest."""
    come = [reply for reply in replies if reply.answers and has_come(reply.at, window.now)]
    ordered = sorted(come, key=lambda reply: (reply.at, reply.event["response_id"]))
    latest = {reply.one_of: reply for reply in ordered}.values()
    return [reply.event for reply in latest if reply.at in window and reply.event["kind"] == kind]


def count_surveys(samples: Samples, replies: list[Reply], window: AnyWindow) -> None:
    """What the survey responses of a window make."""
    counting = {kind: that_count(replies, window, kind) for kind in SCALES}
    csat, ces = counting["csat"], counting["ces"]
    _boxes(samples, "csat", "satisfied", [(score(event, (1, 5)), is_satisfied(event)) for event in csat], window.name)
    _boxes(samples, "ces", "easy", [(score(event, (1, 7)), score(event, (1, 7)) >= 5) for event in ces], window.name)
    given = [score(event, (0, 10)) for event in counting["nps"]]
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
        of_kind = [reply for reply in replies if reply.event["kind"] == kind]
        shown = [reply for reply in of_kind if reply.shown is not None and reply.shown in window]
        for status in STATUSES[1:4]:
            count = sum(reply.status == status and reply.at in window for reply in of_kind)
            samples[key("engagement_survey_responses", window=window.name, kind=kind, status=status)] = count
        samples[key("engagement_survey_responses", window=window.name, kind=kind, status="shown")] = len(shown)
        completed = sum(reply.status == "completed" for reply in shown)
        samples[key("engagement_survey_shown_completed", window=window.name, kind=kind)] = completed
        share(samples, "engagement_survey_response_ratio", completed, len(shown), window=window.name, kind=kind)


def _boxes(samples: Samples, kind: str, good: str, answers: list[tuple[Fraction, bool]], window: str) -> None:
    part = sum(is_good for _, is_good in answers)
    samples[key(f"engagement_{kind}_{good}", window=window)] = part
    samples[key(f"engagement_{kind}_answers", window=window)] = len(answers)
    share(samples, f"engagement_{kind}_ratio", part, len(answers), window=window)
    mean(samples, f"engagement_{kind}_score_mean", [float(score) for score, _ in answers], window=window)


def _cxi(samples: Samples, answers: list[EventFields], window: str) -> None:
    nets = []
    for name in DIMENSIONS:
        given = [event["scores"][name] for event in answers]
        good, bad = sum(score >= 4 for score in given), sum(score <= 2 for score in given)
        for group, count in (("positive", good), ("neutral", len(given) - good - bad), ("negative", bad)):
            samples[key("engagement_cxi_answers", window=window, dimension=name, group=group)] = count
        net(samples, "engagement_cxi_dimension", good, bad, len(given), window=window, dimension=name)
        if given:
            nets.append(100 * (good - bad) / len(given))
    mean(samples, "engagement_cxi", nets, window=window)
