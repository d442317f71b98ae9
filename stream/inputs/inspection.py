"""What some messages of an input tell, and what looks wrong about it: for `engagement inputs check`.

The messages are read as a worker reads them, and nothing is done with their events but to look at them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stream.core.events import AccountChange, Answer, Event, EventWithoutUser, Login, MultipleEvents, Step, Summary
from stream.core.messages import Reader, Record
from stream.core.money import in_units
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.segments import SEGMENTS
from stream.core.time import DAY_MS, epoch_ms, iso, parse_iso
from stream.core.users import ANONYMOUS_PREFIX, partition_key
from stream.inputs.encodings.debezium import is_change
from stream.inputs.encodings.framing import is_framed
from stream.inputs.mapping.mapping import CheckedMapping, sources_in
from stream.inputs.mapping.paths import value_at
from stream.inputs.mapping.reader import document_of
from stream.inputs.mapping.sources import is_blank, text_of

# An id of more than this share of all events looks like no person's, if there are enough events to say so.
_MOST_OF_ONE: Final = 1 / 3
_ENOUGH_EVENTS: Final = 30

# How much lower the rate of a worker is with every event in a wrong partition than with none, as measured by
# `make bench ARGS="-k wrong_partition"`. FORMATS.md has the figures.
COST_OF_ALL_MISPLACED: Final = 0.11

_LONGEST_EXAMPLE: Final = 200
_SHORTEST_TIME: Final = 10  # characters: a shorter value that means a time may mean another thing

_SELDOM: Final = 0.2
_DEEPEST: Final = 8  # levels of a message in which fields are looked for


@dataclass(slots=True)
class Group:
    """Some things of one kind: how many, of how many users, and an example."""

    count: int = 0
    users: set[str] = field(default_factory=set)
    example: str = ""

    def add(self, example: str = "", user: str = "") -> None:
        """Count one."""
        self.count += 1
        self.example = self.example or example
        if user:
            self.users.add(user)


@dataclass(slots=True)
class Told:
    """A field: in how many of the events that may have it something is told, and an example."""

    of: int = 0
    count: int = 0
    example: str = ""
    mapped: str = ""  # where a mapping reads it
    paths: Counter[str] = field(default_factory=Counter)  # where else its values stand in the messages

    @property
    def source(self) -> str:
        """Where it is read: as the mapping says, else where its values stand in most of the messages."""
        if self.mapped:
            return self.mapped
        named: list[str] = []
        left = self.count
        for path, count in sorted(self.paths.items(), key=lambda item: (-item[1], len(item[0]))):
            # What agrees seldom does so by chance. A second place is named where the first is empty in many messages.
            if left < _SELDOM * self.count or count < _SELDOM * self.count:
                break
            named.append(path)
            left -= count
        return " / ".join(named[:2])

    def add(self, value: Any) -> None:
        """Look at the field of one event."""
        self.of += 1
        if value is not None and value != "":
            self.count += 1
            self.example = self.example or cut(str(value))


class Inspection:
    """Looks at messages, one after the other."""

    def __init__(
        self,
        reader: Reader,
        *,
        mapping: CheckedMapping | None = None,
        not_after_ms: int,
        partition_of: Callable[[bytes], int] | None = None,
        row_of: Callable[[Record], Record | None] | None = None,
        decoded: bool = False,
    ) -> None:
        """Events after `not_after_ms` are of the future. `partition_of` tells where the records of a user belong.

        `row_of` returns what the envelope of a message holds, if the reader takes it out of one. `decoded` messages
        were in another encoding than JSON.
        """
        self._reader = reader
        self._mapping = mapping
        self._not_after_ms = not_after_ms
        self._partition_of = partition_of
        self._row_of = row_of
        self._decoded = decoded
        self.messages = self.framed = self.changes = self.events = self.bots = self.without_session = 0
        self.kinds: dict[str, Group] = {}
        self.left_out: dict[LeftOut, Group] = {}
        self.refused: dict[Reason, Group] = {}
        self.fields: dict[str, Told] = {}
        self.paths: Counter[str] = Counter()  # every field of the messages: in how many it is, but for a mapping
        self._paths_of_events: Counter[str] = Counter()  # the same of those messages that tell an event
        self.unmapped_values: Counter[str] = Counter()
        self.events_of: Counter[str] = Counter()  # by user
        self.users_of_session: dict[str, set[str]] = {}
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.keyed_by_user = self.keyed_otherwise = self.without_key = self.misplaced = 0
        self._key_example = ""

    def add(self, record: Record, *, partition: int | None = None) -> None:
        """Look at a message, of a partition if it lies in a topic."""
        self.messages += 1
        self.framed += not self._decoded and is_framed(record)
        self.changes += self._row_of is None and is_change(record)
        value = cut((record.value or b"null").decode(errors="replace"))
        try:
            told = self._reader(record)
        except Rejected as rejection:
            self.refuse(rejection.reason, str(rejection), value)
            told = MultipleEvents(())
        if isinstance(told, MultipleEvents):
            events = [event for _, event in told.events]
            for what in told.left_out:
                self.left_out.setdefault(what, Group()).add(value)
            for rejection_ in told.rejections:
                self.refuse(rejection_.reason, rejection_.detail, value)
        else:
            events = [told]
        places = self._places(record) if self._mapping is None else {}
        if events:
            self._paths_of_events.update({path for paths in places.values() for path in paths})
        for event in events:
            self._see(event, record, partition, places)
        if self._mapping is not None:
            self._see_mapped(record)

    def _places(self, record: Record) -> dict[str, set[str]]:
        """Where each value stands in a message, by the value as text. Empty if the message is no JSON."""
        try:
            row = record if self._row_of is None else self._row_of(record)
            document = document_of((row or record).value or b"null")[0]
        except Rejected:
            return {}
        places: dict[str, set[str]] = {}
        for path, value in _leaves(document, "", 0):
            places.setdefault(text_of(value).strip(), set()).add(path)
        self.paths.update({path for paths in places.values() for path in paths})
        return places

    @property
    def unused(self) -> list[str]:
        """The fields of the messages whose values are in no event, the most frequent first.

        What is said of no event at all is said of the others by their reasons.
        """
        used = {path for told in self.fields.values() for path in told.source.split(" / ")}
        # A place that is not the one where most messages have it, such as that of single messages beside batches.
        used |= {
            path
            for told in self.fields.values()
            for path, count in told.paths.items()
            if 2 * count >= self._paths_of_events[path]
        }
        return [path for path, _ in (self._paths_of_events or self.paths).most_common() if path not in used]

    def refuse(self, reason: Reason, detail: str, value: str) -> None:
        """Count something that can't be used."""
        self.refused.setdefault(reason, Group()).add(f"{cut(detail)}\n{value}")

    def _see(self, event: Event, record: Record, partition: int | None, places: Mapping[str, set[str]]) -> None:
        if event.at_ms > self._not_after_ms:
            told = f"{iso(event.at_ms)} is after {iso(self._not_after_ms)}"
            self.refuse(Reason.FUTURE, told, cut((record.value or b"").decode(errors="replace")))
            return
        self.events += 1
        self.bots += event.is_bot
        self.kinds.setdefault(_kind_of(event), Group()).add(user=event.user)
        self.first_ms = event.at_ms if self.first_ms is None else min(self.first_ms, event.at_ms)
        self.last_ms = event.at_ms if self.last_ms is None else max(self.last_ms, event.at_ms)
        if isinstance(event, EventWithoutUser):
            return
        self.events_of[event.user] += 1
        self._see_session(event)
        if self._mapping is None:
            for name, value in _fields_of(event):
                found = self.fields.setdefault(name, Told())
                found.add(iso(value) if name == "event_time" else value)
                if value is not None:
                    found.paths.update(_PLACES.get(name, _found)(value, places))
        if partition is not None:
            self._see_key(event.user, record.key, partition)

    def _see_session(self, event: Event) -> None:
        if isinstance(event, (Step, Summary)):
            if event.session_id is None:
                self.without_session += 1
            else:
                self.users_of_session.setdefault(event.session_id, set()).add(event.user)

    def _see_key(self, user: str, key: bytes | None, partition: int) -> None:
        its_key = partition_key(user)
        if key is None:
            self.without_key += 1
        elif key == its_key:
            self.keyed_by_user += 1
        else:
            self.keyed_otherwise += 1
            self._key_example = self._key_example or f"{cut(repr(key))[1:]} of {named(user)}"
        assert self._partition_of is not None, "who has partitions knows where users belong"
        self.misplaced += self._partition_of(its_key) != partition

    def _see_mapped(self, record: Record) -> None:
        """Look where a mapping finds its fields in a message."""
        mapping = self._mapping
        assert mapping is not None, "asked only with a mapping"
        try:
            row = record if self._row_of is None else self._row_of(record)
            if row is None:
                return
            record = row
            message, _ = document_of(record.value or b"null")
            events = [message] if mapping.each is None else value_at(message, mapping.each.steps)
            for event in events if isinstance(events, list) else []:
                rule = mapping.rule_for(event, message, record)
                if rule is LeftOut.UNMAPPED and mapping.event is not None:
                    value = mapping.event.read(event, message, record)
                    self.unmapped_values["nothing" if value is None else cut(str(value), 40)] += 1
                if isinstance(rule, LeftOut):
                    continue
                for name, source in sources_in(rule.sources):
                    told = self.fields.setdefault(name, Told(mapped=str(source)))
                    told.mapped = told.mapped if str(source) in told.mapped else f"{told.mapped} / {source}"
                    value = _read(source.read, event, message, record)
                    told.add(iso(value) if source.read_time is not None and value is not None else value)
        except Rejected:
            return  # it is among what is refused

    # -- what looks wrong ------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[str]:
        """Sentences about what looks wrong."""
        if self.framed:
            told = f"{self.framed:,} of {self.messages:,} messages look like those that name a schema of a registry"
            yield f'{told}: set encoding = "registry" for the input, and url in the section [registry]'
        if self.changes:
            told = f"{self.changes:,} of {self.messages:,} messages look like changes of a table by Debezium"
            yield f'{told}: set envelope = "debezium" for the input'
        if not self.events:
            yield "no event could be read"
            return
        yield from self._findings_of_users()
        yield from self._findings_of_sessions()
        yield from self._findings_of_keys()
        refused = sum(group.count for group in self.refused.values())
        if refused:
            yield f"{refused:,} can't be used: a worker sends them to the dead letters"
        left_out = sum(group.count for group in (*self.left_out.values(), *self.refused.values()))
        if left_out > self.events:
            yield f"more is left out than is used: {left_out:,} against {self.events:,} events"
        if self.first_ms is not None and self.first_ms < _YEAR_2000_MS:
            yield f"the oldest event is of {iso(self.first_ms)}: is the unit of the time wrong?"

    def _findings_of_users(self) -> Iterator[str]:
        if self.events >= _ENOUGH_EVENTS:
            for user, count in self.events_of.most_common(3):
                if count > self.events * _MOST_OF_ONE:
                    yield f"{named(user)} has {count / self.events:.0%} of all events: is it an id of one person?"
        anonymous = sum(user.startswith(ANONYMOUS_PREFIX) for user in self.events_of)
        if anonymous == len(self.events_of) > 1:
            yield "all users are anonymous: no event names one by `user_id`"

    def _findings_of_sessions(self) -> Iterator[str]:
        shared = {session: users for session, users in self.users_of_session.items() if len(users) > 1}
        if shared:
            session, users = max(shared.items(), key=lambda item: len(item[1]))
            yield (
                f"{len(shared):,} of {len(self.users_of_session):,} session ids are not unique: {session!r} is of"
                f" {len(users)} users (sessions are told apart by user, so this harms nothing unless one person has"
                " several ids)"
            )
        if self.without_session and not self.users_of_session:
            yield "no step has a session id: sessions will be made of the steps that are less than 30 minutes apart"

    def _findings_of_keys(self) -> Iterator[str]:
        keyed = self.keyed_by_user + self.keyed_otherwise + self.without_key
        if self.without_key:
            yield f"{self.without_key:,} of {keyed:,} events have no key: key records by the user's id"
        if self.keyed_otherwise:
            told = f"{self.keyed_otherwise:,} of {keyed:,} events have another key than the user's id"
            yield f"{told}: {self._key_example}"
        if self.misplaced:
            why = "" if self.keyed_otherwise or self.without_key else ": librdkafka needs partitioner=murmur2_random"
            yield f"{self.misplaced:,} of {keyed:,} events lie in another partition than their users belong to{why}"
            lost = COST_OF_ALL_MISPLACED * self.misplaced / keyed
            yield f"misplaced events are forwarded: none is lost, and a worker is about {lost:.0%} slower"

    @property
    def span_ms(self) -> int:
        """From the oldest to the newest event."""
        return 0 if self.first_ms is None or self.last_ms is None else self.last_ms - self.first_ms


