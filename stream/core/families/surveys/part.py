"""The survey responses of one user: each is upserted by its id, and its latest state counts.

`retracted` takes a response out. `shown` and `dismissed` are no answers. A response that was shown stays counted as
shown when it is answered, so that the response rate is a share: of those shown in the window, how many have completed.

States of one id are of one response as long as no two neighbours lie more than 90 days apart, or the longest window:
what is told later under the same id is of another response.
"""

import msgspec

from stream.core import reuse
from stream.core.events import Answer
from stream.core.reuse import Span
from stream.core.survey_scales import Kind, Status
from stream.core.time import DAY_MS

# States of one id that lie further apart are of two responses, where no window is longer: as with conversations.
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
    told: Span | None = None  # when the first and the last state were told, where these are not the times above

    def span(self) -> Span:
        """When the first and the last state of it were told."""
        if self.told is not None:
            return self.told
        at_ms, shown_ms = self.at_ms, self.shown_ms
        return (at_ms, at_ms) if shown_ms is None else (min(at_ms, shown_ms), max(at_ms, shown_ms))


class Responses(msgspec.Struct, gc=False):
    """The responses of one user."""

    by_id: dict[str, Response] = {}
    booked: dict[str, Response] | None = None  # while the totals don't hold them as they are now; never stored


def state_of(answer: Answer) -> Response:
    """The state of its response that an answer tells."""
    return Response(
        answer.at_ms,
        answer.kind,
        answer.status,
        answer.score,
        (answer.scale.lowest, answer.scale.highest),  # the same as it is when it was stored
        answer.cxi_scores,
        answer.interaction_id,
        answer.at_ms if answer.status is Status.SHOWN else None,
    )


def latest_state(one: Response, other: Response) -> Response:
    """The state that counts of two of the same response, with the earliest moment at which it was shown."""
    winner = max(one, other, key=_rank)
    shown = [at_ms for at_ms in (one.shown_ms, other.shown_ms) if at_ms is not None]
    shown_ms = min(shown, default=None)
    if shown_ms != winner.shown_ms:
        winner = msgspec.structs.replace(winner, shown_ms=shown_ms)
    told = reuse.of_both(one.span(), other.span())
    return winner if told == winner.span() else msgspec.structs.replace(winner, told=told)


def _rank(state: Response) -> tuple[bool, int, int, tuple[bool, int], str]:
    # What was only shown never takes an answer back: servers tell it, clients tell answers, and clocks differ. Of two
    # states of the same moment the further one counts, then the one with the greater score, and of what is still equal
    # any, but always the same one.
    score = (state.score is not None, state.score or 0)
    told = (state.kind.value, state.scale, state.cxi_scores, state.interaction_id)
    return (state.status is not Status.SHOWN, state.at_ms, _STATUS_RANK[state.status], score, repr(told))
