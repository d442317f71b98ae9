"""How the checkpoints of a partition lie in its changelog, and which of them count.

A checkpoint is a run of records that was appended whole; its last record, the seal, says who wrote it: the epoch of a
takeover, and a name that no other writer has. Each takeover begins a higher epoch with a first sealed run. A worker
that lost the partition without knowing it may still append once: its run lies after the first one of a higher epoch,
or of the same epoch and another writer, and so it does not count. Whoever reads the log finds that out by himself,
and its owner writes over what such a run has touched, before compaction could make it the only copy.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

SEAL = b"seal"


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """The last record of a run: value of the key `seal`."""

    epoch: int  # counts takeovers
    writer: str  # one of a kind
    records: int  # of the run, this one too
    written_ms: int  # wall clock of the writer
    whole_from: int = 0  # the changelog offset from which on the log holds the whole state
    topic_id: str = ""  # Kafka's id of the changelog; empty where the broker doesn't tell

    def outranks(self, other: "Seal | None") -> bool:
        """Whether a run of this seal counts after one of the other."""
        return other is None or self.epoch > other.epoch or (self.epoch, self.writer) == (other.epoch, other.writer)


encode_seal = msgspec.msgpack.Encoder().encode
decode_seal = msgspec.msgpack.Decoder(Seal).decode


class Entry(Protocol):
    """What a log must tell of a record (aiokafka's ConsumerRecord has it)."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class ReplayedRows(NamedTuple):
    """What counts of the records read so far and was not told before."""

    items: list[tuple[bytes, bytes | None]]
    offset: int  # of the last sealed record
    replaces_all: bool  # all that was there before is void


class Replay:
    """Reads a changelog in order and tells what counts. `seal` is the last one that the reader's state holds."""

    def __init__(self, seal: Seal | None = None) -> None:
        self.seal = seal
        self.overwritten: set[bytes] = set()  # keys that a run which does not count has touched last
        self._unsealed: list[Entry] = []

    def read(self, records: Sequence[Entry]) -> ReplayedRows | None:
        """Take the next records; None while no run is complete."""
        indexes = [index for index, record in enumerate(records) if record.key == SEAL]
        if not indexes:
            self._unsealed += records
            return None
        items: list[tuple[bytes, bytes | None]] = []
        replaces_all, done = False, 0
        for index in indexes:
            run: Sequence[Entry] = [*self._unsealed, *records[done : index + 1]]
            self._unsealed, done = [], index + 1
            seal = decode_seal(run[-1].value or b"")
            # Of runs that compaction has left a part of, but not the seal, it was told when the seal was there.
            if not seal.outranks(self.seal):
                run = self._without_rejected_run(run, seal)
            else:
                if seal.whole_from > (self.seal.whole_from if self.seal else 0):
                    replaces_all, items = True, []
                    run = [record for record in run if record.offset >= seal.whole_from]
                self.seal = seal
                if self.overwritten:
                    self.overwritten -= keys_of(run)
            items += ((record.key, record.value) for record in run if record.key is not None)
        self._unsealed += records[done:]
        return ReplayedRows(items, records[indexes[-1]].offset, replaces_all)

    def _without_rejected_run(self, run: Sequence[Entry], seal: Seal) -> Sequence[Entry]:
        """The records before a run that does not count."""
        first = run[-1].offset - seal.records + 1
        self.overwritten |= keys_of(record for record in run if record.offset >= first)
        return [record for record in run if record.offset < first]


def keys_of(records: Iterable[Entry]) -> set[bytes]:
    """The keys of some records."""
    return {record.key for record in records if record.key is not None}
