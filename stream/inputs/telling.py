"""What all formats have in common: who it is of, when it happened, and what an event by its name means.

A format decodes its messages and says what stands where. Here that becomes events of the families: by way of the same
native messages (`core/messages.py`) by which our own producers tell them, so that a rule of a family has one place, and
a family that is added later is told of by one further line of a format.

Event names are the producer's own, except for those that the documentation of a format defines. What each means is a
`Meaning`; the settings of the input add to what a format knows.
"""

import datetime as dt
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, DecimalException
from typing import Any, NamedTuple

from stream.core import zones
from stream.core.account_changes import Change
from stream.core.events import Event, MultipleEvents, Rejection
from stream.core.families.registry import message_kinds
from stream.core.messages import EPOCH, Record, checked_time_ms, time_field_ms
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.time import DAY_MS, SECOND_MS, parse_time
from stream.core.users import user_of, users_by_id
from stream.inputs.bots import is_crawler
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, Told, together

UTC = dt.timezone.utc

# Values of segments as a format tells them: platform, plan, country, version of the app. Of any type.
Labels = tuple[object, object, object, object]

_LONGEST_SHOWN = 100


def shown(value: object) -> str:
    """A value as a rejection names it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


# -- who ---------------------------------------------------------------------------------------------------------------


def person(user_id: object, device_id: object = None, *, user_field: str, device_field: str = "") -> str:
    """The user of an event: whom `user_id` names, else the device. Raises Rejected.

    Without `device_field` the format has no ids of devices. An id is text or a whole number. One that was cut in the
    middle of a character could be another's.
    """
    if type(user_id) is str:
        known = users_by_id.get(user_id)
        if known is not None:
            return known
    try:
        return user_of(_an_id(user_id, user_field), _an_id(device_id, device_field))
    except Rejected as rejection:
        told = str(rejection).replace("`$.user_id`", f"`$.{user_field}`")
        if device_field:
            told = told.replace("`$.anonymous_id`", f"`$.{device_field}`")
        else:
            told = told.replace(" or `$.anonymous_id`", "").replace(", no `$.anonymous_id`", "")
        raise Rejected(rejection.reason, told) from None


def _an_id(raw: object, field: str) -> str | int | None:
    if raw is None or type(raw) is int:
        return raw
    if not isinstance(raw, str):
        raise Rejected(Reason.WRONG_TYPE, f"expected text or a whole number at `$.{field}`, got {shown(raw)}")
    if "\ufffd" in raw:
        raise Rejected(Reason.BAD_USER, f"{shown(raw)} at `$.{field}` is cut in the middle of a character")
    return raw


def thing_id(raw: object) -> str | int | None:
    """The id of an event, a session or a response; None for what is none."""
    if type(raw) is str or type(raw) is int:
        return raw
    return int(raw) if isinstance(raw, float) and raw == raw // 1 else None


def scoped(device_id: object, raw: object) -> str | int | None:
    """The id of a session that is unique on one device only, so that two devices of one person don't share one."""
    session = thing_id(raw)
    return session if session is None or session == "" or not device_id else f"{device_id}/{session}"


def is_of_a_bot(user_agent: object) -> bool:
    """Whether a user agent names a crawler."""
    return isinstance(user_agent, str) and is_crawler(user_agent)


# -- when --------------------------------------------------------------------------------------------------------------

# Dates without leading zeros, as Segment's own documentation has one; a zone in words; an offset after a space.
_UNPADDED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[Tt ](\d{1,2}):(\d{1,2})(?::(\d{1,2}))?(.*)", re.DOTALL)
_UTC_IN_WORDS = re.compile(r"\s*(?:UTC|GMT)\Z")
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d\Z)")
_OFFSET = re.compile(r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)\Z")
_SHORTEST_ISO = len("2026-11-21T10:00")
_NO_LETTER_Z = sys.version_info < (3, 11)  # `datetime.fromisoformat` does not know it


def text_ms(text: str, field: str, zone: dt.tzinfo | None) -> int:
    """Milliseconds of a time as text, in `zone` where it tells no offset. Raises Rejected."""
    if len(text) < _SHORTEST_ISO or text[4] != "-":
        return _unusual_ms(text, field, zone)
    try:
        moment = dt.datetime.fromisoformat(f"{text[:-1]}+00:00" if _NO_LETTER_Z and text[-1] == "Z" else text)
    except ValueError:
        return _unusual_ms(text, field, zone)
    if moment.tzinfo is None:
        if zone is None:
            raise _no_time(text, field)
        moment = moment.replace(tzinfo=zone)
    since = moment - EPOCH
    at_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    return checked_time_ms(at_ms, text, field)


