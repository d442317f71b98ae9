"""The format `segment`: calls by Segment's specification, which Jitsu, Hightouch Events and others write too.

An app calls `page`, `screen`, `track`, `identify`, `alias` or `group`. A page and a screen are views, and a track is
something that the user did, by its name: the specification's names for logins, orders, accounts, conversations and the
life of a mobile app are known, every other is an event of a session. The rest says who somebody is, which is counted as
left out. A record may be one call or a batch of them.

| what | where |
| --- | --- |
| user, device | `userId`, `anonymousId` |
| time | `timestamp`, which is corrected for the clock of the sender; else `originalTimestamp`, `receivedAt`, `sentAt` |
| id of the event | `messageId`: a call that is sent again has the same |
| session | none: steps are put together by their times |
| platform | `context.device.type`, else `context.os.name`, else `web` for a call of a web page |
| by a client | unless `channel` is `server` or `sources`; where it tells none, if there is a user agent or a device |
| nobody did it | `context.active` is false |
| plan | `context.traits.plan`, else `traits.plan`, `properties.plan` |
| country | `context.location.country`, else that of the traits' address |
| version | `context.app.version` |
| bot | `context.userAgent` of a crawler |
| an account | a track `Signed Up` or `Trial Started` |
| an order | a track `Order Completed`, `Order Refunded`: `properties` `order_id`, `total`, else `revenue`, `currency` |
| an answer | a track `Survey Submitted`: `properties` `kind`, `score`, `response_id`, or a question of the settings |

Source: Segment's documentation, "Spec: Common fields" and the pages of each call, of November 2026.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import Kind
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told, objects_in
from stream.inputs.questions import Questions, known_kind
from stream.inputs.telling import (
    ACCOUNT,
    CONTACT,
    END,
    EVENT,
    LOGIN,
    ORDER,
    PAGE,
    PAID,
    PASSIVE,
    PROMPTED,
    REFUNDED,
    SCREEN,
    SIGNED_UP,
    START,
    TRIAL_STARTED,
    Besides,
    Clock,
    Labels,
    Meaning,
    Meanings,
    deed,
    is_of_a_bot,
    named,
    order,
    person,
    scoped,
    shown,
    thing_id,
)

USES = frozenset({"time", "zone", "logins", "key_events", "passive", "questions"})

SURVEY_SUBMITTED = "Survey Submitted"

# The names that the specification defines: its page on mobile apps, which other libraries follow too …
MOBILE_NAMES = {
    **named(START, "Application Opened", "Application Installed"),
    **named(END, "Application Backgrounded"),
    **named(PASSIVE, "Application Updated", "Application Uninstalled", "Application Crashed"),
    **named(PASSIVE, "Push Notification Received", "Push Notification Bounced", "Install Attributed"),
    **named(PROMPTED, "Push Notification Tapped"),
}
# … and those on e-commerce, B2B SaaS and live chat.
NAMES = {
    **named(LOGIN, "Signed In"),
    **named(SIGNED_UP, "Signed Up"),
    **named(TRIAL_STARTED, "Trial Started"),
    **named(ACCOUNT, "Account Created", "Account Deleted", "Trial Ended"),  # of a company; and nobody knows into what
    **named(PAID, "Order Completed"),
    **named(REFUNDED, "Order Refunded"),
    **named(ORDER, "Order Updated", "Order Cancelled"),  # which tell neither a payment nor a refund
    **named(CONTACT, "Live Chat Conversation Started", "Live Chat Conversation Ended", "Live Chat Message Sent"),
    **named(CONTACT, "Live Chat Message Received"),
    **MOBILE_NAMES,
}

_LEFT_OUT = {"identify": LeftOut.IDENTITY, "alias": LeftOut.IDENTITY, "group": LeftOut.GROUP}
CALLS = frozenset({"page", "screen", "track", *_LEFT_OUT})


class _Version(msgspec.Struct, gc=False):
    version: object = None


class _Type(msgspec.Struct, gc=False):
    type: object = None


class _Name(msgspec.Struct, gc=False):
    name: object = None


class _Country(msgspec.Struct, gc=False):
    country: object = None


class _Traits(msgspec.Struct, gc=False):
    plan: object = None
    address: _Country | NotAnObject = None


class _Context(msgspec.Struct, gc=False, rename="camel"):
    active: object = None
    app: _Version | NotAnObject = None
    device: _Type | NotAnObject = None
    os: _Name | NotAnObject = None
    location: _Country | NotAnObject = None
    traits: _Traits | NotAnObject = None
    library: _Name | NotAnObject = None
    page: msgspec.Raw = msgspec.Raw()
    user_agent: object = None
    session_id: object = None  # RudderStack's


class _Properties(msgspec.Struct, gc=False):
    plan: object = None
    kind: object = None
    survey_type: object = None
    score: object = None
    rating: object = None
    response_id: object = None
    survey_id: object = None
    question_id: object = None
    order_id: object = None
    total: object = None
    revenue: object = None
    value: object = None
    currency: object = None


class Call(msgspec.Struct, gc=False, rename="camel"):
    """A call, or a batch of them."""

    type: object = None
    event: object = None
    name: object = None
    user_id: object = None
    anonymous_id: object = None
    channel: object = None
    message_id: object = None
    timestamp: object = None
    original_timestamp: object = None
    received_at: object = None
    sent_at: object = None
    context: _Context | NotAnObject = None
    properties: msgspec.Raw = msgspec.Raw()  # of any shape, and up to tens of kilobytes: seldom needed
    traits: _Traits | NotAnObject = None
    batch: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


_NO_CONTEXT = _Context()
_properties = msgspec.json.Decoder(_Properties).decode
_TIMES = ("original_timestamp", "received_at", "sent_at")
_OF_RUDDERSTACK = "rudder"
_SERVERS = frozenset({"server", "sources"})


def reader_of(options: Options, *, has_sessions: bool = False) -> Reader:
    """What reads calls. `has_sessions`: they tell sessions, as RudderStack's do."""
    clock, meanings, questions = Clock(options), Meanings(options, NAMES), Questions(options)

    def tell(call: Call, record: Record, raw: bytes) -> Told:
        kind = call.type
        left_out = _LEFT_OUT.get(kind) if isinstance(kind, str) else None
        if left_out is not None:
            return NOTHING[left_out]
        context = call.context if isinstance(call.context, _Context) else _NO_CONTEXT
        meaning = PAGE if kind == "page" else _meaning_of(call, meanings)
        user = person(call.user_id, call.anonymous_id, user_field="userId", device_field="anonymousId")
        at_ms = clock.at_ms(record, *_time_of(call))
        is_bot = context.user_agent is not None and is_of_a_bot(context.user_agent)
        if call.event == SURVEY_SUBMITTED and kind == "track":
            return _answer(questions, call, user, at_ms, is_bot)
        session_id = None
        if has_sessions and context.session_id is not None:
            session_id = scoped(call.anonymous_id, context.session_id)
        if context.active is False:
            meaning = meaning._replace(is_interactive=False)
        return deed(
            meaning,
            user,
            at_ms,
            is_bot,
            _labels(call, context),
            event_id=thing_id(call.message_id),
            session_id=session_id,
            of_client=_is_of_client(call, context),
            its_order=_order(meaning.order, call, user, at_ms, is_bot) if meaning.order else None,
        )

    return Parts(Call, tell, batch=batch_of).read


