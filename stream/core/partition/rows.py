"""The rows of a partition's users: which are in memory, which have changed, and how they are stored.

A row holds a part for each family, in the order of the families. A part is encoded by itself; it is decoded when an
event touches it, and else goes back as it came. A stored row is a map: 0 gives the format, a family's number its part.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stream.core.families.family import Family, Horizon
from stream.core.partition.progress import FORMAT, format_changed

USER = "user/"

# A row that nothing is known of yet, and what a step, a login or an answer adds to one, at most but for long ids.
_BYTES_OF_A_ROW, BYTES_OF_A_CHANGE = 60, 64

Delta = list[tuple[bytes, bytes | None]]
Stored = Mapping[bytes, bytes | None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, msgspec.Raw]).decode

_FORMAT_KEY = 0
_FORMAT = _encode(FORMAT)


class Row(msgspec.Struct, gc=False):
    """The row of one user."""

    parts: list[Any]  # by family; None for a part that no event has touched
    stored: dict[int, msgspec.Raw] | None  # by number of the family: parts that are stored and not decoded
    size: int  # bytes of the row when it was read or written last


class Rows:
    """The rows of a partition. `max_bytes` is what a row may have before further events of its user are refused."""

    def __init__(self, families: list[Family[Any]], *, max_bytes: int) -> None:
        self.families = families
        self.max_bytes = max_bytes
        self.users: dict[str, Row] = {}
        self.unsaved: dict[str, None] = {}  # users whose rows have changed, in order of their first change
        self.unsaved_bytes = 0
        self.over: set[bytes] = set()  # keys that nothing needs any more
        self.over_before: set[bytes] = set()  # those of the last delta, which the store may not have yet
        self.full: dict[str, int] = {}  # users whose rows have no room for more: the watermark to look at them again
        self._nothing = [None] * len(families)

    def load(self, user: str, value: bytes, *, watermark_ms: int) -> Row:
        """Take a stored row into memory. Raises FormatChanged."""
        row = self.users[user] = self.decode(value)
        self.note_size(user, row.size, look_again_ms=watermark_ms)
        return row

    def new(self) -> Row:
        """The row of a user of whom nothing is known."""
        return Row(self._nothing.copy(), None, _BYTES_OF_A_ROW)

    def decode(self, value: bytes) -> Row:
        """A row as it is stored, with no part decoded. Raises FormatChanged."""
        try:
            stored = _decode(value)
        except msgspec.ValidationError:  # no map: that is how rows were before they had parts
            raise format_changed(1) from None
        written = stored.pop(_FORMAT_KEY)
        if bytes(written) != _FORMAT:
            raise format_changed(msgspec.msgpack.decode(written, type=int))
        return Row(self._nothing.copy(), stored, len(value))

    def open_part(self, row: Row, place: int) -> Any:
        """The part of the family at a place, decoded; an empty one where there is none."""
        family = self.families[place]
        stored = row.stored.pop(family.number, None) if row.stored else None
        part = row.parts[place] = family.new() if stored is None else family.decode(stored)
        return part

    def part(self, row: Row, place: int) -> Any:
        """The part of the family at a place."""
        part = row.parts[place]
        return self.open_part(row, place) if part is None else part

    def encode(self, row: Row) -> bytes:
        """A row as it is stored."""
        fields: dict[int, Any] = {_FORMAT_KEY: FORMAT}
        for family, part in zip(self.families, row.parts, strict=True):
            if part is not None:
                told = family.stored(part)
                if told is not None:
                    fields[family.number] = told
        if row.stored:
            fields.update(row.stored)
        return _encode(fields)

    def is_over(self, key: bytes) -> bool:
        """Whether what is stored under a key is about to be removed: who comes back begins anew."""
        return key in self.over or key in self.over_before

    def note_change(self, user: str, row: Row) -> None:
        """Note that a row is not stored as it is now."""
        if user not in self.unsaved:
            self.unsaved[user] = None
            self.unsaved_bytes += row.size

    def note_size(self, user: str, size: int, *, look_again_ms: int) -> None:
        """Note whether a row has room for more."""
        if size > self.max_bytes:
            self.full[user] = look_again_ms
        elif self.full:
            self.full.pop(user, None)

    def collect(self, horizon: Horizon | None, *, look_again_ms: int) -> Delta:
        """The rows that have changed since the last call, without what can be let go by now; None keeps all of it."""
        delta: Delta = []
        users, families = self.users, self.families
        for user in self.unsaved:
            row = users.pop(user)
            users[user] = row  # now the last one to be forgotten
            if horizon is not None:
                for family, part in zip(families, row.parts, strict=True):
                    if part is not None:
                        family.let_go(part, horizon)
            value = self.encode(row)
            row.size = len(value)
            delta.append(((USER + user).encode(), value))
            if row.size > self.max_bytes or self.full:
                self.note_size(user, row.size, look_again_ms=look_again_ms)
        self.unsaved.clear()
        self.unsaved_bytes = 0
        if self.over:
            delta.extend((key, None) for key in sorted(self.over.difference(key for key, _ in delta)))
        self.over_before, self.over = self.over, set()
        return delta

    def look_at_full(self, watermark_ms: int) -> None:
        """What full rows hold becomes old: now and then write them again without it. Each time would be too dear."""
        for user in [user for user, look_again_ms in self.full.items() if look_again_ms <= watermark_ms]:
            row = self.users.get(user)
            if row is None:
                del self.full[user]  # when it is read again its size is seen
                continue
            for place in range(len(self.families)):
                self.part(row, place)  # what is not decoded would be kept as it is
            self.unsaved[user] = None

    def last_ms_by_part(self, row: Row) -> list[int]:
        """The last moment that anything in each part of a row is of."""
        return [family.last_ms(self.part(row, place)) for place, family in enumerate(self.families)]

    def forget(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Those not stored yet stay."""
        self.over_before.clear()
        surplus = len(self.users) - keep
        if surplus > 0:
            unsaved = self.unsaved
            for user in [user for user in self.users if user not in unsaved][:surplus]:
                del self.users[user]

    def sweep(self, items: Iterable[tuple[bytes, bytes]], horizon: Horizon, *, forgotten_before_ms: int) -> int:
        """Look at stored rows whether they are still needed; returns how many are not.

        Of whom no part can make a difference any more only what families remember is kept; of whom nothing was heard
        since `forgotten_before_ms` nothing is.
        """
        gone, known = 0, [family.known_ms() for family in self.families]
        for key, value in items:
            user = key.decode().removeprefix(USER)
            if user in self.unsaved:
                continue
            row = self.users.get(user) or self.decode(value)
            last_ms = self.last_ms_by_part(row)
            if any(at_ms + known_ms >= horizon.before_ms for at_ms, known_ms in zip(last_ms, known, strict=True)):
                continue
            rest = self._remembered(row, horizon) if max(last_ms) >= forgotten_before_ms else None
            if rest is None:
                self.users.pop(user, None)
                self.over.add(key)
                gone += 1
            elif self.encode(rest) != value:
                self.users[user] = rest
                self.note_change(user, rest)
        return gone

    def _remembered(self, row: Row, horizon: Horizon) -> Row | None:
        """What is left of a row, or None where that is nothing."""
        parts = []
        for place, family in enumerate(self.families):
            part = self.part(row, place)
            family.let_go(part, horizon)  # what was not written since it became old still has what can be let go
            parts.append(family.remembered(part))
        return None if all(part is None for part in parts) else Row(parts, None, _BYTES_OF_A_ROW)
