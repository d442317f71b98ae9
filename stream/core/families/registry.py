"""The list of families. A new one is a module of this folder and a line here."""

from collections.abc import Iterable
from typing import Any

from stream.core.events import Event
from stream.core.families.accounts.family import AccountsFamily
from stream.core.families.activity.family import ActivityFamily
from stream.core.families.contacts.family import ContactsFamily
from stream.core.families.family import Family
from stream.core.families.features.family import FeaturesFamily
from stream.core.families.health.family import HealthFamily
from stream.core.families.logins import LoginsFamily
from stream.core.families.orders.family import OrdersFamily
from stream.core.families.reviews.family import ReviewsFamily
from stream.core.families.sessions.family import SessionsFamily
from stream.core.families.social.family import SocialFamily
from stream.core.families.surveys.family import SurveysFamily
from stream.core.messages import MessageKind
from stream.core.privacy import PRIVACY, PrivacyRequested
from stream.core.rules import Rules
from stream.core.windows import Windows

FAMILIES: list[type[Family[Any]]] = [
    ActivityFamily,
    SessionsFamily,
    LoginsFamily,
    SurveysFamily,
    AccountsFamily,
    OrdersFamily,
    ReviewsFamily,
    FeaturesFamily,
    SocialFamily,
    ContactsFamily,
    HealthFamily,
]


def families(rules: Rules) -> list[Family[Any]]:
    """An instance of each family, with empty totals."""
    return [family(rules) for family in FAMILIES]


def windows() -> list[Windows]:
    """The windows of all families. Windows that several families share are listed once."""
    told = [*(family.windows for family in FAMILIES), *segment_windows()]
    return list({windows.name: windows for windows in told}.values())


def segment_windows() -> list[Windows]:
    """The windows of what is told by segment."""
    return [family.by_segment.windows for family in FAMILIES if family.by_segment is not None]


def names_by_segment() -> tuple[str, ...]:
    """What can be counted by segment: the names of metrics, without prefix."""
    return tuple(name for family in FAMILIES if family.by_segment is not None for name in family.by_segment.metrics)


def message_kinds() -> dict[str, MessageKind]:
    """The kinds of native messages, by name."""
    return {kind.kind: kind for kind in (*(kind for family in FAMILIES for kind in family.message_kinds), PRIVACY)}


def events(of: Iterable[Family[Any]]) -> dict[str, type[Event]]:
    """The types of events that any of these families processes, and the requests of people, by name."""
    processed = {event.__name__: event for family in of for event in family.handlers() if event is not Event}
    return {**processed, PrivacyRequested.__name__: PrivacyRequested}


def state_settings(rules: Rules) -> dict[str, str]:
    """The settings on which the stored state depends, in a fixed order."""
    settings = {"timezone": rules.days.zone}
    by_segment = []
    for family in FAMILIES:
        settings |= family.state_settings(rules)
        if family.names_by_segment(rules):
            by_segment.append(family.name)
    # One number of a family brings all that is stored for the others of it.
    of_them = f" of {','.join(by_segment)}" if by_segment else ""
    return {**settings, "segments": f"{','.join(rules.segments)}{of_them}" if by_segment else "none"}