def _is_of_client(call: Call, context: _Context) -> bool:
    """Whether the client that the user had in the hand has made a call; a server may pass on its user agent."""
    if isinstance(call.channel, str) and call.channel:
        return call.channel not in _SERVERS
    return any(told is not None for told in (context.session_id, context.user_agent, context.device))


def batch_of(call: Call) -> tuple[str, Sequence[msgspec.Raw]] | None:
    """The calls of a batch."""
    return ("batch", call.batch) if isinstance(call.batch, list) else None


def _meaning_of(call: Call, meanings: Meanings) -> Meaning:
    """What a call means that is no page call. Raises Rejected."""
    if call.type == "track":
        if isinstance(call.event, str):
            return meanings.get(call.event, EVENT)
        raise Rejected(Reason.MISSING_FIELD, f"a track call needs its name at `$.event`, got {shown(call.event)}")
    if call.type == "screen":
        return SCREEN
    if call.type is None:
        raise Rejected(Reason.MISSING_FIELD, "needs `$.type`, or `$.batch`")
    raise Rejected(Reason.UNKNOWN_VALUE, f"{shown(call.type)} at `$.type` is none of {', '.join(sorted(CALLS))}")


def _time_of(call: Call) -> tuple[object, str]:
    if call.timestamp is not None and call.timestamp != "":
        return call.timestamp, "timestamp"
    for name in _TIMES:
        time = getattr(call, name)
        if time is not None and time != "":
            first, _, second = name.partition("_")
            return time, first + second.capitalize()
    return None, "timestamp"


