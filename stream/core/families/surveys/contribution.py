"""What survey responses contribute to each number.

The latest NPS answer of each user counts, and the latest CSAT or CES answer of each interaction. Earlier answers are
superseded: each is booked *until* the minute of the next one.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from stream.core.families.surveys.part import Response
from stream.core.ring import Booking, superseding_bookings
from stream.core.segments import AttributeValues, fields_of
from stream.core.survey_scales import DIMENSIONS, SCALES, UNITS, Kind, Scale, Status, satisfied_boxes
from stream.core.time import MINUTE_MS

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
CSAT_ANSWERS = 30
CSAT_SATISFIED = 31
CSAT_SCORE_UNITS = 32
CES_ANSWERS = 33
CES_EASY = 34
CES_SCORE_UNITS = 35
NPS_PROMOTERS = 36
NPS_PASSIVES = 37
NPS_DETRACTORS = 38
CXI_POSITIVE = {name: 40 + 3 * index for index, name in enumerate(DIMENSIONS)}
CXI_NEGATIVE = {name: 41 + 3 * index for index, name in enumerate(DIMENSIONS)}
CXI_ANSWERS = {name: 42 + 3 * index for index, name in enumerate(DIMENSIONS)}

_SURVEY_STATUSES = (Status.SHOWN, Status.DISMISSED, Status.PARTIAL, Status.COMPLETED)
RESPONSES = {
    (kind, status): 60 + 10 * index + step
    for index, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))
    for step, status in enumerate(_SURVEY_STATUSES)
}
COMPLETED_OF_SHOWN = {kind: 69 + 10 * index for index, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))}
# Of closed days alone, and never booked: of those shown on the days that ended a week before.
SHOWN_MATURED = {kind: 100 + 2 * index for index, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))}
COMPLETED_OF_MATURED = {kind: 101 + 2 * index for index, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))}

# Beside them an answer counts once under each value of a segment that its message told, by what it says.
DISSATISFIED, SATISFIED, PROMOTER, PASSIVE, DETRACTOR = "abpqr"
OF_VALUE = {
    DISSATISFIED: (CSAT_ANSWERS,),
    SATISFIED: (CSAT_ANSWERS, CSAT_SATISFIED),
    PROMOTER: (NPS_PROMOTERS,),
    PASSIVE: (NPS_PASSIVES,),
    DETRACTOR: (NPS_DETRACTORS,),
}
_OF_NPS = {NPS_PROMOTERS: PROMOTER, NPS_PASSIVES: PASSIVE, NPS_DETRACTORS: DETRACTOR}

# 5 to 7 on a scale to 7 is easy, and 4 to 5 on a scale to 5: the rescaled score is 5 or more.
_EASY_UNITS = 5 * UNITS


def bookings(responses: Mapping[str, Response]) -> list[Booking]:
    """The bookings of the responses of one user."""
    booked = []
    succession: dict[tuple[Kind, str], list[tuple[int, str, Mapping[Any, int]]]] = {}
    for name, response in responses.items():
        kind, status = response.kind, response.status
        if status is Status.RETRACTED:
            continue
        if response.shown_ms is not None:
            booked.append(Booking(response.shown_ms // MINUTE_MS, _shown_amounts(kind, status)))
        group = _group_of(response)
        content = (kind, status, response.score, response.scale, response.cxi_scores, response.values)
        if group is None:
            booked.append(Booking(response.at_ms // MINUTE_MS, _response_amounts(*content)))
        else:
            booked.append(Booking(response.at_ms // MINUTE_MS, _status_amounts(kind, status)))
            answer = _answer_amounts(*content)
            if answer:
                succession.setdefault((kind, group), []).append((response.at_ms, name, answer))
    for answers in succession.values():
        answers.sort(key=lambda answer: answer[:2])
        booked.extend(superseding_bookings([(at_ms // MINUTE_MS, amounts) for at_ms, _, amounts in answers]))
    return booked


def amounts_of(response: Response) -> Mapping[Any, int]:
    """What a response contributes in the minute of its event if no other response of the user supersedes it."""
    kind, status = response.kind, response.status
    if status is Status.RETRACTED:
        return {}
    return _response_amounts(kind, status, response.score, response.scale, response.cxi_scores, response.values)


def _group_of(response: Response) -> str | None:
    """The name of the group of answers in which only the latest counts, or None if each answer counts."""
    if response.kind is Kind.NPS:
        return ""
    return None if response.kind is Kind.CXI else response.interaction_id


@lru_cache(maxsize=4_096)
def _shown_amounts(kind: Kind, status: Status) -> dict[int, int]:
    amounts = {RESPONSES[kind, Status.SHOWN]: 1}
    if status is Status.COMPLETED:
        amounts[COMPLETED_OF_SHOWN[kind]] = 1
    return amounts


@lru_cache(maxsize=4_096)
def _status_amounts(kind: Kind, status: Status) -> dict[int, int]:
    # That a response was shown is counted in the minute in which it was shown, by `_shown_amounts`.
    return {} if status is Status.SHOWN else {RESPONSES[kind, status]: 1}


@lru_cache(maxsize=4_096)
def _response_amounts(
    kind: Kind,
    status: Status,
    score: int | None,
    scale: tuple[int, int],
    cxi_scores: tuple[int, ...] | None,
    values: AttributeValues,
) -> Mapping[Any, int]:
    return {**_status_amounts(kind, status), **_answer_amounts(kind, status, score, scale, cxi_scores, values)}


@lru_cache(maxsize=4_096)
def _answer_amounts(
    kind: Kind,
    status: Status,
    score: int | None,
    scale: tuple[int, int],
    cxi_scores: tuple[int, ...] | None,
    values: AttributeValues,
) -> Mapping[Any, int]:
    if status not in (Status.COMPLETED, Status.PARTIAL):
        return {}
    if kind is Kind.CXI:
        return {} if cxi_scores is None else _cxi_amounts(cxi_scores)
    if score is None:
        return {}
    amounts = _score_amounts(kind, score, scale)
    says = _says(amounts)
    return amounts if says is None else {**amounts, **fields_of(values, says)}


def _says(amounts: Mapping[int, int]) -> str | None:
    """What an answer counts as under its values; None for one that is not told by segment."""
    if CSAT_ANSWERS in amounts:
        return SATISFIED if CSAT_SATISFIED in amounts else DISSATISFIED
    return next((_OF_NPS[field] for field in amounts if field in _OF_NPS), None)


def _score_amounts(kind: Kind, score: int, scale: tuple[int, int]) -> dict[int, int]:
    if kind is Kind.NPS:
        return {_nps_field(score): 1}
    units = Scale(*scale).rescaled(score, to=SCALES[kind])
    if kind is Kind.CSAT:
        amounts = {CSAT_ANSWERS: 1, CSAT_SCORE_UNITS: units}
        if score > scale[1] - satisfied_boxes(Scale(*scale)):
            amounts[CSAT_SATISFIED] = 1
        return amounts
    amounts = {CES_ANSWERS: 1, CES_SCORE_UNITS: units}
    if units >= _EASY_UNITS:
        amounts[CES_EASY] = 1
    return amounts


def _nps_field(score: int) -> int:
    if score >= 9:
        return NPS_PROMOTERS
    return NPS_PASSIVES if score >= 7 else NPS_DETRACTORS


def _cxi_amounts(scores: tuple[int, ...]) -> dict[int, int]:
    amounts = {}
    for name, score in zip(DIMENSIONS, scores, strict=True):
        amounts[CXI_ANSWERS[name]] = 1
        if score >= 4:
            amounts[CXI_POSITIVE[name]] = 1
        elif score <= 2:
            amounts[CXI_NEGATIVE[name]] = 1
    return amounts
