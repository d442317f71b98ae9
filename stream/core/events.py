"""What can happen: the events that readers of inputs make, and that families hear.

An event says who, when and what; it does not say where it came from. A family that is told something nobody told before
adds its event here, or beside itself when no other family hears it.
"""

from typing import ClassVar, final

import msgspec

from stream.core.rejections import Reason
from stream.core.segments import NOT_TOLD, Values
from stream.core.survey_scales import SCALES, Kind, Scale, Status


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that a user did."""

    tells_earlier: ClassVar[bool] = False  # whether it tells of an earlier moment too, which may be late by itself
    leaves_name: ClassVar[bool] = False  # whether its user can be found by a name that it carries

    user: str
    at_ms: int
    is_bot: bool

    def without_late(self, before_ms: int) -> "Event":
        """The event without what it tells of moments before `before_ms`, which are too late to be applied."""
        return self

    def left_name(self) -> str | None:
        """The name by which a later message may mean the user of this event."""
        return None


class Step(Event, frozen=True, gc=False):
    """One step of a session: a view, a heartbeat, a start or an end."""

    identity: int  # two steps with the same one are the same step sent twice
    session_id: str | None
    is_view: bool
    is_end: bool
    is_key_event: bool
    is_interactive: bool
    in_session: bool
    prompted: bool | None  # whether a push, a mail or an ad has brought the user; None where nothing is said
    engaged_ms: int | None
    segments: Values


class Summary(Event, frozen=True, gc=False):
    """A whole session, told at once; a higher revision corrects it. Its time is its end."""

    tells_earlier: ClassVar[bool] = True

    session_id: str
    started_ms: int
    page_views: int
    key_events: int
    engaged_ms: int | None
    revision: int
    prompted: bool | None
    segments: Values
    start_is_late: bool = False  # then it makes nobody active at its start

    def without_late(self, before_ms: int) -> "Summary":
        return self if self.started_ms >= before_ms else msgspec.structs.replace(self, start_is_late=True)


class Login(Event, frozen=True, gc=False):
    """One attempt to log in. A failed one makes nobody active."""

    identity: int
    success: bool
    segments: Values


class Answer(Event, frozen=True, gc=False):
    """One state of one survey response; the latest state of a response counts."""

    leaves_name: ClassVar[bool] = True

    response_id: str
    kind: Kind
    status: Status
    score: int | None  # turned round where the scale says that high is bad
    scale: Scale
    cxi_scores: tuple[int, int, int, int] | None
    interaction_id: str | None
    name: str | None = None  # what a later message may name instead of the user
    segments: Values = NOT_TOLD

    def left_name(self) -> str | None:
        return self.name


class Nameless(Event, frozen=True, gc=False):
    """Something that is told without saying of whom; `user` is empty.

    The user is the first of `users` who has the `thing`, else the last of them; or, where there are none, the one whose
    earlier event left the name `thing`.
    """

    thing: str
    users: tuple[str, ...] = ()

    def of(self, user: str) -> Event:
        """The event, now that the user is known."""
        raise NotImplementedError

    def unknown(self) -> tuple[Reason, str]:
        """Why the event is refused when nobody left that name: the reason and a text."""
        raise NotImplementedError


class ResponseRemoved(Nameless, frozen=True, gc=False):
    """A survey response, the `thing`, is taken back by a null message."""

    def of(self, user: str) -> Answer:
        return retraction(user, self.thing, at_ms=self.at_ms)

    def unknown(self) -> tuple[Reason, str]:
        told = f"a null message with key {self.thing!r}: no response of that id is known, nor a header `response_id`"
        return Reason.NO_RESPONSE, told


def retraction(user: str, response_id: str, *, at_ms: int) -> Answer:
    """A survey response is taken back."""
    return Answer(user, at_ms, False, response_id, Kind.CSAT, Status.RETRACTED, None, SCALES[Kind.CSAT], None, None)


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A part of a message that can't be used."""

    place: int  # which of the things that the message tells, from 0
    reason: Reason
    detail: str


@final
class Several(msgspec.Struct, frozen=True, gc=False):
    """What a message tells that tells more than one thing: events, parts that can't be used, or both."""

    events: tuple[tuple[int, Event], ...]  # with the place of each in the message, from 0
    rejections: tuple[Rejection, ...] = ()


def encode_event(event: Event) -> bytes:
    """An event as bytes, for another partition of the same deployment."""
    return msgspec.msgpack.encode((type(event).__name__, event))


def decode_event(value: bytes, types: dict[str, type[Event]]) -> Event:
    """An event that another partition has encoded. `types` are those that are heard, by name."""
    name, content = msgspec.msgpack.decode(value, type=tuple[str, msgspec.Raw])
    return msgspec.msgpack.decode(content, type=types[name])
