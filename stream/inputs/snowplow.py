"""The format `snowplow`: enriched events, as tab-separated values or as the JSON of Snowplow's Analytics SDKs.

A line has 131 columns in a fixed order, and no header; the JSON has the same names. Page views are views, page pings
show that a page is still being read (a heartbeat), and structured and self-describing events are events of a session,
by their name. A transaction is an order (`tr_orderid`, `tr_total`, `tr_currency`). Failed events are in topics of their
own, in another format, and are refused.

| what | where |
| --- | --- |
| user | `user_id` |
| device | `domain_userid` (web), else `userId` of the `client_session` context (mobile), else `network_userid` |
| time | `derived_tstamp`, which is corrected for the clock of the device, else `collector_tstamp`; both are of UTC |
| id of the event | `event_id` |
| session | `domain_sessionid`, else `sessionId` of the `client_session` context |
| what happened | `event`; of a self-describing event its `event_name`, of a structured one its `se_action` |
| platform, country | `platform` (web, mob, app, srv …), `geo_country` |
| version | `version` of the `mobile/application` context |
| bot | `useragent` of a crawler |

Source: Snowplow's documentation, "Enriched stream TSV file format" and "Canonical event", of November 2026; for the
order of the columns also the package snowplow-analytics-sdk.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.parts import NotAnObject, Parts, Told
from stream.inputs.telling import (
    END,
    EVENT,
    HEARTBEAT,
    ORDER,
    PAGE,
    PAID,
    PASSIVE,
    SCREEN,
    START,
    UTC,
    Clock,
    Meanings,
    deed,
    is_of_a_bot,
    named,
    order,
    person,
    thing_id,
)

USES = frozenset({"time", "logins", "key_events", "passive"})

COLUMNS: Final = 131
# Places of the columns that are read, from 0.
(_PLATFORM, _COLLECTED, _EVENT, _EVENT_ID, _USER, _DOMAIN_USER, _NETWORK_USER) = (1, 3, 5, 6, 12, 15, 17)
(_COUNTRY, _CONTEXTS, _ACTION, _AGENT, _SESSION, _DERIVED) = (18, 52, 54, 77, 123, 124)
_NAME = 126
(_ORDER_ID, _ORDER_TOTAL, _ORDER_CURRENCY) = (59, 61, 108)

NAMES = {
    **named(PAGE, "page_view"),
    **named(SCREEN, "screen_view"),
    **named(HEARTBEAT, "page_ping", "screen_end", "ping"),
    **named(START, "application_foreground", "application_install"),
    **named(END, "application_background"),
    **named(PASSIVE, "application_error", "timing", "performance_timing", "web_vitals", "ad_impression"),
    **named(PAID, "transaction"),
    **named(ORDER, "transaction_item"),  # a part of a transaction
}

_SELF_DESCRIBING, _STRUCTURED = "unstruct", "struct"
_SERVER = "srv"
_BAD_ROWS = "com.snowplowanalytics.snowplow.badrows"
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip, zstd


class _Entity(msgspec.Struct, gc=False, rename="camel"):
    """What is read of any context."""

    user_id: object = None
    session_id: object = None
    version: object = None


_NO_ENTITY = _Entity()


class _SelfDescribing(msgspec.Struct, gc=False):
    schema: str = ""
    data: _Entity | NotAnObject = None


class _Contexts(msgspec.Struct, gc=False):
    data: list[_SelfDescribing] = []


_contexts_of = msgspec.json.Decoder(_Contexts).decode


class _Event(msgspec.Struct, gc=False):
    """An event as JSON."""

    event: object = None
    event_name: object = None
    event_id: object = None
    se_action: object = None
    user_id: object = None
    domain_userid: object = None
    network_userid: object = None
    domain_sessionid: object = None
    derived_tstamp: object = None
    collector_tstamp: object = None
    platform: object = None
    geo_country: object = None
    useragent: object = None
    tr_orderid: object = None
    tr_total: object = None
    tr_currency: object = None
    schema: object = None
    sessions: object = msgspec.field(default=None, name="contexts_com_snowplowanalytics_snowplow_client_session_1")
    applications: object = msgspec.field(default=None, name="contexts_com_snowplowanalytics_mobile_application_1")


def reader_of(options: Options) -> Reader:
    """What reads enriched events, tab-separated or JSON."""
    clock, meanings = Clock(options, zone=UTC), Meanings(options, NAMES)

    def tell(event: _Event, record: Record, raw: bytes) -> Told:
        if isinstance(event.schema, str) and _BAD_ROWS in event.schema:
            raise Rejected(Reason.WRONG_TYPE, f"a failed event of {event.schema}: only enriched events are read")
        session, application = _first(event.sessions), _first(event.applications)
        name = _name_of(event)
        user = person(
            event.user_id,
            event.domain_userid or session.user_id or event.network_userid,
            user_field="user_id",
            device_field="domain_userid",
        )
        time, field = event.derived_tstamp, "derived_tstamp"
        if not time:
            time, field = event.collector_tstamp, "collector_tstamp"
        meaning, at_ms = meanings.get(name, EVENT), clock.at_ms(record, time, field)
        is_bot = event.useragent is not None and is_of_a_bot(event.useragent)
        its_order = None
        if meaning.order:
            told = {"order_id": event.tr_orderid, "amount": event.tr_total, "currency": event.tr_currency}
            its_order = order(user, at_ms, is_bot, meaning.order, **told)
        return deed(
            meaning,
            user,
            at_ms,
            is_bot,
            (event.platform, None, event.geo_country, application.version),
            event_id=thing_id(event.event_id),
            session_id=thing_id(event.domain_sessionid) or thing_id(session.session_id),
            of_client=event.platform != _SERVER,
            its_order=its_order,
        )

    read_json = Parts(_Event, tell).read

    def read(record: Record) -> Told:
        value = record.value
        if not value or value[:1] in b"[{":
            return read_json(record)
        return tell(_of_columns(value), record, value)

    return read


def _of_columns(value: bytes) -> _Event:
    columns = value.decode(errors="replace").rstrip("\r\n").split("\t")
    if len(columns) != COLUMNS:
        if value.startswith(_PACKED):
            raise Rejected(Reason.NOT_JSON, "a compressed batch of events: only single events are read")
        raise Rejected(Reason.WRONG_TYPE, f"{len(columns)} tab-separated columns, an enriched event has {COLUMNS}")

    event = _Event(
        event=columns[_EVENT],
        event_name=columns[_NAME],
        event_id=columns[_EVENT_ID] or None,
        se_action=columns[_ACTION],
        user_id=columns[_USER] or None,
        domain_userid=columns[_DOMAIN_USER] or None,
        network_userid=columns[_NETWORK_USER] or None,
        domain_sessionid=columns[_SESSION],
        derived_tstamp=columns[_DERIVED],
        collector_tstamp=columns[_COLLECTED],
        platform=columns[_PLATFORM] or None,
        geo_country=columns[_COUNTRY] or None,
        useragent=columns[_AGENT] or None,
        tr_orderid=columns[_ORDER_ID] or None,
        tr_total=columns[_ORDER_TOTAL] or None,
        tr_currency=columns[_ORDER_CURRENCY] or None,
    )
    contexts = columns[_CONTEXTS]
    if "/client_session/" in contexts or "/application/" in contexts:
        _add_contexts(event, contexts)
    return event


def _add_contexts(event: _Event, contexts: str) -> None:
    try:
        entities = _contexts_of(contexts).data
    except UNDECODABLE:
        return  # the event is of use without them
    for entity in entities:
        if "/client_session/" in entity.schema:
            event.sessions = [entity.data]
        elif "mobile/application/" in entity.schema:
            event.applications = [entity.data]


def _first(entities: object) -> _Entity:
    """The first entity of a context; one that holds nothing where there is none."""
    if not isinstance(entities, Sequence) or isinstance(entities, str) or not entities:
        return _NO_ENTITY
    first = entities[0]
    if isinstance(first, _Entity):
        return first
    if isinstance(first, Mapping):
        return _Entity(first.get("userId"), first.get("sessionId"), first.get("version"))
    return _NO_ENTITY


def _name_of(event: _Event) -> str:
    """The name by which the meaning of an event is looked up. Raises Rejected."""
    kind = event.event
    if not isinstance(kind, str) or not kind:
        raise Rejected(Reason.MISSING_FIELD, "an enriched event needs `$.event`")
    name = event.event_name if kind == _SELF_DESCRIBING else event.se_action if kind == _STRUCTURED else kind
    return name if isinstance(name, str) and name else kind


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a JSON message is an enriched event."""
    return "event_id" in fields and "collector_tstamp" in fields and "event" in fields


def is_line(value: bytes) -> bool:
    """Whether a message is a line of tab-separated columns."""
    return value[:1] not in b"[{" and value.count(b"\t") == COLUMNS - 1
