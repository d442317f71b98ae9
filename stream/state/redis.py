"""State in Redis: no changelog, no local disk, and another worker goes on a second after one is gone.

All of a partition lies in keys with one hash tag, so that a cluster keeps them together:

    {<app_id>/<partition>}:meta           who holds it, the offset of the last write, rows of each family
    {<app_id>/<partition>}:state          keys without a `/`
    {<app_id>/<partition>}:state/<family> keys that begin with `<family>/`, such as the users' rows

Opening a store takes the partition over: its epoch grows, and what an earlier holder writes from then on is refused by
the script that would write it. The same script refuses to build on a state that is not the one it left: emptied,
evicted, or set back to an older copy. A write is one script, so all of it happens or nothing.
"""

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from stream import redis_url
from stream.core.store import Items, StateLost, StoreBroken, StoreTaken
from stream.settings import Settings
from stream.state.redis_checks import check_certificates, check_server
from stream.state.redis_client import Client
from stream.state.redis_scripts import CHECK, CLEAR, OPEN, PART, WRITE, Script

# A command of a thousand rows keeps the server from others for a millisecond or two.
_AT_ONCE = 1_000

_START = _END = b"0"  # of a walk over rows, as Redis writes it

_Write = tuple[int, list[bytes], list[bytes]]  # offset, families, arguments


class Redis:
    """The stores of a deployment in one Redis; `state.url` says where. Nothing is asked of it before `check` or `of`.

    Raises SettingsError for a file that can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        state = settings.state
        check_certificates(state)
        self._app_id = settings.app_id
        self._checked = False
        self._client = Client(
            redis_url.parse(state.url),
            password=settings.redis_password(),
            cafile=state.ssl_cafile,
            certfile=state.ssl_certfile,
            keyfile=state.ssl_keyfile,
        )

    def check(self) -> None:
        """See whether state may be trusted to this server.

        Raises StoreAway when it can't be reached now, StoreBroken when it must be set up otherwise.
        """
        for server, info in self._client.info():
            check_server(server, info, cluster=self._client.url.cluster)
        self._checked = True

    def of(self, partition: int) -> "RedisStore":
        """Take a partition over. Raises what `check` does, which may have found nobody to ask at the start."""
        if not self._checked:
            self.check()
        return RedisStore(self._client, self._app_id, partition)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class RedisStore:
    """One partition in a Redis, taken over from whoever held it. Opening it raises StoreAway and StoreBroken."""

    def __init__(self, client: Client, app_id: str, partition: int) -> None:
        self._client = client
        self._place = f"partition {partition} of {app_id!r} in redis at {client.url}"
        tag = f"{{{app_id}/{partition}}}".encode()
        self._meta, self._state = tag + b":meta", tag + b":state"
        self._holder = uuid.uuid4().hex.encode()
        self._epoch: int
        self._epoch, noted = client.run(OPEN, [self._meta], self._holder)
        found = dict(zip(noted[::2], noted[1::2], strict=True))
        self._offset = int(found[b"offset"]) if b"offset" in found else None
        self._unsure: _Write | None = None  # whose answer has not come
        # What is missing. Then it can be cleared, but not read or written.
        self._lost = ""
        with suppress(StateLost):
            self._check(family for family in found if family.startswith(self._state))

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        places: dict[bytes, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            places[self._family(key)].append(place)
        values: list[bytes | None] = [None] * len(keys)
        for family, its in places.items():
            for first in range(0, len(its), _AT_ONCE):
                some = its[first : first + _AT_ONCE]
                found = self._client.ask("HMGET", family, *(keys[place] for place in some))
                for place, value in zip(some, found, strict=True):
                    values[place] = value
        # Last: what was lost before or meanwhile is missed now.
        self._check(places)
        return values

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        found: dict[bytes, bytes] = {}
        after = b""
        while True:
            items, after = self.part(prefix, after=after, count=_AT_ONCE)
            found.update(items)
            if not after:
                return iter(sorted(found.items()))

    def part(self, prefix: bytes, *, after: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        pattern = _escaped(prefix) + b"*"
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
        if self._unsure is not None and self._unsure != write:
            raise StoreBroken(
                f"{self._place}: whether offset {self._unsure[0]} was written is not known: repeat it first"
            )
        self._unsure = write
        self._run(WRITE, families, *arguments)
        self._offset, self._unsure = offset, None

    def _arguments(self, items: Items) -> tuple[list[bytes], list[bytes]]:
        """The families that a write changes, and what WRITE is told of each."""
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
        if self._lost:
            raise StateLost(self._lost)
        return self._offset

    def clear(self) -> None:
        # They are looked for, for `meta` may have lost count of some.
        families = self._client.scan(_escaped(self._state) + b"*")
        self._run(CLEAR, sorted(families))
        self._offset, self._unsure, self._lost = None, None, ""

    @property
    def epoch(self) -> int:
        return self._epoch

    def close(self) -> None:
        """Nothing to release: the connections are shared."""

    @property
    def _offsets(self) -> tuple[bytes, bytes]:
        """What the last write may have left."""
        known = _text(self._offset)
        return known, known if self._unsure is None else _text(self._unsure[0])

    def _family(self, key: bytes) -> bytes:
        family, slash, _ = key.partition(b"/")
        return self._state + b"/" + family if slash else self._state

    def _families(self, prefix: bytes) -> list[bytes]:
        """Where keys that begin with a prefix may lie, in order."""
        if b"/" in prefix:
            return [self._family(prefix)]
        begin = self._state + b"/" + prefix
        noted = self._client.ask("HKEYS", self._meta)
        families = sorted(name for name in noted if name == self._state or name.startswith(begin))
        self._check(families)
        return families

    def _check(self, families: Iterable[bytes]) -> None:
        self._run(CHECK, list(families))

    def _run(self, script: Script, families: Sequence[bytes], *arguments: bytes) -> list[Any]:
        if self._lost and script is not CLEAR:
            raise StateLost(self._lost)
        keys = [self._meta, *families]
        told: list[Any]
        while True:
            offsets = () if script is CLEAR else self._offsets
            standing, *told = self._client.run(script, keys, b"%d" % self._epoch, self._holder, *offsets, *arguments)
            # A read may be on its way while a checkpoint is written: then it is asked again, with what is now right.
            if standing != b"lost" or told[0] != b"offset" or offsets in ((), self._offsets):
                break
        if standing == b"taken":
            raise StoreTaken(f"another worker has taken over {self._place}")
        if standing == b"lost":
            self._lost = f"{self._place} is not what was written to it: {_loss(*told)}"
            raise StateLost(self._lost)
        return told


def _loss(what: bytes, expected: bytes, found: bytes) -> str:
    if what == b"epoch" and not found:
        return "nothing is there; was it emptied, or restarted without its data?"
    if what in (b"epoch", b"offset"):
        told = f"{what.decode()} {expected.decode() or 'none'} expected, {found.decode() or 'none'} found"
        return f"{told}; was it set back to an older copy?"
    key = what.decode(errors="replace")
    return f"{expected.decode()} rows expected in {key!r}, {found.decode()} found; were keys evicted or removed?"


def _text(offset: int | None) -> bytes:
    return b"" if offset is None else b"%d" % offset


def _escaped(text: bytes) -> bytes:
    """A pattern that matches the text alone."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", text)
