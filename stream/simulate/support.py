"""Simulate the conversations of users with support.

A conversation begins on a visit, more often if its user is dissatisfied. A bot answers a chat at once, which helps
nobody who waits; then an agent does, soon in chats and later by mail, and several times later at night and at weekends
of the user's region; a few conversations are overlooked for a day or two. After a few messages most are resolved, and
some of these are reopened. A few are deleted, or merged into another one of the same user. In some we write first.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, starmap
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from stream.simulate.messages import SimulatedEvent, Visit, time_text
from stream.simulate.population import DAY_MS, hash_trait
from stream.simulate.steps import Visits

CONTACTS_TOPIC = "contacts"

_SECOND_MS, _MINUTE_MS, _HOUR_MS = 1_000, 60_000, 3_600_000

# A conversation begins on so many of the visits of a satisfied user, and on this many more for each point that
# satisfaction, from 0 to 1, is below this one.
ASKS_SHARE, ASKS_MORE, CONTENT = 0.012, 0.25, 0.85


class Channel(NamedTuple):
    """A way to reach support: who chooses it, how long half of the first replies take, and whether a bot is there."""

    name: str
    share: float
    median_ms: int
    has_bot: bool = False


CHANNELS = (
    Channel("chat", 0.5, 4 * _MINUTE_MS, has_bot=True),
    Channel("mail", 0.35, 75 * _MINUTE_MS),
    Channel("in_app", 0.15, 20 * _MINUTE_MS),
)
_BOUNDS = list(accumulate(channel.share for channel in CHANNELS))

DESK_OPENS, DESK_CLOSES = 8, 19  # local hours of working days; then agents are few
FEW_AGENTS = 5.0  # by so much replies take longer then
SLOW = 6.0  # and in the scenario 'support', whenever they are
_SPREAD = 0.8  # of the logarithm of the time of a reply
OVERLOOKED_SHARE, _OVERLOOKED_AT_LEAST_MS = (
    0.04,
    12 * _HOUR_MS,
)  # of the conversations, in which the first reply is late
MAX_REPLY_MS = 2 * DAY_MS
_LATER_REPLIES = 0.6  # how long these take, compared with the first

BOT_SHARE = 0.75  # of the chats, in which a bot replies at once
OUTBOUND_SHARE, DELETED_SHARE, MERGED_SHARE = 0.04, 0.02, 0.02
BOT_RESOLVES_SHARE = 0.06  # of the chats with a bot: no agent is needed
RESOLVED_SHARE, THANKS_SHARE, REOPENED_SHARE = 0.88, 0.25, 0.1
_WRITES_AGAIN_SHARES = (0.55, 0.4)  # customers who have another question, and then one more

# The longest time from the first to the last event: three replies, then resolved, reopened, a reply, resolved again.
MAX_CONVERSATION_MS = 11 * DAY_MS
_DRAWS = 20


class _Conversation:
    """The events of one conversation while it is made, and the time of its next one."""

    def __init__(self, visit: Visit, channel: Channel, suffix: str = "") -> None:
        self.events: list[SimulatedEvent] = []
        self.visit = visit
        self.channel = channel
        self.id = f"{visit.session_id}{suffix}"
        self.now_ms = visit.start_ms

    def tell(self, type_: str, after_ms: int, more: str = "") -> None:
        """Add an event so long after the one before."""
        visit, serial = self.visit, len(self.events)
        self.now_ms += after_ms
        # Half of the producers tell the channel with each message, the others when a conversation begins.
        channel = f'"channel":"{self.channel.name}",' if not serial or visit.number % 2 else ""
        value = (
            f'{{"type":"{type_}","conversation_id":"{self.id}",{channel}{more}"user_id":"{visit.key}",'
            f'"event_time":{time_text(visit, self.now_ms)},"event_id":"{self.id}-contact-{serial}"}}'
        )
        arrives_ms = self.now_ms + visit.delay_ms
        self.events.append(SimulatedEvent(self.now_ms, arrives_ms, CONTACTS_TOPIC, visit.key, value.encode(), ""))

    def reply_after_ms(self, luck: float, share: float, slow_since_ms: int | None) -> int:
        """How long an agent takes to reply to what was just written."""
        local_ms = self.now_ms + self.visit.offset_ms
        hour, weekday = local_ms // _HOUR_MS % 24, (local_ms // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
        is_open = weekday < 5 and DESK_OPENS <= hour < DESK_CLOSES
        is_slow = slow_since_ms is not None and self.now_ms >= slow_since_ms
        factor = (1 if is_open else FEW_AGENTS) * (SLOW if is_slow else 1)
        usual = share * self.channel.median_ms * float(np.exp(_SPREAD * NormalDist().inv_cdf(0.001 + 0.998 * luck)))
        return min(int(factor * usual), MAX_REPLY_MS)


def events_of_contacts(
    rows: Visits, rng: np.random.Generator, *, slow_since_ms: int | None
) -> Iterator[SimulatedEvent]:
    """Yield the events of all conversations that begin on visits, up to `MAX_CONVERSATION_MS` after these."""
    chance = ASKS_SHARE + ASKS_MORE * np.maximum(CONTENT - rows["satisfaction"], 0)
    asking = rows[~rows["anonymous"] & (hash_trait(rows["ref"], 100) < chance)]
    luck = rng.random((len(asking), _DRAWS))
    for visit, drawn in zip(starmap(Visit, asking.tolist()), luck.tolist(), strict=True):
        yield from _conversation(visit, iter(drawn), slow_since_ms)


def _conversation(visit: Visit, luck: Iterator[float], slow_since_ms: int | None) -> list[SimulatedEvent]:
    channel = CHANNELS[min(bisect_right(_BOUNDS, next(luck)), len(CHANNELS) - 1)]
    one, fate = _Conversation(visit, channel), next(luck)
    has_bot = _begin(one, luck, is_outbound=fate < OUTBOUND_SHARE)
    if fate > 1 - DELETED_SHARE:
        one.tell("deleted", _HOUR_MS)
    elif has_bot and next(luck) < BOT_RESOLVES_SHARE:
        one.tell("resolved", 3 * _MINUTE_MS)
    else:
        _talk(one, luck, slow_since_ms)
        _end(one, luck, slow_since_ms)
        if fate > 1 - DELETED_SHARE - MERGED_SHARE:
            return one.events + _merged(visit, one)
    return one.events


def _begin(one: _Conversation, luck: Iterator[float], *, is_outbound: bool) -> bool:
    """Open a conversation, so that its customer waits. Returns whether a bot has replied."""
    one.tell("opened", _MINUTE_MS, '"outbound":true,' if is_outbound else "")
    if is_outbound:
        one.tell("agent_reply", 2 * _SECOND_MS)
        one.tell("customer_message", _MINUTE_MS + int(next(luck) * 5 * _HOUR_MS))
        return False
    if one.channel.has_bot and next(luck) < BOT_SHARE:
        one.tell("bot_reply", 4 * _SECOND_MS)
        return True
    return False


def _talk(one: _Conversation, luck: Iterator[float], slow_since_ms: int | None) -> None:
    """The first reply of an agent, and those to what the customer still asks."""
    drawn = next(luck)
    after_ms = one.reply_after_ms(drawn, 1, slow_since_ms)
    if drawn > 1 - OVERLOOKED_SHARE:
        late = (drawn - 1 + OVERLOOKED_SHARE) / OVERLOOKED_SHARE
        after_ms = max(after_ms, _OVERLOOKED_AT_LEAST_MS + int(late * (MAX_REPLY_MS - _OVERLOOKED_AT_LEAST_MS)))
    one.tell("agent_reply", after_ms)
    for share in _WRITES_AGAIN_SHARES:
        if next(luck) >= share:
            break
        one.tell("customer_message", _MINUTE_MS + int(next(luck) * 40 * _MINUTE_MS))
        one.tell("agent_reply", one.reply_after_ms(next(luck), _LATER_REPLIES, slow_since_ms))


def _end(one: _Conversation, luck: Iterator[float], slow_since_ms: int | None) -> None:
    """What becomes of a conversation in which an agent has said the last word."""
    if next(luck) >= RESOLVED_SHARE:
        return
    one.tell("resolved", 2 * _MINUTE_MS + int(next(luck) * 3 * _HOUR_MS))
    after = next(luck)
    if after < REOPENED_SHARE:
        one.tell("customer_message", _HOUR_MS + int(next(luck) * 30 * _HOUR_MS))
        one.tell("reopened", _SECOND_MS)
        one.tell("agent_reply", one.reply_after_ms(next(luck), _LATER_REPLIES, slow_since_ms))
        one.tell("resolved", 10 * _MINUTE_MS)
    elif after < REOPENED_SHARE + THANKS_SHARE:
        one.tell("customer_message", 5 * _MINUTE_MS)


def _merged(visit: Visit, into: _Conversation) -> list[SimulatedEvent]:
    """The events of a mail about the same thing, which an agent merges into the other conversation."""
    mail = _Conversation(visit, CHANNELS[1], "-mail")
    mail.tell("opened", 6 * _MINUTE_MS)
    mail.tell("deleted", 2 * _HOUR_MS, f'"merged_into":"{into.id}",')
    return mail.events
