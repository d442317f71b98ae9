"""How the checkpoints of a partition are stored in its changelog, and which of them count.

A checkpoint is a run of records that is appended as a whole. Its last record, the seal, says who wrote it: the epoch of
a takeover, and a unique name of the writer. Each takeover begins a higher epoch with a first sealed run. A worker that
has lost the partition without knowing it may still append a run. That run comes after the first one of a higher epoch,
or of the same epoch and another writer, so it does not count. Every reader of the changelog can see that. The owner of
the partition writes the keys of such a run again, before compaction could delete their earlier values.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

SEAL = b"seal"


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """The last record of a run: value of the key `seal`."""

    epoch: int  # the number of takeovers so far
    writer: str  # a unique name
    records: int  # the number of records of the run, with this one
    written_ms: int  # by the writer's clock
    whole_from: int = 0  # the offset from which on the changelog has the whole state
    topic_id: str = ""  # the id that Kafka has given to the changelog; empty if the broker has no such ids

    def outranks(self, other: "Seal | None") -> bool:
        """Whether a run with this seal counts after a run with the other."""
        return other is None or self.epoch > other.epoch or (self.epoch, self.writer) == (other.epoch, other.writer)


encode_seal = msgspec.msgpack.Encoder().encode
decode_seal = msgspec.msgpack.Decoder(Seal).decode


class Entry(Protocol):
    """The fields of a changelog record that are needed. aiokafka's ConsumerRecord has them."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class ReplayedRows(NamedTuple):
    """The rows that count, of the records that were read since the last call."""

    items: list[tuple[bytes, bytes | None]]
    offset: int  # of the last seal
    replaces_all: bool  # all rows that were read before are void


class Replay:
    """Reads a changelog in order and returns what counts. `seal` is the last one that the reader's state has."""

    def __init__(self, seal: Seal | None = None) -> None:
        self.seal = seal
        self.overwritten: set[bytes] = set()  # keys whose last record belongs to a run that does not count
        self._unsealed: list[Entry] = []

    def read(self, records: Sequence[Entry]) -> ReplayedRows | None:
        """Read the next records. Returns None if they complete no run."""
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
            # Compaction may leave records of a run without its seal. Those that count belong to a run that was accepted
            # when its seal was still there.
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
        """The records before a run that does not count. Its keys are added to `overwritten`."""
        first = run[-1].offset - seal.records + 1
        self.overwritten |= keys_of(record for record in run if record.offset >= first)
        return [record for record in run if record.offset < first]


def keys_of(records: Iterable[Entry]) -> set[bytes]:
    """The keys of some records."""
    return {record.key for record in records if record.key is not None}
