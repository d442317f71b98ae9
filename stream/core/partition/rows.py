"""The rows of a partition's users: which are in memory, which have changed, and how they are stored.

A row holds a part for each family, in the order of the families. A part is encoded by itself; it is decoded when an
event touches it, and else goes back as it came. A stored row is a map: 0 gives the format, a family's number its part.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stream.core.families.family import Family, Horizon
from stream.core.partition.progress import FORMAT, format_changed

USER_PREFIX = "user/"

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
        self.expired: set[bytes] = set()  # keys that nothing needs any more
        self.expired_in_last_delta: set[bytes] = set()  # those of the last delta, which the store may not have yet
        self.full: dict[str, int] = {}  # users whose rows have no room for more: the watermark to look at them again
        self._no_parts = [None] * len(families)

    def load(self, user: str, value: bytes, *, watermark_ms: int) -> Row:
        """Take a stored row into memory. Raises FormatChanged."""
        row = self.users[user] = self.decode(value)
        self.check_size(user, row.size, recheck_ms=watermark_ms)
        return row

    def new(self) -> Row:
        """The row of a user of whom nothing is known."""
        return Row(self._no_parts.copy(), None, _BYTES_OF_A_ROW)

    def decode(self, value: bytes) -> Row:
        """A row as it is stored, with no part decoded. Raises FormatChanged."""
        try:
            stored = _decode(value)
        except msgspec.ValidationError:  # no map: that is how rows were before they had parts
            raise format_changed(1) from None
        written = stored.pop(_FORMAT_KEY)
        if bytes(written) != _FORMAT:
            raise format_changed(msgspec.msgpack.decode(written, type=int))
        return Row(self._no_parts.copy(), stored, len(value))

    def open_part(self, row: Row, index: int) -> Any:
        """The part of the family at a place, decoded; an empty one where there is none."""
        family = self.families[index]
        stored = row.stored.pop(family.number, None) if row.stored else None
        part = row.parts[index] = family.new() if stored is None else family.decode(stored)
        return part

    def part(self, row: Row, index: int) -> Any:
        """The part of the family at a place."""
        part = row.parts[index]
        return self.open_part(row, index) if part is None else part

    def encode(self, row: Row) -> bytes:
        """A row as it is stored."""
        fields: dict[int, Any] = {_FORMAT_KEY: FORMAT}
        for family, part in zip(self.families, row.parts, strict=True):
            if part is not None:
                to_store = family.stored(part)
                if to_store is not None:
                    fields[family.number] = to_store
        if row.stored:
            fields.update(row.stored)
        return _encode(fields)

    def mark_changed(self, user: str, row: Row) -> None:
        """Note that a row is not stored as it is now."""
        if user not in self.unsaved:
            self.unsaved[user] = None
            self.unsaved_bytes += row.size

    def check_size(self, user: str, size: int, *, recheck_ms: int) -> None:
        """Note whether a row has room for more."""
        if size > self.max_bytes:
            self.full[user] = recheck_ms
        elif self.full:
            self.full.pop(user, None)

    def collect(self, horizon: Horizon | None, *, recheck_ms: int) -> Delta:
        """The rows that have changed since the last call, without what can be let go by now; None keeps all of it."""
        delta: Delta = []
        users, families = self.users, self.families
        for user in self.unsaved:
            row = users.pop(user)
            users[user] = row  # now the last one to be forgotten
            if horizon is not None:
                for family, part in zip(families, row.parts, strict=True):
                    if part is not None:
                        family.prune(part, horizon)
            value = self.encode(row)
            row.size = len(value)
            delta.append(((USER_PREFIX + user).encode(), value))
            if row.size > self.max_bytes or self.full:
                self.check_size(user, row.size, recheck_ms=recheck_ms)
        self.unsaved.clear()
        self.unsaved_bytes = 0
        delta.extend((key, None) for key in sorted(self.expired))
        self.expired_in_last_delta, self.expired = self.expired, set()
        return delta

    def recheck_full_rows(self, watermark_ms: int) -> None:
        """What full rows hold becomes old: now and then write them again without it. Each time would be too dear."""
        for user in [user for user, recheck_ms in self.full.items() if recheck_ms <= watermark_ms]:
            row = self.users.get(user)
            if row is None:
                del self.full[user]  # when it is read again its size is seen
                continue
            for index in range(len(self.families)):
                self.part(row, index)  # what is not decoded would be kept as it is
            self.unsaved[user] = None

    def last_ms(self, row: Row) -> int:
        """The last moment that anything in a row is of."""
        return max(family.last_ms(self.part(row, index)) for index, family in enumerate(self.families))

    def forget(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Those not stored yet stay."""
        self.expired_in_last_delta.clear()
        surplus = len(self.users) - keep
        if surplus > 0:
            unsaved = self.unsaved
            for user in [user for user in self.users if user not in unsaved][:surplus]:
                del self.users[user]

    def sweep(self, items: Iterable[tuple[bytes, bytes]], *, expired_before_ms: int, forgotten_before_ms: int) -> int:
        """Look at stored rows whether they are still needed; returns how many are not.

        Of whom nothing was heard since `expired_before_ms` only what families remember is kept; since
        `forgotten_before_ms` nothing is.
        """
        gone = 0
        for key, value in items:
            user = key.decode().removeprefix(USER_PREFIX)
            if user in self.unsaved:
                continue
            row = self.users.get(user) or self.decode(value)
            last_ms = self.last_ms(row)
            if last_ms >= expired_before_ms:
                continue
            rest = self._long_term_row(row) if last_ms >= forgotten_before_ms else None
            if rest is None:
                self.users.pop(user, None)
                self.expired.add(key)
                gone += 1
            elif self.encode(rest) != value:
                self.users[user] = rest
                self.mark_changed(user, rest)
        return gone

    def _long_term_row(self, row: Row) -> Row | None:
        """What is left of a row, or None where that is nothing."""
        parts = [family.long_term_part(self.part(row, index)) for index, family in enumerate(self.families)]
        return None if all(part is None for part in parts) else Row(parts, None, _BYTES_OF_A_ROW)
