"""The rules of Google Analytics 4, as its help pages and the reference of its Data API say them (November 2026).

Two of its pages disagree on whether 10 s make a session engaged ("10 seconds or longer") or more than 10 s ("longer
than 10 seconds"): taken is the first, as in `engagement_bounce_ratio`. Nothing is said of a pause of exactly 30:00, of
sessions of zero length in the mean, and of whether an event that no user made keeps a session open.
"""

from stream.core.reconciliation.conventions import Rule, Tool
from stream.core.time import HOUR_MS, MINUTE_MS

TOOL = Tool(
    name="ga4",
    title="GA4",
    sources={
        "sessions": "About Analytics sessions, support.google.com/analytics/answer/9191807",
        "session": "[GA4] Session, support.google.com/analytics/answer/12798876",
        "engagement": "[GA4] Engagement metrics, support.google.com/analytics/answer/11109416",
        "stickiness": "[GA4] User stickiness, support.google.com/analytics/answer/12993725",
        "bots": "[GA4] Known bot-traffic exclusion, support.google.com/analytics/answer/9888366",
        "api": "API Dimensions & Metrics, developers.google.com/analytics/devguides/reporting/data/v1/api-schema",
        "protocol": "Measurement Protocol, developers.google.com/analytics/devguides/collection/protocol/ga4",
    },
    our_bounce="ga4",
    late_after_ms=72 * HOUR_MS,
    rules=(
        Rule("a session ends after 30 minutes without activity", "sessions", {"timeout_ms": 30 * MINUTE_MS}),
        Rule("an event that comes more than 72 h after its time is not taken", "protocol", {"drops_late": True}),
        Rule("there is no limit to how long a session can last: no cap of 24 h", "sessions", {"cap_ms": None}),
        Rule("a session counts on the day on which it began, and whole", "api", {"session_day": "start"}),
        Rule("the bounce rate is of all sessions, also of those without a view", "api", {"bounce_of_all": True}),
        Rule("views per session are over all sessions, also those without a view", "api", {"views_of_all": True}),
        Rule(
            "active is who has an engaged session, engagement time, or the first visit",
            "engagement",
            {"active_by": "engagement"},
        ),
    ),
    alike=(
        "a session goes on at midnight",
        "engaged is a session of 10 s, with two views, or with a key event; the others bounced",
        "DAU, WAU and MAU are of the last 1, 7 and 30 days",
        "known bots are left out",
    ),
    assumed=(
        "a pause of exactly 30:00 belongs to the session",
        "the first visit of a user is the first session step of the file",
        "a login or the use of a feature is in no session, so it alone makes nobody active",
    ),
)
