"""The format `amplitude`: events of the HTTP V2 API, and as the Export API writes them.

A record may be one event, or an upload with a list of `events`.

| what | where |
| --- | --- |
| user, device | `user_id`, `device_id` |
| time | `time` in milliseconds; in exports `event_time`, which has no offset and is of UTC |
| id of the event | `insert_id`, in exports `$insert_id` |
| session | `session_id`, the time in milliseconds when it began on that device; -1 is no session |
| what happened | `event_type`: `[Amplitude] Page Viewed` and `[Amplitude] Screen Viewed`, else an event by its name |
| platform, country | `platform`, `country` |
| plan, version | `user_properties.plan`, `app_version`, in exports `version_name` |

What happens in no session (-1) makes its user active and belongs to none. An event with `revenue` is an order too; with
a `currency` it counts, under the id of the event. A negative revenue is a refund of an order that is not known.

Source: Amplitude's documentation, "HTTP V2 API", "Export API" and "Sessions", of November 2026.
"""

from collections.abc import Mapping, Sequence

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told, objects_in
from stream.inputs.telling import (
    END,
    EVENT,
    ORDER,
    PAGE,
    PASSIVE,
    SCREEN,
    START,
    UTC,
    Besides,
    Clock,
    Meanings,
    deed,
    named,
    order,
    person,
    scoped,
    shown,
    thing_id,
)

USES = frozenset({"time", "zone", "logins", "key_events", "passive"})

NAMES = {
    **named(PAGE, "[Amplitude] Page Viewed"),
    **named(SCREEN, "[Amplitude] Screen Viewed"),
    **named(START, "session_start", "[Amplitude] Start Session", "[Amplitude] Application Opened"),
    **named(START, "[Amplitude] Application Installed"),
    **named(END, "session_end", "[Amplitude] End Session", "[Amplitude] Application Backgrounded"),
    **named(PASSIVE, "[Amplitude] Application Updated", "[Amplitude] Replay Captured"),
    **named(ORDER, "revenue_amount", "unverified_revenue", "verified_revenue", "[Amplitude] Revenue"),
}
_LEFT_OUT = {"$identify": LeftOut.IDENTITY, "$groupidentify": LeftOut.GROUP}

_NO_SESSION = -1


class _UserProperties(msgspec.Struct, gc=False):
    plan: object = None


class _Event(msgspec.Struct, gc=False):
    """An event, or an upload of some."""

    event_type: object = None
    user_id: object = None
    device_id: object = None
    time: object = None
    event_time: object = None
    session_id: object = None
    insert_id: object = None
    exported_insert_id: object = msgspec.field(default=None, name="$insert_id")
    platform: object = None
    country: object = None
    app_version: object = None
    version_name: object = None
    revenue: object = None
    currency: object = None
    user_properties: _UserProperties | NotAnObject = None
    events: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


def reader_of(options: Options) -> Reader:
    """What reads Amplitude's events."""
    clock, meanings = Clock(options, zone=UTC), Meanings(options, NAMES)

    def tell(event: _Event, record: Record, raw: bytes) -> Told:
        name = event.event_type
        if not isinstance(name, str):
            raise Rejected(Reason.MISSING_FIELD, f"an event needs its name at `$.event_type`, got {shown(name)}")
        if name in _LEFT_OUT:
            return NOTHING[_LEFT_OUT[name]]
        meaning = meanings.get(name, EVENT)
        if event.revenue is not None and meaning.left_out is None:
            meaning = meaning._replace(left_out=LeftOut.ORDER, is_key_event=True)
        in_session = thing_id(event.session_id) not in (_NO_SESSION, str(_NO_SESSION))
        session_id = scoped(event.device_id, event.session_id) if in_session else None
        time, field = (event.time, "time") if event.time is not None else (event.event_time, "event_time")
        properties = event.user_properties
        user = person(event.user_id, event.device_id, user_field="user_id", device_field="device_id")
        at_ms, event_id = clock.at_ms(record, time, field), f"{name}/{event.insert_id or event.exported_insert_id}"
        return deed(
            meaning,
            user,
            at_ms,
            False,
            (
                event.platform,
                properties.plan if isinstance(properties, _UserProperties) else None,
                event.country,
                event.app_version if event.app_version is not None else event.version_name,
            ),
            event_id=event_id,
            session_id=session_id,
            in_session=in_session,
            of_client=session_id is not None,
            its_order=None if event.revenue is None else _order(event, user, at_ms, event_id),
        )

    return Parts(_Event, tell, batch=_batch_of).read


def _order(event: _Event, user: str, at_ms: int, event_id: str) -> Besides:
    revenue = event.revenue
    if isinstance(revenue, (int, float)) and revenue < 0:
        return order(user, at_ms, False, "refunded", order_id=event_id, amount=-revenue, currency=event.currency)
    return order(user, at_ms, False, "paid", order_id=event_id, amount=revenue, currency=event.currency)


def _batch_of(event: _Event) -> tuple[str, Sequence[msgspec.Raw]] | None:
    return ("events", event.events) if isinstance(event.events, list) and event.event_type is None else None


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is an event of Amplitude, or an upload of some."""
    if "events" in fields and "api_key" in fields:
        try:
            return any("event_type" in event for event in objects_in(bytes(fields["events"])))
        except Rejected:
            return False
    has_id = "user_id" in fields or "device_id" in fields
    has_time = "time" in fields or "event_time" in fields
    return "event_type" in fields and has_id and has_time and "event_data" not in fields
