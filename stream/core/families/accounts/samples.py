"""The numbers of accounts, calculated from sums."""

from collections.abc import Iterable, Iterator, Mapping

from stream.core.account_changes import Status
from stream.core.families.accounts.contribution import (
    AT_START,
    CHURNED,
    FIRST_BIN,
    KNOWN,
    LOYALTY,
    NEWSLETTER,
    NOW,
    ONBOARDED,
    ONBOARDED_IN_WEEK,
    ONBOARDED_KNOWN,
    ONBOARDING_SECONDS,
    SHORT_LIVED,
    SIGNUPS,
    STEP,
    SUBSCRIBERS,
)
from stream.core.histogram import QUANTILES, quantile
from stream.core.metrics import closed_name
from stream.core.samples import Labels, Sample, mean, share
from stream.core.segments import OTHER
from stream.core.tally import Field, add

# Among the windows: the cohorts that have had a week.
COHORTS = -1

_Tally = Mapping[Field, int]
_NOTHING: _Tally = {}


def add_cohort(cohorts: dict[Field, int], amounts: _Tally) -> None:
    """Add what is booked of those who signed up on one day."""
    for field, amount in amounts.items():
        if field in (SIGNUPS, ONBOARDED_IN_WEEK) or isinstance(field, str):
            add(cohorts, {field: amount})


def live(sums: Mapping[int, _Tally], lengths: Mapping[str, int]) -> Iterator[Sample]:
    """The live numbers. There are none before the first event of an account."""
    now = sums.get(NOW, _NOTHING)
    if now.get(KNOWN):
        for window, length in lengths.items():
            yield from of_window({"window": window}, sums.get(length, _NOTHING))
        yield from _standing(now)


def closed(sums: Mapping[int, _Tally], lengths: Iterable[int], steps: Iterable[str]) -> Iterator[Sample]:
    """The numbers of a closed day."""
    at_end = sums.get(NOW, _NOTHING)
    if not at_end.get(KNOWN):
        return
    for length in lengths:
        labels = {"window": f"{length}d"}
        for name, its_labels, value in of_window(labels, sums.get(length, _NOTHING)):
            yield Sample(closed_name(name), its_labels, value)
        yield from _churn(labels, at_end, length)
    for name, its_labels, value in _standing(at_end):
        yield Sample(closed_name(name), its_labels, value)
    yield from _cohorts(sums.get(COHORTS, _NOTHING), steps)


def of_window(labels: Labels, tally: _Tally) -> Iterator[Sample]:
    """The numbers of one window."""
    onboarded, known = tally.get(ONBOARDED, 0), tally.get(ONBOARDED_KNOWN, 0)
    yield Sample("engagement_signups", labels, tally.get(SIGNUPS, 0))
    yield Sample("engagement_onboarded_users", labels, onboarded)
    yield Sample("engagement_onboarded_users_with_signup", labels, known)
    yield from share("engagement_onboarded_without_signup_ratio", labels, onboarded - known, onboarded)
    yield Sample("engagement_onboarded_users_without_signup", labels, onboarded - known)
    bins = [
        (field - FIRST_BIN, count) for field, count in tally.items() if isinstance(field, int) and field >= FIRST_BIN
    ]
    for rank in QUANTILES:
        seconds = quantile(bins, rank)
        if seconds is not None:
            yield Sample("engagement_time_to_onboard_seconds", {**labels, "quantile": str(rank)}, seconds)
    yield from mean("engagement_time_to_onboard_mean_seconds", labels, tally.get(ONBOARDING_SECONDS, 0), known)


def _standing(tally: _Tally) -> Iterator[Sample]:
    for status in Status:
        yield Sample("engagement_subscribers", {"status": status.value}, tally.get(SUBSCRIBERS[status], 0))
    yield Sample("engagement_newsletter_subscribers", {}, tally.get(NEWSLETTER, 0))
    yield Sample("engagement_loyalty_members", {}, tally.get(LOYALTY, 0))


def _churn(labels: Labels, tally: _Tally, length: int) -> Iterator[Sample]:
    at_start, lost = tally.get(AT_START + length, 0), tally.get(CHURNED + length, 0)
    yield Sample("engagement_customers_at_start_closed", labels, at_start)
    yield Sample("engagement_customers_lost_closed", labels, lost)
    yield Sample("engagement_customers_retained_closed", labels, at_start - lost)
    yield Sample("engagement_customers_short_lived_closed", labels, tally.get(SHORT_LIVED + length, 0))
    yield from share("engagement_customer_churn_closed_ratio", labels, lost, at_start)
    yield from share("engagement_customer_retention_closed_ratio", labels, at_start - lost, at_start)


def _cohorts(tally: _Tally, steps: Iterable[str]) -> Iterator[Sample]:
    signed_up, onboarded = tally.get(SIGNUPS, 0), tally.get(ONBOARDED_IN_WEEK, 0)
    yield Sample("engagement_first_week_signups_closed", {}, signed_up)
    yield Sample("engagement_first_week_onboarded_users_closed", {}, onboarded)
    yield from share("engagement_first_week_onboarded_closed_ratio", {}, onboarded, signed_up)
    for step in dict.fromkeys((*steps, OTHER)):
        yield Sample("engagement_onboarding_step_users_closed", {"step": step}, tally.get(f"{STEP}{step}", 0))
