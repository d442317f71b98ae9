"""The settings of a deployment on which its numbers depend, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from stream.core.business_hours import BusinessHours
from stream.core.segments import SEGMENTS
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, Days
from stream.core.windows import Windows


@dataclass(frozen=True, slots=True)
class Capex:
    """The capital that was spent in a period."""

    period: str  # its name
    first_day: int
    last_day: int  # included
    amount: int  # of the currency's minor unit
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How users are scored (`families.health.scorer`)."""

    window_days: ClassVar[int] = 28  # in which active days and used features count

    # Of activity, adoption, satisfaction, support and subscription.
    weights: tuple[float, float, float, float, float] = (3, 2, 2, 1, 2)
    target_days: int = 8  # so many active days of 28 are full marks
    at_risk_below: float = 40
    healthy_from: float = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings on which numbers depend. Two deployments may differ in them.

    They can be the key of a cache; fields that have no hash themselves are only compared.
    """

    days: Days = field(default_factory=Days)
    session_timeout_ms: int = 30 * MINUTE_MS
    # Longer sessions count as this long. That limits the bins of the histogram, and the effect of a forgotten tab on
    # the mean.
    session_cap_ms: int = DAY_MS
    # None in an offline run: no event is late, and everything is kept.
    allowed_lateness_ms: int | None = 3 * DAY_MS
    # In an offline run, where nothing is stored: what recognises events that are sent again is packed (`core.repeats`).
    packs_identities: bool = False
    future_limit_ms: int = HOUR_MS
    close_after_ms: int = HOUR_MS
    # A partition that is caught up and has read nothing for so long takes the clock for its watermark.
    idle_after_ms: int = DAY_MS
    # How long it is kept what closed days said.
    history_days: int = 400
    # How long all data of a user is kept after the last event; longer if the windows need it.
    retention_ms: int = 100 * DAY_MS
    # How long it is known that a user exists. Who comes back after more days is a new user.
    memory_days: int = 400
    # For so long the order of a refund may still come. An offline run has no limit for lateness, but this one.
    refund_wait_ms: int = 3 * DAY_MS
    onboarding_steps: tuple[str, ...] = ()  # in their order; all others are counted as one
    # Named ones, with their weight; 0: not vital.
    features: Mapping[str, float] = field(default_factory=dict, hash=False)
    contact_hours: BusinessHours | None = None  # in which somebody is there to answer; None: always
    health: Health | None = None  # None: nobody is scored
    gross_margin: float | None = None  # of orders that don't tell theirs, as a share; None: not known
    capex: tuple[Capex, ...] = ()
    # The first day of which all is known; None: the day after the first event. Days before it make no cohorts.
    cohorts_from: int | None = None
    # By name, if they differ from the default.
    windows: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    segments: tuple[str, ...] = SEGMENTS  # those that are counted, in this order
    segment_metrics: tuple[str, ...] | None = None  # what is counted by them, by name without prefix; None: all
    # Whether people may be erased: then rows keep what is booked of them, also of what is let go otherwise.
    erases: bool = False
    # By segment, where they are chosen.
    named_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def whole_since(self, first_ms: int | None) -> int:
        """The first day of which all is known, where the first event of all is of this time."""
        if self.cohorts_from is not None:
            return self.cohorts_from
        return 0 if first_ms is None else self.days.day_of(first_ms) + 1

    def windows_of(self, windows: Windows) -> tuple[str, ...]:
        """The windows that this deployment calculates."""
        return self.windows.get(windows.name, windows.default)
