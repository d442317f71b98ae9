"""The rules of Plausible Analytics, as its documentation says them (November 2026).

Its pages do not say on which day a visit across midnight counts. What its code does with a pause of a little more than
30 minutes (it compares whole minutes) is not documented: taken is what the FAQ says.
"""

from stream.core.reconciliation.conventions import Rule, Tool
from stream.core.time import MINUTE_MS

TOOL = Tool(
    name="plausible",
    title="Plausible",
    sources={
        "metrics": "Metrics definitions, plausible.io/docs/metrics-definitions",
        "faq": "Dashboard FAQ, plausible.io/docs/dashboard-faq",
        "bots": "Bot and spam traffic filtering, plausible.io/docs/bot-traffic-filtering",
    },
    our_bounce="single_page",
    rules=(
        Rule("a visit ends after 30 minutes without activity", "metrics", {"timeout_ms": 30 * MINUTE_MS}),
        Rule(
            "events with interactive:false are recorded as others are, and belong to visits",
            "metrics",
            {"passive_steps": True},
        ),
        Rule(
            "a visit ends after 30 minutes without an action: ids of sessions are not known",
            "metrics",
            {"uses_ids": False},
        ),
        Rule("at least 30 minutes end a visit: a pause of exactly 30:00 does", "faq", {"timeout_belongs": False}),
        Rule(
            "a visit counts on the day on which it began, and whole (taken: not documented)",
            "",
            {"session_day": "start"},
        ),
        Rule(
            "a visit bounced unless it has a second view or a custom event that is interactive",
            "metrics",
            {"bounce": "plausible"},
        ),
        Rule("the bounce rate is of all visits, also of those without a view", "metrics", {"bounce_of_all": True}),
        Rule("a visit that bounced lasts 0 s, and is in the mean", "metrics", {"bounces_last_0": True}),
        Rule("views per visit are over all visits, also those without a view", "metrics", {"views_of_all": True}),
        Rule("a visitor is who has a visit: a login alone is none", "metrics", {"active_by": "visit"}),
        Rule(
            "who comes on two days is two visitors, unless one visit goes on over midnight",
            "metrics",
            {"new_every_day": True},
        ),
    ),
    alike=("known bots are left out", "the time zone of the site cuts the days"),
    assumed=(
        "the visitor's daily reset is the midnight of the site's time zone",
        "an end closes its visit, as with us",
    ),
    unseen=("one person on two devices, who is two visitors", "late events: an event counts when it arrives"),
)
