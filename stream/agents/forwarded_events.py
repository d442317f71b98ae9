"""Count each forwarded event once.

A worker that forwards an event and dies before its next checkpoint forwards the event again after a restart, perhaps
together with others than before. So each event tells where it came from, and each batch up to which offset its sender
had written checkpoints. Events before that offset are never sent again. Of those after it, the receiver remembers which
it has seen.
"""

from collections.abc import Iterable

import msgspec

from stream.core.events import Event
from stream.core.partition.rows import Delta
from stream.kafka.forwarded_batches import ForwardedBatch, ForwardedRecord

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

    def new_of(self, batch: ForwardedBatch) -> list[ForwardedRecord[Event | None]]:
        """Return the events of a batch that have not come before, and remember them."""
        key = PREFIX + f"{batch.topic}/{batch.partition}".encode()
        sender = self._senders.setdefault(key, Sender())
        if batch.checkpointed_offset > sender.checkpointed_offset:
            sender.checkpointed_offset = batch.checkpointed_offset
            oldest = batch.checkpointed_offset * _MAX_EVENTS_PER_MESSAGE
            sender.seen = {place for place in sender.seen if place >= oldest}
        seen, checkpointed_offset = sender.seen, sender.checkpointed_offset
        new = []
        for record in batch.records:
            place = record.offset * _MAX_EVENTS_PER_MESSAGE + record.event_index
            if record.offset >= checkpointed_offset and place not in seen:
                seen.add(place)
                new.append(record)
        if new:
            self._changed_senders.add(key)
        return new

    def collect_delta(self) -> Delta:
        """Return the items that have changed since the last call, for the next checkpoint."""
        delta: Delta = [(key, msgspec.msgpack.encode(self._senders[key])) for key in sorted(self._changed_senders)]
        self._changed_senders.clear()
        return delta
