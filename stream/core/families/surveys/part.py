"""The survey responses of one user. Each has an id, and its latest state counts.

A `retracted` response does not count. A response that is `shown` or `dismissed` has no answer. A response that was
shown stays counted as shown after it is answered. So the response ratio is a share of the responses shown in the
window: how many of them were completed.

Events with one id belong to one response as long as no two neighbours are further apart than 90 days, or the longest
window. What comes after a longer pause is another response with the same id.

A closed day says what a response was at its end. So a state that another one takes the place of on a later day is kept
with it.
"""

from collections.abc import Callable

import msgspec

from stream.core import reuse
from stream.core.events import Answer
from stream.core.reuse import TimeSpan
from stream.core.segments import NO_ATTRIBUTES, AttributeValues
from stream.core.survey_scales import Kind, Status
from stream.core.time import DAY_MS

# Events of one id that are further apart belong to two responses, unless a window is longer. It is the longest default
# window of surveys, and what the contract says of conversations.
SHORTEST_PAUSE_MS = 90 * DAY_MS

_STATUS_RANK = {status: rank for rank, status in enumerate(Status)}


class Response(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The latest state of one response."""

    at_ms: int
    kind: Kind
    status: Status
    score: int | None = None
    scale: tuple[int, int] = (0, 0)
    cxi_scores: tuple[int, int, int, int] | None = None
    interaction_id: str | None = None
    shown_ms: int | None = None
    values: AttributeValues = NO_ATTRIBUTES  # of segments, by its own message
    earlier: tuple["Response", ...] = ()  # what it was at the end of earlier days, in order of time
    told: TimeSpan | None = None  # the times of its first and its last event, if they are not among those above

    def span(self) -> TimeSpan:
        """The times of its first and its last event."""
        if self.told is not None:
            return self.told
        at_ms, shown_ms = self.at_ms, self.shown_ms
        return (at_ms, at_ms) if shown_ms is None else (min(at_ms, shown_ms), max(at_ms, shown_ms))


class UserResponses(msgspec.Struct, gc=False):
    """The responses of one user."""

    by_id: dict[str, Response] = {}
    booked: dict[str, Response] | None = None  # what is in the totals, if they have changed since then; never stored


def state_of(answer: Answer, counted: Callable[[AttributeValues], AttributeValues]) -> Response:
    """The state of a response according to an event. `counted` returns those values of segments that count."""
    return Response(
        answer.at_ms,
        answer.kind,
        answer.status,
        answer.score,
        (answer.scale.lowest, answer.scale.highest),  # the same as it is when it was stored
        answer.cxi_scores,
        answer.interaction_id,
        answer.at_ms if answer.status is Status.SHOWN else None,
        counted(answer.segments),
    )


def latest_state(one: Response, other: Response, is_same_day: Callable[[int, int], bool]) -> Response:
    """Of two states of a response the one that counts, with the earliest time at which the response was shown.

    With it are kept those states that were the latest at the end of an earlier day.
    """
    shown = [at_ms for at_ms in (one.shown_ms, other.shown_ms) if at_ms is not None]
    shown_ms = min(shown, default=None)
    ranked = sorted((*one.earlier, _alone(one), *other.earlier, _alone(other)), key=_rank)
    kept = [ranked[-1]]
    for state in reversed(ranked[:-1]):
        if state.at_ms < kept[-1].at_ms and not is_same_day(state.at_ms, kept[-1].at_ms):
            kept.append(state)
    told = reuse.of_both(one.span(), other.span())
    after = msgspec.structs.replace(kept[0], shown_ms=shown_ms, earlier=tuple(reversed(kept[1:])))
    return after if told == after.span() else msgspec.structs.replace(after, told=told)


def _alone(state: Response) -> Response:
    """A state by what its own event told."""
    if not state.earlier and state.shown_ms is None and state.told is None:
        return state
    return msgspec.structs.replace(state, shown_ms=None, earlier=(), told=None)


def as_of(response: Response, day: int, day_of: Callable[[int], int]) -> Response | None:
    """What a response was at the end of a day; None when nothing had been told of it."""
    shown_ms = response.shown_ms
    if shown_ms is not None and day_of(shown_ms) > day:
        shown_ms = None
    for state in (response, *reversed(response.earlier)):
        if day_of(state.at_ms) <= day:
            return msgspec.structs.replace(state, shown_ms=shown_ms, earlier=(), told=None)
    return None


def days_told(response: Response, day_of: Callable[[int], int]) -> list[int]:
    """The days on which something was told of a response, as far as it made a difference."""
    shown = [] if response.shown_ms is None else [day_of(response.shown_ms)]
    return [*shown, *(day_of(state.at_ms) for state in (*response.earlier, response))]


def _rank(state: Response) -> tuple[bool, int, int, tuple[bool, int], str]:
    # `shown` never replaces an answer, however late it is: often a server sends one and a client the other, and their
    # clocks differ. Of two states of the same time the one with the later status counts, then the one with the greater
    # score. Between states that are still equal the choice does not matter, but it must always be the same.
    score = (state.score is not None, state.score or 0)
    content = (state.kind.value, state.scale, state.cxi_scores, state.interaction_id, state.values)
    return (state.status is not Status.SHOWN, state.at_ms, _STATUS_RANK[state.status], score, repr(content))
