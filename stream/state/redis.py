"""State in Redis: without changelog and local disk, and taken over by another worker within a second.

All keys of a partition have the same hash tag, so that a cluster keeps them on one node:

    {<app_id>/<partition>}:meta           who holds the partition, the offset of the last write, the row counts
    {<app_id>/<partition>}:state          keys without a `/`
    {<app_id>/<partition>}:state/<family> keys that begin with `<family>/`, such as the rows of users

A worker that opens a store takes the partition over: its epoch grows by one. Every write goes through a script that
refuses an earlier holder. The script also refuses to write if the state is not the one that the last write left: if it
was emptied, if keys were evicted, or if it was set back to an older copy. A write is one script, so Redis does all of
it or nothing.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from stream import redis_url
from stream.clock import TimeTold
from stream.core.store import Items, PartitionTakenOver, StateLost, StoreFailed, StoreUnavailable
from stream.settings import Settings
from stream.state.redis_checks import check_certificates, check_keeps_state, check_server
from stream.state.redis_client import Client
from stream.state.redis_scripts import CHECK, CLEAR, OPEN, PART, PEEK, WRITE, Script

# How many rows one command reads. A command with a thousand rows blocks the server for a millisecond or two.
_ROWS_PER_COMMAND = 1_000

_START = _END = b"0"  # the cursor at the beginning and at the end of a scan, as Redis writes it

_Write = tuple[int, list[bytes], list[bytes]]  # offset, families, arguments


class Redis:
    """The stores of a deployment in one Redis, at `state.url`. It connects only in `check` or `open_store`.

    Raises SettingsError for a certificate file that can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        state = settings.state
        check_certificates(state)
        self._app_id = settings.app_id
        self._checked = False
        self._client = Client(
            redis_url.parse(state.url),
            password=settings.redis_password(),
            sentinel_password=settings.sentinel_password(),
            cafile=state.ssl_cafile,
            certfile=state.ssl_certfile,
            keyfile=state.ssl_keyfile,
        )

    def check(self) -> None:
        """Check that this server can be trusted with state.

        Raises StoreUnavailable if it can't be reached now, StoreFailed if its configuration must be changed.
        """
        for server, info in self._client.info():
            check_server(server, info, cluster=self._client.url.cluster)
        for server, info in self._client.info_of_replicas():
            check_keeps_state(server, info)
        self._checked = True

    def open_store(self, partition: int) -> "RedisStore":
        """Take a partition over. Raises the same as `check`, which runs first if it could not at the start."""
        if not self._checked:
            self.check()
        return RedisStore(self._client, self._app_id, partition)

    def peek(self, partition: int) -> "RedisRows":
        """Read a partition without taking it over. Raises the same as `check`."""
        if not self._checked:
            self.check()
        return RedisRows(self._client, self._app_id, partition)

    def times(self) -> list[TimeTold]:
        """Ask what time it is. Raises StoreUnavailable, or StoreFailed if we may not ask."""
        return self._client.times()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _tag(app_id: str, partition: int) -> bytes:
    """What the keys of a partition begin with."""
    return f"{{{app_id}/{partition}}}".encode()


def _hash_of(state: bytes, key: bytes) -> bytes:
    """The hash in which a key of the state lies: that of the keys that begin like it up to a `/`."""
    family, slash, _ = key.partition(b"/")
    return state + b"/" + family if slash else state


