"""A family for tests only: which toys children play with, and how often they break.

It is complete: it has messages of its own, an event, a part of the row, windows, live numbers and their closed twins,
users who are counted once, and a share with its interval. It shows that a family is one module and one line in the
list, because nothing in `stream/` names it. `tests/toy_engagement.py` is `engagement` with this family.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream.core.events import Event
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.messages import Message, MessageKind, identity_of
from stream.core.metrics import WINDOW, Metric, closed_twins
from stream.core.rejections import Reason, Rejected
from stream.core.ring import latest_bookings
from stream.core.samples import Labels, Sample, share
from stream.core.time import MINUTE_MS
from stream.core.windows import Windows

# The fields of tallies.
PLAYED, BROKEN, PLAYERS = 1, 2, 3

_PLAYER = {PLAYERS: 1}

_LIVE = (
    Metric("engagement_toys_played", "Toys played with.", WINDOW, unit="toys"),
    Metric("engagement_toys_broken", "Toys that broke while played with.", WINDOW, unit="toys"),
    Metric(
        "engagement_toys_broken_ratio",
        "Share of the toys played with that broke.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_toys_broken", "engagement_toys_played"),
    ),
    Metric("engagement_toy_players", "Users who played.", WINDOW, unit="users"),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))


class PlayMessage(Message, gc=False, kw_only=True):
    """A message of the kind `toys`."""

    toy: str
    broke: bool = False


class Played(Event, frozen=True, gc=False):
    """A user played with a toy."""

    identity: int
    broke: bool


def event_of(message: PlayMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Played:
    """The event of a message. Raises Rejected."""
    if not message.toy:
        raise Rejected(Reason.OUT_OF_RANGE, "`$.toy` is empty")
    return Played(user, at_ms, is_bot, identity_of(at_ms, message.toy, message.broke), message.broke)


class Plays(msgspec.Struct, gc=False):
    """What one user has played with: the toys that may be sent again, and when."""

    toys: dict[int, int] = {}  # by identity: the time in milliseconds, negative when the toy broke
    minutes: list[int] = []  # in order
    unbooked: list[int] = []  # the times that the totals don't hold yet; never stored
    booked: list[int] | None = None  # while the totals don't hold the minutes as they are now; never stored


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The form in which plays are stored in a row."""

    toys: dict[int, int]
    minutes: list[int]


_decode = msgspec.msgpack.Decoder(Stored).decode


def amounts_of(at_ms: int) -> dict[int, int]:
    """What a play adds; its time is negative when the toy broke."""
    return {PLAYED: 1, BROKEN: 1} if at_ms < 0 else {PLAYED: 1}


class ToysFamily(Family[Plays]):
    """Toys in windows of event time."""

    name = "toys"
    number = 1_000
    windows = Windows("toys", ("1h", "1d", "7d"), "of toys")
    metrics = METRICS
    message_kinds = (MessageKind("toys", PlayMessage, event_of),)

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Played: one_by_one(self.apply_play)}

    def apply_play(self, part: Plays, play: Played, now: int) -> bool:
        """Count a toy unless it is known already."""
        if play.identity in part.toys:
            return False
        if part.booked is None:
            part.booked = list(part.minutes)
            self.changed.append(part)
        at_ms = part.toys[play.identity] = -play.at_ms if play.broke else play.at_ms
        part.unbooked.append(at_ms)
        part.minutes = sorted({*part.minutes, play.at_ms // MINUTE_MS})
        return True

    def new(self) -> Plays:
        return Plays()

    def decode(self, stored: msgspec.Raw) -> Plays:
        kept = _decode(stored)
        return Plays(kept.toys, kept.minutes)

    def stored(self, part: Plays) -> object:
        return (part.toys, part.minutes) if part.minutes else None

    def prune(self, part: Plays, horizon: Horizon) -> None:
        gone = [identity for identity, at_ms in part.toys.items() if abs(at_ms) < horizon.before_ms]
        for identity in gone:
            at_ms = part.toys.pop(identity)
            self.remember(abs(at_ms) // MINUTE_MS, amounts_of(at_ms))

    def take_out(self, part: Plays) -> None:
        for at_ms in part.toys.values():
            self.count(abs(at_ms) // MINUTE_MS, amounts_of(at_ms), -1)
        self._book_player(part.minutes, -1)

    def last_ms(self, part: Plays) -> int:
        return max(part.minutes, default=0) * MINUTE_MS

    def book(self, parts: list[Plays]) -> None:
        for part in parts:
            for at_ms in part.unbooked:
                self.count(abs(at_ms) // MINUTE_MS, amounts_of(at_ms))
            self._book_player(part.booked or [], -1)
            self._book_player(part.minutes, 1)
            part.unbooked, part.booked = [], None

    def _book_player(self, minutes: list[int], times: int) -> None:
        if minutes:
            self.ring.book(latest_bookings(minutes, _PLAYER), times=times)
            self.days.book(latest_bookings([self.day_of_minute(minute) for minute in minutes], _PLAYER), times=times)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        played, broken = tally.get(PLAYED, 0), tally.get(BROKEN, 0)
        yield Sample("engagement_toys_played", labels, played)
        yield Sample("engagement_toys_broken", labels, broken)
        yield from share("engagement_toys_broken_ratio", labels, broken, played)
        yield Sample("engagement_toy_players", labels, tally.get(PLAYERS, 0))
