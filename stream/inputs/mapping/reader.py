"""Reading messages by a mapping: each becomes a native message, and that becomes an event.

There are two ways to the same end. This one takes every message: it decodes all of it, and converts what it finds at
the sources, so `"5"` is a number where a number is needed. `stream/inputs/mapping/quick.py` takes those that are as
most are, several times faster, and leaves all others to this one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream.core.events import Event, MultipleEvents, Rejection
from stream.core.ids import Id, is_placeholder
from stream.core.lenient_json import UNDECODABLE, fields_of, is_cut
from stream.core.messages import Message, MessageKind, Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.users import user_of
from stream.inputs.bots import is_crawler
from stream.inputs.lenient import reason_of
from stream.inputs.mapping.mapping import CheckedMapping, Rule, Sources, parse_mapping, sources_in
from stream.inputs.mapping.paths import value_at
from stream.inputs.mapping.quick import quick_reader_of
from stream.inputs.mapping.sources import Source, is_blank
from stream.inputs.mapping.times import moment_of
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING

_decode = msgspec.json.Decoder().decode

_IDS = (Id, Id | None)
_REPLACED = "\N{REPLACEMENT CHARACTER}"

_FIELD = re.compile(r"`\$\.([\w.]+)`")


USES = frozenset({"mapping", "time", "zone"})


def reader_of(options: Options) -> Reader:
    """What reads messages by the mapping of an input. Raises MappingError for one that can't be."""
    mapping = mapping_of(options)
    read = thorough_reader_of(mapping)
    return quick_reader_of(mapping, otherwise=read)


def mapping_of(options: Options) -> CheckedMapping:
    """The mapping of an input. Raises MappingError."""
    return parse_mapping(options.mapping, zone=options.zone, or_time_of_record=options.time == "record")


def thorough_reader_of(mapping: CheckedMapping) -> Reader:
    """What reads any message by a mapping. Null messages, which compacted topics have, tell nothing."""
    each = mapping.each

    def read(record: Record) -> Event | MultipleEvents:
        if record.value is None:
            return NOTHING[LeftOut.EMPTY]
        message, was_cut = document_of(record.value)
        if each is None:
            if not isinstance(message, dict):
                raise Rejected(Reason.WRONG_TYPE, f"expected `object`, got {_kind_of(message)}: see `each`")
            told = _event_in(mapping, message, message, record, was_cut)
            return NOTHING[told] if isinstance(told, LeftOut) else told
        listed = value_at(message, each.steps)
        if is_blank(listed):
            return NOTHING[LeftOut.EMPTY]
        if not isinstance(listed, list):
            raise Rejected(Reason.WRONG_TYPE, f"expected a list at `{each}`, got {_kind_of(listed)}")
        return _each_of(mapping, listed, message, record, was_cut) if listed else NOTHING[LeftOut.EMPTY]

    return read


def _each_of(mapping: CheckedMapping, listed: list[Any], message: Any, record: Record, was_cut: bool) -> MultipleEvents:
    events: list[tuple[int, Event]] = []
    rejections: list[Rejection] = []
    left_out: list[LeftOut] = []
    for place, one in enumerate(listed):
        try:
            told = _event_in(mapping, one, message, record, was_cut)
        except Rejected as rejection:  # noqa: PERF203  # one bad event costs only itself
            rejections.append(Rejection(place, rejection.reason, f"at `{mapping.each}[{place}]`: {rejection}"))
        else:
            if isinstance(told, LeftOut):
                left_out.append(told)
            else:
                events.append((place, told))
    return MultipleEvents(tuple(events), tuple(rejections), tuple(left_out))


def document_of(value: bytes) -> tuple[Any, bool]:
    """A message as it was sent, and whether text in it was cut in the middle of a character. Raises Rejected."""
    try:
        return _decode(value), False
    except UNDECODABLE:
        pass
    try:
        fields = fields_of(value)
    except msgspec.DecodeError as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    return dict(_readable(fields)), any(map(is_cut, fields.values()))


def _readable(fields: Mapping[str, msgspec.Raw]) -> Iterator[tuple[str, Any]]:
    for name, raw in fields.items():
        try:
            yield name, _decode(raw)
        except UNDECODABLE:  # noqa: PERF203  # a number that is too large: it is no value of any field
            continue


def _event_in(mapping: CheckedMapping, event: Any, message: Any, record: Record, was_cut: bool) -> Event | LeftOut:
    """The event of ours that an event of theirs is, or why it is none. Raises Rejected."""
    rule = mapping.rule_for(event, message, record)
    if isinstance(rule, LeftOut):
        return rule
    try:
        return _event_by(rule, event, message, record, was_cut)
    except Rejected as rejection:
        raise Rejected(rejection.reason, with_sources(str(rejection), rule)) from None


def _event_by(rule: Rule, event: Any, message: Any, record: Record, was_cut: bool) -> Event:
    messages = rule.target.messages
    fields = _told(rule.sources, event, message, record)
    if "event_time" not in fields:
        raise Rejected(Reason.MISSING_FIELD, "needs `$.event_time`")
    at_ms = fields["event_time"]
    for name in rule.times & fields.keys():
        fields[name] = moment_of(fields[name])
    if rule.target.told_by is not None and messages.type_field:
        fields[messages.type_field] = rule.target.told_by
    if was_cut:
        _refuse_cut_ids(rule, fields)
    native = _native(fields, messages)
    user = user_of(native.user_id, native.anonymous_id)
    is_bot = native.is_bot or (native.user_agent is not None and is_crawler(native.user_agent)) or False
    return messages.event_of(native, user, at_ms, is_bot, record.key)


def _native(fields: dict[str, Any], messages: MessageKind) -> Message:
    """A native message of these fields, but for those that such a message has no use for. Raises Rejected."""
    for name in fields.keys() & messages.ignored_fields.get(str(fields.get(messages.type_field)), frozenset()):
        del fields[name]
    try:
        return msgspec.convert(fields, messages.message_type, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(reason_of(str(error)), str(error)) from None


def _told(sources: Sources, event: Any, message: Any, record: Record) -> dict[str, Any]:
    """The fields for which something is told."""
    fields: dict[str, Any] = {}
    for name, source in sources.items():
        if isinstance(source, Source):
            value = source.read(event, message, record)
        else:
            value = _told(source, event, message, record) or None
        if value is not None:
            fields[name] = value
    return fields


def _refuse_cut_ids(rule: Rule, fields: dict[str, Any]) -> None:
    """Raise Rejected for an id that is cut: another one may be cut to the same text."""
    for name, hint in rule.target.hints.items():
        text = fields.get(name)
        if hint not in _IDS or not isinstance(text, str) or _REPLACED not in text:
            continue
        if name == "anonymous_id" and not is_placeholder(str(fields.get("user_id", "")).strip()):
            del fields[name]  # the other one says who it is
            continue
        reason = Reason.BAD_USER if name in ("user_id", "anonymous_id") else Reason.WRONG_TYPE
        raise Rejected(reason, f"{text!r} at `$.{name}` is cut in the middle of a character")


def with_sources(told: str, rule: Rule) -> str:
    """What is told of fields of ours, with where the mapping reads them."""
    sources = dict(sources_in(rule.sources))
    named = [name for name in dict.fromkeys(_FIELD.findall(told)) if name in sources]
    if not named:
        return told
    return f"{told} (by the mapping {', '.join(f'{name} is {sources[name]}' for name in named)})"


def _kind_of(value: Any) -> str:
    return "`array`" if isinstance(value, list) else repr(value)[:100]
