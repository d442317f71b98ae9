"""What one closed session contributes to each number, and the numbers that are calculated from the sums."""

from collections.abc import Iterator, Mapping
from typing import Any

from stream.core.families.sessions.part import CountedSession, Session
from stream.core.histogram import QUANTILES, bin_of, quantile
from stream.core.samples import Labels, Sample, mean, share
from stream.core.segments import AttributeValues, fields_of
from stream.core.tally import Field
from stream.core.time import DAY_MS, SECOND_MS

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
VISITORS = 2
SESSIONS = 10
SESSIONS_WITH_VIEWS = 11
PAGE_VIEWS = 12
SINGLE_PAGE_BOUNCES = 13
GA4_BOUNCES = 14
DURATION_MS = 15
SESSIONS_WITH_ENGAGED_TIME = 16
ENGAGED_MS = 17
STEPS = 18
SESSIONS_WITH_PROMPTED = 19
PROMPTED_SESSIONS = 20
REPEAT_VISITORS = 21
# Durations of sessions: one field for each bin of stream.core.histogram.
FIRST_DURATION_BIN = 1_000
LAST_DURATION_BIN = 1_999

# Beside them each session counts once under each value of a segment that it has, by what kind of session it is; and its
# duration.
WITHOUT_VIEW, ENGAGED, SINGLE_PAGE, BOUNCED, TIME = "abcdt"
OF_VALUE = {
    WITHOUT_VIEW: (SESSIONS,),
    ENGAGED: (SESSIONS, SESSIONS_WITH_VIEWS),
    SINGLE_PAGE: (SESSIONS, SESSIONS_WITH_VIEWS, SINGLE_PAGE_BOUNCES),
    BOUNCED: (SESSIONS, SESSIONS_WITH_VIEWS, SINGLE_PAGE_BOUNCES, GA4_BOUNCES),
    TIME: (DURATION_MS,),
}

# In GA4 a session is engaged if it lasts 10 s or longer, has a key event, or has two or more views.
_GA4_ENGAGED_MS = 10_000


def contribution(session: Session, *, cap_ms: int = DAY_MS) -> dict[int, int]:
    """What one closed session contributes to each number. A longer duration than `cap_ms` counts as `cap_ms`."""
    duration_ms = min(session.last_ms - session.first_ms, cap_ms)
    amounts = {SESSIONS: 1, FIRST_DURATION_BIN + bin_of(duration_ms): 1}
    if duration_ms:
        amounts[DURATION_MS] = duration_ms
    if session.engaged_ms is not None:
        amounts[SESSIONS_WITH_ENGAGED_TIME] = 1
        if session.engaged_ms:
            amounts[ENGAGED_MS] = session.engaged_ms
    if session.has_prompted:
        amounts[SESSIONS_WITH_PROMPTED] = 1
    if session.prompted:
        amounts[PROMPTED_SESSIONS] = 1
    if session.views:
        amounts |= _view_amounts(session, duration_ms)
    return amounts


def _view_amounts(session: Session, duration_ms: int) -> dict[int, int]:
    amounts = {SESSIONS_WITH_VIEWS: 1, PAGE_VIEWS: session.views}
    if session.views == 1 and not session.key_events:
        amounts[SINGLE_PAGE_BOUNCES] = 1
        attention_ms = duration_ms if session.engaged_ms is None else session.engaged_ms
        if attention_ms < _GA4_ENGAGED_MS:
            amounts[GA4_BOUNCES] = 1
    return amounts


def amounts_of(counted: CountedSession, *, cap_ms: int) -> Mapping[Any, int]:
    """What a session contributes in the minute in which it closes.

    If only a summary of it was received, and no steps, its page views count as steps.
    """
    session = counted.session
    amounts = contribution(session, cap_ms=cap_ms)
    if not counted.steps_counted and session.views:
        amounts[STEPS] = session.views
    if session.attributes is not None:
        return {**amounts, **_of_values(session.attributes.values, amounts)}
    return amounts


