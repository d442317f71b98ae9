"""From sums to numbers: the samples of every metric, each ratio with its parts and its interval.

What is undefined is absent: a ratio over nothing has no sample, never 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from stream.core import fields, segments
from stream.core.histogram import quantile
from stream.core.intervals import Interval, net_score, wilson
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.core.survey_scales import DIMENSIONS, UNITS, Kind, Status
from stream.core.tally import Tally
from stream.core.time import SECOND_MS, minutes_of

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)

_DAY = 1_440

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One value of a metric, with its labels."""

    name: str
    labels: Labels
    value: float


def live_samples(snapshot: Snapshot, rules: Rules) -> list[Sample]:
    """Every live number at the snapshot's clock. Before the first event there is none."""
    if snapshot.now_ms < 0:
        return []
    samples = list(_activity(snapshot, rules))
    samples.append(Sample("engagement_open_sessions", {}, snapshot.open_sessions))
    for window in rules.session_windows:
        samples.extend(_sessions({"window": window}, snapshot.traffic.get(minutes_of(window), {})))
    for window in rules.survey_windows:
        samples.extend(_surveys({"window": window}, snapshot.opinions.get(minutes_of(window), {})))
    return samples


def _activity(snapshot: Snapshot, rules: Rules) -> Iterator[Sample]:
    active = {
        window: snapshot.traffic.get(minutes_of(window), {}).get(fields.ACTIVE_USERS, 0)
        for window in rules.activity_windows
    }
    for window, users in active.items():
        yield Sample("engagement_active_users", {"window": window}, users)
    daily = next((users for window, users in active.items() if minutes_of(window) == _DAY), None)
    for window, users in active.items():
        if daily is not None and minutes_of(window) > _DAY:
            yield from _share("engagement_stickiness_ratio", {"window": window}, daily, users)
    for segment in rules.segments:
        yield from _segment(segment, snapshot.segments.get(segment, {}), active)


def _segment(segment: str, of_value: Mapping[str, Tally], active: Mapping[str, int]) -> Iterator[Sample]:
    """Active users by value. A value that nobody has in the longest window is absent, in shorter ones it may be 0."""
    lengths = {window: minutes_of(window) for window in active}
    longest = max(lengths, key=lambda window: lengths[window])
    users = segments.named(of_value, lengths[longest])
    unknown = {window: active[window] - sum(of.get(lengths[window], 0) for of in users.values()) for window in active}
    if min(unknown.values()) < 0:
        raise ValueError(f"active users of {segment} {-min(unknown.values())} more than there are")
    for window, length in lengths.items():
        labels = {"window": window, "segment": segment}
        for value, of in users.items():
            yield Sample("engagement_segment_active_users", {**labels, "value": value}, of.get(length, 0))
        if unknown[longest]:
            unknown_labels = {**labels, "value": segments.UNKNOWN}
            yield Sample("engagement_segment_active_users", unknown_labels, unknown[window])


def closed_samples(snapshot: Snapshot, rules: Rules, day: int) -> list[Sample]:
    """Every number of one closed day. None for a day before the first event."""
    users = snapshot.closed_users
    if day not in users or snapshot.last_closed_day is None or day > snapshot.last_closed_day:
        return []
    samples = []
    daily = users[day].get(1, 0)
    for length in rules.closed_days:
        labels = {"window": f"{length}d"}
        active = users[day].get(length, 0)
        samples.append(Sample("engagement_active_users_closed", labels, active))
        if length == 1:
            continue
        samples.extend(_share("engagement_stickiness_closed_ratio", labels, daily, active))
        days = sum(users.get(earlier, {}).get(1, 0) for earlier in range(day - length + 1, day + 1))
        samples.append(Sample("engagement_active_user_days_closed", labels, days))
        # Users are the independent things: each has a share of days, between 0 and 1.
        samples.extend(_share("engagement_stickiness_smoothed_closed_ratio", labels, days / length, active))
    return samples


def closed_days(snapshot: Snapshot, *, count: int) -> list[int]:
    """The last `count` closed days of which something is known, oldest first."""
    last = snapshot.last_closed_day
    return [] if last is None else [day for day in sorted(snapshot.closed_users) if last - count < day <= last]


