"""One partition of the stream: its users, its totals, and how far it has read.

Inputs are partitioned by user, so a partition knows all of its users and no other partition knows any of them: totals
of partitions simply add. Events change rows at once; totals follow when they are asked for (`settle`), so a user who is
busy between two snapshots is booked once.

Between checkpoints a partition changes in memory only. `collect_delta` gives what has changed, with the offsets up to
which the input has been applied: written as one, a partition that is restored from it continues as if nothing had
happened.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

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

Delta = list[tuple[bytes, bytes | None]]

_USER = "user/"
_NAMED = "named/"
_PROGRESS = b"progress"


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
class _Batch:
    """What holds for all records of a batch, and what comes of them."""

    topic: str
    decode: Callable[[bytes], Event]
    not_after_ms: int
    late_before_ms: int
    now: int  # the clock's minute
    belongs: Callable[[str], bool] | None
    newest_ms: int
    clock_limit_ms: int | None  # where the clock follows the events: how far, at most
    refused: list[Refused] = field(default_factory=list)
    misplaced: list[Misplaced] = field(default_factory=list)

    def note_newest(self, at_ms: int) -> None:
        """This is the newest event so far; the clock may follow it."""
        self.newest_ms = at_ms
        if self.clock_limit_ms is not None:
            self.now = max(self.now, min(at_ms, self.clock_limit_ms) // MINUTE_MS)

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
    newest_ms: dict[str, int] = {}  # by topic: the newest event time applied
    watermark_ms: int = -1
    now_ms: int = -1
    outcomes: dict[str, dict[str, int]] = {}  # by topic and outcome
    reasons: dict[str, dict[str, int]] = {}  # by topic and reason of rejection
    users: int = 0
    kept_days_since: int | None = None
    rules: dict[str, str] = {}  # by setting: what the stored totals were booked under


class RulesChanged(ValueError):
    """The stored state was booked under other rules. The text names the setting and both values."""


class Partition:
    """The state of one partition. `stored` reads a row that an earlier checkpoint wrote."""

    def __init__(
        self,
        rules: Rules,
        *,
        stored: Callable[[bytes], bytes | None] | None = None,
        max_event_bytes: int = 1_000_000,
    ) -> None:
        self.rules = rules
        self.progress = Progress()
        self._stored = stored
        self._max_event_bytes = max_event_bytes
        minutes = {window: minutes_of(window) for window in _all_windows(rules)}
        self.traffic = Ring("traffic", [minutes[name] for name in (*rules.activity_windows, *rules.session_windows)])
        self.opinions = Ring("opinions", [minutes[name] for name in rules.survey_windows])
        self.ledger = DayLedger(rules.closed_days)
        self._closed_days_told = rules.closed_days[-1] + _WEEKS_TOLD_DAYS
        self._users: dict[str, User] = {}
        self._before: dict[str, User] = {}  # rows changed since the totals were settled, as they were then
        self._unsaved: dict[str, None] = {}  # in order of their first change
        self._named: dict[str, str] = {}  # survey responses whose messages are keyed by their own id -> user

    # -- events in -----------------------------------------------------------------------------------------------

    def apply(
        self,
        topic: str,
        records: Iterable[Record],
        *,
        not_after_ms: int,
        belongs: Callable[[str], bool] | None = None,
        moves_clock: bool = False,
        waits_for: Collection[str] = (),
    ) -> tuple[list[Refused], list[Misplaced]]:
        """Apply records of a topic, in order of arrival.

        Events later than `not_after_ms` are refused as `future`. `belongs` tells whether a user belongs to this
        partition. `moves_clock` says that this topic is behind, so that watermark and clock follow its events: as far
        as the topics have come that the watermark also `waits_for`, and the clock not to what is still to come.
        Returns what could not be applied: each such record is counted, and the caller sends it on.
        """
        progress = self.progress
        outcomes = progress.outcomes.setdefault(topic, {})
        others_ms = min((progress.newest_ms.get(other, -1) for other in waits_for), default=not_after_ms)
        clock_limit_ms = min(not_after_ms - self.rules.future_limit_ms, others_ms) if moves_clock else None
        batch = _Batch(
            topic=topic,
            decode=DECODERS[topic],
            not_after_ms=not_after_ms,
            late_before_ms=self._late_before_ms(),
            now=progress.now_ms // MINUTE_MS,
            belongs=belongs,
            newest_ms=progress.newest_ms.get(topic, -1),
            clock_limit_ms=clock_limit_ms,
        )
        for record in records:
            try:
                outcome = self._take(batch, record)
            except Rejected as rejection:
                batch.refused.append(Refused(record, rejection.reason, str(rejection)))
                outcome = self._count_reason(topic, rejection.reason)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if batch.newest_ms >= 0:
            progress.newest_ms[topic] = batch.newest_ms
        if clock_limit_ms is not None:
            progress.watermark_ms = max(progress.watermark_ms, min(batch.newest_ms, others_ms))
            progress.now_ms = max(progress.now_ms, min(progress.watermark_ms, clock_limit_ms))
        return batch.refused, batch.misplaced

    def _take(self, batch: "_Batch", record: Record) -> str:  # noqa: C901  the way of each event, in one piece for speed
        """Apply one record and tell what became of it. Raises Rejected."""
        value = record.value
        if value is None:
            event = self._tombstone(batch.topic, record)
        elif len(value) > self._max_event_bytes:
            raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes, {self._max_event_bytes} are allowed")
        else:
            event = batch.decode(value)
        if batch.is_of_a_bot(event):
            return BOT
        if record.key is not None and batch.topic == SURVEYS:
            self._remember_name(record, event)
        name = event.user
        known = self._users.get(name)
        if known is None:
            if batch.belongs is not None and not batch.belongs(name):
                batch.misplaced.append(Misplaced(record, name, value or _as_message(event)))
                return REKEYED
            known = self._load(name)
        if event.at_ms > batch.newest_ms:
            batch.note_newest(event.at_ms)
        changed = rows.advanced(known, event, self.rules, now=batch.now)
        if changed is known:
            return DUPLICATE
        if name not in self._before:
            self._before[name] = known
            self._unsaved[name] = None
        self._users[name] = changed
        return APPLIED

    def _load(self, name: str) -> User:
        found = self._row(name)
        if found is NOBODY:
            self.progress.users += 1
        self._users[name] = found
        return found

    def _row(self, name: str) -> User:
        known = self._users.get(name)
        if known is not None:
            return known
        stored = self._stored((_USER + name).encode()) if self._stored is not None else None
        return NOBODY if stored is None else rows.decode(stored)

    def _count_reason(self, topic: str, reason: Reason) -> str:
        reasons = self.progress.reasons.setdefault(topic, {})
        reasons[reason.value] = reasons.get(reason.value, 0) + 1
        return {Reason.FUTURE: FUTURE, Reason.LATE: LATE}.get(reason, INVALID)

    def _late_before_ms(self) -> int:
        allowed_ms = self.rules.allowed_lateness_ms
        return -1 if allowed_ms is None else self.progress.watermark_ms - allowed_ms

    # -- null messages: a survey response is removed ---------------------------------------------------------------

    def _tombstone(self, topic: str, record: Record) -> Event:
        """What a null message means: its key names the user and a header the response, or the key the response."""
        if topic != SURVEYS:
            raise Rejected(Reason.NOT_JSON, "a null message: only survey responses are removed by one")
        key = (record.key or b"").decode(errors="replace")
        named = (value.decode(errors="replace") for name, value in record.headers if name == "response_id" and value)
        response_id = next(named, None)
        if response_id is not None and key:
            # A key says nothing about which of the two ids it is (`partition_key`): the answer does.
            anonymous = user_of(None, key)
            answered = response_id in self._row(anonymous).responses
            user = anonymous if answered else user_of(key, None)
            return retraction(user, response_id, at_ms=record.timestamp)
        known = self._named.get(key)
        if known is None:
            stored = self._stored((_NAMED + key).encode()) if self._stored is not None else None
            if stored is None:
                told = f"a null message with key {key!r}: no response of that id is known, nor a header `response_id`"
                raise Rejected(Reason.NO_RESPONSE, told)
            known = stored.decode()
        return retraction(known, key, at_ms=record.timestamp)

    def _remember_name(self, record: Record, event: Event) -> None:
        """Producers that key survey messages by response can remove one by its key alone: keep whose it is."""
        if isinstance(event, Answer) and record.value is not None:
            response_id = event.response_id
            if record.key == response_id.encode() and response_id != event.user:
                self._named[response_id] = event.user

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
        return Snapshot(
            now_ms=self.progress.now_ms,
            traffic=self.traffic.sums(),
            opinions=self.opinions.sums(),
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

    def collect_delta(self) -> Delta:
        """Everything that has changed since the last call, as keys and values; None removes a key."""
        self.settle()
        progress = self.progress
        now = self.traffic.now
        delta: Delta = []
        for name in self._unsaved:
            kept = rows.settled(self._users[name], self.rules, watermark_ms=progress.watermark_ms, now=now)
            del self._users[name]  # now the last one to be forgotten
            self._users[name] = kept
            delta.append(((_USER + name).encode(), rows.encode(kept)))
        self._unsaved.clear()
        delta.extend(((_NAMED + response_id).encode(), user.encode()) for response_id, user in self._named.items())
        self._named.clear()
        if self.rules.allowed_lateness_ms is not None:
            self.ledger.forget_before(self.last_closed_day() - self._closed_days_told - _WEEKS_TOLD_DAYS)
            progress.kept_days_since = self.ledger.since
        delta.extend(self.traffic.pages())
        delta.extend(self.opinions.pages())
        delta.extend(self.ledger.pages())
        progress.rules = self.rules.stored_by
        delta.append((_PROGRESS, msgspec.msgpack.encode(progress)))
        return delta

    def forget_users(self, *, keep: int) -> None:
        """Drop rows from memory, the longest unused first, until `keep` are left. Call it when a delta is stored."""
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
        for _, value in pages(_PROGRESS):
            self.progress = msgspec.msgpack.decode(value, type=Progress)
            self._refuse_other_rules(self.progress.rules)
        now = self.progress.now_ms // MINUTE_MS
        self.traffic.restore(pages(b"traffic/"), now=now)
        self.opinions.restore(pages(b"opinions/"), now=now)
        self.ledger.restore(pages(b"days/"), since=self.progress.kept_days_since)


def _all_windows(rules: Rules) -> set[str]:
    return {*rules.activity_windows, *rules.session_windows, *rules.survey_windows}


def _as_message(event: Event) -> bytes:
    """A retraction as the message that would have told it, to send it to the user's own partition."""
    named = {"user_id": event.user}
    if event.user.startswith(ANONYMOUS):
        named = {"anonymous_id": event.user.removeprefix(ANONYMOUS)}
    told = {"event_time": event.at_ms, "response_id": getattr(event, "response_id", ""), "kind": "csat"}
    return msgspec.json.encode({**named, **told, "status": "retracted"})
