"""One partition of the stream: its users, its totals, and how far it has read.

Inputs are partitioned by user, so a partition knows all of its users and no other partition knows any of them: totals
of partitions simply add. Events change rows at once; totals follow when they are asked for (`settle`), so a user who is
busy between two snapshots is booked once.

Between checkpoints a partition changes in memory only. `collect_delta` gives what has changed, with the offsets up to
which the input has been applied: written as one, a partition that is restored from it continues as if nothing had
happened.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from stream.core import segments
from stream.core import user as rows
from stream.core.activity import DayLedger
from stream.core.events import (
    ANONYMOUS,
    DECODERS,
    SURVEYS,
    Answer,
    Event,
    Reason,
    Rejected,
    Summary,
    retraction,
    user_of,
)
from stream.core.fields import SESSIONS
from stream.core.ring import Ring
from stream.core.rules import Rules
from stream.core.snapshot import Snapshot
from stream.core.tally import Field, Tally
from stream.core.time import MINUTE_MS, iso, minutes_of
from stream.core.user import NOBODY, User

APPLIED, DUPLICATE, LATE, FUTURE, INVALID, BOT, REKEYED = OUTCOMES = (
    "applied",
    "duplicate",
    "late",
    "future",
    "invalid",
    "bot",
    "rekeyed",
)

# A snapshot tells the longest closed window of each day of the last five weeks; days before it can change for as long.
_WEEKS_TOLD_DAYS = 35

# So often a full row is looked at while what it held is let go: each hour with a lateness of three days.
_LOOKS_AT_A_FULL_ROW = 72
# What a step, a login or an answer adds to a row, at most but for long ids.
_BYTES_OF_A_CHANGE = 64

Delta = list[tuple[bytes, bytes | None]]
Stored = Mapping[bytes, bytes | None]

USER = "user/"
NAMED = "named/"
PROGRESS = b"progress"
# What grows with users and responses, and is looked over from time to time.
SWEPT = (USER.encode(), NAMED.encode())


class Record(Protocol):
    """What a partition needs to know of a Kafka record (aiokafka's ConsumerRecord has it)."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes]]: ...


class Refused(NamedTuple):
    """A record that can't be used, and why."""

    record: Record
    reason: Reason
    detail: str


class Misplaced(NamedTuple):
    """A record whose user belongs to another partition, with the value to send there."""

    record: Record
    user: str
    value: bytes


@dataclass(slots=True, kw_only=True)
class Batch:
    """Records of one topic that were read, and what comes of them."""

    topic: str
    not_after_ms: int
    late_before_ms: int
    events: list[tuple[Record, Event | None]] = field(default_factory=list)  # None: a null message
    strangers: dict[str, None] = field(default_factory=dict)  # users whose rows are not in memory
    elsewhere: set[str] = field(default_factory=set)  # users among `events` that belong to other partitions
    refused: list[Refused] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)
    of_bots: int = 0

    def is_of_a_bot(self, event: Event) -> bool:
        """Whether an event counts for no headline metric. Raises Rejected for one of another time."""
        first_ms = last_ms = event.at_ms
        if type(event) is Summary:
            first_ms, last_ms = min(first_ms, event.ended_ms), max(last_ms, event.ended_ms)
        if last_ms > self.not_after_ms:
            raise Rejected(Reason.FUTURE, f"{iso(last_ms)} is after {iso(self.not_after_ms)}")
        if event.is_bot:
            return True
        if first_ms < self.late_before_ms:
            raise Rejected(Reason.LATE, f"{iso(first_ms)} is before {iso(self.late_before_ms)}")
        return False