def _sessions(labels: Labels, tally: Tally) -> Iterator[Sample]:
    def count(field: int) -> int:
        return tally.get(field, 0)

    sessions, with_views = count(fields.SESSIONS), count(fields.SESSIONS_WITH_VIEWS)
    seconds = count(fields.DURATION_MS) / SECOND_MS
    engaged_seconds, with_engaged = count(fields.ENGAGED_MS) / SECOND_MS, count(fields.SESSIONS_WITH_ENGAGED_TIME)
    visitors = count(fields.VISITORS)
    yield Sample("engagement_sessions", labels, sessions)
    yield Sample("engagement_session_time_seconds", labels, seconds)
    yield from _mean("engagement_session_duration_mean_seconds", labels, seconds, sessions)
    bins = [
        (field - fields.FIRST_DURATION_BIN, amount)
        for field, amount in tally.items()
        if fields.FIRST_DURATION_BIN <= field <= fields.LAST_DURATION_BIN
    ]
    for share in QUANTILES:
        value = quantile(bins, share)
        if value is not None:
            quantile_labels = {**labels, "quantile": str(share)}
            yield Sample("engagement_session_duration_seconds", quantile_labels, value / SECOND_MS)
    yield Sample("engagement_session_engaged_time_seconds", labels, engaged_seconds)
    yield Sample("engagement_sessions_with_engaged_time", labels, with_engaged)
    yield from _mean("engagement_session_engaged_mean_seconds", labels, engaged_seconds, with_engaged)
    yield Sample("engagement_page_views", labels, count(fields.PAGE_VIEWS))
    yield Sample("engagement_sessions_with_views", labels, with_views)
    yield from _mean("engagement_page_views_per_session", labels, count(fields.PAGE_VIEWS), with_views)
    for rule, field in (("single_page", fields.SINGLE_PAGE_BOUNCES), ("ga4", fields.GA4_BOUNCES)):
        rule_labels = {**labels, "rule": rule}
        yield Sample("engagement_bounced_sessions", rule_labels, count(field))
        yield from _share("engagement_bounce_ratio", rule_labels, count(field), with_views)
    yield Sample("engagement_visitors", labels, visitors)
    yield from _mean("engagement_time_on_site_seconds", labels, seconds, visitors)
    yield Sample("engagement_logins", labels, count(fields.LOGINS))
    yield Sample("engagement_login_failures", labels, count(fields.LOGIN_FAILURES))


def _surveys(labels: Labels, tally: Tally) -> Iterator[Sample]:
    def count(field: int) -> int:
        return tally.get(field, 0)

    for name, good_name, good, answered, units in (
        ("csat", "satisfied", fields.CSAT_SATISFIED, fields.CSAT_ANSWERS, fields.CSAT_SCORE_UNITS),
        ("ces", "easy", fields.CES_EASY, fields.CES_ANSWERS, fields.CES_SCORE_UNITS),
    ):
        answers = count(answered)
        yield Sample(f"engagement_{name}_{good_name}", labels, count(good))
        yield Sample(f"engagement_{name}_answers", labels, answers)
        yield from _share(f"engagement_{name}_ratio", labels, count(good), answers)
        yield from _mean(f"engagement_{name}_score_mean", labels, count(units) / UNITS, answers)
    yield from _nps(labels, tally)
    yield from _cxi(labels, tally)
    for kind in Kind:
        kind_labels = {**labels, "kind": kind.value}
        for status in (Status.COMPLETED, Status.PARTIAL, Status.DISMISSED, Status.SHOWN):
            responses = count(fields.RESPONSES[kind, status])
            yield Sample("engagement_survey_responses", {**kind_labels, "status": status.value}, responses)
        completed, shown = count(fields.COMPLETED_OF_SHOWN[kind]), count(fields.RESPONSES[kind, Status.SHOWN])
        yield Sample("engagement_survey_shown_completed", kind_labels, completed)
        yield from _share("engagement_survey_response_ratio", kind_labels, completed, shown)


def _nps(labels: Labels, tally: Tally) -> Iterator[Sample]:
    promoters, passives, detractors = (
        tally.get(field, 0) for field in (fields.NPS_PROMOTERS, fields.NPS_PASSIVES, fields.NPS_DETRACTORS)
    )
    for group, answers in (("promoter", promoters), ("passive", passives), ("detractor", detractors)):
        yield Sample("engagement_nps_answers", {**labels, "group": group}, answers)
    answered = promoters + passives + detractors
    yield from _net("engagement_nps", labels, promoters, detractors, answered)


def _cxi(labels: Labels, tally: Tally) -> Iterator[Sample]:
    scores = []
    for name in DIMENSIONS:
        positive, negative, answers = (
            tally.get(of[name], 0) for of in (fields.CXI_POSITIVE, fields.CXI_NEGATIVE, fields.CXI_ANSWERS)
        )
        dimension_labels = {**labels, "dimension": name}
        groups = (("positive", positive), ("neutral", answers - positive - negative), ("negative", negative))
        for group, counted in groups:
            yield Sample("engagement_cxi_answers", {**dimension_labels, "group": group}, counted)
        net = list(_net("engagement_cxi_dimension", dimension_labels, positive, negative, answers))
        scores += [sample.value for sample in net[:1]]
        yield from net
    yield from _mean("engagement_cxi", labels, sum(scores), len(scores))


def _mean(name: str, labels: Labels, amount: float, count: int) -> Iterable[Sample]:
    return (Sample(name, labels, amount / count),) if count else ()


def _share(name: str, labels: Labels, part: float, whole: int) -> Iterator[Sample]:
    interval = wilson(part, whole)
    if interval is not None:
        yield from _with_ends(Sample(name, labels, part / whole), interval)


def _net(name: str, labels: Labels, positive: int, negative: int, whole: int) -> Iterator[Sample]:
    interval = net_score(positive, negative, whole)
    if interval is not None:
        yield from _with_ends(Sample(name, labels, 100 * (positive - negative) / whole), interval)


def _with_ends(sample: Sample, interval: Interval) -> Iterator[Sample]:
    yield sample
    yield Sample(f"{sample.name}_lower", sample.labels, interval.lower)
    yield Sample(f"{sample.name}_upper", sample.labels, interval.upper)