def _unusual_ms(text: str, field: str, zone: dt.tzinfo | None) -> int:
    told = _SPACE_BEFORE_OFFSET.sub("", _UTC_IN_WORDS.sub("Z", text.strip()))
    unpadded = _UNPADDED.fullmatch(told)
    if unpadded is not None:
        year, *rest, end = unpadded.groups()
        month, day, hour, minute, second = (part.rjust(2, "0") for part in (*rest[:4], rest[4] or "0"))
        told = f"{year}-{month}-{day}T{hour}:{minute}:{second}{end}"
        if _OFFSET.search(end) is None:
            if zone is None:
                raise _no_time(text, field)
            at_ms = parse_time(f"{told}Z")
            if at_ms is not None:
                return checked_time_ms(_as_local(at_ms, zone), text, field)
    at_ms = parse_time(told)
    if at_ms is None:
        raise _no_time(text, field)
    return checked_time_ms(at_ms, text, field)


def _as_local(at_ms: int, zone: dt.tzinfo) -> int:
    """The moment at which clocks of a zone show what those of UTC show at `at_ms`."""
    shows = EPOCH + dt.timedelta(milliseconds=at_ms)
    since = shows.replace(tzinfo=zone) - EPOCH
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


def _no_time(text: str, field: str) -> Rejected:
    return Rejected(Reason.BAD_TIME, f"{shown(text)} at `$.{field}` is no ISO 8601 time with an offset")


class Clock:
    """Times of one input: as its format tells them, and as its settings say where a message has none."""

    def __init__(self, options: Options, *, zone: dt.tzinfo | None = None, numbers_are_local: bool = False) -> None:
        """`zone` is that of times without an offset, where the settings name no other.

        `numbers_are_local`: an epoch number shows what clocks of the zone of the settings showed.
        """
        self._zone = zones.zone(options.zone) if options.zone else zone
        self._of_record = options.time == "record"
        self._local = self._zone if numbers_are_local and options.zone else None

    def at_ms(self, record: Record, time: object, field: str) -> int:
        """Milliseconds of a time that a message tells, or of its record where it tells none. Raises Rejected."""
        if type(time) is str and time:
            if not (time.isascii() and time.isdigit()):
                return text_ms(time, field, self._zone)
            time = int(time)
        if isinstance(time, (int, float)) and not isinstance(time, bool):
            at_ms = time_field_ms(time, field)
            return at_ms if self._local is None else checked_time_ms(_as_local(at_ms, self._local), time, field)
        if time is not None and time != "":
            raise Rejected(Reason.BAD_TIME, f"{shown(time)} at `$.{field}` is no time")
        if self._of_record:
            return checked_time_ms(record.timestamp, record.timestamp, "timestamp of the record")
        told = f'no time: needs `$.{field}`, or the setting time = "record" of the input'
        raise Rejected(Reason.MISSING_FIELD, told)


# -- what --------------------------------------------------------------------------------------------------------------

_KINDS = message_kinds()
_SESSIONS, _LOGINS, _SURVEYS = _KINDS["sessions"], _KINDS["logins"], _KINDS["surveys"]
_ACCOUNTS, _ORDERS = _KINDS["accounts"], _KINDS["orders"]
_session: Any = _SESSIONS.message_type
_step_of = _SESSIONS.event_of
_NO_TIME = 0  # of a native message whose event is given its time anyway


def login(user: str, at_ms: int, is_bot: bool, labels: Labels, *, event_id: str | int | None, success: bool) -> Event:
    """A login, as a native message of the kind `logins` would tell it."""
    platform, plan, country, app_version = labels
    make: Any = _LOGINS.message_type
    message = make(
        event_time=_NO_TIME,
        event_id=event_id,
        success=success,
        platform=platform,
        plan=plan,
        country=country,
        app_version=app_version,
    )
    return _LOGINS.event_of(message, user, at_ms, is_bot, None)


def answer(user: str, at_ms: int, is_bot: bool, **fields: Any) -> Event:
    """A state of a survey response: `fields` are those of a native message of the kind `surveys`. Raises Rejected."""
    return _SURVEYS.event_of(_SURVEYS.message_type(event_time=_NO_TIME, **fields), user, at_ms, is_bot, None)


# What an event tells besides being a step: an event, why it can't be used, or that no family counts it.
Besides = Event | Rejected | LeftOut


def account(user: str, at_ms: int, is_bot: bool, labels: Labels, change: Change) -> Event:
    """A change of an account, as a native message of the kind `accounts` would tell it."""
    platform, plan, country, app_version = labels
    make: Any = _ACCOUNTS.message_type
    message = make(
        event_time=_NO_TIME, type=change, platform=platform, plan=plan, country=country, app_version=app_version
    )
    return _ACCOUNTS.event_of(message, user, at_ms, is_bot, None)


def order(
    user: str,
    at_ms: int,
    is_bot: bool,
    type_: str,
    *,
    order_id: object,
    amount: object,
    currency: object,
    refund_id: object = None,
) -> Besides:
    """A payment or a refund, as a native message of the kind `orders` would tell it.

    What has no id, no amount or no currency is left out: it may be any event of that name. An amount is a number, or
    text that is one; it is taken exactly as it is written.
    """
    known_id, exact = thing_id(order_id), _amount(amount)
    if known_id in (None, "") or exact is None or not isinstance(currency, str) or not currency.strip():
        return LeftOut.ORDER
    make: Any = _ORDERS.message_type
    message = make(
        event_time=_NO_TIME,
        type=type_,
        order_id=known_id,
        amount=exact,
        currency=currency.strip().upper(),
        refund_id=thing_id(refund_id),
    )
    try:
        return _ORDERS.event_of(message, user, at_ms, is_bot, None)
    except Rejected as rejection:
        return rejection


