"""The conversations of one customer: all that was told of each, in order of time.

What is told of one id belongs to one conversation as long as no pause in it is longer than 90 days, or the longest
window, unless a customer waits meanwhile. What comes after a longer pause is another conversation of the same id.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

import msgspec

from stream.core.time import DAY_MS, MINUTE_MS

# A conversation is kept for so long after the last that was told of it, unless a window is longer.
SHORTEST_PAUSE_MS = 90 * DAY_MS


class Type(str, Enum):
    """What may happen in a conversation. Of things of one time the later one of this list comes later."""

    OPENED = "opened"
    CUSTOMER_MESSAGE = "customer_message"
    BOT_REPLY = "bot_reply"
    AGENT_REPLY = "agent_reply"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    DELETED = "deleted"

    @property
    def number(self) -> int:
        """Its place in the order, which is stored."""
        return _NUMBERS[self]


_NUMBERS = {type_: number for number, type_ in enumerate(Type)}
OPENED, CUSTOMER_MESSAGE, BOT_REPLY, AGENT_REPLY, RESOLVED, REOPENED, DELETED = range(len(Type))


class Message(NamedTuple):
    """What one event tells of a conversation."""

    at_ms: int
    type: int  # the number of its type
    channel: str  # empty if it is not told
    is_outbound: bool


Messages = tuple[Message, ...]  # in order


class UserConversations(msgspec.Struct, gc=False):
    """The conversations of one customer."""

    by_id: dict[str, Messages] = {}
    booked: dict[str, Messages] | None = None  # what the totals hold, if it has changed since then; never stored


class Standing:
    """How a conversation stands after those of its messages that were read so far.

    A message after a resolution may be a thank-you, so it begins no wait. If a reopening follows, it did: then all that
    came since the resolution is read again as if it had not been resolved.
    """

    def __init__(self) -> None:
        self.waits_since_ms = -1  # a customer waits since then; -1: nobody does
        self.is_resolved = False
        self.is_deleted = False
        self._since_resolution: list[Message] = []

    def read(self, message: Message) -> Iterator[tuple[int, int]]:
        """Read the next message. Yields each wait that an agent's reply has ended, from when until when."""
        type_ = message.type
        if self.is_deleted:
            return
        if type_ == DELETED:
            self.is_deleted, self.waits_since_ms = True, -1
        elif type_ == RESOLVED:
            self.is_resolved, self.waits_since_ms = True, -1
            self._since_resolution.clear()
        elif type_ == REOPENED:
            self.is_resolved = False
            for earlier in self._since_resolution:
                yield from self._read_unresolved(earlier)
            self._since_resolution.clear()
        elif self.is_resolved:
            self._since_resolution.append(message)
        else:
            yield from self._read_unresolved(message)

    def _read_unresolved(self, message: Message) -> Iterator[tuple[int, int]]:
        if message.type == AGENT_REPLY:
            if self.waits_since_ms >= 0:
                yield self.waits_since_ms, message.at_ms
                self.waits_since_ms = -1
        elif self.waits_since_ms < 0 and asks(message):
            self.waits_since_ms = message.at_ms


def longest_pause_ms(lengths: Iterable[int]) -> int:
    """The longest pause in a conversation in which nobody waits, where the windows have these lengths in minutes."""
    return max(SHORTEST_PAUSE_MS, max(lengths) * MINUTE_MS)


def asks(message: Message) -> bool:
    """Whether a customer asks for something."""
    return message.type == CUSTOMER_MESSAGE or (message.type == OPENED and not message.is_outbound)


def conversations(messages: Iterable[Message], pause_ms: int) -> Iterator[tuple[list[Message], Standing]]:
    """The conversations of one id, each with its messages and how it stands at its end."""
    found: list[Message] = []
    standing = Standing()
    for message in messages:
        if found and message.at_ms - found[-1].at_ms > pause_ms and standing.waits_since_ms < 0:
            yield found, standing
            found, standing = [], Standing()
        found.append(message)
        for _ in standing.read(message):
            """It is only of interest how the conversation stands."""
    if found:
        yield found, standing
