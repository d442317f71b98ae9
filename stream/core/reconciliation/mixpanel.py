"""The rules of Mixpanel, as its documentation says them (November 2026), with its default: sessions by timeout.

It defines no bounce rate; it says how to leave out sessions of up to 10 s. Nothing is said of a pause of exactly 30:00.
A session of zero length is in the mean: one of its examples has one of 0 minutes.
"""

from stream.core.reconciliation.conventions import Rule, Tool
from stream.core.time import DAY_MS, MINUTE_MS

TOOL = Tool(
    name="mixpanel",
    title="Mixpanel",
    sources={
        "sessions": "Sessions, docs.mixpanel.com/docs/features/sessions",
        "insights": "Insights, docs.mixpanel.com/docs/reports/insights",
        "bots": "Block unwanted traffic, docs.mixpanel.com/docs/tracking-best-practices/bot-traffic",
        "track": "Android SDK, docs.mixpanel.com/docs/tracking-methods/sdks/android",
    },
    our_bounce="ga4",
    late_after_ms=5 * DAY_MS,
    rules=(
        Rule("a session ends after 30 minutes without activity", "sessions", {"timeout_ms": 30 * MINUTE_MS}),
        Rule(
            "bots count: only its own library leaves five of them out, before anything is sent",
            "bots",
            {"counts_bots": True},
        ),
        Rule("an event that comes more than 5 days after its time is not taken", "track", {"drops_late": True}),
        Rule(
            "any event begins or lengthens a session, also with interactive:false", "sessions", {"passive_steps": True}
        ),
        Rule("an end is an event as any other: it keeps the session open", "sessions", {"ends_are_steps": True}),
        Rule("by default a session ends by timeout: ids of sessions mean nothing", "sessions", {"uses_ids": False}),
        Rule("all sessions are reset at midnight of the project's time zone", "sessions", {"splits_days": True}),
        Rule("a login or the use of a feature is an event of a session too", "sessions", {"all_events": True}),
        Rule("a session counts on the day on which it began", "sessions", {"session_day": "start"}),
        Rule("pages per session are over all sessions, also those without a view", "sessions", {"views_of_all": True}),
        Rule("any event makes its user active", "insights", {"active_by": "event"}),
    ),
    undefined={"bounce": "it defines none"},
    alike=(
        "a session lasts until its last event",
        "DAU, WAU and MAU are of the last 1, 7 and 30 days",
        "sessions of zero length are in the mean",
    ),
    assumed=("a pause of exactly 30:00 belongs to the session",),
    unseen=("events that a project excludes from sessions or hides",),
)
