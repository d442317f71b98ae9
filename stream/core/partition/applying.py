"""Applying: each event of a batch changes the parts of its user's row that hear of it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from stream.core.events import Event, Nameless
from stream.core.families.family import Family, Heard
from stream.core.messages import Record
from stream.core.partition.names import Names
from stream.core.partition.progress import APPLIED, BOT, DUPLICATE, REKEYED, Progress
from stream.core.partition.reading import Batch, Misplaced, Refused
from stream.core.partition.rows import BYTES_OF_A_CHANGE, USER, Row, Rows, Stored
from stream.core.rejections import Rejected
from stream.core.rules import Rules
from stream.core.time import MINUTE_MS

# Where no store is behind the rows in memory: a row that is not there is a new one.
NOTHING_STORED: Stored = {}

_NEVER_MS = 1 << 62


def _by_kind_and_user(events: Iterable[Event]) -> Mapping[type[Event], Mapping[str, Sequence[Event]]]:
    """What each user did, kind by kind, in the order of arrival."""
    by_kind: defaultdict[type[Event], dict[str, list[Event]]] = defaultdict(dict)
    for event in events:
        of_kind, user = by_kind[event.__class__], event.user
        told = of_kind.get(user)
        if told is None:
            of_kind[user] = [event]
        else:
            told.append(event)
    return by_kind


class Applying:
    """Applies batches to the rows of one partition."""

    def __init__(self, rules: Rules, families: list[Family[Any]], rows: Rows, names: Names) -> None:
        self._future_limit_ms = rules.future_limit_ms
        self._rows = rows
        self._names = names
        # Who hears which events, and who may know what is meant without a user: by type, with the place of the family.
        self._heard: dict[type[Event], tuple[tuple[int, Heard], ...]] = {}
        self._knows: dict[type[Nameless], tuple[int, Callable[[Any, str, int], bool]]] = {}
        heard_by = [family.hears() for family in families]
        for event in {event: None for heard in heard_by for event in heard if event is not Event}:
            # Who hears `Event` hears all that it does not name.
            hearing = [(place, heard.get(event, heard.get(Event))) for place, heard in enumerate(heard_by)]
            self._heard[event] = tuple((place, hear) for place, hear in hearing if hear is not None)
        for place, family in enumerate(families):
            for nameless, has in family.knows().items():
                self._knows[nameless] = (place, has)

    def apply(  # noqa: C901  the way of each event, in one piece for speed
        self,
        progress: Progress,
        batch: Batch,
        stored: Stored,
        *,
        belongs: Callable[[str], bool] | None,
        moves_clock: bool,
        waits_for: Collection[str],
    ) -> None:
        """Apply a batch in order of arrival, as `Partition.apply` says."""
        rows, source = self._rows, batch.source
        others_ms = min((progress.newest_ms.get(other, -1) for other in waits_for), default=batch.not_after_ms)
        # How far the clock may follow the events; it does not where the limit lies before all time.
        clock_limit_ms = min(batch.not_after_ms - self._future_limit_ms, others_ms) if moves_clock else -1
        newest_ms, now = progress.newest_ms.get(source, -1), progress.now_ms // MINUTE_MS
        first_ms = _NEVER_MS if progress.first_ms is None else progress.first_ms
        heard = applied = 0
        users, strangers, unsaved = rows.users, batch.strangers, rows.unsaved
        for events in self._together(progress, batch, stored, belongs):
            times = [event.at_ms for event in events]
            first_ms, newest_ms = min(first_ms, *times), max(newest_ms, *times)
            if newest_ms // MINUTE_MS > now and clock_limit_ms >= 0:
                now = max(now, min(newest_ms, clock_limit_ms) // MINUTE_MS)
            heard += len(events)
            for kind, told in _by_kind_and_user(events).items():
                hearing = self._heard[kind]
                for user, of_user in told.items():
                    row = users.get(user) or self._load(progress, user, stored, strangers.get(user))
                    parts, changed = row.parts, bytearray(len(of_user))
                    for place, hear in hearing:
                        part = parts[place]
                        if part is None:
                            part = rows.open_part(row, place)
                        hear(part, of_user, changed, now)
                    changes = changed.count(True)
                    if changes:
                        applied += changes
                        if user not in unsaved:
                            rows.note_change(user, row)
        duplicate = heard - applied
        rows.unsaved_bytes += BYTES_OF_A_CHANGE * applied
        if newest_ms >= 0:
            progress.newest_ms[source] = newest_ms
        if first_ms < _NEVER_MS:
            progress.first_ms = first_ms
        if moves_clock:
            progress.watermark_ms = max(progress.watermark_ms, min(newest_ms, others_ms))
            progress.now_ms = max(progress.now_ms, min(progress.watermark_ms, clock_limit_ms))
        fates = {APPLIED: applied, DUPLICATE: duplicate, BOT: batch.of_bots, REKEYED: len(batch.misplaced)}
        progress.count(source, fates, [refused.reason for refused in batch.refused])

    def _load(self, progress: Progress, user: str, stored: Stored, key: bytes | None) -> Row:
        rows = self._rows
        if stored is not NOTHING_STORED:
            key = key or (USER + user).encode()
            value = None if rows.is_over(key) else stored[key]
            if value is not None:
                return rows.load(user, value, watermark_ms=progress.watermark_ms)
        progress.users += 1
        row = rows.users[user] = rows.new()
        return row

    # -- events without a user, and names that lead to one ---------------------------------------------------------

    def wants(self, batch: Batch, stored: Stored) -> list[bytes]:
        """The keys whose values are needed and not in `stored`, as `Partition.wants` says."""
        keys = dict.fromkeys(batch.strangers.values())
        for event in batch.nameless:
            users = event.users
            if not users:
                name = self._names.wanted(event.thing, stored)
                if name is not None:
                    keys[name] = None
                    continue
                user = self._names.user(event.thing, stored, event.at_ms)
                users = () if user is None else (user,)
            keys.update(((USER + user).encode(), None) for user in users)
        return [key for key in keys if key not in stored]

    def _together(
        self, progress: Progress, batch: Batch, stored: Stored, belongs: Callable[[str], bool] | None
    ) -> Iterable[Sequence[Event]]:
        """The events of a batch that belong here, each with its user; those that can be heard at once together.

        All of a batch, unless who is meant by one event may follow from those before it.
        """
        if (
            batch.nameless
            or batch.elsewhere
            or any(kind.leaves_name for kind in {event.__class__ for event in batch.events})
        ):
            return ((event,) for event in self._found(progress, batch, stored, belongs))
        return (batch.events,) if batch.events else ()

    def _found(
        self, progress: Progress, batch: Batch, stored: Stored, belongs: Callable[[str], bool] | None
    ) -> Iterator[Event]:
        for record, event in zip(batch.records, batch.events, strict=True):
            found: Event | None = event
            if isinstance(event, Nameless):
                found = self._of_its_user(progress, batch, record, event, stored, belongs)
            elif event.leaves_name:
                name = event.left_name()
                if name is not None:
                    self._names.leave(name, event.user, event.at_ms)
                if event.user in batch.elsewhere and event.user not in self._rows.users:
                    continue
            if found is not None:
                yield found

    def _of_its_user(
        self,
        progress: Progress,
        batch: Batch,
        record: Record,
        event: Nameless,
        stored: Stored,
        belongs: Callable[[str], bool] | None,
    ) -> Event | None:
        """The event with its user; None when it was refused or belongs elsewhere."""
        try:
            found = event.of(self._user_of(progress, event, stored))
            batch.is_of_a_bot(found)  # refuses what is late or of the future
        except Rejected as rejection:
            batch.refused.append(Refused(record, rejection.reason, str(rejection)))
            return None
        user = found.user
        if belongs is not None and user not in self._rows.users and not belongs(user):
            batch.misplaced.append(Misplaced(record, user, found, 0))
            return None
        return found

    def _user_of(self, progress: Progress, event: Nameless, stored: Stored) -> str:
        """Of whom something is told that does not say so. Raises Rejected."""
        if not event.users:
            user = self._names.user(event.thing, stored, event.at_ms)
            if user is None:
                raise Rejected(*event.unknown())
            return user
        place, has = self._knows[type(event)]
        for user in event.users[:-1]:
            if has(self._part_of(user, place, stored), event.thing, event.at_ms):
                return user
        return event.users[-1]

    def _part_of(self, user: str, place: int, stored: Stored) -> Any:
        """The part of a user's row, without taking the row into memory."""
        rows, key = self._rows, (USER + user).encode()
        row = rows.users.get(user)
        if row is None:
            value = None if stored is NOTHING_STORED or rows.is_over(key) else stored[key]
            row = rows.new() if value is None else rows.decode(value)
        return rows.part(row, place)
