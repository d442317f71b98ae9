"""The format `mixpanel`: events as they are imported, exported, or written by its data pipelines.

| what | where |
| --- | --- |
| user | `properties.$user_id`, else `distinct_id`, unless that is the device |
| device | `properties.$device_id`, else a `distinct_id` that begins with `$device:` |
| time | `properties.time`, in seconds, with or without a fraction, or milliseconds |
| id of the event | `properties.$insert_id`: with name, user and time it tells whether an event was sent twice |
| session | none: steps are put together by their times |
| what happened | `event`: `$mp_web_page_view`, else an event by its name |
| platform | `web` where `properties.mp_lib` is, else `$os` |
| plan, version, country | `properties.plan`, `$app_version_string` or `$app_version`, `mp_country_code` |

Projects that were made before 2023 export times that show the clocks of the project's zone as if they were of UTC: then
`zone` of the input names that zone. Pipelines write the same fields without `properties.`, and `event_name`.

Source: Mixpanel's documentation, "Import Events", "Event Deduplication", "Download Data" and "Identity Management", of
November 2026.
"""

from collections.abc import Mapping

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told
from stream.inputs.telling import (
    END,
    EVENT,
    HEARTBEAT,
    ORDER,
    PAGE,
    PASSIVE,
    START,
    Clock,
    Meanings,
    deed,
    named,
    person,
    shown,
)

USES = frozenset({"time", "zone", "logins", "key_events", "passive"})

_APP_SESSION = "$ae_session"

NAMES = {
    **named(PAGE, "$mp_web_page_view"),
    **named(START, "$session_start", "$ae_first_open"),
    **named(END, "$session_end"),
    **named(HEARTBEAT, _APP_SESSION),
    **named(PASSIVE, "$ae_updated", "$ae_crashed", "$mp_session_record", "$experiment_started"),
    **named(ORDER, "$ae_iap"),
}
_LEFT_OUT = dict.fromkeys(("$identify", "$create_alias", "$merge"), LeftOut.IDENTITY)

_DEVICE = "$device:"
# What Mixpanel's libraries for servers call themselves.
_SERVERS = frozenset({"python", "node", "php", "ruby", "java", "go", "dotnet", "elixir"})


class _Properties(msgspec.Struct, gc=False):
    time: object = None
    distinct_id: object = None
    user_id: object = msgspec.field(default=None, name="$user_id")
    device_id: object = msgspec.field(default=None, name="$device_id")
    insert_id: object = msgspec.field(default=None, name="$insert_id")
    os: object = msgspec.field(default=None, name="$os")
    app_version_string: object = msgspec.field(default=None, name="$app_version_string")
    app_version: object = msgspec.field(default=None, name="$app_version")
    country: object = msgspec.field(default=None, name="mp_country_code")
    lib: object = msgspec.field(default=None, name="mp_lib")
    plan: object = None
    session_seconds: object = msgspec.field(default=None, name="$ae_session_length")


class _Event(msgspec.Struct, gc=False):
    event: object = None
    properties: _Properties | NotAnObject = None
    # As pipelines write them.
    event_name: object = None
    time: object = None
    distinct_id: object = None
    user_id: object = None
    device_id: object = None
    insert_id: object = None


_NO_PROPERTIES = _Properties()


def reader_of(options: Options) -> Reader:
    """What reads Mixpanel's events."""
    clock, meanings = Clock(options, numbers_are_local=True), Meanings(options, NAMES)

    def tell(event: _Event, record: Record, raw: bytes) -> Told:
        name = event.event if event.event is not None else event.event_name
        if not isinstance(name, str):
            raise Rejected(Reason.MISSING_FIELD, f"an event needs its name at `$.event`, got {shown(name)}")
        if name in _LEFT_OUT:
            return NOTHING[_LEFT_OUT[name]]
        told = event.properties if isinstance(event.properties, _Properties) else _NO_PROPERTIES
        time, field = told.time, "properties.time"
        if time is None and event.time is not None:
            time, field = event.time, "time"
        engaged_ms = None
        if name == _APP_SESSION and isinstance(told.session_seconds, (int, float)):
            engaged_ms = told.session_seconds * 1_000
        version = told.app_version_string if told.app_version_string is not None else told.app_version
        return deed(
            meanings.get(name, EVENT),
            _user_of(event, told),
            clock.at_ms(record, time, field),
            False,
            ("web" if told.lib == "web" else told.os, told.plan, told.country, version),
            event_id=_event_id(name, told.insert_id if told.insert_id is not None else event.insert_id),
            engaged_ms=engaged_ms,
            of_client=isinstance(told.lib, str) and told.lib not in _SERVERS,
        )

    return Parts(_Event, tell).read


def _event_id(name: str, insert_id: object) -> str:
    """The name is a part of it: two events of one time and `$insert_id` are two if they have two names."""
    return f"{name}/{insert_id}"


def _user_of(event: _Event, told: _Properties) -> str:
    distinct_id = told.distinct_id if told.distinct_id is not None else event.distinct_id
    user_id = told.user_id if told.user_id is not None else event.user_id
    device_id = told.device_id if told.device_id is not None else event.device_id
    if isinstance(distinct_id, str) and distinct_id.startswith(_DEVICE):
        device_id, distinct_id = device_id or distinct_id.removeprefix(_DEVICE), None
    elif distinct_id == device_id:
        distinct_id = None
    return person(
        user_id if user_id not in (None, "") else distinct_id,
        device_id,
        user_field="properties.distinct_id",
        device_field="properties.$device_id",
    )


_properties_of = msgspec.json.Decoder(_Properties).decode


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is an event of Mixpanel: all it tells lies in its properties, the time too."""
    if "event" not in fields or "properties" not in fields or "timestamp" in fields:
        return False
    try:
        told = _properties_of(fields["properties"])
    except msgspec.DecodeError:
        return False
    return told.time is not None and (told.distinct_id is not None or told.device_id is not None)
