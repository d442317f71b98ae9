"""Forwarded records, each counted once.

A worker that dies after it has forwarded a record, but before a checkpoint says so, forwards it again when it is back.
So each forwarded record tells where it came from, and how far the checkpoints of its sender had got: what lies before
that is never sent again, and only the places after it have to be remembered.
"""

from collections.abc import Iterable

import msgspec

from stream.core.partition.rows import Delta

PREFIX = b"forwarded/"

# A message tells fewer things: a place is an offset times this, and which of the things of its message was forwarded.
_THINGS_OF_A_MESSAGE = 1 << 20


class Sender(msgspec.Struct, array_like=True):
    """What came from one partition of one topic: all before the offset `saved`, and the places in `seen`."""

    saved: int = 0
    seen: set[int] = msgspec.field(default_factory=set)


class Forwarded:
    """What a partition was sent by others, as far as it may be sent again. `stored` are the items of its delta."""

    def __init__(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        decode = msgspec.msgpack.Decoder(Sender).decode
        self._senders = {key: decode(value) for key, value in stored}
        self._unsaved: set[bytes] = set()

    def is_new(self, topic: str, partition: int, offset: int, *, saved: int, thing: int = 0) -> bool:
        """Note that a record of that place has come; False when it has before.

        `thing` says which one it is of a message that tells several.
        """
        key = PREFIX + f"{topic}/{partition}".encode()
        sender = self._senders.setdefault(key, Sender())
        if saved > sender.saved:
            sender.saved = saved
            sender.seen = {place for place in sender.seen if place >= saved * _THINGS_OF_A_MESSAGE}
        place = offset * _THINGS_OF_A_MESSAGE + thing
        if offset < sender.saved or place in sender.seen:
            return False
        sender.seen.add(place)
        self._unsaved.add(key)
        return True

    def collect_delta(self) -> Delta:
        """What has changed since the last call."""
        delta: Delta = [(key, msgspec.msgpack.encode(self._senders[key])) for key in sorted(self._unsaved)]
        self._unsaved.clear()
        return delta
