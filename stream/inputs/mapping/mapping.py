"""A mapping: which of their fields is which of ours, and which of their messages is which event.

    [inputs.mapping]
    user_id = "user.id"                          # a field of ours, and where it lies in their messages
    event_time = { path = "ts", unit = "s" }
    event = "name"                               # the field that tells what happened

    [inputs.mapping.events]
    page_view = ["page", "view"]                 # an event of ours, and the values of that field that mean it
    nps = { is = "nps_sent", response_id = "id", score = "props.score" }

The fields of ours are those of native messages. What stands above `events` holds for each event that has such a field;
what stands in the table of one event holds for that one, and takes precedence. Of several events that a message could
be, it is the first in the order of the file. What is none of them is ignored. All of it is checked when it is read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from stream.core.messages import Record
from stream.core.rejections import LeftOut, Rejected
from stream.inputs.mapping.paths import Path, parse_path
from stream.inputs.mapping.sources import (
    ANYTHING_ELSE,
    Found,
    MappingError,
    Source,
    SourceTable,
    is_blank,
    meaning,
    source_of,
    table_of_times,
    text_of,
)
from stream.inputs.mapping.targets import Target, is_time, names, options, targets

_OF_MESSAGES: Final = ("event", "each", "where", "unless", "events")
_OF_CONDITIONS: Final = ("path", "jmespath", "header", "record", "is")
_OF_EVENTS: Final = ("is", "where", "unless")
_IDS: Final = ("user_id", "anonymous_id")
_NO_TABLE: Final = SourceTable()

# The sources of an event's fields, by name; of a field that is an object, those of its own fields.
Sources = Mapping[str, "Source | Sources"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A value that messages must have, or must not have."""

    found: Found
    wanted: frozenset[str] | None  # any of these; None: anything that is neither missing, empty nor false
    holds: bool  # whether a message that has it fits, or one that has it not

    def fits(self, event: Any, message: Any, record: Record) -> bool:
        """Whether an event of a message fits."""
        return self.fits_value(self.found.find(event, message, record))

    def fits_value(self, value: Any) -> bool:
        """Whether this value fits. A list fits where one of its values does."""
        if self.wanted is None:
            has = not is_blank(value) and value is not False and value != [] and value != {}
        elif isinstance(value, list):
            has = any(text_of(one) in self.wanted for one in value)
        else:
            has = not is_blank(value) and text_of(value) in self.wanted
        return has is self.holds


