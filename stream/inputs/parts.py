"""From bytes to the parts of a message, for every format that is not our own.

A message is one thing or a batch of many: a JSON array, or an object that has the list in a field. Each part is decoded
by itself, so one that can't be used costs no other, and its rejection says where in the message it stands. What the
strict decoder refuses is tried once more as `core/lenient_json.py` mends it: text that is cut in the middle of a
character, and nesting without end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from stream.core.events import Event, MultipleEvents, Rejection
from stream.core.lenient_json import UNDECODABLE, fields_of
from stream.core.messages import Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.lenient import reason_of

Told = Event | MultipleEvents

_Shape = TypeVar("_Shape", bound=msgspec.Struct)

# What may stand where an object is expected: such a value is treated as absent.
NotAnObject = list[object] | str | int | float | bool | None

_LIST = b"["
_list_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Parts(Generic[_Shape]):
    """Reads messages of a shape, each one thing or a batch of many."""

    def __init__(
        self,
        message_type: type[_Shape],
        tell: Callable[[_Shape, Record, bytes], Told],
        *,
        batch: Callable[[_Shape], tuple[str, Sequence[msgspec.Raw]] | None] | None = None,
    ) -> None:
        """`batch` returns the name and the parts of a message that holds a list of them.

        `tell` is given a part, the record that it came in and the bytes of the part, and raises Rejected.
        """
        self._decode = msgspec.json.Decoder(message_type).decode
        self._tell = tell
        self._batch = batch

    def read(self, record: Record) -> Told:
        """What a record tells. Raises Rejected."""
        value = record.value
        if not value:
            raise Rejected(Reason.NOT_JSON, "an empty message")
        try:
            message = self._decode(value)
        except UNDECODABLE:
            if value.lstrip()[:1] == _LIST:
                return self._told_by("$", parts_of(value), record)
            value = _mended(value)
            message = _decoded(self._decode, value)
        if self._batch is not None:
            found = self._batch(message)
            if found is not None:
                return self._told_by(f"$.{found[0]}", found[1], record)
        return self._tell(message, record, value)

    def _told_by(self, where: str, parts: Sequence[msgspec.Raw], record: Record) -> Told:
        parcel = Parcel()
        for number, part in enumerate(parts):
            place = f"{where}[{number}]"
            told = self._told_or_rejected(bytes(part), record)
            if isinstance(told, Rejected):
                parcel.reject(told, where=place)
            else:
                parcel.add(told, where=place)
        return parcel.told()

    def _told_or_rejected(self, value: bytes, record: Record) -> Told | Rejected:
        try:
            try:
                part = self._decode(value)
            except UNDECODABLE:
                value = _mended(value)
                part = _decoded(self._decode, value)
            return self._tell(part, record, value)
        except Rejected as rejection:
            return rejection


def parts_of(value: bytes) -> list[msgspec.Raw]:
    """The elements of a JSON array. Raises Rejected."""
    try:
        try:
            return _list_of(value)
        except UNDECODABLE:
            return _list_of(fields_of(b'{"parts":%s}' % value)["parts"])
    except msgspec.DecodeError as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None


def objects_in(value: bytes) -> Iterator[Mapping[str, msgspec.Raw]]:
    """The fields of each object in a JSON array; what is none is passed over. Raises Rejected for what is no array."""
    for part in parts_of(value):
        with suppress(msgspec.DecodeError):
            try:
                yield _fields(part)
            except UNDECODABLE:
                yield fields_of(bytes(part))


def _mended(value: bytes) -> bytes:
    """An object as the strict decoder takes it. Raises Rejected for what is none."""
    try:
        return msgspec.json.encode(fields_of(value))
    except msgspec.ValidationError as error:
        raise Rejected(Reason.WRONG_TYPE, str(error)) from None
    except msgspec.DecodeError as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None


def _decoded(decode: Callable[[bytes], _Shape], value: bytes) -> _Shape:
    try:
        return decode(value)
    except msgspec.ValidationError as error:
        raise Rejected(reason_of(str(error)), str(error)) from None
    except msgspec.DecodeError as error:
        raise Rejected(Reason.NOT_JSON, str(error)) from None


class Parcel:
    """What the parts of a message tell, put together."""

    def __init__(self) -> None:
        self._events: list[tuple[int, Event]] = []
        self._rejections: list[Rejection] = []
        self._left_out: list[LeftOut] = []
        self._place = 0  # of the next thing that the message tells

    def add(self, told: Told, *, where: str = "") -> None:
        """Add what one part tells. `where` is its place in the message."""
        if not isinstance(told, MultipleEvents):
            self._events.append((self._place, told))
            self._place += 1
            return
        for place, event in told.events:
            self._events.append((self._place + place, event))
        for rejection in told.rejections:
            detail = f"at `{where}`: {rejection.detail}" if where else rejection.detail
            self._rejections.append(Rejection(self._place + rejection.event_index, rejection.reason, detail))
        self._left_out += told.left_out
        self._place += 1 + max(
            (*(place for place, _ in told.events), *(rejection.event_index for rejection in told.rejections)),
            default=-1,
        )

    def reject(self, rejection: Rejected, *, where: str = "") -> None:
        """Add a part that can't be used."""
        detail = f"at `{where}`: {rejection}" if where else str(rejection)
        self._rejections.append(Rejection(self._place, rejection.reason, detail))
        self._place += 1

    def leave_out(self, what: LeftOut) -> None:
        """Add something that no family hears."""
        self._left_out.append(what)

    def told(self) -> Told:
        """All of it; where it is nothing, a word says so."""
        if not (self._rejections or self._left_out):
            if not self._events:
                return NOTHING[LeftOut.EMPTY]
            if len(self._events) == 1:
                return self._events[0][1]
        return MultipleEvents(tuple(self._events), tuple(self._rejections), tuple(self._left_out))


# What a message tells that tells one thing only, which no family hears.
NOTHING = {what: MultipleEvents((), (), (what,)) for what in LeftOut}


def together(events: Iterable[Event], *left_out: LeftOut) -> Told:
    """What one thing tells that is several events, or that is left out besides being one."""
    numbered = tuple(enumerate(events))
    return numbered[0][1] if len(numbered) == 1 and not left_out else MultipleEvents(numbered, (), left_out)
