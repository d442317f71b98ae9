"""What people say: CSAT, NPS, CES and CXI.

A response is upserted by its id, scoped by user: its latest state counts, and `retracted` takes it out. Of NPS answers
the latest of each user counts, of CSAT and CES answers the latest of each interaction; the others are superseded, which
is a booking *until*. `shown` and `dismissed` are no answers. A response that was shown stays counted as shown when it
is answered, so that the response rate is a share: of those shown in the window, how many have completed.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from stream.core import fields
from stream.core.events import Answer
from stream.core.ring import Booking, successive
from stream.core.survey_scales import DIMENSIONS, SCALES, UNITS, Kind, Scale, Status
from stream.core.time import MINUTE_MS

_STATUS_RANK = {status: rank for rank, status in enumerate(Status)}

# The top two boxes are the satisfied ones.
_TOP_BOXES = 2
# 5 to 7 of 7 is easy, 4 to 5 of 5: the rescaled answer is 5 or more.
_EASY_UNITS = 5 * UNITS


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


Responses = dict[str, Response]


def with_answer(responses: Responses, answer: Answer) -> Responses:
    """The responses after one more state, or the very same when nothing changes."""
    new = Response(
        answer.at_ms,
        answer.kind,
        answer.status,
        answer.score,
        answer.scale,
        answer.cxi_scores,
        answer.interaction_id,
        answer.at_ms if answer.status is Status.SHOWN else None,
    )
    old = responses.get(answer.response_id)
    if old is not None:
        new = _latest(old, new)
        if new == old:
            return responses
    return {**responses, answer.response_id: new}


def _latest(one: Response, other: Response) -> Response:
    winner = max(one, other, key=_rank)
    shown = [at_ms for at_ms in (one.shown_ms, other.shown_ms) if at_ms is not None]
    shown_ms = min(shown, default=None)
    return winner if shown_ms == winner.shown_ms else msgspec.structs.replace(winner, shown_ms=shown_ms)


def _rank(state: Response) -> tuple[bool, int, int, str]:
    # What was only shown never takes an answer back: servers tell it, clients tell answers, and clocks differ. Of two
    # states of the same moment the further one counts, and of two of those any, but always the same one.
    told = (state.kind.value, state.score, state.scale, state.cxi_scores, state.interaction_id)
    return (state.status is not Status.SHOWN, state.at_ms, _STATUS_RANK[state.status], repr(told))


def settled(responses: Responses, *, before_ms: int) -> Responses:
    """Forget responses older than any window and any late event."""
    if all(response.at_ms >= before_ms for response in responses.values()):
        return responses
    return {name: response for name, response in responses.items() if response.at_ms >= before_ms}


def bookings(responses: Mapping[str, Response]) -> list[Booking]:
    """What one user's responses contribute."""
    booked = []
    succession: dict[tuple[Kind, str], list[tuple[int, str, Mapping[int, int]]]] = {}
    for name, response in responses.items():
        kind, status = response.kind, response.status
        if status is Status.RETRACTED:
            continue
        if response.shown_ms is not None:
            booked.append(Booking(response.shown_ms // MINUTE_MS, _shown_amounts(kind, status)))
        group = _superseded_by(response)
        told = (kind, status, response.score, response.scale, response.cxi_scores)
        if group is None:
            booked.append(Booking(response.at_ms // MINUTE_MS, _response_amounts(*told)))
        else:
            booked.append(Booking(response.at_ms // MINUTE_MS, _status_amounts(kind, status)))
            answer = _answer_amounts(*told)
            if answer:
                succession.setdefault((kind, group), []).append((response.at_ms, name, answer))
    for answers in succession.values():
        answers.sort(key=lambda answer: answer[:2])
        booked.extend(successive([(at_ms // MINUTE_MS, amounts) for at_ms, _, amounts in answers]))
    return booked


def _superseded_by(response: Response) -> str | None:
    """What names the answers of which only the latest counts, or None when each counts."""
    if response.kind is Kind.NPS:
        return ""
    return None if response.kind is Kind.CXI else response.interaction_id


@lru_cache(maxsize=4_096)
def _shown_amounts(kind: Kind, status: Status) -> dict[int, int]:
    amounts = {fields.RESPONSES[kind, Status.SHOWN]: 1}
    if status is Status.COMPLETED:
        amounts[fields.COMPLETED_OF_SHOWN[kind]] = 1
    return amounts


@lru_cache(maxsize=4_096)
def _status_amounts(kind: Kind, status: Status) -> dict[int, int]:
    # What was shown is counted where it was shown.
    return {} if status is Status.SHOWN else {fields.RESPONSES[kind, status]: 1}


@lru_cache(maxsize=4_096)
def _response_amounts(
    kind: Kind, status: Status, score: int | None, scale: tuple[int, int], cxi_scores: tuple[int, ...] | None
) -> dict[int, int]:
    return {**_status_amounts(kind, status), **_answer_amounts(kind, status, score, scale, cxi_scores)}


@lru_cache(maxsize=4_096)
def _answer_amounts(
    kind: Kind, status: Status, score: int | None, scale: tuple[int, int], cxi_scores: tuple[int, ...] | None
) -> dict[int, int]:
    if status not in (Status.COMPLETED, Status.PARTIAL):
        return {}
    if kind is Kind.CXI:
        return {} if cxi_scores is None else _cxi_amounts(cxi_scores)
    return {} if score is None else _score_amounts(kind, score, scale)


def _score_amounts(kind: Kind, score: int, scale: tuple[int, int]) -> dict[int, int]:
    if kind is Kind.NPS:
        return {_nps_field(score): 1}
    units = Scale(*scale).rescaled(score, to=SCALES[kind])
    if kind is Kind.CSAT:
        amounts = {fields.CSAT_ANSWERS: 1, fields.CSAT_SCORE_UNITS: units}
        if score > scale[1] - _TOP_BOXES:
            amounts[fields.CSAT_SATISFIED] = 1
        return amounts
    amounts = {fields.CES_ANSWERS: 1, fields.CES_SCORE_UNITS: units}
    if units >= _EASY_UNITS:
        amounts[fields.CES_EASY] = 1
    return amounts


def _nps_field(score: int) -> int:
    if score >= 9:
        return fields.NPS_PROMOTERS
    return fields.NPS_PASSIVES if score >= 7 else fields.NPS_DETRACTORS


def _cxi_amounts(scores: tuple[int, ...]) -> dict[int, int]:
    amounts = {}
    for name, score in zip(DIMENSIONS, scores, strict=True):
        amounts[fields.CXI_ANSWERS[name]] = 1
        if score >= 4:
            amounts[fields.CXI_POSITIVE[name]] = 1
        elif score <= 2:
            amounts[fields.CXI_NEGATIVE[name]] = 1
    return amounts
