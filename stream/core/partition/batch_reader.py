"""Reads the records of a batch. Their events belong to this partition, or to another one, or are refused.

Reading does not change the state, so it can be done before the rows that a batch needs are fetched.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import structs

from stream.core.events import Event, EventWithoutUser, MultipleEvents
from stream.core.messages import Reader, Record
from stream.core.partition.rows import USER_PREFIX, Row
from stream.core.privacy import PrivacyRequested
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.time import iso

_PLACE = "at `"  # begins a detail that says by itself where in the message its part stands


class Refused(NamedTuple):
    """A record, or a part of one, that can't be used, and why."""

    record: Record
    reason: Reason
    detail: str


class Misplaced(NamedTuple):
    """An event whose user belongs to another partition."""

    record: Record
    user: str
    event: Event
    event_index: int | None  # its position among several events of a message; None if it is the only one


@dataclass(slots=True, kw_only=True)
class Batch:
    """Records of one input that were read, and their events."""

    source: str  # the input
    not_after_ms: int
    late_before_ms: int
    requests_known_ms: int = 0  # so much later a request of a person may come
    records: list[Record] = field(default_factory=list)  # of each event
    events: list[Event] = field(default_factory=list)
    without_user: list[EventWithoutUser] = field(default_factory=list)  # the events that have no user
    rows_to_fetch: dict[str, bytes] = field(default_factory=dict)  # users whose rows are not in memory: keys of these
    users_elsewhere: set[str] = field(default_factory=set)  # users among the events that belong to other partitions
    refused: list[Refused] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    bot_events: int = 0

    def requests(self) -> list[Misplaced]:
        """The requests of people in the batch, as other partitions are told of them."""
        read = [*zip(self.records, self.events, strict=True), *((one.record, one.event) for one in self.misplaced)]
        return [
            Misplaced(record, event.user, structs.replace(event, is_told=True), None)
            for record, event in read
            if isinstance(event, PrivacyRequested)
        ]

    def is_bot_event(self, event: Event) -> bool:
        """Whether a bot sent the event. Raises Rejected if the event is late or of the future."""
        at_ms = event.at_ms
        if at_ms > self.not_after_ms:
            raise Rejected(Reason.FUTURE, f"{iso(at_ms)} is after {iso(self.not_after_ms)}")
        if event.is_bot:
            return True
        late_before_ms = self.late_before_ms
        if event.__class__ is PrivacyRequested:
            late_before_ms -= self.requests_known_ms
        if at_ms < late_before_ms:
            raise Rejected(Reason.LATE, f"{iso(at_ms)} is before {iso(late_before_ms)}")
        return False


class BatchReader:
    """Reads the records of a batch and sorts their events."""

    def __init__(
        self, users: dict[str, Row], full: dict[str, int], *, max_message_bytes: int, max_user_bytes: int
    ) -> None:
        self._users = users
        self._full = full
        self._max_message_bytes = max_message_bytes
        self._max_user_bytes = max_user_bytes

    def read(  # noqa: C901  one long function, because this code runs for each event and calls take time
        self, batch: Batch, records: Iterable[Record], reader: Reader, belongs: Callable[[str], bool] | None
    ) -> None:
        """Read records into a batch. `belongs` returns whether a user belongs to this partition."""
        not_after_ms, late_before_ms, max_bytes = batch.not_after_ms, batch.late_before_ms, self._max_message_bytes
        full, users, rows_to_fetch = self._full, self._users, batch.rows_to_fetch
        read, events, misplaced = batch.records, batch.events, batch.misplaced
        for record in records:
            try:
                value = record.value
                if value is not None and len(value) > max_bytes:
                    raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes, {max_bytes} are allowed")
                event = reader(record)
            except Rejected as rejection:
                batch.refused.append(Refused(record, rejection.reason, str(rejection)))
                continue
            if type(event) is MultipleEvents:
                self._sort_multiple(batch, record, event, belongs)
                continue
            # Nearly all events are of an acceptable time and of a user of this partition. They need no further call.
            user = event.user
            if late_before_ms <= event.at_ms <= not_after_ms and not (event.is_bot or event.has_start_time or full):
                if user not in users and user not in rows_to_fetch:
                    if not user or event.has_reference:
                        self._sort(batch, record, event, None, belongs)
                        continue
                    if belongs is not None and not belongs(user):
                        misplaced.append(Misplaced(record, user, event, None))
                        continue
                    rows_to_fetch[user] = (USER_PREFIX + user).encode()
                read.append(record)
                events.append(event)
            else:
                self._sort(batch, record, event, None, belongs)

    def _sort_multiple(
        self, batch: Batch, record: Record, multiple: MultipleEvents, belongs: Callable[[str], bool] | None
    ) -> None:
        for event_index, event in multiple.events:
            self._sort(batch, record, event, event_index, belongs)
        batch.left_out += multiple.left_out
        for rejection in multiple.rejections:
            detail = rejection.detail
            if not detail.startswith(_PLACE):
                detail = f"part {rejection.event_index} of the message: {detail}"
            batch.refused.append(Refused(record, rejection.reason, detail))

    def _sort(
        self,
        batch: Batch,
        record: Record,
        event: Event,
        event_index: int | None,
        belongs: Callable[[str], bool] | None,
    ) -> None:
        """Put one event of a record into the list of the batch where it belongs."""
        if isinstance(event, EventWithoutUser):  # its time is checked when its user is known
            batch.without_user.append(event)
        else:
            user = event.user
            try:
                if batch.is_bot_event(event):
                    batch.bot_events += 1
                    return
                if user in self._full and event.__class__ is not PrivacyRequested:
                    raise Rejected(Reason.USER_FULL, f"the row of this user has {self._max_user_bytes} bytes and more")
            except Rejected as rejection:
                detail = str(rejection) if event_index is None else f"part {event_index} of the message: {rejection}"
                batch.refused.append(Refused(record, rejection.reason, detail))
                return
            if user not in self._users and user not in batch.rows_to_fetch:
                if belongs is not None and not belongs(user):
                    batch.misplaced.append(Misplaced(record, user, event, event_index))
                    if not event.has_reference:
                        return
                    # A later message that has the reference instead of the user will come to this partition.
                    batch.users_elsewhere.add(user)
                else:
                    batch.rows_to_fetch[user] = (USER_PREFIX + user).encode()
        batch.records.append(record)
        batch.events.append(event.without_late_start(batch.late_before_ms))
