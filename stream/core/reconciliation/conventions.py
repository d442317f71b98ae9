"""The questions that analytics tools answer differently, as one value; and a tool, as its answers to them.

`Conventions()` are ours, with the default settings. A tool is a list of rules, each of which changes some of the
answers. Applied one after the other to ours, they lead to the tool's conventions. So each rule can be asked what it
alone changes (`comparison`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

from stream.core.rules import Rules
from stream.core.time import DAY_MS, MINUTE_MS

ActiveBy = Literal["activity", "engagement", "visit", "event"]
BounceRule = Literal["single_page", "ga4", "plausible", "posthog", "matomo"]
Number = Literal["active_1d", "active_7d", "active_30d", "sessions", "duration", "bounce", "views"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """How events become sessions and numbers. The defaults are ours."""

    # Which events count, and which of them make sessions.
    counts_bots: bool = False
    drops_late: bool = False  # those that the tool does not take so long after their time
    passive_steps: bool = False  # whether interactive:false and in_session:false belong to sessions
    ends_are_steps: bool = False  # an end lengthens its session and keeps it open, as any event does
    all_events: bool = False  # whether logins and the use of features belong to sessions

    # Where one session ends and the next begins.
    timeout_ms: int = 30 * MINUTE_MS
    uses_ids: bool = True  # whether steps of one session id are one session
    timeout_belongs: bool = True  # whether a pause of exactly the timeout is still within the session
    splits_days: bool = False  # whether a new session begins at midnight
    longest_ms: int | None = None  # a session that is so long ends, and the next event begins another

    # What a session is counted as.
    session_day: Literal["closing", "start", "each"] = "closing"
    cap_ms: int | None = DAY_MS  # a longer session counts as so long
    bounces_last_0: bool = False  # whether a session that bounced is 0 s long
    bounce: BounceRule = "ga4"
    bounce_of_all: bool = False  # of all sessions, or of those with a view
    views_of_all: bool = False

    # Who is active, and when.
    active_by: ActiveBy = "activity"
    calendar: bool = False  # the week and the month so far, instead of the last 7 and 30 days
    new_every_day: bool = False  # whether who comes on two days is two visitors

    def cutting(self) -> "Conventions":
        """The same conventions as far as sessions follow from them, whatever is counted of these."""
        return replace(_OURS, **{name: getattr(self, name) for name in _CUTTING})


_OURS = Conventions()
_CUTTING = (
    *("counts_bots", "drops_late", "passive_steps", "ends_are_steps", "all_events"),
    *("timeout_ms", "uses_ids", "timeout_belongs", "splits_days", "longest_ms"),
)


# What we do, in words, by the answer that a rule changes.
WITH_US: Mapping[str, str] = {
    "counts_bots": "bots are in no number",
    "drops_late": "nothing in a file is too late; live, what comes 72 h after the newest event (`allowed_lateness`)",
    "passive_steps": "steps with interactive:false or in_session:false are in no session",
    "ends_are_steps": "an end closes its session, and is no step of it",
    "all_events": "sessions are made of session steps",
    "timeout_ms": "`session_timeout`, by default 30 minutes",
    "uses_ids": "steps of one session id are one session, with pauses of up to 24 h",
    "timeout_belongs": "a pause of exactly 30:00 belongs to the session",
    "splits_days": "sessions go on at midnight",
    "longest_ms": "a session may last longer than 24 h, and counts as 24 h long",
    "session_day": "a session counts on the day on which it closes, as it is at the end of that day",
    "cap_ms": "a session that is longer than 24 h counts as 24 h long (`session_cap`)",
    "bounces_last_0": "a session lasts from its first to its last step, also one that bounced",
    "bounce": "single_page: one view and no key event; ga4: not engaged",
    "bounce_of_all": "of sessions with a view",
    "views_of_all": "over sessions with a view",
    "active_by": "active is who logs in, uses a feature, or has a session step that is interactive and no end",
    "calendar": "of the last 7 and 30 days",
    "new_every_day": "a user is one user, on however many days",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a tool: in words, where the tool documents it, and which answers it changes."""

    text: str
    source: str  # a name of the tool's sources; empty where it is taken, because something must be and none is said
    changes: Mapping[str, Any]

    @property
    def with_us(self) -> str:
        """What we do instead."""
        return "; ".join(WITH_US[name] for name in self.changes)

    def applied_to(self, conventions: Conventions) -> Conventions:
        """The conventions with this rule instead of theirs."""
        return replace(conventions, **self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Another tool, by what it documents of its numbers."""

    name: str  # on the command line
    title: str
    sources: Mapping[str, str]  # by a short name: the title of the page and its address
    our_bounce: Literal["single_page", "ga4"]  # which of our two rules its bounce rate is compared with
    rules: tuple[Rule, ...]  # in the order in which they are applied
    late_after_ms: int | None = None  # events that come later after their time are not taken
    undefined: Mapping[Number, str] = field(default_factory=dict)  # numbers that it has not, and why
    alike: tuple[str, ...] = ()  # what it documents and we do alike
    assumed: tuple[str, ...] = ()  # what it does not document, and what is taken for it
    unseen: tuple[str, ...] = ()  # what it documents and no file of events can show

    def ours(self, rules: Rules) -> Conventions:
        """The conventions of a deployment, as they are compared with the tool's."""
        return Conventions(timeout_ms=rules.session_timeout_ms, cap_ms=rules.session_cap_ms, bounce=self.our_bounce)

    def by_rule(self, rules: Rules) -> list[Conventions]:
        """The conventions of a deployment, and those after each rule of the tool; the last are the tool's."""
        return list(accumulate(self.rules, lambda found, rule: rule.applied_to(found), initial=self.ours(rules)))
