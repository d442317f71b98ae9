"""What a conversation contributes to each number, and since when.

A conversation is booked where it began: by its channel, and whether it is resolved. A reply is booked at its own time,
and so is a resolution. Each counts from the moment on at which it is known: a conversation of Monday that was resolved
on Thursday counts as resolved from Thursday on. Who waits now is a ledger.
"""

from collections.abc import Callable, Iterable, Mapping

from stream.core.business_hours import BusinessHours
from stream.core.contribution import Contribution, add_to
from stream.core.families.contacts.part import RESOLVED as RESOLVED_TYPE
from stream.core.families.contacts.part import Message, Standing, asks, conversations
from stream.core.histogram import bin_of
from stream.core.tally import Field, add
from stream.core.time import MINUTE_MS, SECOND_MS, Days

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
CONTACTS, RESOLVED = 1, 2  # where the conversation began
FIRST_REPLIES, FIRST_REPLY_SECONDS, REPLIES, REPLY_SECONDS, RESOLUTIONS, RESOLUTION_SECONDS = range(3, 9)
# One a bin of `histogram`, in seconds:
FIRST_REPLY_BINS, REPLY_BINS, RESOLUTION_BINS = 10_000, 20_000, 30_000
# Calculated for closed days alone:
MATURED, MATURED_RESOLVED = 9, 10
WAITING = 11  # calculated of the ledger
OF_CUSTOMERS = 12  # where the conversation began, if the customer began it

# Text fields, because anything may be a channel: this letter and the channel, where the conversation began.
CHANNEL = "c"
# In the ledger: this letter and the second since which a customer waits.
WAITS_SINCE = "w"


def bins_of(tally: Mapping[Field, int], first: int) -> list[tuple[int, int]]:
    """The bins of a histogram in a tally, each with its count."""
    return [
        (field - first, count)
        for field, count in tally.items()
        if isinstance(field, int) and first <= field < first + 10_000
    ]


class Contributions:
    """Calculates contributions by the rules of a deployment."""

    def __init__(self, days: Days, *, pause_ms: int, hours: BusinessHours | None) -> None:
        self._day_of = days.day_of
        self._pause_ms = pause_ms
        self._hours = hours

    def add(self, to: Contribution, messages: Iterable[Message], times: int) -> None:
        """Add what the conversations of one id contribute, or with `times=-1` take it out."""
        for of_conversation, _ in conversations(messages, self._pause_ms):
            _Conversation(to, times, self._day_of, self._waited).read(of_conversation)

    def _waited(self, begin_ms: int, end_ms: int) -> int:
        """The seconds of a wait."""
        waited_ms = end_ms - begin_ms if self._hours is None else self._hours.between(begin_ms, end_ms)
        return waited_ms // SECOND_MS


class _Conversation:
    """Reads one conversation and adds what it contributes."""

    def __init__(
        self, to: Contribution, times: int, day_of: Callable[[int], int], waited: Callable[[int, int], int]
    ) -> None:
        self._to, self._times, self._day_of, self._waited = to, times, day_of, waited
        self._booked: dict[int, dict[Field, int]] = {}  # by time, to be taken out if it is deleted
        self._first_ms = self._first_wait_ms = -1
        self._channel = ""
        self._has_reply = False
        self._resolution: tuple[int, dict[Field, int]] | None = None  # at which time what is booked
        self._waits_since_ms = -1

    def read(self, messages: list[Message]) -> None:
        standing = Standing()
        self._first_ms = messages[0].at_ms
        begun: dict[Field, int] = {CONTACTS: 1}
        if asks(messages[0]):
            begun[OF_CUSTOMERS] = 1
        self._book(self._first_ms, self._first_ms, begun)
        for message in messages:
            at_ms, was_resolved = message.at_ms, standing.is_resolved
            ended = list(standing.read(message))
            if standing.is_deleted:
                self._note_wait(at_ms, -1)
                for place, amounts in list(self._booked.items()):
                    self._book(at_ms, place, dict(amounts), -1)
                return
            for begin_ms, end_ms in ended:
                self._book_reply(at_ms, begin_ms, end_ms)
            self._note_wait(at_ms, standing.waits_since_ms)
            self._book_channel(at_ms, message.channel)
            if message.type == RESOLVED_TYPE or was_resolved != standing.is_resolved:
                self._book_resolution(at_ms, is_resolved=standing.is_resolved)

    def _book(self, known_ms: int, at_ms: int, amounts: Mapping[Field, int], times: int = 1) -> None:
        """Book amounts at one time that count since another one."""
        add(self._booked.setdefault(at_ms, {}), amounts, times)
        times *= self._times
        add_to(self._to.by_minute, known_ms // MINUTE_MS, at_ms // MINUTE_MS, dict(amounts), times)
        add_to(self._to.by_day, self._day_of(known_ms), self._day_of(at_ms), dict(amounts), times)

    def _book_channel(self, at_ms: int, channel: str) -> None:
        if channel and channel != self._channel:
            amounts: dict[Field, int] = {f"{CHANNEL}{channel}": 1}
            if self._channel:
                amounts[f"{CHANNEL}{self._channel}"] = -1
            self._book(at_ms, self._first_ms, amounts)
            self._channel = channel

    def _book_reply(self, known_ms: int, begin_ms: int, end_ms: int) -> None:
        if self._first_wait_ms < 0:
            self._first_wait_ms = begin_ms
        seconds = self._waited(begin_ms, end_ms)
        self._book(known_ms, end_ms, _duration(REPLIES, REPLY_SECONDS, REPLY_BINS, seconds))
        if not self._has_reply:
            self._has_reply = True
            self._book(known_ms, end_ms, _duration(FIRST_REPLIES, FIRST_REPLY_SECONDS, FIRST_REPLY_BINS, seconds))

    def _note_wait(self, at_ms: int, waits_since_ms: int) -> None:
        """Change the ledger where somebody begins to wait or does so no more."""
        if waits_since_ms == self._waits_since_ms:
            return
        amounts: dict[Field, int] = {}
        for since_ms, count in ((self._waits_since_ms, -1), (waits_since_ms, 1)):
            if since_ms >= 0:
                add(amounts, {f"{WAITS_SINCE}{since_ms // SECOND_MS}": count})
        add(self._to.changes[self._day_of(at_ms)], amounts, self._times)
        add(self._to.ahead[at_ms // MINUTE_MS], amounts, self._times)
        if self._first_wait_ms < 0:
            self._first_wait_ms = waits_since_ms
        self._waits_since_ms = waits_since_ms

    def _book_resolution(self, at_ms: int, *, is_resolved: bool) -> None:
        """Take out the last resolution, and book this one."""
        if self._resolution is not None:
            place, amounts = self._resolution
            self._book(at_ms, place, amounts, -1)
            self._book(at_ms, self._first_ms, {RESOLVED: 1}, -1)
            self._resolution = None
        if is_resolved:
            began_ms = self._first_wait_ms if self._first_wait_ms >= 0 else self._first_ms
            amounts = _duration(RESOLUTIONS, RESOLUTION_SECONDS, RESOLUTION_BINS, (at_ms - began_ms) // SECOND_MS)
            self._book(at_ms, at_ms, amounts)
            self._book(at_ms, self._first_ms, {RESOLVED: 1})
            self._resolution = at_ms, amounts


def _duration(count: int, total: int, bins: int, seconds: int) -> dict[Field, int]:
    amounts: dict[Field, int] = {count: 1, bins + bin_of(seconds): 1}
    if seconds:
        amounts[total] = seconds
    return amounts