def _labels(call: Call, context: _Context) -> Labels:
    app, device, os, traits = context.app, context.device, context.os, context.traits
    platform = device.type if isinstance(device, _Type) else None
    if not platform and isinstance(os, _Name):
        platform = os.name
    is_web = not platform and bool(context.page)  # RudderStack's libraries send an empty name
    if not isinstance(traits, _Traits):
        traits = call.traits if isinstance(call.traits, _Traits) else None
    plan = traits.plan if traits is not None else None
    if plan is None and b'"plan"' in bytes(call.properties):
        plan = _properties_of(call).plan
    country = context.location.country if isinstance(context.location, _Country) else None
    if country is None and traits is not None and isinstance(traits.address, _Country):
        country = traits.address.country
    version = app.version if isinstance(app, _Version) else None
    if version is not None and bool(context.page) and is_of_rudderstack(context):
        version = None  # on web pages that is the version of the library
    return "web" if is_web else platform, plan, country, version


def _properties_of(call: Call) -> _Properties:
    try:
        return _properties(call.properties)
    except msgspec.DecodeError:  # no object, or none at all
        return _Properties()


def is_of_rudderstack(context: _Context) -> bool:
    """Whether a call was made by one of RudderStack's libraries."""
    library = context.library.name if isinstance(context.library, _Name) else None
    return isinstance(library, str) and _OF_RUDDERSTACK in library.lower()


def _order(type_: str, call: Call, user: str, at_ms: int, is_bot: bool) -> Besides:
    told = _properties_of(call)
    # The total is with tax and shipping, and refunds tell only that; the revenue is without.
    amount = next((one for one in (told.total, told.revenue, told.value) if one is not None), None)
    # A refund has no id of its own, but a call that is sent again has the same id.
    return order(
        user,
        at_ms,
        is_bot,
        type_,
        order_id=told.order_id,
        amount=amount,
        currency=told.currency,
        refund_id=call.message_id if type_ == "refunded" else None,
    )


def _answer(questions: Questions, call: Call, user: str, at_ms: int, is_bot: bool) -> Told:
    told = _properties_of(call)
    response_id = thing_id(told.response_id) or thing_id(call.message_id)
    kind: Kind | None = known_kind(told.kind) or known_kind(told.survey_type)
    found = questions.single(told.survey_id, told.question_id, kind=kind)
    score = told.score if told.score is not None else told.rating
    return found.told(user, at_ms, is_bot, response_id=response_id, score=score) if found else NOTHING[LeftOut.QUESTION]


# -- recognising -------------------------------------------------------------------------------------------------------


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a call or a batch of calls, and none of RudderStack's."""
    return is_call(fields) and not has_marks_of_rudderstack(fields)


_text = msgspec.json.Decoder(str).decode
_a_context = msgspec.json.Decoder(_Context).decode


def _calls_in(batch: msgspec.Raw) -> Iterator[Mapping[str, msgspec.Raw]]:
    with suppress(Rejected):
        yield from objects_in(bytes(batch))


def is_call(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a call by the specification, or a batch of them."""
    if "batch" in fields:
        return any("batch" not in call and is_call(call) for call in _calls_in(fields["batch"]))
    if "type" not in fields or not ("userId" in fields or "anonymousId" in fields):
        return False
    try:
        return _text(fields["type"]) in CALLS
    except msgspec.DecodeError:
        return False


def has_marks_of_rudderstack(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a call has what RudderStack adds to the specification."""
    if "batch" in fields:
        return any("batch" not in call and has_marks_of_rudderstack(call) for call in _calls_in(fields["batch"]))
    if "rudderId" in fields or "request_ip" in fields:
        return True
    try:
        context = _a_context(fields.get("context", b"{}"))
    except msgspec.DecodeError:
        return False
    return context.session_id is not None or is_of_rudderstack(context)
