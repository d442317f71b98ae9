"""Count each forwarded event once.

A worker that forwards an event and dies before its next checkpoint forwards the event again after a restart. So each
forwarded record tells where it came from, and up to which offset its sender had written checkpoints. Records before
that offset are never sent again. Of those after it, the receiver remembers which it has seen.
"""

from collections.abc import Iterable

import msgspec

from stream.core.partition.rows import Delta

PREFIX = b"forwarded/"

# The place of an event is the offset of its message times this, plus its position in the message. No message has so
# many.
_MAX_EVENTS_PER_MESSAGE = 1 << 20


class Sender(msgspec.Struct, array_like=True):
    """What came from one partition of one topic: everything before `checkpointed_offset`, and the places in `seen`."""

    checkpointed_offset: int = 0
    seen: set[int] = msgspec.field(default_factory=set)


class ForwardedEvents:
    """The events that other workers have forwarded to a partition. `stored` are their items in the state."""

    def __init__(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        decode = msgspec.msgpack.Decoder(Sender).decode
        self._senders = {key: decode(value) for key, value in stored}
        self._changed_senders: set[bytes] = set()

    def is_new(
        self, topic: str, partition: int, offset: int, *, checkpointed_offset: int, event_index: int = 0
    ) -> bool:
        """Remember a forwarded event. Returns False if it has come before.

        `event_index` is the position of the event in its message, if the message has several.
        """
        key = PREFIX + f"{topic}/{partition}".encode()
        sender = self._senders.setdefault(key, Sender())
        if checkpointed_offset > sender.checkpointed_offset:
            sender.checkpointed_offset = checkpointed_offset
            sender.seen = {place for place in sender.seen if place >= checkpointed_offset * _MAX_EVENTS_PER_MESSAGE}
        place = offset * _MAX_EVENTS_PER_MESSAGE + event_index
        if offset < sender.checkpointed_offset or place in sender.seen:
            return False
        sender.seen.add(place)
        self._changed_senders.add(key)
        return True

    def collect_delta(self) -> Delta:
        """Return the items that have changed since the last call, for the next checkpoint."""
        delta: Delta = [(key, msgspec.msgpack.encode(self._senders[key])) for key in sorted(self._changed_senders)]
        self._changed_senders.clear()
        return delta
