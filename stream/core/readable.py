"""Makes values that are stored readable: times as ISO 8601, days as dates, structs by the names of their fields."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from stream.core.time import MINUTE_MS, date_of, iso

_NEVER = -1


def readable(value: Any, name: str = "") -> Any:
    """A value of JSON that says what a stored value says. `name` is that of the field that holds it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return _number(value, name)
    if isinstance(value, msgspec.Struct):
        fields = {field: getattr(value, field) for field in value.__struct_fields__ if not field.startswith("booked")}
        return {_public(field): readable(held, field) for field, held in fields.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {_public(field): readable(held, field) for field, held in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): readable(held, name) for key, held in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return [readable(held, name if name.endswith("_ms") else name.removesuffix("s")) for held in value]


def _public(field: str) -> str:
    """The name of a field without the unit that the value itself says."""
    if not field.endswith("_ms") or _is_duration(field):
        return field
    return "at" if field == "at_ms" else f"{field.removesuffix('_ms')}_at"


def _is_duration(field: str) -> bool:
    return field.startswith("engaged")


def _number(value: int, name: str) -> Any:
    if value == _NEVER and name.endswith(("_ms", "minute", "day")):
        return None
    if name.endswith("_ms") and not _is_duration(name):
        return iso(value)
    if name == "minute" or name.endswith("_minute"):
        return iso(value * MINUTE_MS)
    if name == "day" or name.endswith("_day"):
        return str(date_of(value))
    if name in ("told", "time"):
        return iso(abs(value))
    return value
