"""The metrics of conversations with customers."""

from stream.core.metrics import WINDOW, Metric, closed_name, closed_twins

CONTACTS, RESOLVED, RESOLVED_RATIO = "engagement_contacts", "engagement_contacts_resolved", "engagement_resolved_ratio"
OF_CUSTOMERS, OF_CUSTOMERS_RATIO = "engagement_contacts_of_customers", "engagement_contacts_of_customers_ratio"
FIRST_REPLY, REPLY, RESOLUTION = (f"engagement_{what}_seconds" for what in ("first_reply", "reply", "resolution"))
FIRST_REPLY_MEAN, REPLY_MEAN, RESOLUTION_MEAN = (
    f"engagement_{what}_mean_seconds" for what in ("first_reply", "reply", "resolution")
)
FIRST_REPLIES, REPLIES, RESOLUTIONS = "engagement_first_replies", "engagement_replies", "engagement_resolutions"
WAITING, OLDEST_WAITING = "engagement_waiting_conversations", "engagement_oldest_waiting_seconds"
MATURED = "engagement_contacts_matured_closed"

_QUANTILES = ("window", "quantile")
_NEAREST = " By nearest rank, within 1 %."
_HOURS = " In business time, if the setting contacts.hours says when that is."
_WAIT = (
    " A customer waits from the opening of a conversation, unless we have opened it, or from her message until the next"
    " reply of an agent or the resolution. A message after a resolution begins a wait only if a reopening follows."
)

_LIVE = (
    Metric(
        CONTACTS,
        "Conversations by channel: the 20 that are most frequent, other, and unknown. A conversation counts at its"
        " first event; one that was deleted, or merged into another one, does not.",
        ("window", "channel"),
        unit="conversations",
    ),
    Metric(
        OF_CUSTOMERS,
        "Conversations that a customer began: with a message, or by opening one that was not told as outbound.",
        WINDOW,
        unit="conversations",
    ),
    Metric(
        OF_CUSTOMERS_RATIO,
        "Share of the conversations that a customer began.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=(OF_CUSTOMERS, CONTACTS),
    ),
    Metric(
        FIRST_REPLY,
        "Quantiles of the first wait in a conversation that the reply of an agent ended, at the time of the reply. The"
        f" reply of a bot ends no wait.{_WAIT}{_HOURS}{_NEAREST}",
        _QUANTILES,
        "summary",
        unit="seconds",
    ),
    Metric(FIRST_REPLY_MEAN, f"Mean of the same.{_HOURS}", WINDOW, unit="seconds", parts=(FIRST_REPLIES,)),
    Metric(FIRST_REPLIES, "Conversations by their first reply to a waiting customer.", WINDOW, unit="conversations"),
    Metric(
        REPLY,
        f"Quantiles of every wait that the reply of an agent ended.{_HOURS}{_NEAREST}",
        _QUANTILES,
        "summary",
        unit="seconds",
    ),
    Metric(REPLY_MEAN, f"Mean of the same.{_HOURS}", WINDOW, unit="seconds", parts=(REPLIES,)),
    Metric(REPLIES, "Replies of agents to waiting customers.", WINDOW, unit="replies"),
    Metric(
        RESOLUTION,
        "Quantiles of the time from the first wait of a conversation, or from its first event if nobody waited, to its"
        f" latest resolution. Reopening takes it out until it is resolved again.{_NEAREST}",
        _QUANTILES,
        "summary",
        unit="seconds",
    ),
    Metric(RESOLUTION_MEAN, "Mean of the same.", WINDOW, unit="seconds", parts=(RESOLUTIONS,)),
    Metric(RESOLUTIONS, "Conversations by their latest resolution.", WINDOW, unit="conversations"),
)
_RATIO = (
    Metric(
        RESOLVED_RATIO,
        "Share of the conversations begun in the window that are resolved now.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=(RESOLVED, CONTACTS),
    ),
    Metric(RESOLVED, "Conversations begun in the window that are resolved now.", WINDOW, unit="conversations"),
)
_NOW = (
    Metric(WAITING, f"Conversations in which a customer waits now.{_WAIT}", unit="conversations"),
    Metric(
        OLDEST_WAITING,
        f"How long the customer waits who has waited longest. Absent while nobody waits.{_HOURS}",
        unit="seconds",
    ),
)
_MATURED_DAYS = " begun on the days of the window, which ended 7 days before the end of the last closed day"
_MATURED = (
    Metric(
        closed_name(RESOLVED_RATIO),
        f"Share of the conversations{_MATURED_DAYS}, that were resolved by then.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=(closed_name(RESOLVED), MATURED),
    ),
    Metric(
        closed_name(RESOLVED),
        f"Conversations{_MATURED_DAYS}, that were resolved by then.",
        WINDOW,
        unit="conversations",
    ),
    Metric(MATURED, f"Conversations{_MATURED_DAYS}.", WINDOW, unit="conversations"),
)
METRICS = (*_LIVE, *_RATIO, *_NOW, *closed_twins((*_LIVE, *_NOW)), *_MATURED)
