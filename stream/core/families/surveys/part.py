"""The survey responses of one user. Each has an id, and its latest state counts.

A `retracted` response does not count. A response that is `shown` or `dismissed` has no answer. A response that was
shown stays counted as shown after it is answered. So the response ratio is a share of the responses shown in the
window: how many of them were completed.
"""

import msgspec

from stream.core.events import Answer
from stream.core.survey_scales import Kind, Status

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


class UserResponses(msgspec.Struct, gc=False):
    """The responses of one user."""

    by_id: dict[str, Response] = {}
    booked: dict[str, Response] | None = None  # what is in the totals, if they have changed since then; never stored


def state_of(answer: Answer) -> Response:
    """The state of a response according to an event."""
    return Response(
        answer.at_ms,
        answer.kind,
        answer.status,
        answer.score,
        answer.scale,
        answer.cxi_scores,
        answer.interaction_id,
        answer.at_ms if answer.status is Status.SHOWN else None,
    )


def latest_state(one: Response, other: Response) -> Response:
    """Of two states of a response the one that counts, with the earliest time at which the response was shown."""
    winner = max(one, other, key=_rank)
    shown = [at_ms for at_ms in (one.shown_ms, other.shown_ms) if at_ms is not None]
    shown_ms = min(shown, default=None)
    return winner if shown_ms == winner.shown_ms else msgspec.structs.replace(winner, shown_ms=shown_ms)


def _rank(state: Response) -> tuple[bool, int, int, tuple[bool, int], str]:
    # `shown` never replaces an answer, however late it is: often a server sends one and a client the other, and their
    # clocks differ. Of two states of the same time the one with the later status counts, then the one with the greater
    # score. Between states that are still equal the choice does not matter, but it must always be the same.
    score = (state.score is not None, state.score or 0)
    content = (state.kind.value, state.scale, state.cxi_scores, state.interaction_id)
    return (state.status is not Status.SHOWN, state.at_ms, _STATUS_RANK[state.status], score, repr(content))