def _of_values(values: AttributeValues, amounts: Mapping[int, int]) -> Mapping[Field, int]:
    """What a session that adds these amounts adds to those of its values."""
    if SESSIONS_WITH_VIEWS not in amounts:
        kind = WITHOUT_VIEW
    elif SINGLE_PAGE_BOUNCES not in amounts:
        kind = ENGAGED
    else:
        kind = BOUNCED if GA4_BOUNCES in amounts else SINGLE_PAGE
    counted, duration_ms = fields_of(values, kind), amounts.get(DURATION_MS)
    return {**counted, **dict.fromkeys(fields_of(values, TIME), duration_ms)} if duration_ms else counted


def of_window(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    """The numbers of the sessions that closed in one window."""

    def count(field: int) -> int:
        return tally.get(field, 0)

    sessions, with_views = count(SESSIONS), count(SESSIONS_WITH_VIEWS)
    seconds = count(DURATION_MS) / SECOND_MS
    engaged_seconds, with_engaged = count(ENGAGED_MS) / SECOND_MS, count(SESSIONS_WITH_ENGAGED_TIME)
    visitors = count(VISITORS)
    yield from of_value(labels, tally)
    yield from _quantiles(labels, tally)
    yield Sample("engagement_session_engaged_time_seconds", labels, engaged_seconds)
    yield Sample("engagement_sessions_with_engaged_time", labels, with_engaged)
    yield from mean("engagement_session_engaged_mean_seconds", labels, engaged_seconds, with_engaged)
    yield Sample("engagement_page_views", labels, count(PAGE_VIEWS))
    yield from mean("engagement_page_views_per_session", labels, count(PAGE_VIEWS), with_views)
    engaged_sessions = with_views - count(GA4_BOUNCES)
    yield Sample("engagement_engaged_sessions", labels, engaged_sessions)
    yield from share("engagement_engaged_session_ratio", labels, engaged_sessions, with_views)
    unprompted = sessions - count(PROMPTED_SESSIONS)
    yield Sample("engagement_unprompted_sessions", labels, unprompted)
    if count(SESSIONS_WITH_PROMPTED):
        yield from share("engagement_unprompted_session_ratio", labels, unprompted, sessions)
    yield Sample("engagement_visitors", labels, visitors)
    yield from mean("engagement_time_on_site_seconds", labels, seconds, visitors)
    yield Sample("engagement_repeat_visitors", labels, count(REPEAT_VISITORS))
    yield from share("engagement_repeat_visit_ratio", labels, count(REPEAT_VISITORS), visitors)
    yield Sample("engagement_steps", labels, count(STEPS))


def of_value(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    """Those of them that are told by segment too."""

    def count(field: int) -> int:
        return tally.get(field, 0)

    sessions, with_views, seconds = count(SESSIONS), count(SESSIONS_WITH_VIEWS), count(DURATION_MS) / SECOND_MS
    yield Sample("engagement_sessions", labels, sessions)
    yield Sample("engagement_session_time_seconds", labels, seconds)
    yield from mean("engagement_session_duration_mean_seconds", labels, seconds, sessions)
    yield Sample("engagement_sessions_with_views", labels, with_views)
    for rule, field in (("single_page", SINGLE_PAGE_BOUNCES), ("ga4", GA4_BOUNCES)):
        rule_labels = {**labels, "rule": rule}
        yield Sample("engagement_bounced_sessions", rule_labels, count(field))
        yield from share("engagement_bounce_ratio", rule_labels, count(field), with_views)


def _quantiles(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    bins = [
        (field - FIRST_DURATION_BIN, amount)
        for field, amount in tally.items()
        if FIRST_DURATION_BIN <= field <= LAST_DURATION_BIN
    ]
    for rank in QUANTILES:
        value = quantile(bins, rank)
        if value is not None:
            quantile_labels = {**labels, "quantile": str(rank)}
            yield Sample("engagement_session_duration_seconds", quantile_labels, value / SECOND_MS)
