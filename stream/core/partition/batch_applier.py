"""Applies batches: each event changes the parts of its user's row, by the handlers of the families."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from stream.core.events import Event, EventWithoutUser
from stream.core.families.family import EventHandler, Family
from stream.core.messages import Record
from stream.core.partition.batch_reader import Batch, Misplaced, Refused
from stream.core.partition.progress import APPLIED, BOT, DUPLICATE, ERASED, REKEYED, Progress
from stream.core.partition.rows import BYTES_OF_A_CHANGE, USER_PREFIX, Row, Rows, Stored
from stream.core.partition.user_index import UserIndex
from stream.core.privacy import Erased, PrivacyRequested
from stream.core.rejections import Rejected
from stream.core.rules import Rules
from stream.core.time import MINUTE_MS

# Used if there is no store: then a row that is not in memory is new.
NOTHING_STORED: Stored = {}

_NEVER_MS = 1 << 62


def _groups(events: Iterable[Event]) -> Iterable[Sequence[Event]]:
    """Group events that are of one user and of one type. The events of each user stay in the order of arrival."""
    groups: list[list[Event]] = []
    newest: dict[str, list[Event]] = {}  # by user: the group that the last event was put into
    for event in events:
        group = newest.get(event.user)
        if group is None or group[0].__class__ is not event.__class__:
            group = newest[event.user] = [event]
            groups.append(group)
        else:
            group.append(event)
    return groups


def _pass_on(conclude: Callable[[], Event | None], handler: EventHandler) -> EventHandler:
    """A handler that gets what another family has concluded from the events, instead of the events."""

    def handle(part: Any, events: Sequence[Event], changed: bytearray, now: int) -> None:
        concluded = conclude()
        if concluded is not None:
            handler(part, (concluded,), bytearray(1), now)

    return handle


class BatchApplier:
    """Applies batches to the rows of one partition."""

    def __init__(
        self,
        rules: Rules,
        families: list[Family[Any]],
        rows: Rows,
        user_index: UserIndex,
        *,
        erased: Erased,
        fulfil: Callable[[PrivacyRequested], None],
    ) -> None:
        """`fulfil` does what somebody asks for whose row is in memory, if there is one."""
        self._future_limit_ms = rules.future_limit_ms
        self._erased = erased
        self._fulfil = fulfil
        self._dropped = 0  # events of the batch, because their users were erased
        self._rows = rows
        self._user_index = user_index
        # By type of event, each with the index of its family: the handlers, and the function that knows references.
        self._handlers: dict[type[Event], tuple[tuple[int, EventHandler], ...]] = {}
        self._references: dict[type[EventWithoutUser], tuple[int, Callable[[Any, str, int], bool]]] = {}
        by_family = [family.handlers() for family in families]
        for event in {event: None for handlers in by_family for event in handlers if event is not Event}:
            # The handler of `Event` gets all types that its family does not name.
            found = [(index, handlers.get(event, handlers.get(Event))) for index, handlers in enumerate(by_family)]
            self._handlers[event] = tuple((index, handler) for index, handler in found if handler is not None)
        for family in families:
            for event, (concluded, conclude) in family.conclusions().items():
                told = [
                    (index, handlers[concluded]) for index, handlers in enumerate(by_family) if concluded in handlers
                ]
                passed = tuple((index, _pass_on(conclude, handler)) for index, handler in told)
                self._handlers[event] = (*self._handlers[event], *passed)
        for index, family in enumerate(families):
            for without_user, has_reference in family.references().items():
                self._references[without_user] = (index, has_reference)

    def apply(  # noqa: C901  one long function, because this code runs for each event and calls take time
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
        # How far the clock may follow the events. It does not follow them if this limit is negative.
        clock_limit_ms = min(batch.not_after_ms - self._future_limit_ms, others_ms) if moves_clock else -1
        newest_ms, now = progress.newest_ms.get(source, -1), progress.now_ms // MINUTE_MS
        first_ms = _NEVER_MS if progress.first_ms is None else progress.first_ms
        total = applied = self._dropped = 0
        if self._erased:
            self._drop_erased(batch)
        users, rows_to_fetch, unsaved = rows.users, batch.rows_to_fetch, rows.unsaved
        for events in self._event_groups(progress, batch, stored, belongs):
            if isinstance(events[0], PrivacyRequested):
                if events[0].is_told:
                    self._forget_references(events[0])
                    continue
                total, newest_ms = total + 1, max(newest_ms, events[0].at_ms)
                progress.first_ms = first_ms if first_ms < _NEVER_MS else None
                applied += self._has_fulfilled(progress, events[0], stored, rows_to_fetch)
                continue
            times = [event.at_ms for event in events]
            first_ms, newest_ms = min(first_ms, *times), max(newest_ms, *times)
            if newest_ms // MINUTE_MS > now and clock_limit_ms >= 0:
                now = max(now, min(newest_ms, clock_limit_ms) // MINUTE_MS)
            total += len(events)
            for group in _groups(events):
                user = group[0].user
                row = users.get(user) or self._load(progress, user, stored, rows_to_fetch.get(user))
                parts, changed = row.parts, bytearray(len(group))
                for index, handler in self._handlers[group[0].__class__]:
                    part = parts[index]
                    if part is None:
                        part = rows.open_part(row, index)
                    handler(part, group, changed, now)
                changes = changed.count(True)
                if changes:
                    applied += changes
                    if user not in unsaved:
                        rows.mark_changed(user, row)
        if batch.records or batch.refused:
            progress.quiet_since_ms = -1
        duplicate = total - applied
        rows.unsaved_bytes += BYTES_OF_A_CHANGE * applied
        if newest_ms >= 0:
            progress.newest_ms[source] = newest_ms
        if first_ms < _NEVER_MS:
            progress.first_ms = first_ms
        if moves_clock:
            progress.watermark_ms = max(progress.watermark_ms, min(newest_ms, others_ms))
            progress.now_ms = max(progress.now_ms, min(progress.watermark_ms, clock_limit_ms))
        for one in batch.misplaced:
            if isinstance(one.event, PrivacyRequested):
                self._forget_references(one.event)
        outcomes = {APPLIED: applied, DUPLICATE: duplicate, BOT: batch.bot_events, REKEYED: len(batch.misplaced)}
        if self._dropped:
            outcomes[ERASED] = self._dropped
        progress.count(source, outcomes, [refused.reason for refused in batch.refused])
        if batch.left_out:
            progress.count_left_out(source, batch.left_out)

    def _load(self, progress: Progress, user: str, stored: Stored, key: bytes | None) -> Row:
        row = self._stored_row(progress, user, stored, key)
        if row is None:
            progress.users += 1
            row = self._rows.users[user] = self._rows.new()
        return row

    def _stored_row(self, progress: Progress, user: str, stored: Stored, key: bytes | None) -> Row | None:
        rows = self._rows
        if stored is not NOTHING_STORED:
            key = key or (USER_PREFIX + user).encode()
            value = None if rows.is_expired(key) else stored[key]
            if value is not None:
                return rows.load(user, value, watermark_ms=progress.watermark_ms)
        return None

    # -- people who asked to be erased or made anonymous -------------------------------------------------------------

    def _has_fulfilled(
        self, progress: Progress, request: PrivacyRequested, stored: Stored, rows_to_fetch: dict[str, bytes]
    ) -> bool:
        """Do what somebody asks for, unless it was done. Returns whether it was done now."""
        user = request.user
        if request.at_ms <= self._erased.until_ms(user):
            return False
        if user not in self._rows.users:
            self._stored_row(progress, user, stored, rows_to_fetch.get(user))
        self._fulfil(request)
        return True

    def _forget_references(self, request: PrivacyRequested) -> None:
        """Forget which references mean somebody who is erased or made anonymous in another partition."""
        self._user_index.erase(request.user)
        self._erased.put([request.user], request.at_ms)

    def _drop_erased(self, batch: Batch) -> None:
        """Drop the events of a batch that are of people who were erased, up to the time of their request."""
        until_ms = self._erased.until_ms
        found = {user: until for user in {event.user for event in batch.events} if (until := until_ms(user)) >= 0}
        if not found:
            return
        kept = [
            (record, known)
            for record, event in zip(batch.records, batch.events, strict=True)
            if (known := self._unless_erased(event, found.get(event.user, -1))) is not None
        ]
        batch.records, batch.events = [record for record, _ in kept], [event for _, event in kept]

    def _unless_its_user_is_erased(self, event: Event) -> Event | None:
        return self._unless_erased(event, self._erased.until_ms(event.user))

    def _unless_erased(self, event: Event, until_ms: int) -> Event | None:
        """The event, without its start if that is of the time before its user was erased; None for one of that time."""
        if event.__class__ is PrivacyRequested or event.at_ms > until_ms:
            return event.without_late_start(until_ms + 1)
        self._dropped += 1
        return None

    # -- events without a user, and references by which one is found -----------------------------------------------

    def keys_to_fetch(self, batch: Batch, stored: Stored) -> list[bytes]:
        """The keys whose values are needed and are not in `stored`; see `Partition.keys_to_fetch`."""
        keys = dict.fromkeys(batch.rows_to_fetch.values())
        for event in batch.without_user:
            users = event.users
            if not users:
                key = self._user_index.key_to_fetch(event.reference, stored)
                if key is not None:
                    keys[key] = None
                    continue
                user = self._user_index.user(event.reference, stored, event.at_ms)
                users = () if user is None else (user,)
            keys.update(((USER_PREFIX + user).encode(), None) for user in users)
        return [key for key in keys if key not in stored]

    def _event_groups(
        self, progress: Progress, batch: Batch, stored: Stored, belongs: Callable[[str], bool] | None
    ) -> Iterable[Sequence[Event]]:
        """The events of a batch that belong to this partition, each with its user, in groups to be applied together.

        All events are one group, unless the user of an event may depend on an event before it in the batch.
        """
        if (
            batch.without_user
            or batch.users_elsewhere
            or any(
                kind.has_reference or kind is PrivacyRequested for kind in {event.__class__ for event in batch.events}
            )
        ):
            return ((event,) for event in self._events_with_users(progress, batch, stored, belongs))
        return (batch.events,) if batch.events else ()

    def _events_with_users(
        self, progress: Progress, batch: Batch, stored: Stored, belongs: Callable[[str], bool] | None
    ) -> Iterator[Event]:
        for record, event in zip(batch.records, batch.events, strict=True):
            found = self._unless_its_user_is_erased(event) if self._erased else event
            if found is None:
                continue
            if isinstance(event, EventWithoutUser):
                found = self._with_its_user(progress, batch, record, event, stored, belongs)
            elif event.has_reference:
                reference = event.user_reference()
                if reference is not None:
                    self._user_index.put(reference, event.user, event.at_ms)
                if event.user in batch.users_elsewhere and event.user not in self._rows.users:
                    continue
            if found is not None:
                yield found

    def _with_its_user(
        self,
        progress: Progress,
        batch: Batch,
        record: Record,
        event: EventWithoutUser,
        stored: Stored,
        belongs: Callable[[str], bool] | None,
    ) -> Event | None:
        """The event with its user; None if it was refused or belongs to another partition."""
        try:
            found = event.with_user(self._user_of(progress, event, stored))
            batch.is_bot_event(found)  # called because it refuses late and future events
        except Rejected as rejection:
            batch.refused.append(Refused(record, rejection.reason, str(rejection)))
            return None
        user = found.user
        if self._erased and self._unless_its_user_is_erased(found) is None:
            return None
        if belongs is not None and user not in self._rows.users and not belongs(user):
            batch.misplaced.append(Misplaced(record, user, found, 0))
            return None
        return found

    def _user_of(self, progress: Progress, event: EventWithoutUser, stored: Stored) -> str:
        """The user of an event that does not have one. Raises Rejected if it is not known."""
        if not event.users:
            user = self._user_index.user(event.reference, stored, event.at_ms)
            if user is None:
                raise Rejected(*event.unknown_user())
            return user
        index, has_reference = self._references[type(event)]
        for user in event.users[:-1]:
            if has_reference(self._peek_part(user, index, stored), event.reference, event.at_ms):
                return user
        return event.users[-1]

    def _peek_part(self, user: str, index: int, stored: Stored) -> Any:
        """The part of a user's row, without taking the row into memory."""
        rows, key = self._rows, (USER_PREFIX + user).encode()
        row = rows.users.get(user)
        if row is None:
            value = None if stored is NOTHING_STORED or rows.is_expired(key) else stored[key]
            row = rows.new() if value is None else rows.decode(value)
        return rows.part(row, index)
