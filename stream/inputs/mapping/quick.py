"""The quick way of a mapping, for messages that are as most are.

The paths of a mapping are compiled into a decoder, which skips what no path leads to, makes no dictionary, and checks
the types that native messages have. What it decodes is put into a struct that has the fields of the native message.
What it can't decode goes to a second decoder of this kind, for which a text may be a number and null an object without
fields: the rows of CSV files and the messages of many a library are so. What that one can't decode, and all that is
refused, is left to the thorough way. So all of them come to the same result.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

import msgspec

from stream.core.events import Event, MultipleEvents
from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import EPOCH, MessageKind, Reader, Record
from stream.core.rejections import LeftOut, Rejected
from stream.core.time import DAY_MS, LATEST_MS, SECOND_MS
from stream.core.users import user_of, users_by_id
from stream.inputs.bots import is_crawler
from stream.inputs.mapping.mapping import CheckedMapping, Condition, Rule
from stream.inputs.mapping.paths import Path, value_at
from stream.inputs.mapping.sources import ANYTHING_ELSE, Found, Source, is_blank, text_of
from stream.inputs.native import FIRST_13_DIGITS, LAST_13_DIGITS, ROUNDED_UP
from stream.inputs.parts import NOTHING

_Names = tuple[str, ...]

# What gets a value out of a decoded event, the decoded message that it is in, and the record.
_Get = Callable[[Any, Any, Record], Any]


_EMPTY, _FILTERED, _UNMAPPED = NOTHING[LeftOut.EMPTY], NOTHING[LeftOut.FILTERED], NOTHING[LeftOut.UNMAPPED]


class _NotForThis(Exception):
    """A mapping or a message is left to the thorough way."""


_LEFT: Final = (*UNDECODABLE, AttributeError, Rejected, _NotForThis)


# How a decoded event becomes one of ours: what must hold of it, and what makes it (raises Rejected and _NotForThis).
_Checks = tuple[Callable[[Any, Any, Record], bool], ...]
_Plan = tuple[_Checks, Callable[[Any, Any, Record], Event]]
# The plans that may fit an event, in their order; None for one that the filters keep out.
_PlansFor = Callable[[Any, Any, Record], tuple[_Plan, ...] | None]
_MakersByName = tuple[Callable[[Any], Any] | None, Mapping[str, Callable[[Any, Any, Record], Event]]]


def quick_reader_of(mapping: CheckedMapping, *, otherwise: Reader) -> Reader:
    """What reads most messages of a mapping, and gives the others to `otherwise`."""
    return _reader_of(mapping, is_strict=True, otherwise=_reader_of(mapping, is_strict=False, otherwise=otherwise))


def _reader_of(mapping: CheckedMapping, *, is_strict: bool, otherwise: Reader) -> Reader:
    try:
        compiler = _Compiler(mapping, is_strict=is_strict)
        plans = {id(rule): compiler.plan(rule) for rule in mapping.rules}
    except _NotForThis:
        return otherwise
    plans_for = _plans_for(mapping, compiler, plans)
    if compiler.events_in is None:
        return _reader_of_one(compiler.decode, _makers_by_name(mapping, compiler, plans), plans_for, otherwise)
    return _reader_of_many(compiler.decode, compiler.events_in, plans_for, otherwise)


def _makers_by_name(mapping: CheckedMapping, compiler: "_Compiler", plans: dict[int, _Plan]) -> _MakersByName:
    """What gets a text that decides alone what an event is, or None, and what makes an event of ours then."""
    name_of = None if mapping.event is None or mapping.conditions else compiler.plain_getter(mapping.event)
    first = {value: plans[id(rules[0])] for value, rules in mapping.known.items() if rules}
    return name_of, {value: make for value, (checks, make) in first.items() if not checks}


def _plans_for(mapping: CheckedMapping, compiler: "_Compiler", plans: dict[int, _Plan]) -> _PlansFor:
    """What chooses the plans that may fit a decoded event, by what it says that happened."""
    known = {value: tuple(plans[id(rule)] for rule in rules) for value, rules in mapping.known.items()}
    others = tuple(plans[id(rule)] for rule in mapping.others)
    plain_name = None if mapping.event is None else compiler.plain_getter(mapping.event)
    name_of = _no_name if mapping.event is None else compiler.value_of(mapping.event)

    def plans_for(event: Any, message: Any, record: Record) -> tuple[_Plan, ...]:
        name = name_of(event, message, record) if plain_name is None else plain_name(event)
        exact = known.get(name) if type(name) is str else None
        return known.get(text_of(name), others) if exact is None else exact

    checks = compiler.checks(mapping.conditions)
    if not checks:
        return plans_for
    return lambda *told: plans_for(*told) if _hold(checks, *told) else None


def _reader_of_one(  # noqa: C901  one long function, because this code runs for each message and calls take time
    decode: Callable[[bytes], Any], makers: _MakersByName, plans_for: _PlansFor, otherwise: Reader
) -> Reader:
    name_of, makers_by_name = makers

    def read(record: Record) -> Event | MultipleEvents:
        value = record.value
        if value is None:
            return _EMPTY
        try:
            message = decode(value)
            if name_of is not None and type(name := name_of(message)) is str:  # the common case, fast
                make = makers_by_name.get(name)
                if make is not None:
                    return make(message, message, record)
            plans = plans_for(message, message, record)
            if plans is None:
                return _FILTERED
            for checks, event_of in plans:
                if not checks or _hold(checks, message, message, record):
                    return event_of(message, message, record)
        except _LEFT:
            return otherwise(record)
        return _UNMAPPED

    return read


def _reader_of_many(
    decode: Callable[[bytes], Any], events_in: Callable[[Any], Iterable[Any]], plans_for: _PlansFor, otherwise: Reader
) -> Reader:
    def read(record: Record) -> Event | MultipleEvents:
        value = record.value
        if value is None:
            return _EMPTY
        found: list[tuple[int, Event]] = []
        left_out: list[LeftOut] = []
        try:
            message = decode(value)
            for place, event in enumerate(events_in(message)):
                plans = plans_for(event, message, record)
                for checks, event_of in plans or ():
                    if not checks or _hold(checks, event, message, record):
                        found.append((place, event_of(event, message, record)))
                        break
                else:
                    left_out.append(LeftOut.FILTERED if plans is None else LeftOut.UNMAPPED)
        except _LEFT:
            return otherwise(record)
        return MultipleEvents(tuple(found), (), tuple(left_out)) if found or left_out else _EMPTY

    return read


def _no_name(event: Any, message: Any, record: Record) -> str:
    return ""


def _hold(checks: _Checks, event: Any, message: Any, record: Record) -> bool:
    for holds in checks:  # noqa: SIM110  # `all` takes twice as long
        if not holds(event, message, record):
            return False
    return True


class _Struct:
    """The struct of what lies at some paths, each with the types that are expected there."""

    def __init__(self, *, is_strict: bool) -> None:
        """With `is_strict` no object is null."""
        self._is_strict = is_strict
        self._hints: dict[_Names, list[Any]] = {}
        self._attributes: dict[_Names, str] = {}

    def note(self, path: Path, hint: Any) -> None:
        """Expect a value at a path. What lies in a list is not decoded but for the list itself, as it is."""
        names = _names_of(path)
        if not names:
            raise _NotForThis
        hints = self._hints.setdefault(names, [])
        hint = hint if len(names) == len(path.steps) else object
        if hint not in hints:
            hints.append(hint)

    def build(self, prefix: _Names = ()) -> type[msgspec.Struct]:
        """The struct of what lies under a prefix. Where one path goes on from another, the shorter is decoded whole."""
        fields: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for name in sorted({path[len(prefix)] for path in self._hints if path[: len(prefix)] == prefix}):
            path, attribute = (*prefix, name), f"a{len(self._attributes)}"
            self._attributes[path] = attribute
            rename[attribute] = name
            if path in self._hints:
                fields.append((attribute, self.hint_at(path), None))
            else:
                inner: Any = self.build(path)
                fields.append((attribute, inner if self._is_strict else inner | None, inner()))
        return msgspec.defstruct("Mapped", fields, rename=rename, frozen=True, gc=False)

    def hint_at(self, names: _Names) -> Any:
        """The type of what is decoded at a path."""
        hints = self._hints[names]
        goes_on = any(other != names and other[: len(names)] == names for other in self._hints)
        return object if goes_on or len(hints) > 1 or hints[0] is object else hints[0] | None

    def getter(self, dotted: str) -> Callable[[Any], Any]:
        """What gets the value of dotted attributes."""
        get = attrgetter(dotted)
        return get if self._is_strict else lambda event: _or_none(get, event)

    def maker_of(self, make: Callable[..., Any], dotted: list[str], others: list[_Get]) -> _Get:
        """What calls `make` with the values of dotted attributes, and then with those that the others get."""
        if not self._is_strict:
            get_all = self.getter_of_all(dotted)
            return lambda event, message, record: make(
                *get_all(event), *[get(event, message, record) for get in others]
            )
        # In a compiled expression attributes take half as long as with `attrgetter`. Its names are all ours: a1, get1.
        gets = {f"get{number}": get for number, get in enumerate(others)}
        values = [*(f"event.{one}" for one in dotted), *(f"{get}(event, message, record)" for get in gets)]
        expression = f"lambda event, message, record: make({', '.join(values)})"
        makes: _Get = eval(expression, {"make": make, **gets})  # noqa: S307
        return makes

    def getter_of_all(self, dotted: list[str]) -> Callable[[Any], tuple[Any, ...]]:
        """What gets the values of several, in a tuple, where an object may be null."""
        singly = [self.getter(one) for one in dotted]
        if len(dotted) < 2:
            return lambda event: tuple(get(event) for get in singly)
        get_all = attrgetter(*dotted)

        def get_of_nulls(event: Any) -> tuple[Any, ...]:
            try:
                return get_all(event)
            except AttributeError:
                return tuple(get(event) for get in singly)

        return get_of_nulls

    def place_of(self, path: Path) -> tuple[str, tuple[str | int, ...]]:
        """The dotted attributes that lead to the value of a path, and what is left of the path to follow in it."""
        names = _names_of(path)
        length = next(length for length in range(1, len(names) + 1) if names[:length] in self._hints)
        dotted = ".".join(self._attributes[names[: count + 1]] for count in range(length))
        return dotted, path.steps[length:]


def _check_of(condition: Condition, get: _Get) -> Callable[[Any, Any, Record], bool]:
    fits_value, of_nothing = condition.fits_value, condition.fits_value(None)

    def holds(event: Any, message: Any, record: Record) -> bool:
        value = get(event, message, record)
        return of_nothing if value is None else fits_value(value)

    return holds


def _or_none(get: Callable[[Any], Any], event: Any) -> Any:
    try:
        return get(event)
    except AttributeError:  # null, where there would be an object
        return None


def _names_of(path: Path) -> _Names:
    """The names of a path up to the first place in a list."""
    names: list[str] = []
    for step in path.steps:
        if isinstance(step, int):
            break
        names.append(step)
    return tuple(names)


class _Document:
    """A message as it was sent, for expressions; decoded once for all of them."""

    def __init__(self) -> None:
        self._value: bytes | None = None
        self._document: Any = None

    def of(self, record: Record) -> Any:
        if record.value is not self._value or self._value is None:
            self._value, self._document = record.value, _decode_any(record.value)  # type: ignore[arg-type]
        return self._document


_decode_any = msgspec.json.Decoder().decode


class _Compiler:
    """Makes the decoder of a mapping, and what gets values out of what it has decoded."""

    def __init__(self, mapping: CheckedMapping, *, is_strict: bool) -> None:
        """With `is_strict` a text is no number. Raises _NotForThis."""
        self._is_strict = is_strict
        self._is_each = mapping.each is not None
        self._in_event = _Struct(is_strict=is_strict)
        self._in_message = _Struct(is_strict=is_strict) if self._is_each else self._in_event
        self._document = _Document()
        for condition in (*mapping.conditions, *(one for rule in mapping.rules for one in rule.conditions)):
            self._note(condition.found, object)
        for found in () if mapping.event is None else mapping.event.alternatives:
            self._note(found, object)
        for rule in mapping.rules:
            for name, source in rule.sources.items():
                if not isinstance(source, Source):
                    raise _NotForThis
                for found in source.alternatives:
                    self._note(found, self._hint(rule, name, source))
        message_type = self._in_event.build()
        self.events_in: Callable[[Any], Any] | None = None
        if mapping.each is not None:
            message_type = self._build_message(mapping.each, message_type)
        self.decode = msgspec.json.Decoder(message_type, strict=is_strict).decode

    def _build_message(self, each: Path, event: Any) -> Any:
        """The struct of messages that hold a list of events."""
        if not each.steps:
            self.events_in = list
            return list[event]
        if len(_names_of(each)) < len(each.steps):
            raise _NotForThis
        self._in_message.note(each, list[event])
        message_type = self._in_message.build()
        dotted, rest = self._in_message.place_of(each)
        if rest or self._in_message.hint_at(_names_of(each)) is object:
            raise _NotForThis
        get = self._in_message.getter(dotted)
        self.events_in = lambda message: get(message) or ()
        return message_type

    def _struct_of(self, path: Path) -> _Struct:
        return self._in_message if path.from_message else self._in_event

    def _note(self, found: Found, hint: Any) -> None:
        if found.path is not None:
            self._struct_of(found.path).note(found.path, hint)
        elif found.is_in_message and self._is_each:
            raise _NotForThis

    def _hint(self, rule: Rule, name: str, source: Source) -> Any:
        """The type with which the value of a source is decoded."""
        is_read_here = name == "event_time" and (len(source.alternatives) > 1 or not self._is_strict)
        if source.values or source.has_time_form or is_read_here:
            return object
        return rule.target.hints[name]

    def _get(self, found: Found) -> _Get:
        """What gets the value at one place."""
        if found.path is None:
            if not found.is_in_message:
                return found.find
            return lambda event, message, record: found.find(self._document.of(record), None, record)
        struct = self._struct_of(found.path)
        dotted, rest = struct.place_of(found.path)
        get = struct.getter(dotted)
        if found.path.from_message:
            return lambda event, message, record: value_at(get(message), rest)
        if rest:
            return lambda event, message, record: value_at(get(event), rest)
        return lambda event, message, record: get(event)

    def plain_getter(self, source: Source) -> Callable[[Any], Any] | None:
        """What gets the value of a source that is one path and nothing else, given the event alone."""
        path = source.alternatives[0].path if len(source.alternatives) == 1 else None
        if path is None or source.default is not None or source.values or self._struct_of(path) is not self._in_event:
            return None
        dotted, rest = self._in_event.place_of(path)
        return None if rest else self._in_event.getter(dotted)

    def checks(self, conditions: tuple[Condition, ...]) -> _Checks:
        """Conditions, each with what gets its value."""
        return tuple(_check_of(condition, self._get(condition.found)) for condition in conditions)

    def value_of(self, source: Source) -> _Get:
        """What gets the value of a source, as `Source.read` does."""
        getters = [self._get(found) for found in source.alternatives]
        read_time = source.read_time
        if len(getters) == 1 and not source.values and source.default is None:
            get = getters[0]
            if read_time is None:
                return get
            return lambda event, message, record: read_time(get(event, message, record), "")

        def read(event: Any, message: Any, record: Record) -> Any:
            for get in getters:
                value = get(event, message, record)
                if not is_blank(value):
                    return source.meant(value)
            return source.otherwise

        return read

    def plan(self, rule: Rule) -> _Plan:
        """How messages become an event of ours. Raises _NotForThis."""
        target = rule.target
        type_field = target.messages.type_field
        plain: dict[str, str] = {}
        others: dict[str, _Get] = {}
        constants: dict[str, Any] = {}
        if target.told_by is not None and type_field:
            constants[type_field] = _converted(rule, type_field, target.told_by)
        for name, source in rule.sources.items():
            assert isinstance(source, Source)
            if source.read_time is not None and self._is_time_of_field(name, source):
                raise _NotForThis
            if source.is_constant:
                constants[name] = _converted(rule, name, source.default)
            elif self._is_plain(rule, name, source):
                path = source.alternatives[0].path
                assert path is not None
                plain[name] = self._in_event.place_of(path)[0]
            elif name == "event_time":
                others[name] = self.value_of(source)
            else:
                others[name] = self._converted_value_of(rule, name, source)
        needed = [name for name in (*plain, *others) if name != "event_time" and not _takes_null(target.hints[name])]
        message_type = _shape_of(target.messages, [*plain, *others], constants)
        make = _maker_of(
            target.messages,
            native_of=self._in_event.maker_of(message_type, list(plain.values()), list(others.values())),
            needed=tuple(needed),
            is_time_read="event_time" in others,
            may_be_of_bots=any(name in rule.sources for name in ("is_bot", "user_agent")),
        )
        return self.checks(rule.conditions), make

    def _is_time_of_field(self, name: str, source: Source) -> bool:
        """Whether a source is a time that has to be read, and then to be put into the native message."""
        return source.is_constant or (name != "event_time" and (source.has_time_form or not self._is_strict))

    def _is_plain(self, rule: Rule, name: str, source: Source) -> bool:
        """Whether the value of a source is taken as it is decoded."""
        if len(source.alternatives) != 1 or source.default is not None or source.values or source.has_time_form:
            return False
        if source.read_time is not None and not self._is_strict:
            return False
        path = source.alternatives[0].path
        return path is not None and self._struct_of(path) is self._in_event and self._is_checked(rule, name, path)

    def _is_checked(self, rule: Rule, name: str, path: Path) -> bool:
        """Whether the decoder has checked that a value is one that the field can have."""
        hint, struct = rule.target.hints[name], self._struct_of(path)
        if struct.place_of(path)[1]:
            return False
        decoded = struct.hint_at(_names_of(path))
        return hint is object or (decoded is not object and decoded == hint | None)

    def _converted_value_of(self, rule: Rule, name: str, source: Source) -> _Get:
        """What gets the value of a source as one that the field can have; constants are made such here, once."""
        hint = rule.target.hints[name]
        getters = [
            (self._get(found), found.path is not None and self._is_checked(rule, name, found.path))
            for found in source.alternatives
        ]
        default = None if source.default is None else _converted(rule, name, source.default)
        meanings = {value: _converted(rule, name, constant) for value, constant in source.values.items()}

        if len(getters) == 1 and getters[0][1] and not meanings:
            return _value_or(default, getters[0][0])

        def read(event: Any, message: Any, record: Record) -> Any:
            for get, is_checked in getters:
                value = get(event, message, record)
                if value is None or (type(value) is str and not value.strip()):
                    continue
                if meanings:
                    return _meant(value, meanings)
                return value if is_checked else msgspec.convert(value, hint, strict=False)
            return default

        return read


def _maker_of(
    messages: MessageKind,
    *,
    native_of: _Get,
    needed: _Names,
    is_time_read: bool,
    may_be_of_bots: bool,
) -> Callable[[Any, Any, Record], Event]:
    """What makes an event of ours of a decoded one. Fields that are `needed` can't be null."""
    event_of, known_users = messages.event_of, users_by_id

    def make(event: Any, message: Any, record: Record) -> Event:
        native = native_of(event, message, record)
        for name in needed:
            if getattr(native, name) is None:
                raise _NotForThis
        user_id, time = native.user_id, native.event_time
        user = known_users.get(user_id) or user_of(user_id, native.anonymous_id)
        is_usual = type(time) is int and (is_time_read or FIRST_13_DIGITS <= time <= LAST_13_DIGITS)
        at_ms = time if is_usual else _decoded_ms(time)
        is_bot = may_be_of_bots and _is_of_a_bot(native)
        made = event_of(native, user, at_ms, is_bot, record.key)
        if type(time) is not int or made.has_start_time:
            value = record.value
            if value is not None and b"999" in value and ROUNDED_UP.search(value):
                raise _NotForThis
        return made

    return make