class RedisRows:
    """Reads the state of a partition that a worker may hold and go on writing. Raises StoreUnavailable."""

    def __init__(self, client: Client, app_id: str, partition: int) -> None:
        self._client = client
        self._meta, self._state = (_tag(app_id, partition) + name for name in (b":meta", b":state"))

    def read(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""
        value: bytes | None = self._client.execute("HGET", _hash_of(self._state, key), key)
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose keys begin with a prefix that ends with `/`, in any order. Some may be older than others."""
        keys = [self._meta, self._state + b"/" + prefix.rstrip(b"/")]
        server, cursor = b"", _START
        found: dict[bytes, bytes] = {}
        while True:
            walk = (server, cursor, _escape_pattern(prefix) + b"*", b"%d" % _ROWS_PER_COMMAND)
            _, server, cursor, items = self._client.run(PEEK, keys, *walk)
            found.update(zip(items[::2], items[1::2], strict=True))
            if cursor == _END:
                return iter(found.items())


class RedisStore:
    """The state of one partition in Redis. Opening it takes the partition over.

    Raises StoreUnavailable, StoreFailed.
    """

    def __init__(self, client: Client, app_id: str, partition: int) -> None:
        self._client = client
        self._name = f"partition {partition} of {app_id!r} in redis at {client.url}"
        tag = _tag(app_id, partition)
        self._meta, self._state = tag + b":meta", tag + b":state"
        self._holder = uuid.uuid4().hex.encode()
        self._epoch: int
        self._epoch, fields = client.run(OPEN, [self._meta], self._holder)
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        self._offset = int(found[b"offset"]) if b"offset" in found else None
        self._unconfirmed_write: _Write | None = None  # a write whose answer has not come: it may have happened or not
        # What Redis has lost. If it is not empty, the state can be cleared, but not read or written.
        self._lost_state = ""
        # Whether a server of redis+sentinel:// that lacked something was given up and the sentinels were asked again.
        # Not for what is lacking now: opening is a write, which the old master of a failover can't confirm.
        self._asked_again = True
        with suppress(StateLost):
            self._check(family for family in found if family.startswith(self._state))

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        places: dict[bytes, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            places[self._family(key)].append(place)
        values: list[bytes | None] = [None] * len(keys)
        for family, indexes in places.items():
            for first in range(0, len(indexes), _ROWS_PER_COMMAND):
                some = indexes[first : first + _ROWS_PER_COMMAND]
                found = self._client.execute("HMGET", family, *(keys[place] for place in some))
                for place, value in zip(some, found, strict=True):
                    values[place] = value
        # Check after reading, so that what was lost before or during the read is noticed.
        self._check(places)
        return values

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        found: dict[bytes, bytes] = {}
        after = b""
        while True:
            items, after = self.scan_some(prefix, after=after, count=_ROWS_PER_COMMAND)
            found.update(items)
            if not after:
                return iter(sorted(found.items()))

    def scan_some(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        pattern = _escape_pattern(prefix) + b"*"
        server, cursor, family = after.split(b" ", 2) if after else (b"", _END, b"")
        found: list[tuple[bytes, bytes]] = []
        for name in self._families(prefix):
            if name < family or (name == family and cursor == _END):
                continue
            cursor = cursor if name == family else _START
            while len(found) < count:
                walk = (server, cursor, pattern, b"%d" % count)
                server, cursor, items = self._run(PART, [name], *walk)
                found += zip(items[::2], items[1::2], strict=True)
                if cursor == _END:
                    break
            if len(found) >= count:
                return found, b" ".join((server, cursor, name))
        return found, b""

    def write(self, items: Items, *, offset: int) -> None:
        families, arguments = self._arguments(items)
        write = (offset, families, arguments)
        if self._unconfirmed_write is not None and self._unconfirmed_write != write:
            raise StoreFailed(
                f"{self._name}: whether offset {self._unconfirmed_write[0]} was written is not known: repeat it first"
            )
        self._unconfirmed_write = write
        self._run(WRITE, families, *arguments)
        self._offset, self._unconfirmed_write = offset, None

    def _arguments(self, items: Items) -> tuple[list[bytes], list[bytes]]:
        """Return the hashes that a write changes, and the arguments of the script WRITE."""
        puts: dict[bytes, list[bytes]] = defaultdict(list)
        removed: dict[bytes, list[bytes]] = defaultdict(list)
        for key, value in dict(items).items():
            if value is None:
                removed[self._family(key)].append(key)
            else:
                puts[self._family(key)] += (key, value)
        families = sorted({*puts, *removed})
        arguments: list[bytes] = []
        for family in families:
            for values in (puts[family], removed[family]):
                arguments.append(b"%d" % len(values))
                arguments += values
        return families, arguments

    def offset(self) -> int | None:
        if self._lost_state:
            raise StateLost(self._lost_state)
        return self._offset

    def clear(self) -> None:
        # Search for the hashes, because `meta` may have lost some.
        families = self._client.scan(_escape_pattern(self._state) + b"*")
        self._run(CLEAR, sorted(families))
        self._offset, self._unconfirmed_write, self._lost_state = None, None, ""

    @property
    def epoch(self) -> int:
        return self._epoch

    def close(self) -> None:
        """Nothing to release: the connections are shared."""

    @property
    def _offsets(self) -> tuple[bytes, bytes]:
        """The offsets that the last write may have left in Redis: two if its answer has not come."""
        known = _offset_bytes(self._offset)
        return known, known if self._unconfirmed_write is None else _offset_bytes(self._unconfirmed_write[0])

    def _family(self, key: bytes) -> bytes:
        return _hash_of(self._state, key)

    def _families(self, prefix: bytes) -> list[bytes]:
        """Return the hashes in which keys that begin with a prefix may lie, in order."""
        if b"/" in prefix:
            return [self._family(prefix)]
        begin = self._state + b"/" + prefix
        fields = self._client.execute("HKEYS", self._meta)
        families = sorted(name for name in fields if name == self._state or name.startswith(begin))
        self._check(families)
        return families

    def _check(self, families: Iterable[bytes]) -> None:
        self._run(CHECK, list(families))

    def _run(self, script: Script, families: Sequence[bytes], *arguments: bytes) -> list[Any]:
        if self._lost_state and script is not CLEAR:
            raise StateLost(self._lost_state)
        keys = [self._meta, *families]
        answer: list[Any]
        while True:
            offsets = () if script is CLEAR else self._offsets
            status, *answer = self._client.run(script, keys, b"%d" % self._epoch, self._holder, *offsets, *arguments)
            # A checkpoint may have been written while this script ran. Then ask again, with the new offset.
            if status != b"lost" or answer[0] != b"offset" or offsets in ((), self._offsets):
                break
        if status == b"taken":
            raise PartitionTakenOver(f"another worker has taken over {self._name}")
        if status == b"lost":
            loss = f"{self._name} is not what was written to it: {_describe_loss(*answer)}"
            if self._client.url.sentinel and not self._asked_again:
                # An old master may have answered, which does not know yet that there is another one.
                self._asked_again = True
                self._client.reconnect()
                raise StoreUnavailable(f"{loss} (the sentinels are asked again which server is the master)")
            self._lost_state = loss
            raise StateLost(loss)
        self._asked_again = False
        return answer


def _describe_loss(what: bytes, expected: bytes, found: bytes) -> str:
    if what == b"epoch" and not found:
        return "nothing is there; was it emptied, or restarted without its data?"
    if what in (b"epoch", b"offset"):
        answer = f"{what.decode()} {expected.decode() or 'none'} expected, {found.decode() or 'none'} found"
        return f"{answer}; was it set back to an older copy?"
    key = what.decode(errors="replace")
    return f"{expected.decode()} rows expected in {key!r}, {found.decode()} found; were keys evicted or removed?"


def _offset_bytes(offset: int | None) -> bytes:
    return b"" if offset is None else b"%d" % offset


def _escape_pattern(text: bytes) -> bytes:
    """Return a pattern that matches only this text."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", text)
