"""Sources: where the value of a field of ours lies in a message of theirs, and what is made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

import jmespath
import msgspec

from stream.core.messages import Record
from stream.core.rejections import Reason, Rejected
from stream.inputs.mapping.paths import Path, parse_path, value_at
from stream.inputs.mapping.times import TimeReader, time_reader

Constant = str | int | float | bool

ANYTHING_ELSE: Final = "*"  # as one of `values`, or of the values that are an event

# What a search by JMESPath raises for values that an expression was not made for. The others are of its functions: they
# can't slice by 0, and know no number that is too large.
_SEARCH_ERRORS: Final = (
    jmespath.exceptions.JMESPathError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

# What finds a value, given an event of a message, the message and the record; None where there is none.
Find = Callable[[Any, Any, Record], Any]


class MappingError(ValueError):
    """A mapping that can't be. The text names the field of it and what is wrong."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")


class SourceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A source as a mapping writes it, where a path alone does not say enough."""

    path: str | None = None  # a dotted path
    jmespath: str | None = None  # an expression of JMESPath, for what a path can't say
    header: str | None = None  # the record's header of this name
    record: Literal["key", "timestamp"] | None = None  # the record's key, or its own time
    value: Constant | None = None  # a constant
    default: Constant | None = None  # where nothing is told
    values: dict[str, Constant] = {}  # what each of their values means; "*": any other one
    unit: str = ""  # of a time that is a number: s, ms, us or ns
    format: str = ""  # of a time that is a text, as strptime takes it
    zone: str = ""  # the IANA zone of times without an offset


_PLACES: Final = ("path", "jmespath", "header", "record", "value")


@dataclass(frozen=True, slots=True)
class Found:
    """One place to look at."""

    find: Find
    told: str  # how the mapping writes it
    path: Path | None = None  # where it is no more than a path
    is_in_message: bool = True  # else it is what the record carries beside the message


@dataclass(frozen=True, slots=True)
class Source:
    """The source of one field: the first of some places that tells something, else a default."""

    place: str  # of the mapping, for messages
    alternatives: tuple[Found, ...]
    default: Constant | None
    values: Mapping[str, Constant]
    read_time: TimeReader | None  # of a field that is a time
    has_time_form: bool  # whether that time has a unit, a format or a zone of its own

    def read(self, event: Any, message: Any, record: Record) -> Any:
        """The value for the field; None where nothing is told. A time is read already. Raises Rejected."""
        for found in self.alternatives:
            value = found.find(event, message, record)
            if value is None or (type(value) is str and not value.strip()):
                continue
            return self.meant(value) if self.values or self.read_time is not None else value
        return self.otherwise

    @property
    def otherwise(self) -> Any:
        """The value where nothing is told."""
        return self.default if self.read_time is None or self.default is None else self.read_time(self.default, "")

    def meant(self, value: Any) -> Any:
        """What a value that is told means. Raises Rejected for a time that is none."""
        if self.values:
            value = self.values.get(text_of(value), self.values.get(ANYTHING_ELSE, value))
        return value if self.read_time is None else self.read_time(value, str(self))

    @property
    def is_constant(self) -> bool:
        """Whether it is the same for all messages."""
        return not self.alternatives

    def __str__(self) -> str:
        return " or ".join(found.told for found in self.alternatives) or repr(self.default)


def is_blank(value: Any) -> bool:
    """Whether a value tells nothing: it is missing, null, or a text without a letter."""
    return value is None or (isinstance(value, str) and not value.strip())


def text_of(value: Any) -> str:
    """A value as it is compared with those that a mapping names: 1 and "1" are the same, as are true and "true"."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    try:
        return msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError, OverflowError):
        return ""


