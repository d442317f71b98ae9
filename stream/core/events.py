"""The events that the readers of inputs make and that the families process.

An event says who did what and when. It does not say where it came from. A new kind of event is defined here, or in the
module of its family if no other family processes it.
"""

from typing import ClassVar, final

import msgspec

from stream.core.account_changes import Change
from stream.core.rejections import LeftOut, Reason
from stream.core.segments import NO_ATTRIBUTES, AttributeValues
from stream.core.survey_scales import SCALES, Kind, Scale, Status


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """One thing that a user did.

    An event may be encoded for another partition: as the name of its type and the values of its fields, in their order
    (`kafka.forwarded_batches`). Workers are updated one by one, so a new field comes last and has a default value, and
    no field changes its place or its type. `tests/kafka/test_forwarded_batches.py` has the form of each event.
    """

    has_start_time: ClassVar[bool] = False  # whether it has an earlier time too, which may be late by itself
    has_reference: ClassVar[bool] = False  # whether it may have a reference by which its user can be found

    user: str
    at_ms: int
    is_bot: bool

    def without_late_start(self, before_ms: int) -> "Event":
        """The event, without its start time if that is before `before_ms` and so too late to be applied."""
        return self

    def user_reference(self) -> str | None:
        """The reference by which a later message may refer to the user of this event."""
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
    prompted: bool | None  # whether a push message, a mail or an ad has brought the user; None if unknown
    engaged_ms: int | None
    segments: AttributeValues
    is_custom: bool = False  # whether it is an event by a name of its own: no view, heartbeat, start or end


class Summary(Event, frozen=True, gc=False):
    """A whole session in one event. A higher revision replaces it. Its time is the end of the session."""

    has_start_time: ClassVar[bool] = True

    session_id: str
    started_ms: int
    page_views: int
    key_events: int
    engaged_ms: int | None
    revision: int
    prompted: bool | None
    segments: AttributeValues
    start_is_late: bool = False  # then the user does not count as active at the start

    def without_late_start(self, before_ms: int) -> "Summary":
        return self if self.started_ms >= before_ms else msgspec.structs.replace(self, start_is_late=True)


class Login(Event, frozen=True, gc=False):
    """One attempt to log in. After a failed one the user does not count as active."""

    identity: int
    success: bool
    segments: AttributeValues


class Answer(Event, frozen=True, gc=False):
    """One state of one survey response; the latest state of a response counts."""

    has_reference: ClassVar[bool] = True

    response_id: str
    kind: Kind
    status: Status
    score: int | None  # reversed if a high score is bad on the scale, so that a high one is always good
    scale: Scale
    cxi_scores: tuple[int, int, int, int] | None
    interaction_id: str | None
    name: str | None = None  # the reference: a later message may have it instead of the user
    segments: AttributeValues = NO_ATTRIBUTES

    def user_reference(self) -> str | None:
        return self.name


class AccountChange(Event, frozen=True, gc=False):
    """Something that happened to an account: a sign-up, a step of onboarding, a subscription, a membership."""

    change: Change
    step: str  # of onboarding; empty otherwise
    effective_ms: int  # from when on a cancellation counts; the time of the event otherwise
    segments: AttributeValues


class FeatureUsed(Event, frozen=True, gc=False):
    """A feature of the product was used."""

    identity: int  # two uses with the same one are the same use sent twice
    feature: str
    is_interactive: bool  # whether a person used it
    segments: AttributeValues


class SignUps(Event, frozen=True, gc=False):
    """When a user signed up, as it follows from the changes of the account. Only one family passes it to another one.

    Nothing changes about sign-ups before `at_ms`, and they may be missing here if they are not kept any more.
    """

    signed_up_ms: tuple[int, ...]


class EventWithoutUser(Event, frozen=True, gc=False):
    """An event that does not say whose it is: its `user` is empty, and `reference` is to be looked up.

    If there are `users`, the user is the first of them whose stored part has the `reference`, or else the last one.
    Otherwise it is the user of the earlier event that had this `user_reference`.
    """

    reference: str
    users: tuple[str, ...] = ()

    def with_user(self, user: str) -> Event:
        """The event of this user."""
        raise NotImplementedError

    def unknown_user(self) -> tuple[Reason, str]:
        """Why the event is refused if no user has this reference: the reason and a text."""
        raise NotImplementedError


class ResponseRemoved(EventWithoutUser, frozen=True, gc=False):
    """A null message retracts a survey response. The `reference` is the id of the response."""

    def with_user(self, user: str) -> Answer:
        return retraction(user, self.reference, at_ms=self.at_ms)

    def unknown_user(self) -> tuple[Reason, str]:
        detail = (
            f"a null message with key {self.reference!r}: no response of that id is known, nor a header `response_id`"
        )
        return Reason.NO_RESPONSE, detail


def retraction(user: str, response_id: str, *, at_ms: int) -> Answer:
    """The event that retracts a survey response."""
    return Answer(user, at_ms, False, response_id, Kind.CSAT, Status.RETRACTED, None, SCALES[Kind.CSAT], None, None)


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """A part of a message that can't be used."""

    event_index: int  # the position in the message, from 0
    reason: Reason
    detail: str


@final
class MultipleEvents(msgspec.Struct, frozen=True, gc=False):
    """What a message is read as that is not exactly one event: its events, unusable parts, and what is left out."""

    events: tuple[tuple[int, Event], ...]  # each with its position in the message, from 0
    rejections: tuple[Rejection, ...] = ()
    left_out: tuple[LeftOut, ...] = ()  # a word for each thing that it tells and no family counts
