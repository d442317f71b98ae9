"""The format `ga4`: rows of the BigQuery export of Google Analytics 4, as JSON.

| what | where |
| --- | --- |
| user, device | `user_id`, `user_pseudo_id` |
| time | `event_timestamp` in microseconds: of the upload, which several events share |
| id of the event | its name and `batch_page_id`, `batch_ordering_id`, `batch_event_index`, which differ in one upload |
| session | the parameter `ga_session_id`: unique with `user_pseudo_id` only |
| what happened | `event_name`: views, `session_start`, `user_engagement` (a heartbeat), `login`, else an event |
| engaged time | the parameter `engagement_time_msec`, which adds up |
| platform, country, version | `platform`, `geo.country`, `app_info.version` |
| plan | the user property `plan` |

Parameters are a list of keys with values by type; whole numbers of BigQuery come as text. `(not set)` is nothing. A
`purchase` or `refund` is an order too, by its parameters `transaction_id`, `value` and `currency`. A `user_id` may
begin in mid-session: what came before it is the device's.

Source: Google's documentation, "BigQuery Export schema" and "Automatically collected events", of November 2026.
"""

from collections.abc import Mapping
from zlib import crc32

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.inputs.options import Options
from stream.inputs.parts import NotAnObject, Parts, Told
from stream.inputs.telling import (
    CANCELLED,
    EVENT,
    HEARTBEAT,
    LOGIN,
    ORDER,
    PAGE,
    PAID,
    PASSIVE,
    PROMPTED,
    REFUNDED,
    RENEWED,
    SCREEN,
    SIGNED_UP,
    START,
    SUBSCRIBED,
    Clock,
    Meanings,
    deed,
    named,
    order,
    person,
    scoped,
    shown,
)

USES = frozenset({"time", "logins", "key_events", "passive"})

NAMES = {
    **named(PAGE, "page_view"),
    **named(SCREEN, "screen_view"),
    **named(START, "session_start", "first_visit", "first_open"),
    **named(HEARTBEAT, "user_engagement"),
    **named(LOGIN, "login"),
    **named(SIGNED_UP, "sign_up"),
    **named(SUBSCRIBED, "app_store_subscription_convert"),
    **named(RENEWED, "app_store_subscription_renew"),
    **named(CANCELLED, "app_store_subscription_cancel"),
    **named(PAID, "purchase", "ecommerce_purchase"),
    **named(REFUNDED, "refund"),
    **named(ORDER, "in_app_purchase", "app_store_refund"),  # which have no id of an order
    **named(PASSIVE, "app_remove", "app_update", "os_update", "app_exception", "notification_receive"),
    **named(PASSIVE, "ad_impression", "ad_exposure", "firebase_campaign", "app_clear_data"),
    **named(PROMPTED, "notification_open"),
}

_NOT_SET = frozenset({"(not set)", "(none)", "(direct)"})


class _Value(msgspec.Struct, gc=False):
    string_value: object = None
    int_value: object = None
    float_value: object = None
    double_value: object = None


class _Parameter(msgspec.Struct, gc=False):
    key: object = None
    value: _Value | NotAnObject = None


class _Country(msgspec.Struct, gc=False):
    country: object = None


class _Version(msgspec.Struct, gc=False):
    version: object = None


class _Row(msgspec.Struct, gc=False):
    event_name: object = None
    event_timestamp: object = None
    user_id: object = None
    user_pseudo_id: object = None
    event_params: list[_Parameter] | str | int | float | bool | dict[str, msgspec.Raw] | None = None
    user_properties: list[_Parameter] | str | int | float | bool | dict[str, msgspec.Raw] | None = None
    platform: object = None
    geo: _Country | NotAnObject = None
    app_info: _Version | NotAnObject = None
    batch_page_id: object = None
    batch_ordering_id: object = None
    batch_event_index: object = None


def reader_of(options: Options) -> Reader:
    """What reads rows of the export."""
    clock, meanings = Clock(options), Meanings(options, NAMES)

    def tell(row: _Row, record: Record, raw: bytes) -> Told:
        name = row.event_name
        if not isinstance(name, str):
            raise Rejected(Reason.MISSING_FIELD, f"a row needs its event at `$.event_name`, got {shown(name)}")
        session, engaged = _session_and_engagement(row.event_params)
        device_id = _set(row.user_pseudo_id)
        user = person(_set(row.user_id), device_id, user_field="user_id", device_field="user_pseudo_id")
        session_id = scoped(device_id, session)
        meaning, at_ms = meanings.get(name, EVENT), clock.at_ms(record, row.event_timestamp, "event_timestamp")
        event_id = _event_id(row, name, raw)
        its_order = None
        if meaning.order:
            told = _told_in(row.event_params, "transaction_id", "value", "currency")
            its_order = order(
                user,
                at_ms,
                False,
                meaning.order,
                order_id=_set(told.get("transaction_id")),
                amount=told.get("value"),
                currency=_set(told.get("currency")),
                refund_id=event_id if meaning.order == "refunded" else None,
            )
        plan = None
        if isinstance(row.user_properties, list):
            plan = next((_any_of(one.value) for one in row.user_properties if one.key == "plan"), None)
        return deed(
            meaning,
            user,
            at_ms,
            False,
            (
                row.platform,
                _set(plan),
                _set(row.geo.country) if isinstance(row.geo, _Country) else None,
                row.app_info.version if isinstance(row.app_info, _Version) else None,
            ),
            event_id=event_id,
            session_id=session_id,
            engaged_ms=engaged,
            of_client=session_id is not None,
            its_order=its_order,
        )

    return Parts(_Row, tell).read


def _set(value: object) -> object:
    return None if isinstance(value, str) and value in _NOT_SET else value


def _any_of(value: object) -> object:
    if not isinstance(value, _Value):
        return None
    for one in (value.string_value, value.int_value, value.double_value, value.float_value):
        if one is not None:
            return one
    return None


def _told_in(parameters: object, *keys: str) -> dict[object, object]:
    """The values of some parameters."""
    listed = parameters if isinstance(parameters, list) else []
    return {one.key: _any_of(one.value) for one in listed if one.key in keys}


def _session_and_engagement(parameters: object) -> tuple[object, int | None]:
    session, engaged = None, None
    if isinstance(parameters, list):
        for one in parameters:
            key = one.key
            if key == "ga_session_id":
                session = _any_of(one.value)
            elif key == "engagement_time_msec":
                engaged = _whole(_any_of(one.value))
    return session, engaged


def _whole(value: object) -> int | None:
    """A whole number, which BigQuery writes as text. Raises Rejected."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value)
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        told = f"{shown(value)} of the parameter engagement_time_msec is no number"
        raise Rejected(Reason.WRONG_TYPE, told) from None


def _event_id(row: _Row, name: str, raw: bytes) -> str:
    if row.batch_event_index is None:  # which exports of before 2024 don't have
        return f"{name}/{crc32(raw)}"
    return f"{name}/{row.batch_page_id}/{row.batch_ordering_id}/{row.batch_event_index}"


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a row of the export."""
    return "event_name" in fields and "event_timestamp" in fields and "event_params" in fields
