"""The rows of a partition's users: which are in memory, which have changed, and how they are stored.

A row has a part for each family, in the order of the families. Each part is encoded by itself. It is decoded only when
an event needs it; otherwise it is written back as it was. A stored row is a map: the key 0 has the format, and the
number of a family has its part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stream.core.families.family import Family, Horizon, Past
from stream.core.partition.progress import FORMAT, OLDEST_FORMAT, format_changed
from stream.core.tally import add
from stream.core.user_scores import UserScore

USER_PREFIX = "user/"

# The size of a new row, and by how much a step, a login or an answer makes one larger at most, except for long ids.
_BYTES_OF_A_ROW, BYTES_OF_A_CHANGE = 60, 64

Delta = list[tuple[bytes, bytes | None]]
Stored = Mapping[bytes, bytes | None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, msgspec.Raw]).decode

_FORMAT_KEY = 0
# By number of the family: what its part has let go and is still booked (`Family.remember`). It is kept apart and is not
# decoded until more is let go. A version that does not know it carries it along.
_PAST_KEY = 200
_decode_past = msgspec.msgpack.Decoder(dict[int, Past]).decode
_FORMATS = {_encode(number): number for number in range(OLDEST_FORMAT, FORMAT + 1)}


class Row(msgspec.Struct, gc=False):
    """The row of one user."""

    parts: list[Any]  # by index of the family; None for a part that no event has needed
    stored: dict[int, msgspec.Raw] | None  # by number of the family: parts that are not decoded
    size: int  # bytes of the row when it was last read or written


class Rows:
    """The rows of a partition. If a row has more than `max_bytes`, further events of its user are refused."""

    def __init__(self, families: list[Family[Any]], *, max_bytes: int) -> None:
        self.families = families
        self.max_bytes = max_bytes
        self.users: dict[str, Row] = {}
        self.unsaved: dict[str, None] = {}  # users whose rows have changed, in order of their first change
        self.unsaved_bytes = 0
        self.expired: set[bytes] = set()  # keys that are not needed any more
        self.expired_in_last_delta: set[bytes] = set()  # those of the last delta, which the store may still have
        self.full: dict[str, int] = {}  # by user whose row is too large: the watermark at which it is checked again
        self._index = {family.name: index for index, family in enumerate(families)}
        self._derived = [family for family in families if family.derives_from]
        self._no_parts = [None] * len(families)
        self._remembers = any(family.rules.erases for family in families)
        self.format = OLDEST_FORMAT  # the newest in which a row was written
        # By number of a family whose parts earlier versions would drop: the format that they can't read.
        self._newer = [(one.number, one.since_format) for one in families if one.since_format > OLDEST_FORMAT]

    def load(self, user: str, value: bytes, *, watermark_ms: int) -> Row:
        """Take a stored row into memory. Raises FormatChanged."""
        row = self.users[user] = self.decode(value)
        self.check_size(user, row.size, recheck_ms=watermark_ms)
        return row

    def new(self) -> Row:
        """The row of a new user."""
        return Row(self._no_parts.copy(), None, _BYTES_OF_A_ROW)

    def decode(self, value: bytes) -> Row:
        """Decode a stored row, but none of its parts. Raises FormatChanged."""
        try:
            stored = _decode(value)
        except msgspec.ValidationError:  # it is not a map: in format 1 rows had no parts
            raise format_changed(1) from None
        written = stored.pop(_FORMAT_KEY)
        if bytes(written) not in _FORMATS:
            raise format_changed(msgspec.msgpack.decode(written, type=int))
        return Row(self._no_parts.copy(), stored, len(value))

    def open_part(self, row: Row, index: int) -> Any:
        """Decode the part of the family with this index. Makes a new part if there is none."""
        family = self.families[index]
        stored = row.stored.pop(family.number, None) if row.stored else None
        part = row.parts[index] = family.new() if stored is None else family.decode(stored)
        return part

    def part(self, row: Row, index: int) -> Any:
        """The part of the family with this index."""
        part = row.parts[index]
        return self.open_part(row, index) if part is None else part

    def parts_of(self, family: Family[Any], user: str) -> list[Any]:
        """The part of a user whose row is in memory, and the parts from which it follows."""
        return self._parts_for(family, self.users[user])

    def _parts_for(self, family: Family[Any], row: Row) -> list[Any]:
        return [self.part(row, self._index[name]) for name in (family.name, *family.derives_from)]

    def encode(self, row: Row) -> bytes:
        """Encode a row to be stored."""
        fields: dict[int, Any] = {_FORMAT_KEY: OLDEST_FORMAT}
        for family, part in zip(self.families, row.parts, strict=True):
            if part is not None:
                to_store = family.stored(part)
                if to_store is not None:
                    fields[family.number] = to_store
        if row.stored:
            fields.update(row.stored)
        for number, needed in self._newer:
            if number in fields:
                fields[_FORMAT_KEY] = self.format = needed
        return _encode(fields)

    # -- erasing ---------------------------------------------------------------------------------------------------

    def past_of(self, row: Row) -> dict[int, Past]:
        """By number of the family: what its part has let go and is still booked."""
        return _decode_past(row.stored[_PAST_KEY]) if row.stored and _PAST_KEY in row.stored else {}

    def _remember(self, row: Row, horizon: Horizon) -> None:
        """Keep what the parts of a row have just let go."""
        if not any(family.past for family in self.families):
            return
        kept = self.past_of(row)
        for family in self.families:
            past = kept.setdefault(family.number, {})
            for minute, amounts in family.past.items():
                add(past.setdefault(minute, {}), amounts)
            family.past = {}
            family.forget_past(past, horizon)
            if not past:
                del kept[family.number]
        row.stored = {**(row.stored or {}), _PAST_KEY: msgspec.Raw(_encode(kept))}

    def erase(self, user: str) -> None:
        """Delete the row of a user."""
        row = self.users.pop(user, None)
        if user in self.unsaved and row is not None:
            del self.unsaved[user]
            self.unsaved_bytes = max(0, self.unsaved_bytes - row.size)
        self.full.pop(user, None)
        self.expired.add((USER_PREFIX + user).encode())

    def move(self, user: str, to: str) -> None:
        """Give the row of a user, which is in memory, another id."""
        row = self.users[user]
        for index in range(len(self.families)):
            self.part(row, index)
        self.erase(user)
        self.users[to] = row
        self.mark_changed(to, row)

    def is_expired(self, key: bytes) -> bool:
        """Whether a stored row is about to be deleted. A user who comes back until then begins anew."""
        return key in self.expired or key in self.expired_in_last_delta

    def mark_changed(self, user: str, row: Row) -> None:
        """Remember that a row has changed since it was stored."""
        if user not in self.unsaved:
            self.unsaved[user] = None
            self.unsaved_bytes += row.size

    def check_size(self, user: str, size: int, *, recheck_ms: int) -> None:
        """Remember whether a row is too large for more events."""
        if size > self.max_bytes:
            self.full[user] = recheck_ms
        elif self.full:
            self.full.pop(user, None)

    def collect(self, horizon: Horizon | None, *, recheck_ms: int) -> Delta:
        """The rows that have changed since the last call, after they are pruned. Without `horizon` they are not."""
        delta: Delta = []
        users, families = self.users, self.families
        for user in self.unsaved:
            row = users.pop(user)
            users[user] = row  # moved to the end, because rows are dropped from memory in this order
            if horizon is not None:
                for family, part in zip(families, row.parts, strict=True):
                    if part is not None:
                        family.prune(part, horizon)
                if self._remembers:
                    self._remember(row, horizon)
            value = self.encode(row)
            row.size = len(value)
            delta.append(((USER_PREFIX + user).encode(), value))
            if row.size > self.max_bytes or self.full:
                self.check_size(user, row.size, recheck_ms=recheck_ms)
        self.unsaved.clear()
        self.unsaved_bytes = 0
        if self.expired:
            delta.extend((key, None) for key in sorted(self.expired.difference(key for key, _ in delta)))
        self.expired_in_last_delta, self.expired = self.expired, set()
        return delta

    def recheck_full_rows(self, watermark_ms: int) -> None:
        """Write full rows again from time to time, without what has become old. Each time would cost too much."""
        for user in [user for user, recheck_ms in self.full.items() if recheck_ms <= watermark_ms]:
            row = self.users.get(user)
            if row is None:
                del self.full[user]  # its size is checked when it is read again
                continue
            for index in range(len(self.families)):
                self.part(row, index)  # only decoded parts are pruned
            self.unsaved[user] = None

    def last_ms_by_part(self, row: Row) -> list[int]:
        """The latest time of anything in each part of a row."""
        return [family.last_ms(self.part(row, index)) for index, family in enumerate(self.families)]

    def forget(self, *, keep: int) -> None:
        """Drop the least recently used rows from memory until `keep` are left. Rows that are not stored yet stay."""
        self.expired_in_last_delta.clear()
        surplus = len(self.users) - keep
        if surplus > 0:
            unsaved = self.unsaved
            for user in [user for user in self.users if user not in unsaved][:surplus]:
                del self.users[user]

    def sweep(
        self,
        items: Iterable[tuple[bytes, bytes]],
        horizon: Horizon,
        *,
        forgotten_before_ms: int,
        outdated: Sequence[Family[Any]],
        first_open: int,
    ) -> int:
        """Check whether stored rows are still needed. Returns how many are not.

        What follows for each user in the families that are `outdated` is booked anew, from the day `first_open` on.

        If no part is known any more, only the long-term parts are kept. If the last event of a user is before
        `forgotten_before_ms`, nothing is kept.
        """
        gone, known = 0, [family.known_ms() for family in self.families]
        for key, value in items:
            user = key.decode().removeprefix(USER_PREFIX)
            if self.is_expired(key):
                continue
            row = self.users.get(user) or self.decode(value)
            self._look_again(user, row, outdated, first_open)
            if user in self.unsaved:
                continue  # it is checked the next time
            last_ms = self.last_ms_by_part(row)
            if any(at_ms + known_ms >= horizon.before_ms for at_ms, known_ms in zip(last_ms, known, strict=True)):
                continue
            rest = self._long_term_row(row, horizon) if max(last_ms) >= forgotten_before_ms else None
            if rest is None:
                self.users.pop(user, None)
                self.expired.add(key)
                gone += 1
            elif self.encode(rest) != value:
                self.users[user] = rest
                self.mark_changed(user, rest)
        return gone

    def _look_again(self, user: str, row: Row, outdated: Iterable[Family[Any]], first_open: int) -> None:
        """Book anew what follows for a user in some families, from the day `first_open` on."""
        for family in outdated:
            part, *others = self._parts_for(family, row)
            if family.look_at(part, others, first_open):
                self.users[user] = row
                self.mark_changed(user, row)

    def scores(self, items: Iterable[tuple[bytes, bytes]], day: int) -> Iterator[tuple[str, UserScore | None]]:
        """What is told of the users of stored rows at the end of a closed day: a score, or None for none any more."""
        for key, value in items:
            user = key.decode().removeprefix(USER_PREFIX)
            row = self.users.get(user) or self.decode(value)
            for family in self._derived:
                part, *others = self._parts_for(family, row)
                for score in family.scores(part, others, day):
                    yield user, score

    def _long_term_row(self, row: Row, horizon: Horizon) -> Row | None:
        """The row with only its long-term parts, or None if there are none."""
        parts: list[Any] = []
        for index, family in enumerate(self.families):
            part = self.part(row, index)
            family.prune(part, horizon)  # it may have been stored before all of it became old
            parts.append(family.long_term_part(part))
        if all(part is None for part in parts):
            for family in self.families:
                family.past = {}
            return None
        rest = Row(parts, None, _BYTES_OF_A_ROW)
        if self._remembers:
            past = self.past_of(row)
            if past:
                rest.stored = {_PAST_KEY: msgspec.Raw(_encode(past))}
            self._remember(rest, horizon)
        return rest
