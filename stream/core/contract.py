"""The contract for producers: a JSON Schema for each kind of native messages, made from the structs that decode them.

What a schema says is checked when a message is read. A few things can be said to a reader only, and the descriptions
say them: which texts are treated as no id, and that unknown fields are ignored.

JSON Schema, draft 2020-12; nothing in it but `$defs` is newer than draft 7.
"""

from decimal import Decimal
from typing import Any

import msgspec

from stream.core.messages import MessageKind, Time

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Epoch numbers are seconds, milliseconds or microseconds, by their digits.
_TIME: list[dict[str, Any]] = [
    {"type": "string", "format": "date-time"},
    *({"type": "number", "minimum": 10 ** (digits - 1), "exclusiveMaximum": 10**digits} for digits in (10, 13, 16)),
]
_TIME_TEXT = "ISO 8601 with an offset, or an epoch number of 10 (s), 13 (ms) or 16 (us) digits"

# Amounts and shares. A number is read as it is written in the message, so none is less exact than a text.
_DECIMAL: list[dict[str, Any]] = [
    {"type": "number", "minimum": 0},
    {"type": "string", "pattern": r"^\s*\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"},
]

_FIELDS = {
    "event_time": "when it happened",
    "user_id": "your id of the user; a whole number is the same id as its text",
    "anonymous_id": "the id of the device, of a user whose id is not known",
    "event_id": "the id of the event: with it, two events that are otherwise equal are two",
    "is_bot": "true for an event that no human caused: it enters no number",
    "user_agent": "the browser's user agent, by which crawlers are recognised",
    "platform": "a segment, as web, ios or android: a text of at most 64 characters",
    "plan": "a segment: what the user pays for",
    "country": "a segment: the country, as an ISO 3166 code",
    "app_version": "a segment: the version of the app, as text",
}


def schema_of(kind: MessageKind) -> dict[str, Any]:
    """Return the schema of a kind of messages, with all that it refers to in `$defs`."""
    schema, parts = schema_and_parts(kind, reference="#/$defs/{name}")
    schema = {"$schema": DIALECT, "title": f"a message of the kind {kind.kind}", **schema}
    return {**schema, "$defs": parts} if parts else schema


def schema_and_parts(kind: MessageKind, *, reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a kind of messages, and the schemas that it refers to by name with this `reference`."""
    _, parts = msgspec.json.schema_components(
        [kind.message_type], schema_hook=lambda type_: {"description": "anything"}, ref_template=reference
    )
    schema = parts.pop(kind.message_type.__name__)
    del schema["title"]
    described = {**_FIELDS, **kind.fields}
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind.message_type)}
    properties = {
        name: {**_property(told, types[name]), **_described(described.get(name), is_time=_is_time(types[name]))}
        for name, told in schema["properties"].items()
    }
    an_id = {"type": ["string", "integer"], "minLength": 1}
    needed = [{"required": [field], "properties": {field: an_id}} for field in ("user_id", "anonymous_id")]
    schema = {**schema, "properties": properties, "anyOf": needed}
    if kind.needs:
        schema["allOf"] = [
            {
                "if": {"properties": {kind.type_field: {"const": value}}, "required": [kind.type_field]},
                "then": {"required": list(fields)},
            }
            for value, fields in kind.needs.items()
        ]
    return schema, parts


def _is_time(type_: Any) -> bool:
    return bool(type_ == Time or type_ == Time | None)


def _property(told: dict[str, Any], type_: Any) -> dict[str, Any]:
    """Return what is told of a field. Times and decimals are read in more forms than msgspec tells."""
    forms = _TIME if _is_time(type_) else _DECIMAL if type_ in (Decimal, Decimal | None) else None
    if forms is None:
        return told
    may_be_null = [{"type": "null"}] if {"type": "null"} in told.get("anyOf", ()) else []
    return {"anyOf": [*forms, *may_be_null]}


def _described(text: str | None, *, is_time: bool) -> dict[str, str]:
    if text is None:
        return {}
    return {"description": f"{text}: {_TIME_TEXT}" if is_time else text}