class Progress(msgspec.Struct):
    """How far a partition has read, and what became of the events. Part of each checkpoint."""

    offsets: dict[str, int] = {}  # by input topic: the next offset to apply
    topic_ids: dict[str, str] = {}  # by input topic: Kafka's id of it, where the broker tells
    newest_ms: dict[str, int] = {}  # by topic: the newest event time applied
    watermark_ms: int = -1
    now_ms: int = -1
    outcomes: dict[str, dict[str, int]] = {}  # by topic and outcome
    reasons: dict[str, dict[str, int]] = {}  # by topic and reason of rejection
    users: int = 0
    counted_since_ms: int = 0  # wall clock of the reset after which all was counted again; 0 without one
    partitions: int = 0  # of each topic, when this was counted; 0 where nobody told
    kept_days_since: int | None = None
    rules: dict[str, str] = {}  # by setting: what the stored totals were booked under


class Named(msgspec.Struct, frozen=True, array_like=True):
    """Whose a survey response is, and of when."""

    user: str
    at_ms: int


class RulesChanged(ValueError):
    """The stored state was booked under other rules. The text names the setting and both values."""


class Partition:
    """The state of one partition. Rows that are not in memory are given to it: it asks for them by key."""

    def __init__(self, rules: Rules, *, max_message_bytes: int = 1_000_000, max_user_bytes: int = 256 * 1024) -> None:
        self.rules = rules
        self.progress = Progress()
        self._max_message_bytes = max_message_bytes
        self._max_user_bytes = max_user_bytes
        minutes = {window: minutes_of(window) for window in _all_windows(rules)}
        self._activity_windows = [minutes[name] for name in rules.activity_windows]
        self.traffic = Ring("traffic", [*self._activity_windows, *(minutes[name] for name in rules.session_windows)])
        self.opinions = Ring("opinions", [minutes[name] for name in rules.survey_windows])
        self.ledger = DayLedger(rules.closed_days)
        self._closed_days_told = rules.closed_days[-1] + _WEEKS_TOLD_DAYS
        self._users: dict[str, User] = {}
        self._before: dict[str, User] = {}  # rows changed since the totals were settled, as they were then
        self._unsaved: dict[str, None] = {}  # in order of their first change
        self._named: dict[str, Named] = {}  # by response: those whose messages are keyed by their own id
        self._over: set[bytes] = set()  # keys that nothing needs any more
        # What the last delta holds of these two: the store may not have it yet.
        self._named_before: dict[str, Named] = {}
        self._over_before: set[bytes] = set()
        self._full: dict[str, int] = {}  # users whose rows have no room for more: watermark that may let some go
        self._unsaved_bytes = 0

    # -- events in: read, fetch the rows that are asked for, apply -------------------------------------------------

    def read(  # noqa: C901  the way of each event, in one piece for speed
        self,
        topic: str,
        records: Iterable[Record],
        *,
        not_after_ms: int,
        belongs: Callable[[str], bool] | None = None,
    ) -> Batch:
        """Decode records of a topic and sort out what can't be applied. Changes nothing.

        Events later than `not_after_ms` are refused as `future`. `belongs` tells whether a user belongs to this
        partition.
        """
        late_before_ms = self._late_before_ms()
        batch = Batch(topic=topic, not_after_ms=not_after_ms, late_before_ms=late_before_ms)
        full, events = self._full, batch.events
        decode, users, strangers, most = DECODERS[topic], self._users, batch.strangers, self._max_message_bytes
        for record in records:
            value = record.value
            if value is None:
                batch.events.append((record, None))
                continue
            try:
                if len(value) > most:
                    raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes, {most} are allowed")
                event = decode(value)
                at_ms = event.at_ms
                is_plain = type(event) is not Summary and not event.is_bot and late_before_ms <= at_ms <= not_after_ms
                if not is_plain and batch.is_of_a_bot(event):
                    batch.of_bots += 1
                    continue
                if full and event.user in full:
                    raise Rejected(Reason.USER_FULL, f"the row of this user has {self._max_user_bytes} bytes and more")
            except Rejected as rejection:
                batch.refused.append(Refused(record, rejection.reason, str(rejection)))
                continue
            name = event.user
            if name not in users and name not in strangers:
                if belongs is not None and not belongs(name):
                    batch.misplaced.append(Misplaced(record, name, value))
                    if topic == SURVEYS:
                        batch.elsewhere.add(name)
                        batch.events.append((record, event))  # a null message with its key will ask here whose it is
                    continue
                strangers[name] = None
            events.append((record, event))
        return batch

    def wants(self, batch: Batch, stored: Stored) -> list[bytes]:
        """Keys whose values are needed before a batch can be applied and are not in `stored`. Ask until none is."""
        keys = dict.fromkeys((USER + name).encode() for name in batch.strangers)
        for record, event in batch.events:
            if event is None and batch.topic == SURVEYS:
                keys.update(dict.fromkeys(self._rows_of_tombstone(record, stored)))
        return [key for key in keys if key not in stored]

    def apply(  # noqa: C901  as above
        self,
        batch: Batch,
        stored: Stored,
        *,
        belongs: Callable[[str], bool] | None = None,
        moves_clock: bool = False,
        waits_for: Collection[str] = (),
    ) -> tuple[list[Refused], list[Misplaced]]:
        """Apply what was read, in order of arrival, with the values of all keys it `wants`.

        `moves_clock` says that this topic is behind, so that watermark and clock follow its events: as far as the
        topics have come that the watermark also `waits_for`, and the clock not to what is still to come.
        Returns what could not be applied: each such record is counted, and the caller sends it on.
        """
        progress, topic, rules, users = self.progress, batch.topic, self.rules, self._users
        others_ms = min((progress.newest_ms.get(other, -1) for other in waits_for), default=batch.not_after_ms)
        clock_limit_ms = min(batch.not_after_ms - rules.future_limit_ms, others_ms) if moves_clock else None
        newest_ms, now = progress.newest_ms.get(topic, -1), progress.now_ms // MINUTE_MS
        applied = duplicate = 0
        is_survey, before, unsaved = topic == SURVEYS, self._before, self._unsaved
        for record, told in batch.events:
            event = told or self._tombstone(batch, record, stored, belongs)
            if event is None:
                continue
            if is_survey and record.key is not None:
                self._remember_name(record, event)
            name = event.user
            known = users.get(name)
            if known is None:
                if name in batch.elsewhere:
                    continue
                known = self._load(name, stored)
            if event.at_ms > newest_ms:
                newest_ms = event.at_ms
                if clock_limit_ms is not None and newest_ms // MINUTE_MS > now:  # the clock follows
                    now = max(now, min(newest_ms, clock_limit_ms) // MINUTE_MS)
            changed = rows.advanced(known, event, rules, now=now)
            if changed is known:
                duplicate += 1
                continue
            applied += 1
            if name not in before:
                before[name] = known
                if name not in unsaved:
                    unsaved[name] = None
                    self._unsaved_bytes += rows.weight(changed)
            users[name] = changed
        self._unsaved_bytes += _BYTES_OF_A_CHANGE * applied
        self._count(batch, applied=applied, duplicate=duplicate)
        if newest_ms >= 0:
            progress.newest_ms[topic] = newest_ms
        if clock_limit_ms is not None:
            progress.watermark_ms = max(progress.watermark_ms, min(newest_ms, others_ms))
            progress.now_ms = max(progress.now_ms, min(progress.watermark_ms, clock_limit_ms))
        return batch.refused, batch.misplaced

    def _load(self, name: str, stored: Stored) -> User:
        found = self._row(name, stored)
        if found is NOBODY:
            self.progress.users += 1
        self._users[name] = found
        return found

    def _row(self, name: str, stored: Stored) -> User:
        known = self._users.get(name)
        if known is not None:
            return known
        key = (USER + name).encode()
        value = stored[key]
        if value is None or key in self._over_before:
            return NOBODY
        self._note_size(name, len(value), look_again_ms=self.progress.watermark_ms)
        return rows.decode(value)

    def _count(self, batch: Batch, *, applied: int, duplicate: int) -> None:
        """Note what became of each record of a batch."""
        fates = {APPLIED: applied, DUPLICATE: duplicate, BOT: batch.of_bots, REKEYED: len(batch.misplaced)}
        reasons = self.progress.reasons.setdefault(batch.topic, {})
        for refused in batch.refused:
            reason = refused.reason
            reasons[reason.value] = reasons.get(reason.value, 0) + 1
            fate = {Reason.FUTURE: FUTURE, Reason.LATE: LATE}.get(reason, INVALID)
            fates[fate] = fates.get(fate, 0) + 1
        outcomes = self.progress.outcomes.setdefault(batch.topic, {})
        for fate, count in fates.items():
            if count:
                outcomes[fate] = outcomes.get(fate, 0) + count

    def _late_before_ms(self) -> int:
        allowed_ms = self.rules.allowed_lateness_ms
        return -1 if allowed_ms is None else self.progress.watermark_ms - allowed_ms

    # -- null messages: a survey response is removed ---------------------------------------------------------------

    def _rows_of_tombstone(self, record: Record, stored: Stored) -> Iterator[bytes]:
        """The keys that tell whose response a null message removes."""
        key = (record.key or b"").decode(errors="replace")
        if _response_id(record) is not None and key:
            with suppress(Rejected):  # no id of a user: that is told when it is applied
                yield (USER + user_of(None, key)).encode()
                yield (USER + user_of(key, None)).encode()
        else:
            known = self._named_in_memory(key)
            name = (NAMED + key).encode()
            if known is None:
                yield name
            if named := known or _decode_named(stored.get(name)):
                yield (USER + named.user).encode()

    def _named_in_memory(self, response_id: str) -> Named | None:
        return self._named.get(response_id) or self._named_before.get(response_id)

    def _tombstone(
        self, batch: Batch, record: Record, stored: Stored, belongs: Callable[[str], bool] | None
    ) -> Event | None:
        """What a null message means, or None when it was refused or belongs elsewhere."""
        try:
            event = self._retraction(batch.topic, record, stored)
            batch.is_of_a_bot(event)  # refuses what is late or of the future
        except Rejected as rejection:
            batch.refused.append(Refused(record, rejection.reason, str(rejection)))
            return None
        if belongs is not None and event.user not in self._users and not belongs(event.user):
            batch.misplaced.append(Misplaced(record, event.user, _as_message(event)))
            return None
        return event

    def _retraction(self, topic: str, record: Record, stored: Stored) -> Event:
        """Its key names the user and a header the response, or the key the response. Raises Rejected."""
        if topic != SURVEYS:
            raise Rejected(Reason.NOT_JSON, "a null message: only survey responses are removed by one")
        key = (record.key or b"").decode(errors="replace")
        response_id = _response_id(record)
        if response_id is not None and key:
            # A key says nothing about which of the two ids it is (`partition_key`): the answer does.
            anonymous = user_of(None, key)
            answered = response_id in self._row(anonymous, stored).responses
            user = anonymous if answered else user_of(key, None)
            return retraction(user, response_id, at_ms=record.timestamp)
        known = self._named_in_memory(key) or _decode_named(stored[(NAMED + key).encode()])
        if known is None:
            told = f"a null message with key {key!r}: no response of that id is known, nor a header `response_id`"
            raise Rejected(Reason.NO_RESPONSE, told)
        return retraction(known.user, key, at_ms=record.timestamp)

    def _remember_name(self, record: Record, event: Event) -> None:
        """Producers that key survey messages by response can remove one by its key alone: keep whose it is."""
        if isinstance(event, Answer) and record.value is not None:
            response_id = event.response_id
            if record.key == response_id.encode() and response_id != event.user:
                self._named[response_id] = Named(event.user, event.at_ms)

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self, clock_ms: int, *, behind: Collection[str], active: Collection[str] = ()) -> None:
        """Move watermark and clock on.

        `behind` are the topics that still have records to read, `active` those that brought some a moment ago: more may
        be on their way. The watermark is the newest event time of the least advanced of both, so reading one topic
        faster than another makes nobody late. A partition that is behind shows the time of its watermark, so a backlog
        is replayed as if it were live, but none later than `clock_ms` (a client's clock may run ahead); one that has
        caught up shows `clock_ms`. Neither ever goes back.
        """
        progress = self.progress
        newest = progress.newest_ms
        if behind or active:
            watermark_ms = min(newest.get(topic, -1) for topic in (*behind, *active))
        else:
            watermark_ms = max(newest.values(), default=-1)
        progress.watermark_ms = max(progress.watermark_ms, watermark_ms)
        progress.now_ms = max(progress.now_ms, min(progress.watermark_ms, clock_ms) if behind else clock_ms)

    # -- totals out ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the totals up to the rows and the clock."""
        now = self.progress.now_ms // MINUTE_MS
        self.traffic.advance(now)
        self.opinions.advance(now)
        users = self._users
        for name, before in self._before.items():
            rows.book(before, users[name], self.rules, traffic=self.traffic, opinions=self.opinions, ledger=self.ledger)
        self._before.clear()

    def last_closed_day(self) -> int:
        """The newest closed day at the partition's clock."""
        return self.rules.days.last_closed(self.progress.now_ms, close_after_ms=self.rules.close_after_ms)

    def snapshot(self, *, closed_days: int | None = None) -> Snapshot:
        """What this partition adds to every number now, with the last `closed_days` closed days."""
        self.settle()
        days_told = self._closed_days_told if closed_days is None else closed_days
        last_closed = self.last_closed_day()
        first_day = self.ledger.first_day()
        first_told = last_closed + 1 if first_day is None else first_day
        traffic = self.traffic.sums()
        return Snapshot(
            now_ms=self.progress.now_ms,
            traffic=_numbered(traffic),
            opinions=_numbered(self.opinions.sums()),
            segments=segments.users_of(traffic, self._activity_windows, self.rules.segments),
            open_sessions=self.traffic.ahead(SESSIONS),
            # A partition without any event yet keeps no day of the others open.
            last_closed_day=last_closed if self.progress.now_ms >= 0 else None,
            closed_users=self.ledger.users(max(first_told, last_closed - days_told + 1), last_closed),
            outcomes={topic: dict(counts) for topic, counts in self.progress.outcomes.items()},
            reasons={topic: dict(counts) for topic, counts in self.progress.reasons.items()},
            newest_ms=dict(self.progress.newest_ms),
            rows={"user": self.progress.users, "page": self.traffic.size() + self.opinions.size() + self.ledger.size()},
        )

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @property
    def unsaved_rows(self) -> int:
        """How many rows the next delta will hold, pages not counted."""
        return len(self._unsaved)

    @property
    def unsaved_bytes(self) -> int:
        """About how large the next delta will be, pages not counted."""
        return self._unsaved_bytes + _BYTES_OF_A_CHANGE * len(self._named)

    def collect_delta(self) -> Delta:
        """Everything that has changed since the last call, as keys and values; None removes a key."""
        self.settle()
        self._look_at_full_rows()
        progress = self.progress
        now = self.traffic.now
        delta: Delta = []
        look_again_ms = progress.watermark_ms + (self.rules.allowed_lateness_ms or 0) // _LOOKS_AT_A_FULL_ROW
        for name in self._unsaved:
            kept = rows.settled(self._users[name], self.rules, watermark_ms=progress.watermark_ms, now=now)
            del self._users[name]  # now the last one to be forgotten
            self._users[name] = kept
            row = rows.encode(kept)
            delta.append(((USER + name).encode(), row))
            self._note_size(name, len(row), look_again_ms=look_again_ms)
        self._unsaved.clear()
        self._unsaved_bytes = 0
        encode = msgspec.msgpack.encode
        delta.extend(((NAMED + response_id).encode(), encode(named)) for response_id, named in self._named.items())
        delta.extend((key, None) for key in sorted(self._over))
        self._named_before, self._named = self._named, {}
        self._over_before, self._over = self._over, set()
        if self.rules.allowed_lateness_ms is not None:
            self.ledger.forget_before(self.last_closed_day() - self._closed_days_told - _WEEKS_TOLD_DAYS)
            progress.kept_days_since = self.ledger.since
        delta.extend(self.traffic.pages())
        delta.extend(self.opinions.pages())
        delta.extend(self.ledger.pages())
        progress.rules = self.rules.stored_by
        delta.append((PROGRESS, msgspec.msgpack.encode(progress)))
        return delta

    def _note_size(self, name: str, size: int, *, look_again_ms: int) -> None:
        if size > self._max_user_bytes:
            self._full[name] = look_again_ms
        elif self._full:
            self._full.pop(name, None)

    def _look_at_full_rows(self) -> None:
        """What full rows hold becomes old: now and then write them again without it. Each time would be too dear."""
        watermark_ms = self.progress.watermark_ms
        for name in [name for name, look_again_ms in self._full.items() if look_again_ms <= watermark_ms]:
            if name in self._users:
                self._unsaved[name] = None
            else:
                del self._full[name]  # when it is read again its size is seen

    def sweep(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Look at stored items whether they are still needed; the next delta removes those that are not."""
        watermark_ms = self.progress.watermark_ms
        for key, value in items:
            name = key.decode()
            if name.startswith(USER):
                user = name.removeprefix(USER)
                row = self._users.get(user) or rows.decode(value)
                if user not in self._unsaved and rows.is_over(row, self.rules, watermark_ms=watermark_ms):
                    self._users.pop(user, None)
                    self.progress.users -= 1
                    self._over.add(key)
            elif name.removeprefix(NAMED) not in self._named:
                at_ms = msgspec.msgpack.decode(value, type=Named).at_ms
                if rows.is_past(at_ms, self.rules, watermark_ms=watermark_ms):
                    self._over.add(key)

    def forget_users(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Call it when a delta is stored."""
        self._named_before.clear()
        self._over_before.clear()
        surplus = len(self._users) - keep
        if surplus <= 0:
            return
        unsaved = self._unsaved
        for name in [name for name in self._users if name not in unsaved][:surplus]:
            del self._users[name]

    def _refuse_other_rules(self, stored: dict[str, str]) -> None:
        for setting, value in self.rules.stored_by.items():
            if stored.get(setting, value) != value:
                told = f"{setting} is {value}, the state was built with {stored[setting]}"
                raise RulesChanged(
                    f"{told}: set it back, or take a new app_id to build the state again from the topics"
                )

    def restore(self, pages: Callable[[bytes], Iterable[tuple[bytes, bytes]]]) -> None:
        """Take over what checkpoints have written; `pages` gives the stored items whose key begins with a prefix.

        Raises RulesChanged.
        """
        for _, value in pages(PROGRESS):
            self.progress = msgspec.msgpack.decode(value, type=Progress)
            self._refuse_other_rules(self.progress.rules)
        now = self.progress.now_ms // MINUTE_MS
        self.traffic.restore(pages(b"traffic/"), now=now)
        self.opinions.restore(pages(b"opinions/"), now=now)
        self.ledger.restore(pages(b"days/"), since=self.progress.kept_days_since)


def _all_windows(rules: Rules) -> set[str]:
    return {*rules.activity_windows, *rules.session_windows, *rules.survey_windows}


def _numbered(sums: dict[int, dict[Field, int]]) -> dict[int, Tally]:
    """The sums without fields that are texts."""
    return {
        window: {field: amount for field, amount in tally.items() if isinstance(field, int)}
        for window, tally in sums.items()
    }


def _decode_named(value: bytes | None) -> Named | None:
    return None if value is None else msgspec.msgpack.decode(value, type=Named)


def _response_id(record: Record) -> str | None:
    """The response that a header names."""
    named = (value.decode(errors="replace") for name, value in record.headers if name == "response_id" and value)
    return next(named, None)


def _as_message(event: Event) -> bytes:
    """A retraction as the message that would have told it, to send it to the user's own partition."""
    named = {"user_id": event.user}
    if event.user.startswith(ANONYMOUS):
        named = {"anonymous_id": event.user.removeprefix(ANONYMOUS)}
    told = {"event_time": event.at_ms, "response_id": getattr(event, "response_id", ""), "kind": "csat"}
    return msgspec.json.encode({**named, **told, "status": "retracted"})
