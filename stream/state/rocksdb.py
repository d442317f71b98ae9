"""State on a local disk: one RocksDB database for each partition.

RocksDB's own write-ahead log is off, because the changelog has everything. After a crash, the database has the state of
its last flush with its offset, and the rest is read from the changelog. A batch is written completely or not at all,
together with its offset.

Memory is limited on purpose. With RocksDB's defaults, the cache and the two memtables of each database take 200 MiB.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from stream.core.store import Items, StoreFailed

log = structlog.get_logger(__name__)

# Where the offset is kept. No key of a row begins with a zero byte, so none is equal.
_OFFSET_KEY = b"\0changelog-offset"

_MIB = 1024 * 1024
# RocksDB begins a new info log, and a new list of its files (manifest), only when the old one has this size.
_INFO_LOG_BYTES = _MIB
_MANIFEST_BYTES = 4 * _MIB


class RocksMemory(NamedTuple):
    """The memory of a RocksDB: a block cache that all databases of a process share, and two memtables for each."""

    cache_bytes: int = 64 * _MIB  # a small one is enough: rows are read once and then kept decoded
    memtable_bytes: int = 8 * _MIB  # of each memtable; one is filled while the other is written to a file

    @classmethod
    def divide(cls, total_bytes: int, *, stores: int) -> "RocksMemory":
        """Divide memory between the stores of a process: one half for the cache, the other for memtables."""
        return cls(total_bytes // 2, max(_MIN_MEMTABLE_BYTES, total_bytes // 4 // stores))


_MIN_MEMTABLE_BYTES = 128 * 1024


@lru_cache(maxsize=4)
def _shared_cache(size: int) -> Cache:
    return Cache(size)


class RocksStore:
    """The state of one partition in a RocksDB under `directory`. Raises StoreFailed if it can't be opened."""

    epoch = 0

    def __init__(self, directory: Path, *, memory: RocksMemory = RocksMemory()) -> None:  # noqa: B008  immutable
        self._directory = directory
        self._memory = memory
        self._db = self._open()
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[method-assign, assignment]  # a property; the stub is wrong

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._errors_as_store_broken("read"):
            # One call for all keys is a fifth faster than one call each, and lets other threads run meanwhile.
            values: list[bytes | None] = self._db.get(list(keys))  # type: ignore[assignment]  # raw mode
        return values

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._scan_from(prefix, prefix)

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        found = list(islice(self._scan_from(after + b"\0" if after else prefix, prefix), count))
        return found, found[-1][0] if len(found) == count else b""

    def _scan_from(self, start: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
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
        with self._errors_as_store_broken("write"):
            self._db.write(batch, self._write_options)

    def offset(self) -> int | None:
        with self._errors_as_store_broken("read"):
            value = self._db.get(_OFFSET_KEY)
        return None if value is None else int(value)

    def clear(self) -> None:
        with self._errors_as_store_broken("remove"):
            self._db.close()
            Rdict.destroy(str(self._directory), _options(self._memory))
        self._db = self._open()

    def close(self) -> None:
        try:
            self._db.close()  # it flushes, so that the next start has less to read from the changelog
        except Exception as error:  # noqa: BLE001  rocksdict raises plain Exception
            message = "the state could not be flushed; what is missing will be read from the changelog"
            log.warning(message, directory=str(self._directory), why=str(error))

    def _open(self) -> Rdict:
        with self._errors_as_store_broken("open"):
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            return Rdict(str(self._directory), _options(self._memory))

    @contextmanager
    def _errors_as_store_broken(self, action: str) -> Iterator[None]:
        """Turn rocksdict's plain exceptions into StoreFailed, with what failed and where."""
        try:
            yield
        except Exception as error:
            raise StoreFailed(f"can't {action} the state in {str(self._directory)!r}: {error}") from error


def _options(memory: RocksMemory) -> Options:
    table = BlockBasedOptions()
    table.set_block_cache(_shared_cache(memory.cache_bytes))
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)  # with 10 bits a key, only 1 % of reads of unknown users go to the disk
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(memory.memtable_bytes)
    options.set_max_write_buffer_number(2)
    # During recovery, memtables fill faster than levels are merged. Merging later, from more files, saves a fifth.
    options.set_level_zero_file_num_compaction_trigger(8)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_INFO_LOG_BYTES)
    options.set_max_manifest_file_size(_MANIFEST_BYTES)
    return options
