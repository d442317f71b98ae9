"""A family for tests only: which toys children play with, and how often they break.

It is complete: it has messages of its own, an event, a part of the row, windows, a ring, closed days, and a share with
its interval. It shows that a family is one module and one line in the list, because nothing in `stream/` names it.
`tests/toy_engagement.py` is `engagement` with this family.
"""

from collections.abc import Iterator, Mapping

import msgspec

from stream.core.events import Event
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.messages import Message, MessageKind, identity_of
from stream.core.metrics import WINDOW, Metric
from stream.core.rejections import Reason, Rejected
from stream.core.samples import Sample, share
from stream.core.snapshot import Sums
from stream.core.time import DAY_MS, MINUTE_MS
from stream.core.windows import Windows

# The fields of tallies.
PLAYED, BROKEN = 1, 2

METRICS = (
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
    Metric("engagement_toy_players_closed", "Users who played, on complete local days.", WINDOW, unit="users"),
)


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
    """What one user has played with: the toys that may be sent again, and the days."""

    toys: dict[int, int] = {}  # by identity: the time in milliseconds, negative when the toy broke
    days: list[int] = []  # in order
    unbooked: list[int] = []  # the times that the totals don't hold yet; never stored
    booked_days: list[int] | None = None  # while the totals don't hold the days as they are now; never stored


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The form in which plays are stored in a row."""

    toys: dict[int, int]
    days: list[int]


_decode = msgspec.msgpack.Decoder(Stored).decode


class ToysFamily(Family[Plays]):
    """Toys in windows of event time."""

    name = "toys"
    number = 1_000
    windows = Windows("toys", ("1h", "1d", "7d"), "of toys")
    metrics = METRICS
    message_kinds = (MessageKind("toys", PlayMessage, event_of),)
    has_closed_days = True

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Played: one_by_one(self.apply_play)}

    def apply_play(self, part: Plays, play: Played, now: int) -> bool:
        """Count a toy unless it is known already."""
        if play.identity in part.toys:
            return False
        if part.booked_days is None:
            part.booked_days = list(part.days)
            self.changed.append(part)
        at_ms = part.toys[play.identity] = -play.at_ms if play.broke else play.at_ms
        part.unbooked.append(at_ms)
        part.days = sorted({*part.days, self.rules.days.day_of(play.at_ms)})
        return True

    def new(self) -> Plays:
        return Plays()

    def decode(self, stored: msgspec.Raw) -> Plays:
        kept = _decode(stored)
        return Plays(kept.toys, kept.days)

    def stored(self, part: Plays) -> object:
        return (part.toys, part.days) if part.days else None

    def prune(self, part: Plays, horizon: Horizon) -> None:
        gone = [identity for identity, at_ms in part.toys.items() if abs(at_ms) < horizon.before_ms]
        for identity in gone:
            del part.toys[identity]

    def last_ms(self, part: Plays) -> int:
        return max(max(map(abs, part.toys.values()), default=0), max(part.days, default=0) * DAY_MS)

    def book(self, parts: list[Plays]) -> None:
        assert self.ledger is not None
        for part in parts:
            for at_ms in part.unbooked:
                self.ring.count(abs(at_ms) // MINUTE_MS, {PLAYED: 1, BROKEN: 1} if at_ms < 0 else {PLAYED: 1})
            self.ledger.book(part.booked_days or [], part.days)
            part.unbooked, part.booked_days = [], None

    def live(self, sums: Sums) -> Iterator[Sample]:
        for window, length in self.lengths.items():
            tally, labels = sums.live.get(length, {}), {"window": window}
            played, broken = tally.get(PLAYED, 0), tally.get(BROKEN, 0)
            yield Sample("engagement_toys_played", labels, played)
            yield Sample("engagement_toys_broken", labels, broken)
            yield from share("engagement_toys_broken_ratio", labels, broken, played)

    def closed(self, sums: Sums, day: int) -> Iterator[Sample]:
        for length, users in sorted(sums.closed[day].items()):
            yield Sample("engagement_toy_players_closed", {"window": f"{length}d"}, users)
