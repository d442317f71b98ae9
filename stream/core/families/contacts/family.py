"""Conversations in windows of event time, and who waits now."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from stream.core.contribution import Contribution
from stream.core.days import DayBook, OfWindows
from stream.core.events import Event
from stream.core.families.contacts import messages, samples
from stream.core.families.contacts.contribution import (
    CHANNEL,
    CONTACTS,
    MATURED,
    MATURED_RESOLVED,
    RESOLVED,
    Contributions,
)
from stream.core.families.contacts.messages import ConversationChanged
from stream.core.families.contacts.metrics import METRICS
from stream.core.families.contacts.part import Messages, Type, UserConversations, conversations, longest_pause_ms
from stream.core.families.contacts.samples import NOW
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.label_texts import LabelTexts
from stream.core.ledger import Ledger
from stream.core.readable import readable
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field
from stream.core.time import DAY_MS, LATEST_MS, MINUTE_MS
from stream.core.windows import CONTACTS as WINDOWS

# So many days a conversation has before a closed day asks whether it is resolved.
_MATURES_DAYS = 7

_NO_CONVERSATIONS: dict[str, Messages] = {}

_decode = msgspec.msgpack.Decoder(dict[str, Messages]).decode


class ContactsFamily(Family[UserConversations]):
    """Conversations, replies, resolutions, and who waits."""

    name = "contacts"
    number = 10
    since_format = 8
    windows = WINDOWS
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.CONTACTS,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._pause_ms = longest_pause_ms(self.lengths.values())
        self._contributions = Contributions(rules.days, pause_ms=self._pause_ms, hours=rules.contact_hours)
        self._channels = LabelTexts(CHANNEL)
        self.ledger = Ledger(f"{self.name}-waiting")

    @classmethod
    def state_settings(cls, rules: Rules) -> dict[str, str]:
        hours = {} if rules.contact_hours is None else {"contacts.hours": str(rules.contact_hours)}
        return {**super().state_settings(rules), **hours}

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {ConversationChanged: one_by_one(self.apply_change)}

    def apply_change(self, part: UserConversations, event: ConversationChanged, now: int) -> bool:
        """Put what an event tells where it belongs in its conversation, unless it is known."""
        told, known = event.told, part.by_id.get(event.conversation_id, ())
        if told.channel:
            told = told._replace(channel=self._channels.of(told.channel))
        if told in known:
            return False
        if part.booked is None:
            part.booked = part.by_id.copy() if part.by_id else _NO_CONVERSATIONS
            self.changed.append(part)
        part.by_id[event.conversation_id] = tuple(sorted((*known, told)))
        return True

    def new(self) -> UserConversations:
        return UserConversations({})

    def decode(self, stored: msgspec.Raw) -> UserConversations:
        return UserConversations(_decode(stored))

    def stored(self, part: UserConversations) -> object:
        return part.by_id or None

    def prune(self, part: UserConversations, horizon: Horizon) -> None:
        self._keep(part, lambda last_ms: last_ms >= horizon.before_ms - self.min_retention_ms())

    def long_term_part(self, part: UserConversations) -> UserConversations | None:
        """Conversations in which a customer waits are kept until that ends."""
        self._keep(part, lambda last_ms: False)
        return part if part.by_id else None

    def _keep(self, part: UserConversations, is_recent: Callable[[int], bool]) -> None:
        """Keep the conversations whose last message is recent, and those in which a customer waits."""
        for conversation_id, messages_ in list(part.by_id.items()):
            kept = [
                message
                for found, standing in conversations(messages_, self._pause_ms)
                if is_recent(found[-1].at_ms) or standing.waits_since_ms >= 0
                for message in found
            ]
            if not kept:
                del part.by_id[conversation_id]
            elif len(kept) < len(messages_):
                part.by_id[conversation_id] = tuple(kept)

    def min_retention_ms(self) -> int:
        # Local days may be longer, and begin before the moment that is asked for.
        least_ms = self._pause_ms + 2 * DAY_MS
        # Who is erased is taken out of all that a closed day looks back to.
        return max(least_ms, (self.closed_reach() + 2) * DAY_MS) if self.rules.erases else least_ms

    def last_ms(self, part: UserConversations) -> int:
        last_ms = 0
        for messages_ in part.by_id.values():
            for found, standing in conversations(messages_, self._pause_ms):
                last_ms = max(last_ms, LATEST_MS if standing.waits_since_ms >= 0 else found[-1].at_ms)
        return last_ms

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        self.ledger.advance(now)
        super().update_totals(now)

    def book(self, parts: list[UserConversations]) -> None:
        for part in parts:
            before, part.booked = part.booked or _NO_CONVERSATIONS, None
            difference = Contribution()
            for conversation_id, messages_ in part.by_id.items():
                booked = before.get(conversation_id, ())
                if messages_ is not booked:
                    self._contributions.add(difference, booked, -1)
                    self._contributions.add(difference, messages_, 1)
            difference.put(self.ring, self.days, self.ledger)

    def readable(self, part: UserConversations) -> Any:
        names = {type_.number: type_.value for type_ in Type}
        return {
            conversation_id: [{**readable(message), "type": names[message.type]} for message in messages_]
            for conversation_id, messages_ in part.by_id.items()
        }

    def take_out(self, part: UserConversations) -> None:
        difference = Contribution()
        for messages_ in part.by_id.values():
            self._contributions.add(difference, messages_, -1)
        difference.put(self.ring, self.days, self.ledger)

    def sums(self) -> Sums:
        self._channels.make_room(
            self.ring.now * MINUTE_MS // DAY_MS, lambda: (*self.ring.tallies(), *self.days.tallies())
        )
        live: dict[int, dict[Field, int]] = dict(self.ring.sums())
        live[NOW] = samples.longest_waiting(self.ledger.now())
        return Sums(live=live)

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        told = self.days.windows(day, self.closed_lengths)
        matured = self.days.windows(day, self.closed_lengths, ended_before=_MATURES_DAYS)
        for length, tally in told.items():
            tally.pop(RESOLVED, None)
            for field, of in ((MATURED, CONTACTS), (MATURED_RESOLVED, RESOLVED)):
                if count := matured[length].get(of):
                    tally[field] = count
        told[NOW] = samples.longest_waiting(self.ledger.as_of(day))
        return told

    def closed_reach(self) -> int:
        return super().closed_reach() + _MATURES_DAYS

    def books(self) -> tuple[DayBook | Ledger, ...]:
        return (self.days, self.ledger)

    def restore(self, stored: Any, *, now: int, days_since: Mapping[str, int]) -> None:
        super().restore(stored, now=now, days_since=days_since)
        self._channels.keep((*self.ring.tallies(), *self.days.tallies()))

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        of_windows = {window: sums.live.get(length, {}) for window, length in self.lengths.items()}
        if not samples.is_empty(sums.live):
            yield from samples.live(of_windows, sums.live.get(max(self.lengths.values()), {}))

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        held = {f"{length}d": of_windows.get(length, {}) for length in self.closed_lengths}
        if not samples.is_empty(of_windows):
            yield from samples.closed(held, of_windows.get(max(self.closed_lengths), {}))

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """The names of channels come from the longest window: all are told together."""
        yield from ()
