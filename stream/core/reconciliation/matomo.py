"""The rules of Matomo, as its FAQ and developer guides say them (November 2026).

It has no number of views per visit: it counts actions, which are views, downloads, outlinks and searches.
"""

from stream.core.reconciliation.conventions import Rule, Tool
from stream.core.time import MINUTE_MS

TOOL = Tool(
    name="matomo",
    title="Matomo",
    sources={
        "visit": "How is a 'Visit' defined in Matomo?, matomo.org/faq/general/faq_36",
        "bounce": "Can I change the bounce rate setting in Matomo?,"
        " matomo.org/faq/reports/can-i-change-the-bounce-rate-setting-in-matomo",
        "visitors": "Unique visitors, matomo.org/faq/general/faq_43 and matomo.org/faq/how-to/faq_113",
        "bots": "Does Matomo track search engine bots?, matomo.org/faq/new-to-piwik/faq_63",
        "guide": "Archive data: core metrics, developer.matomo.org/guides/archive-data",
    },
    our_bounce="single_page",
    rules=(
        Rule("a visit ends after 30 minutes without activity", "visit", {"timeout_ms": 30 * MINUTE_MS}),
        Rule("any tracked action belongs to a visit, also with interactive:false", "visit", {"passive_steps": True}),
        Rule(
            "an action more than 30 minutes after the last begins a visit: ids of sessions are not known",
            "visit",
            {"uses_ids": False},
        ),
        Rule("at midnight of the site's time zone a new visit begins", "visit", {"splits_days": True}),
        Rule("a visit counts on the day on which it began", "visit", {"session_day": "start"}),
        Rule("a bounce has one view, and no event of any kind", "bounce", {"bounce": "matomo"}),
        Rule("the bounce rate is of all visits, also of those without a view", "guide", {"bounce_of_all": True}),
        Rule("a visit that bounced lasts 0 s, and is in the mean", "bounce", {"bounces_last_0": True}),
        Rule("a visitor is who has a visit: a login alone is none", "visitors", {"active_by": "visit"}),
        Rule("visitors are of the calendar week and month so far", "visitors", {"calendar": True}),
    ),
    undefined={"views": "it counts actions per visit: views, downloads, outlinks and searches"},
    alike=("a pause of exactly 30:00 belongs to the visit", "known bots are left out"),
    assumed=("the week begins on Monday", "an end closes its visit, as with us"),
    unseen=(
        "a new campaign, which begins a new visit",
        "one person on two devices, who is two visitors unless a User ID is sent",
        "late events: no limit is documented, but their time is taken only with a token after 24 h",
    ),
)