def _value_or(default: Any, get: _Get) -> _Get:
    def read(event: Any, message: Any, record: Record) -> Any:
        value = get(event, message, record)
        return default if value is None or (type(value) is str and not value.strip()) else value

    return read


def _meant(value: Any, meanings: Mapping[str, Any]) -> Any:
    text = text_of(value)
    if text in meanings:
        return meanings[text]
    if ANYTHING_ELSE in meanings:
        return meanings[ANYTHING_ELSE]
    raise _NotForThis


def _converted(rule: Rule, name: str, constant: Any) -> Any:
    return msgspec.convert(constant, rule.target.hints[name], strict=False)


def _is_of_a_bot(native: Any) -> bool:
    return native.is_bot or (native.user_agent is not None and is_crawler(native.user_agent)) or False


def _decoded_ms(time: Any) -> int:
    if type(time) is not dt.datetime:
        raise _NotForThis
    since = time - EPOCH
    at_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    if not 0 <= at_ms < LATEST_MS:
        raise _NotForThis
    return at_ms


def _shape_of(messages: MessageKind, names: list[str], constants: Mapping[str, Any]) -> Callable[..., Any]:
    """A struct with the fields of a native message, these names first; the others have a constant or their default.

    Its values are not checked when it is made, which is what takes long with the native one.
    """
    fields: list[Any] = [(name, object) for name in names]
    fields += [
        (field.name, object, constants.get(field.name, None if field.required else field.default))
        for field in msgspec.structs.fields(messages.message_type)
        if field.name not in names
    ]
    return msgspec.defstruct("Native", fields, gc=False)


def _takes_null(hint: Any) -> bool:
    return hint is object or hint == hint | None