def _amount(value: object) -> Decimal | None:
    """An amount as it is written; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return Decimal(str(value).strip())  # of a float the shortest text that means it, which is what was sent
    except DecimalException:
        return None


class Meaning(NamedTuple):
    """What an event by its name is, beside what every event is."""

    type: str = "event"  # of the step
    is_login: bool = False
    succeeds: bool = True  # of a login
    is_key_event: bool = False
    is_interactive: bool = True
    prompted: bool | None = None
    left_out: LeftOut | None = None  # what it tells besides that no family hears
    change: Change | None = None  # of the account of its user
    order: str = ""  # `paid` or `refunded`, where it tells of an order


EVENT = Meaning()
PAGE, SCREEN, HEARTBEAT, START, END = map(Meaning, ("page_view", "screen_view", "heartbeat", "start", "end"))
LOGIN, FAILED_LOGIN = Meaning(is_login=True), Meaning(is_login=True, succeeds=False)
PASSIVE = Meaning(is_interactive=False)
PROMPTED = Meaning(prompted=True)
ORDER = Meaning(is_key_event=True, left_out=LeftOut.ORDER)
PAID, REFUNDED = ORDER._replace(order="paid"), ORDER._replace(order="refunded")
ACCOUNT = Meaning(is_key_event=True, left_out=LeftOut.ACCOUNT)
SIGNED_UP, TRIAL_STARTED, SUBSCRIBED, RENEWED, CANCELLED = (
    ACCOUNT._replace(change=change)
    for change in (Change.SIGNED_UP, Change.TRIAL_STARTED, Change.SUBSCRIBED, Change.RENEWED, Change.CANCELLED)
)
CONTACT = Meaning(left_out=LeftOut.CONTACT)


def named(meaning: Meaning, *names: str) -> dict[str, Meaning]:
    """The same meaning for several names."""
    return dict.fromkeys(names, meaning)


class Meanings:
    """What the event names of one input mean: as the format defines them, and as the settings say."""

    def __init__(self, options: Options, known: Mapping[str, Meaning]) -> None:
        meanings = dict(known)
        meanings.update(named(LOGIN, *options.logins))
        for name in options.key_events:
            meanings[name] = meanings.get(name, EVENT)._replace(is_key_event=True)
        for name in options.passive:
            meanings[name] = meanings.get(name, EVENT)._replace(is_interactive=False)
        self.get = meanings.get


def deed(
    meaning: Meaning,
    user: str,
    at_ms: int,
    is_bot: bool,
    labels: Labels,
    *,
    event_id: str | int | None,
    session_id: str | int | None = None,
    engaged_ms: int | float | None = None,
    in_session: bool = True,
    of_client: bool,
    its_order: Besides | None = None,
) -> Told:
    """What an event of a user tells, by what its name means. `its_order` is the payment or the refund that it tells.

    An event that was sent by the client that the user had in the hand (`of_client`) is a step, whatever else it tells.
    A login or an order that a server tells of is no step: nobody need have been there.
    """
    type_, is_login, succeeds, key_event, is_interactive, prompted, left_out, change, _ = meaning
    tells_more = is_login or left_out is not None
    events: list[Event] = []
    if of_client or not tells_more:
        if engaged_ms is not None and not -0.5 <= engaged_ms <= DAY_MS + 0.5:
            raise Rejected(Reason.OUT_OF_RANGE, f"an engaged time of {shown(engaged_ms)} ms is none of up to a day")
        platform, plan, country, app_version = labels
        message = _session(
            event_time=_NO_TIME,
            event_id=event_id,
            type=type_,
            session_id=session_id,
            engaged_ms=engaged_ms,
            key_event=key_event,
            interactive=is_interactive and succeeds,
            in_session=in_session,
            prompted=prompted,
            platform=platform,
            plan=plan,
            country=country,
            app_version=app_version,
        )
        its_step = _step_of(message, user, at_ms, is_bot, None)
        if not tells_more:
            return its_step
        events.append(its_step)
    if is_login:
        events.append(login(user, at_ms, is_bot, labels, event_id=event_id, success=succeeds))
    if left_out is None:
        return together(events)
    besides: Besides = left_out if its_order is None else its_order
    if change is not None:
        besides = account(user, at_ms, is_bot, labels, change)
    return _with_besides(events, besides)


def _with_besides(events: Sequence[Event], besides: Besides) -> Told:
    """All that one thing tells."""
    if isinstance(besides, Event):
        return together([*events, besides])
    if isinstance(besides, Rejected):
        return MultipleEvents(tuple(enumerate(events)), (Rejection(len(events), besides.reason, str(besides)),), ())
    return together(events, besides) if events else NOTHING[besides]
