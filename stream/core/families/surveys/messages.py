"""The native messages of survey responses."""

from typing import Literal

import msgspec

from stream.core.events import Answer, ResponseRemoved
from stream.core.ids import Id, id_of
from stream.core.messages import LabelledMessage, MessageKind, Record, checked_time_ms, segments_of
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import DIMENSIONS, SCALES, Kind, Scale, Status
from stream.core.users import user_of


class CxiScores(msgspec.Struct):
    """The scores of the four questions of the Customer Experience Index."""

    effort: int | float
    empathy: int | float
    understanding: int | float
    efficiency: int | float


class SurveyMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `surveys`."""

    response_id: Id
    kind: Kind
    status: Status | None = Status.COMPLETED
    score: int | float | None = None
    scores: CxiScores | None = None
    scale_min: int | None = None
    scale_max: int | None = None
    higher_is: Literal["easier", "harder", "better", "worse"] | None = None
    interaction_id: Id | None = None


def event_of(message: SurveyMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Answer:
    """The state of a response in a message. Raises Rejected."""
    response_id = id_of(message.response_id)
    if response_id is None:
        raise Rejected(Reason.MISSING_FIELD, f"{message.response_id!r} at `$.response_id` names no response")
    kind, status = message.kind, message.status or Status.COMPLETED
    has_default_scale = message.scale_min is None and message.scale_max is None
    scale = SCALES[kind] if has_default_scale else _scale(message, kind)
    score: int | None = None
    if message.score is not None and kind is not Kind.CXI:
        score = _on_scale(message.score, scale, "$.score")
    scores = message.scores
    if status is Status.COMPLETED and (scores is None if kind is Kind.CXI else score is None):
        needed = "scores" if kind is Kind.CXI else "score"
        raise Rejected(Reason.MISSING_FIELD, f"a completed {kind.value} answer needs `$.{needed}`")
    if message.higher_is in ("harder", "worse"):
        score = _reversed_score(score, scale, kind, message.higher_is)
    cxi = None
    if kind is Kind.CXI and scores is not None:
        effort, empathy, understanding, efficiency = (
            _on_scale(getattr(scores, name), scale, f"$.scores.{name}") for name in DIMENSIONS
        )
        cxi = (effort, empathy, understanding, efficiency)
    interaction_id = id_of(message.interaction_id)
    name = None
    if key is not None and response_id != user and id_of(key.decode(errors="replace")) == response_id:
        name = response_id  # a producer who uses the response id as key may remove the response by that key alone
    detail = segments_of(message)
    return Answer(user, at_ms, is_bot, response_id, kind, status, score, scale, cxi, interaction_id, name, detail)


def _scale(message: SurveyMessage, kind: Kind) -> Scale:
    default = SCALES[kind]
    lowest = default.lowest if message.scale_min is None else message.scale_min
    highest = default.highest if message.scale_max is None else message.scale_max
    scale = Scale(lowest, highest)
    if kind in (Kind.NPS, Kind.CXI) and scale != default:
        detail = f"scale {lowest}-{highest}, {kind.value} is asked on {default.lowest}-{default.highest}"
        raise Rejected(Reason.OUT_OF_RANGE, detail)
    # No survey has a thousand boxes, and up to there sums of scores are exact.
    if not 0 < highest - lowest <= 1_000 or abs(lowest) > 1_000_000:
        raise Rejected(Reason.OUT_OF_RANGE, f"scale {lowest}-{highest} is no scale of 2 to 1001 boxes")
    return scale


def _reversed_score(score: int | None, scale: Scale, kind: Kind, higher_is: str) -> int | None:
    if kind in (Kind.NPS, Kind.CXI):
        raise Rejected(Reason.OUT_OF_RANGE, f"{higher_is!r} at `$.higher_is`: high is good in {kind.value}")
    return None if score is None else scale.lowest + scale.highest - score


def _on_scale(score: int | float, scale: Scale, place: str) -> int:
    if score != int(score):
        raise Rejected(Reason.OUT_OF_RANGE, f"a score is a whole number: {score} at `{place}`")
    if not scale.lowest <= score <= scale.highest:
        detail = f"score {score} at `{place}` is outside its scale {scale.lowest}-{scale.highest}"
        raise Rejected(Reason.OUT_OF_RANGE, detail)
    return int(score)


def event_of_tombstone(record: Record) -> ResponseRemoved:
    """The event of a null message, which removes a response. Raises Rejected.

    Its key is the user and a header has the response id, or its key is the response id.
    """
    at_ms = checked_time_ms(record.timestamp, record.timestamp, "timestamp")
    key = (record.key or b"").decode(errors="replace")
    response_id = _response_id(record)
    if response_id is None or not key:
        return ResponseRemoved("", at_ms, False, id_of(key) or "")
    # The key does not say whether it is a `user_id` or an `anonymous_id` (see `partition_key`), so both are tried.
    return ResponseRemoved("", at_ms, False, response_id, (user_of(None, key), user_of(key, None)))


def _response_id(record: Record) -> str | None:
    """The response id in a header."""
    named = (id_of(value.decode(errors="replace")) for name, value in record.headers if name == "response_id" and value)
    return next(filter(None, named), None)


SURVEYS = MessageKind(
    "surveys",
    SurveyMessage,
    event_of,
    event_of_tombstone,
    type_field="kind",
    ignored_fields={kind.value: frozenset({"score" if kind is Kind.CXI else "scores"}) for kind in Kind},
    fields={
        "response_id": "the id of the response; a later message with it takes its place",
        "kind": "what was asked",
        "status": "completed, unless another status is given",
        "score": "the score of a csat, nps or ces: a whole number on its scale",
        "scores": "the four scores of a cxi",
        "scale_min": "the lowest score, if it is not the default of the kind",
        "scale_max": "the highest score, if it is not the default of the kind",
        "higher_is": "what a high score of a csat or ces means",
        "interaction_id": "the id of what was asked about: only the latest answer of it counts",
    },
    examples=(
        {
            "user_id": "ada",
            "event_time": "2026-11-21T11:00:00+01:00",
            "response_id": "r-1",
            "kind": "nps",
            "score": 9,
        },
    ),
)
