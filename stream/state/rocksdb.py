"""State on a local disk, one RocksDB a partition.

The changelog is the log: RocksDB's own is off, and after a crash the last flushed state with its offset is found again
and the rest read from Kafka. A batch is written whole or not at all, its offset with it.

Memory is bounded on purpose: RocksDB's defaults are a cache and two memtables for each database, 200 MiB of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from stream.core.store import Items, StoreBroken

log = structlog.get_logger(__name__)

# No key of a delta begins with a zero byte.
_OFFSET_KEY = b"\0changelog-offset"

_MIB = 1024 * 1024
# What it tells of its work, and the list of its files: it never begins a new one of either unless it is told when.
_LOG_BYTES = _MIB
_MANIFEST_BYTES = 4 * _MIB


class Memory(NamedTuple):
    """How much a RocksDB takes: for blocks read, shared by all of a process, and for rows not yet in files, each."""

    cache_bytes: int = 64 * _MIB  # rows are read once and then kept decoded, so a small one does
    memtable_bytes: int = 8 * _MIB  # of two, one filling while the other is written

    @classmethod
    def shared(cls, total_bytes: int, *, stores: int) -> "Memory":
        """So many stores with so much memory: one half reads, the other writes."""
        return cls(total_bytes // 2, max(_LEAST_MEMTABLE_BYTES, total_bytes // 4 // stores))


_LEAST_MEMTABLE_BYTES = 128 * 1024


@lru_cache(maxsize=4)
def _shared_cache(size: int) -> Cache:
    return Cache(size)


class RocksStore:
    """One partition in a RocksDB under `directory`. Raises StoreBroken where it can't be opened."""

    epoch = 0

    def __init__(self, directory: Path, *, memory: Memory = Memory()) -> None:  # noqa: B008  immutable
        self._directory = directory
        self._memory = memory
        directory.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[method-assign, assignment]  # a property, whatever the stub says

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._told("read"):
            # All at once: a fifth faster than one by one, and other threads run meanwhile.
            values: list[bytes | None] = self._db.get(list(keys))  # type: ignore[assignment]  # raw mode
        return values

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._from(prefix, prefix)

    def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        found = list(islice(self._from(after + b"\0" if after else prefix, prefix), count))
        return found, found[-1][0] if len(found) == count else b""

    def _from(self, start: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        items: Iterator[tuple[bytes, bytes]] = self._db.items(from_key=start)  # type: ignore[assignment]  # raw mode
        for key, value in items:
            if not key.startswith(prefix):
                return
            if key != _OFFSET_KEY:
                yield key, value

    def write(self, items: Items, *, offset: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_OFFSET_KEY, str(offset).encode())
        with self._told("write"):
            self._db.write(batch, self._write_options)

    def offset(self) -> int | None:
        with self._told("read"):
            value = self._db.get(_OFFSET_KEY)
        return None if value is None else int(value)

    def clear(self) -> None:
        with self._told("remove"):
            self._db.close()
            Rdict.destroy(str(self._directory), _options(self._memory))
        self._db = self._open()

    def close(self) -> None:
        try:
            self._db.close()  # it flushes, which saves reading: all of it is in the changelog
        except Exception as error:  # noqa: BLE001  rocksdict raises plain Exception
            told = "the state could not be flushed; what is missing will be read from the changelog"
            log.warning(told, directory=str(self._directory), why=str(error))

    def _open(self) -> Rdict:
        with self._told("open"):
            return Rdict(str(self._directory), _options(self._memory))

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Rocksdict raises plain Exception: say what could not be done, and where."""
        try:
            yield
        except Exception as error:
            raise StoreBroken(f"can't {doing} the state in {str(self._directory)!r}: {error}") from error


def _options(memory: Memory) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(_shared_cache(memory.cache_bytes))
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)  # 10 bits a key: 1 % of reads of unknown users go to disk
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(memory.memtable_bytes)
    options.set_max_write_buffer_number(2)
    # A recovery fills memtables faster than levels are merged: more small files at first, a fifth less work.
    options.set_level_zero_file_num_compaction_trigger(8)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_LOG_BYTES)
    options.set_max_manifest_file_size(_MANIFEST_BYTES)
    return options