@dataclass(frozen=True, slots=True)
class Rule:
    """One event of ours: which messages are that event, and the sources of its fields."""

    place: str  # in the mapping
    target: Target
    is_any_of: frozenset[str] | None  # values of the field `event`; None: whatever it says
    conditions: tuple[Condition, ...]
    sources: Sources
    times: frozenset[str]  # the fields that are times

    def fits(self, event: Any, message: Any, record: Record) -> bool:
        """Whether the conditions hold. Which values the field `event` must have is looked up before."""
        return all(condition.fits(event, message, record) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class CheckedMapping:
    """A mapping that was checked."""

    event: Source | None  # what tells which event a message is
    each: Path | None  # the list of events that a message holds; None: it is one event itself
    conditions: tuple[Condition, ...]
    rules: tuple[Rule, ...]
    known: Mapping[str, tuple[Rule, ...]]  # by value of the field `event`: the rules that may fit, in their order
    others: tuple[Rule, ...]  # those that may fit for any other value

    def candidates(self, event: Any, message: Any, record: Record) -> tuple[Rule, ...]:
        """The rules that may fit."""
        if self.event is None:
            return self.others
        value = self.event.read(event, message, record)
        return self.others if is_blank(value) else self.known.get(text_of(value), self.others)

    def rule_for(self, event: Any, message: Any, record: Record) -> Rule | LeftOut:
        """The event of ours that an event of a message is, or why it is left out. Raises Rejected."""
        if not all(condition.fits(event, message, record) for condition in self.conditions):
            return LeftOut.FILTERED
        rules = self.candidates(event, message, record)
        return next((rule for rule in rules if rule.fits(event, message, record)), LeftOut.UNMAPPED)


def parse_mapping(raw: Mapping[str, Any], *, zone: str = "", or_time_of_record: bool = False) -> CheckedMapping:
    """Read and check a mapping. Raises MappingError, which names the field.

    `zone` is that of times without an offset, where the mapping names none. With `or_time_of_record` the time of the
    record counts where a message tells none.
    """
    known = targets()
    fields = {name for target in known.values() for name in target.hints}
    for name in raw:
        if name not in fields and name not in _OF_MESSAGES:
            problem = f"native messages have no such field{meaning(name, [*fields, *_OF_MESSAGES])}"
            raise MappingError(name, problem)
    if or_time_of_record:
        raw = {**raw, "event_time": [*_listed(raw.get("event_time", [])), {"record": "timestamp"}]}
    times = table_of_times(raw.get("event_time", []), "event_time", zone=zone)
    event = source_of(raw["event"], "event") if "event" in raw else None
    common = {name: value for name, value in raw.items() if name not in _OF_MESSAGES}
    rules = tuple(_rules(raw.get("events"), common, known, times, has_event_field=event is not None))
    for name in common:
        if not any(name in rule.sources for rule in rules):
            told = ", ".join(dict.fromkeys(rule.target.name for rule in rules))
            raise MappingError(name, f"no event of this mapping has such a field: {told}")
    values = {value for rule in rules for value in rule.is_any_of or ()}
    return CheckedMapping(
        event=event,
        each=_each(raw["each"]) if "each" in raw else None,
        conditions=tuple(_conditions(raw, "")),
        rules=rules,
        known={value: tuple(rule for rule in rules if value in (rule.is_any_of or (value,))) for value in values},
        others=tuple(rule for rule in rules if rule.is_any_of is None),
    )


def _listed(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else [raw]


def _each(raw: Any) -> Path:
    try:
        if not isinstance(raw, str):
            raise ValueError(f"{raw!r} is no path")
        return parse_path(raw)
    except ValueError as error:
        raise MappingError("each", str(error)) from None


def _rules(
    raw: Any, common: Mapping[str, Any], known: Mapping[str, Target], times: SourceTable, *, has_event_field: bool
) -> Iterator[Rule]:
    if not isinstance(raw, dict) or not raw:
        raise MappingError("events", f"needs at least one of {', '.join(names())}, with the values that mean it")
    for name, described in raw.items():
        place = f"events.{name}"
        target = known.get(name)
        if target is None:
            raise MappingError(place, f"is none of {', '.join(names())}{meaning(name, known)}")
        several = isinstance(described, list) and any(isinstance(one, dict) for one in described)
        for number, one in enumerate(described if several else [described], start=1):
            here = f"{place}[{number}]" if several else place
            yield _rule(one, here, common, target, times, has_event_field=has_event_field)


def _rule(
    raw: Any, place: str, common: Mapping[str, Any], target: Target, times: SourceTable, *, has_event_field: bool
) -> Rule:
    table = raw if isinstance(raw, dict) else {"is": raw}
    is_any_of = _values(table.get("is", ANYTHING_ELSE), f"{place}.is" if isinstance(raw, dict) else place)
    if is_any_of is not None and not has_event_field:
        raise MappingError("event", f"is missing: {place} has values of the field that tells what happened")
    own = {name: value for name, value in table.items() if name not in _OF_EVENTS}
    _check_names(own, place, target)
    # What holds for all events is left out where one has no such field.
    known = target.messages.type_field if target.told_by is not None else ""
    wanted = {name: (value, name) for name, value in common.items() if name in target.hints and name != known}
    wanted |= {name: (value, f"{place}.{name}") for name, value in own.items()}
    sources: dict[str, Source | Sources] = {
        name: _field_sources(value, where, target.hints[name], times) for name, (value, where) in wanted.items()
    }
    _check_needed(sources, place, target)
    rule = Rule(place, target, is_any_of, tuple(_conditions(table, f"{place}.")), sources, times_in(sources))
    for name, source in sources_in(sources):
        _check_constants(source, target.hints.get(name, object))
    return rule


def _check_names(own: Mapping[str, Any], place: str, target: Target) -> None:
    for name in own:
        if name not in target.hints:
            problem = f"{target.messages.kind} have no such field{meaning(name, [*target.hints, *_OF_EVENTS])}"
            raise MappingError(f"{place}.{name}", problem)
        if name == target.messages.type_field and target.told_by is not None:
            raise MappingError(f"{place}.{name}", f"it is {target.told_by!r} already: map {target.messages.kind!r}")


def _check_needed(sources: Sources, place: str, target: Target) -> None:
    for name in target.required:
        if name not in sources:
            where = name if name == "event_time" else f"{place}.{name}"
            raise MappingError(where, f"is missing: {target.name} needs it")
    if not any(name in sources for name in _IDS):
        raise MappingError("user_id", f"is missing: {target.name} needs it or anonymous_id")


def _field_sources(raw: Any, place: str, hint: Any, times: SourceTable) -> Source | Sources:
    """The sources of a field; of one that is an object, of each of its fields if the mapping names them singly."""
    for option in options(hint):
        is_object = isinstance(option, type) and issubclass(option, msgspec.Struct)
        if is_object and isinstance(raw, dict) and raw.keys() <= set(option.__struct_fields__):
            return {name: source_of(value, f"{place}.{name}") for name, value in raw.items()}
    return source_of(raw, place, times=times if is_time(hint) else None)


def _check_constants(source: Source, hint: Any) -> None:
    """Raise MappingError for a constant that its field can't have."""
    for constant in (*source.values.values(), *([] if source.default is None else [source.default])):
        problem = _problem_of(constant, source, hint)
        if problem:
            raise MappingError(source.place, f"{constant!r}: {_lower(problem)}")


def _problem_of(constant: Any, source: Source, hint: Any) -> str:
    try:
        if source.read_time is not None:
            source.read_time(constant, "the constant")
        else:
            msgspec.convert(constant, hint, strict=False)
    except (msgspec.ValidationError, Rejected) as error:
        return str(error)
    return ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _values(raw: Any, place: str) -> frozenset[str] | None:
    values = raw if isinstance(raw, list) else [raw]
    for value in values:
        if not isinstance(value, (str, int, float)) or is_blank(value):
            raise MappingError(place, f"{value!r} is no value of a field")
    if not values:
        raise MappingError(place, "an empty list has no value")
    return None if ANYTHING_ELSE in values else frozenset(map(text_of, values))


def _conditions(table: Mapping[str, Any], prefix: str) -> Iterator[Condition]:
    for name, holds in (("where", True), ("unless", False)):
        raw = table.get(name, [])
        for number, one in enumerate(raw if isinstance(raw, list) else [raw], start=1):
            place = f"{prefix}{name}[{number}]" if isinstance(raw, list) else f"{prefix}{name}"
            yield _condition(one, place, holds=holds)


def _condition(raw: Any, place: str, *, holds: bool) -> Condition:
    if not isinstance(raw, dict):
        raise MappingError(place, f"{raw!r} is no condition such as {{ path = 'env', is = 'production' }}")
    unknown = next((name for name in raw if name not in _OF_CONDITIONS), None)
    if unknown is not None:
        told = f"{unknown!r} is none of {', '.join(_OF_CONDITIONS)}{meaning(unknown, _OF_CONDITIONS)}"
        raise MappingError(place, f"{told}: a condition says where to look, and the values that it `is`")
    source = source_of({name: value for name, value in raw.items() if name != "is"}, place)
    wanted = _values(raw["is"], f"{place}.is") if "is" in raw else None
    return Condition(source.alternatives[0], wanted, holds)


def times_in(sources: Sources) -> frozenset[str]:
    """The fields that are times."""
    return frozenset(name for name, source in sources.items() if getattr(source, "read_time", None) is not None)


def sources_in(sources: Sources) -> Iterable[tuple[str, Source]]:
    """All sources of an event, by the names of its fields, dotted where these are objects."""
    for name, source in sources.items():
        if isinstance(source, Source):
            yield name, source
        else:
            yield from ((f"{name}.{inner}", one) for inner, one in sources_in(source))