_YEAR_2000_MS: Final = 30 * 365 * DAY_MS


def named(user: str) -> str:
    """A user as people read it."""
    return (
        f"the anonymous id {user.removeprefix(ANONYMOUS_PREFIX)!r}"
        if user.startswith(ANONYMOUS_PREFIX)
        else f"the user {user!r}"
    )


def cut(text: str, longest: int = _LONGEST_EXAMPLE) -> str:
    """A text, without its end if it is long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _read(read: Callable[[Any, Any, Record], Any], event: Any, message: Any, record: Record) -> Any:
    try:
        return read(event, message, record)
    except Rejected:
        return None


def _leaves(value: Any, path: str, level: int) -> Iterator[tuple[str, Any]]:
    """Every field of a message that tells something, with its path.

    The elements of a list have one path, unless each has a `key`.
    """
    if level < _DEEPEST and isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name), level + 1)
    elif level < _DEEPEST and isinstance(value, list):
        for inner in value:
            key = inner.get("key") if isinstance(inner, dict) else None  # as in a list of parameters
            yield from _leaves(inner, f"{path}[{key if isinstance(key, str) else ''}]", level + 1)
    elif path and not isinstance(value, (dict, list)) and not is_blank(value):
        yield path, value


def _found(value: Any, places: Mapping[str, set[str]]) -> Iterable[str]:
    """Where a value stands in a message; a response id may have the name of a question behind it."""
    text = text_of(value)
    return places.get(text) or places.get(text.partition("/")[0]) or ()


def _time_places(at_ms: int, places: Mapping[str, set[str]]) -> Iterator[str]:
    """Where a time stands in a message, in whatever form."""
    for text, paths in places.items():
        if len(text) >= _SHORTEST_TIME and _ms_of(text) == at_ms:
            yield from paths


def _amount_places(amount: float, places: Mapping[str, set[str]]) -> Iterator[str]:
    """Where an amount stands in a message, as a number or as text."""
    for text, paths in places.items():
        try:
            if float(text) == amount:
                yield from paths
        except ValueError:  # noqa: PERF203  most texts are no numbers
            continue


_PLACES: Final[Mapping[str, Callable[[Any, Mapping[str, set[str]]], Iterable[str]]]] = {
    "event_time": _time_places,
    "amount": _amount_places,
}


def _ms_of(text: str) -> int | None:
    try:
        return epoch_ms(float(text))
    except (ValueError, OverflowError):
        return parse_iso(text) or parse_iso(f"{text}Z")


def _kind_of(event: Event) -> str:
    """An event in words."""
    if isinstance(event, Step):
        kind = "view" if event.is_view else "end of a session" if event.is_end else "other step"
        return f"{kind}, key event" if event.is_key_event else kind
    if isinstance(event, Summary):
        return "session, as a whole"
    if isinstance(event, Login):
        return "login" if event.success else "failed login"
    if isinstance(event, Answer):
        return f"answer {event.kind.value}, {event.status.value}"
    if isinstance(event, AccountChange):
        return f"account: {event.change.value.replace('_', ' ')}"
    if hasattr(event, "order_id"):
        return "order" if event.refund_id is None else "refund"  # type: ignore[attr-defined]
    return type(event).__name__


def _fields_of(event: Event) -> Iterator[tuple[str, Any]]:
    """What may be told of an event, by the names of native messages."""
    is_anonymous = event.user.startswith(ANONYMOUS_PREFIX)
    yield "user_id", None if is_anonymous else event.user
    yield "anonymous_id", event.user.removeprefix(ANONYMOUS_PREFIX) if is_anonymous else None
    yield "event_time", event.at_ms
    for name in (
        *("session_id", "engaged_ms", "prompted", "response_id", "score", "interaction_id", "order_id", "refund_id"),
        "step",
    ):
        if hasattr(event, name):
            yield name, getattr(event, name)
    told = getattr(event, "version", None)  # of an order
    if told is not None:
        yield "amount", in_units(told.amount, told.currency)
        yield "currency", told.currency
    yield from zip(SEGMENTS, getattr(event, "segments", ()), strict=False)
