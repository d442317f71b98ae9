"""The slow decoder of native messages, for messages of real producers that the fast one refuses or reads inexactly."""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, get_type_hints

import msgspec

from stream.core.ids import Id, is_placeholder, text_of
from stream.core.lenient_json import fields_of, is_cut, object_of
from stream.core.messages import Message, MessageKind, Time, checked_time_ms
from stream.core.rejections import Reason, Rejected
from stream.core.time import iso, parse_time

_ABSENT = (b"null", b'""')


def lenient_decoder_of(messages: MessageKind) -> Callable[[bytes, int | None], Any]:
    """A function that decodes messages of a kind leniently. It raises Rejected for those that still can't be used.

    It accepts text that is cut in the middle of a character, except in ids, because two ids may be cut to the same
    text. It accepts labels of any type, anything in a field that the message does not use, any depth of nesting in
    fields that are ignored, and every form of time that `parse_time` reads. Where the time of the record may stand for
    a missing one, it is given that too.
    """
    message_type = messages.message_type
    decode, hints = msgspec.json.Decoder(message_type).decode, _hints_of(message_type)
    ids = [name for name, hint in hints.items() if hint in (Id, Id | None)]
    times = [name for name, hint in hints.items() if hint in (Time, Time | None)]
    labels = [name for name, hint in hints.items() if hint is object]

    def read(value: bytes, record_ms: int | None) -> Message:
        try:
            fields = fields_of(value)
            if record_ms is not None and bytes(fields.get("event_time", b"null")) in _ABSENT:
                fields["event_time"] = msgspec.Raw(b"%d" % record_ms)
            for name in fields.keys() & messages.ignored_fields.get(_text_in(fields, messages.type_field), ()):
                del fields[name]
            _normalize_fields(fields, times=times, labels=labels)
            message = decode(object_of(fields, hints))
        except msgspec.ValidationError as error:
            error_text = str(error)
            raise Rejected(reason_of(error_text), error_text) from None
        except msgspec.DecodeError as error:
            raise Rejected(Reason.NOT_JSON, str(error)) from None
        for name in ids:
            if name in fields and is_cut(fields[name]):
                _refuse_cut_id(message, name)
        return message

    return read


@cache  # for each partition that a worker takes over all kinds are asked for
def _hints_of(message_type: type[Message]) -> Mapping[str, Any]:
    return get_type_hints(message_type, include_extras=True)


def _text_in(fields: dict[str, msgspec.Raw], name: str) -> str:
    """The text in a field; empty if it has no text."""
    try:
        return msgspec.json.decode(fields.get(name, b'""'), type=str)
    except msgspec.ValidationError:
        return ""


def _normalize_fields(fields: dict[str, msgspec.Raw], *, times: Collection[str], labels: Collection[str]) -> None:
    """Change times to a form that the fast decoder accepts, and remove labels that it refuses. Raises Rejected."""
    for name in fields.keys() & labels:
        if not _is_readable(fields[name]):
            del fields[name]
    for name in times:
        if name in fields:
            fields[name] = _in_rfc_3339(fields[name], name)


def _is_readable(label: msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(label)
    except msgspec.DecodeError:  # a number that is too large
        return False
    return True


def _in_rfc_3339(time: msgspec.Raw, field: str) -> msgspec.Raw:
    """A time in the form that the fast decoder accepts. Raises Rejected if it is a text but not a time."""
    if not bytes(time).startswith(b'"'):
        return time
    text = msgspec.json.decode(time, type=str)
    at_ms = parse_time(text)
    if at_ms is None:
        raise Rejected(Reason.BAD_TIME, f"{text!r} at `$.{field}` is no ISO 8601 time with an offset")
    return msgspec.Raw(msgspec.json.encode(iso(checked_time_ms(at_ms, text, field))))


def _refuse_cut_id(message: Message, name: str) -> None:
    if name == "anonymous_id" and message.user_id is not None and not is_placeholder(text_of(message.user_id)):
        message.anonymous_id = None  # it is not needed, because there is a `user_id`
        return
    reason = Reason.BAD_USER if name in ("user_id", "anonymous_id") else Reason.WRONG_TYPE
    raise Rejected(reason, f"{getattr(message, name)!r} at `$.{name}` is cut in the middle of a character")


def reason_of(error_text: str) -> Reason:
    """The reason of a rejection, by the text of the decoder's error."""
    # Messages of msgspec name the expected type. Only the one for an unknown value repeats what was sent.
    if error_text.startswith("Object missing required field"):
        return Reason.MISSING_FIELD
    if error_text.startswith("Invalid enum value"):
        return Reason.UNKNOWN_VALUE
    if "datetime" in error_text:
        return Reason.BAD_TIME
    if ">=" in error_text or "<=" in error_text or "out of range" in error_text:
        return Reason.OUT_OF_RANGE
    return Reason.WRONG_TYPE