def source_of(raw: Any, place: str, *, times: SourceTable | None = None) -> Source:
    """Read a source of a mapping: a path, a constant, a table, or a list of paths and tables. Raises MappingError.

    `times` is given for a field that is a time: the table whose unit, format and zone it has if it names none.
    """
    tables = [_table_of(one, place) for one in (raw if isinstance(raw, list) else [raw])]
    if not tables:
        raise MappingError(place, "an empty list has no source")
    for table in tables:
        _check(table, place, is_time=times is not None)
    own = next((table for table in tables if table.unit or table.format or table.zone), times)
    read_time = None
    if own is not None and times is not None:
        try:
            read_time = time_reader(unit=own.unit, pattern=own.format, zone=own.zone)
        except ValueError as error:
            raise MappingError(place, str(error)) from None
    default = next((one for table in tables for one in (table.value, table.default) if one is not None), None)
    values = {key: value for table in tables for key, value in table.values.items()}
    found = tuple(_found(table, place) for table in tables if table.value is None)
    return Source(
        place, found, default, values, read_time, has_time_form=read_time is not None and own != SourceTable()
    )


def table_of_times(raw: Any, place: str, *, zone: str) -> SourceTable:
    """The table of a time whose unit, format and zone hold for other times too, else `zone`. Raises MappingError."""
    tables = [_table_of(one, place) for one in (raw if isinstance(raw, list) else [raw])]
    return next((table for table in tables if table.unit or table.format or table.zone), SourceTable(zone=zone))


def _table_of(raw: Any, place: str) -> SourceTable:
    if isinstance(raw, str):
        return SourceTable(path=raw)
    if isinstance(raw, (bool, int, float)):
        return SourceTable(value=raw)
    if isinstance(raw, dict):
        known = SourceTable.__struct_fields__
        for name in raw:
            if name not in known:
                raise MappingError(place, f"{name!r} is none of {', '.join(known)}{meaning(name, known)}")
        try:
            return msgspec.convert(raw, SourceTable)
        except msgspec.ValidationError as error:
            problem, _, at = str(error).partition(" - at `$.")
            raise MappingError(f"{place}.{at.rstrip('`')}" if at else place, _lower(problem)) from None
    raise MappingError(place, f"{raw!r} is no path, constant, table, or list of these")


def meaning(name: str, known: Any) -> str:
    """A question that names what may have been meant; empty where nothing is like it."""
    close = get_close_matches(name, list(known), n=1)
    return f": is {close[0]!r} meant?" if close else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _check(table: SourceTable, place: str, *, is_time: bool) -> None:
    told = [name for name in _PLACES if getattr(table, name) is not None]
    if len(told) != 1:
        raise MappingError(place, f"needs one of {', '.join(_PLACES)}, not {' and '.join(told) or 'none'}")
    for name in ("unit", "format", "zone"):
        if getattr(table, name) and not is_time:
            raise MappingError(place, f"{name} is for times only")


def _found(table: SourceTable, place: str) -> Found:
    if table.path is not None:
        return _at_path(table.path, place)
    if table.jmespath is not None:
        return _by_jmespath(table.jmespath, place)
    if table.header is not None:
        return _in_header(table.header)
    if table.record == "key":
        return Found(lambda event, message, record: _text(record.key), "the record's key", is_in_message=False)
    return Found(lambda event, message, record: record.timestamp, "the record's time", is_in_message=False)


def _at_path(text: str, place: str) -> Found:
    try:
        path = parse_path(text)
    except ValueError as error:
        raise MappingError(place, str(error)) from None
    steps = path.steps
    if path.from_message:
        return Found(lambda event, message, record: value_at(message, steps), text, path)
    return Found(lambda event, message, record: value_at(event, steps), text, path)


def _by_jmespath(expression: str, place: str) -> Found:
    try:
        compiled = jmespath.compile(expression)
    except (jmespath.exceptions.JMESPathError, ValueError) as error:
        raise MappingError(place, f"jmespath {expression!r}: {' '.join(str(error).split())}") from None

    def find(event: Any, message: Any, record: Record) -> Any:
        try:
            return compiled.search(event)
        except _SEARCH_ERRORS as error:
            told = " ".join(str(error).split())
            raise Rejected(Reason.WRONG_TYPE, f"jmespath {expression!r} of {place}: {told}") from None

    return Found(find, expression)


def _in_header(name: str) -> Found:
    def find(event: Any, message: Any, record: Record) -> Any:
        return next((_text(value) for header, value in record.headers if header == name), None)

    return Found(find, f"the header {name}", is_in_message=False)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
