"""The rules of PostHog, as its documentation says them (November 2026).

Nothing is said of a pause of exactly 30:00, and of sessions of zero length in the mean. That a session without a view
is in no bounce rate is said by a comment of its code (`posthog/hogql/database/schema/sessions_v2.py`).
"""

from stream.core.reconciliation.conventions import Rule, Tool
from stream.core.time import HOUR_MS, MINUTE_MS

TOOL = Tool(
    name="posthog",
    title="PostHog",
    sources={
        "sessions": "Sessions, posthog.com/docs/data/sessions",
        "dashboard": "Web analytics dashboard, posthog.com/docs/web-analytics/dashboard",
        "aggregations": "Trends: aggregations, posthog.com/docs/product-analytics/trends/aggregations",
        "faq": "Web analytics FAQ, posthog.com/docs/web-analytics/faq",
    },
    our_bounce="ga4",
    rules=(
        Rule("a session ends after 30 minutes without activity", "sessions", {"timeout_ms": 30 * MINUTE_MS}),
        Rule(
            "any event of the client is activity, also one with interactive:false",
            "sessions",
            {"passive_steps": True},
        ),
        Rule("an end is an event as any other: it keeps the session open", "sessions", {"ends_are_steps": True}),
        Rule(
            "a session that has lasted 24 h ends: the next event begins another",
            "sessions",
            {"longest_ms": 24 * HOUR_MS},
        ),
        Rule(
            "a session counts on each day on which it has an event, and whole", "aggregations", {"session_day": "each"}
        ),
        Rule(
            "a bounce has one view, no autocaptured event, and lasts less than 10 s",
            "dashboard",
            {"bounce": "posthog"},
        ),
        Rule("any event makes its user active", "aggregations", {"active_by": "event"}),
    ),
    alike=(
        "events of one $session_id are one session",
        "WAU and MAU are of the last 7 and 30 days",
        "known bots are left out",
        "sessions go on at midnight",
    ),
    assumed=(
        "a pause of exactly 30:00 belongs to the session",
        "events that a user made (`event`, interactive) stand for autocaptured ones, which can't be told from others",
        "a login or the use of a feature has no session id, as events of servers have none",
    ),
    unseen=("late events: no limit is documented",),
)
