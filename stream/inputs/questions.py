"""Survey answers: what a question asks for, and what an answer to it tells.

Most surveys ask several questions, and most of their messages do not say which of them is an NPS, or on which scale it
is asked. `[[inputs.questions]]` says it, by the id, the reference or the key that the messages use. Each question that
is known becomes a response of its own, called by the response and the question. A score may come as a number, as text,
or as the id or text of a choice that the settings give a score. What nobody knows the question of is counted as left
out; one score that can't be is rejected by itself.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream.core.events import Answer
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import DIMENSIONS, Kind, Status
from stream.inputs.options import Options, Question
from stream.inputs.parts import NOTHING, Parcel, Told
from stream.inputs.telling import answer, shown, thing_id

_KINDS = {kind.value: kind for kind in Kind}


def known_kind(raw: object) -> Kind | None:
    """The kind of a question that a message names; None where it is none of ours."""
    return _KINDS.get(raw.strip().lower()) if isinstance(raw, str) else None


class Asked(NamedTuple):
    """One question."""

    question: Question

    def told(
        self,
        user: str,
        at_ms: int,
        is_bot: bool,
        *,
        response_id: str | int | None,
        score: object,
        status: Status = Status.COMPLETED,
        interaction_id: str | int | None = None,
    ) -> Answer:
        """What a score tells. Raises Rejected."""
        asked = self.question
        if response_id is None:
            raise Rejected(Reason.MISSING_FIELD, "an answer needs the id of its response")
        made = answer(
            user,
            at_ms,
            is_bot,
            response_id=response_id,
            kind=asked.kind,
            status=status,
            score=None if score is None else score_of(score, asked.scores, asked.question),
            scale_min=asked.scale_min,
            scale_max=asked.scale_max,
            higher_is=asked.higher_is,
            interaction_id=interaction_id,
        )
        assert isinstance(made, Answer)
        return made


def score_of(raw: object, scores: Mapping[str, int], question: str) -> int | float:
    """The score that a value stands for. Raises Rejected."""
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if scores:
        text = str(raw).strip()
        found = scores.get(text.lower() if isinstance(raw, bool) else text)
        if found is not None:
            return found
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        try:
            return int(raw)
        except ValueError:
            pass
    raise Rejected(Reason.WRONG_TYPE, f"{shown(raw)}, the answer to {question!r}, is no score, nor one of `scores`")


class Response(NamedTuple):
    """Of which response some answers are."""

    user: str
    at_ms: int
    is_bot: bool
    response_id: str | int | None
    status: Status
    interaction_id: str | int | None = None


class Questions:
    """The questions that the settings of an input know."""

    def __init__(self, options: Options, known: Iterable[Question] = ()) -> None:
        """`known` are those that the format itself defines; the settings may say otherwise."""
        self._asked = {one.question: Asked(one) for one in (*known, *options.questions)}
        self._by_kind = {kind: Asked(Question(question=kind.value, kind=kind)) for kind in Kind}

    def all(self) -> tuple[Asked, ...]:
        """Every question that is known."""
        return tuple(self._asked.values())

    def find(self, survey_id: object, *ids: object) -> Asked | None:
        """The question that one of these ids means, in this survey or in any."""
        asked = self._asked
        if not asked:
            return None
        survey = thing_id(survey_id)
        for raw in ids:
            name = thing_id(raw)
            if name is None:
                continue
            found = asked.get(f"{survey}/{name}") or asked.get(str(name))
            if found is not None:
                return found
        return None

    def in_answers(self, survey_id: object, answers: Mapping[str, object]) -> list[tuple[Asked, object]]:
        """The questions of a survey that are known, each with its answer by the question's key."""
        survey = f"{thing_id(survey_id)}/"
        found = []
        for name, asked in self._asked.items():
            key = name.removeprefix(survey)
            if key in answers:
                found.append((asked, answers[key]))
        return found

    def single(self, survey_id: object, *ids: object, kind: Kind | None = None) -> Asked | None:
        """The question of a survey that has one: by its ids, by the survey's id, else by the kind that is told."""
        found = self.find(survey_id, *ids) or self.find(None, survey_id)
        if found is None and kind is not None and kind is not Kind.CXI:
            return self._by_kind[kind]
        return found

    def told(self, response: Response, answers: Iterable[tuple["Asked | None", object]]) -> Told:
        """What the answers of a response tell, each with its question where that is known."""
        parcel, any_is_known = Parcel(), False
        dimensions: dict[str, tuple[Asked, object]] = {}
        for asked, score in answers:
            if asked is None or score is None or score == "" or score == []:
                continue
            any_is_known = True
            try:
                if asked.question.dimension is not None:
                    dimensions[asked.question.dimension] = (asked, score)
                    continue
                parcel.add(
                    asked.told(
                        response.user,
                        response.at_ms,
                        response.is_bot,
                        response_id=_of(response, asked.question.question),
                        score=score,
                        status=response.status,
                        interaction_id=response.interaction_id,
                    )
                )
            except Rejected as rejection:
                parcel.reject(rejection)
        if dimensions:
            try:
                parcel.add(_cxi(response, dimensions))
            except Rejected as rejection:
                parcel.reject(rejection)
        if not any_is_known:
            return NOTHING[LeftOut.QUESTION]
        return parcel.told()

    def told_without_scores(self, response: Response, survey_id: object) -> Told:
        """What becomes of a response without any score: one event for each question that is known of this survey."""
        survey = thing_id(survey_id)
        parcel = Parcel()
        for name, asked in self._asked.items():
            if name != str(survey) and not name.startswith(f"{survey}/"):
                continue
            if asked.question.dimension is None:
                parcel.add(
                    asked.told(
                        response.user,
                        response.at_ms,
                        response.is_bot,
                        response_id=_of(response, asked.question.question),
                        score=None,
                        status=response.status,
                    )
                )
        told = parcel.told()
        return NOTHING[LeftOut.QUESTION] if told is NOTHING[LeftOut.EMPTY] else told


def _of(response: Response, question: str) -> str | None:
    return None if response.response_id is None else f"{response.response_id}/{question}"


def _cxi(response: Response, dimensions: Mapping[str, tuple[Asked, object]]) -> Answer:
    """The one answer that the four questions of a Customer Experience Index make together. Raises Rejected."""
    missing = [name for name in DIMENSIONS if name not in dimensions]
    if missing and response.status is Status.COMPLETED:
        raise Rejected(Reason.MISSING_FIELD, f"a completed cxi answer needs a score of {', '.join(missing)} too")
    scores = None
    if not missing:
        scores = {
            name: score_of(score, asked.question.scores, asked.question.question)
            for name, (asked, score) in dimensions.items()
        }
    made = answer(
        response.user,
        response.at_ms,
        response.is_bot,
        response_id=_of(response, Kind.CXI.value) or "",
        kind=Kind.CXI,
        status=response.status,
        scores=None if scores is None else _Scores(**scores),
        interaction_id=response.interaction_id,
    )
    assert isinstance(made, Answer)
    return made


class _Scores(NamedTuple):
    """The scores of the four questions, as a native message has them."""

    effort: int | float
    empathy: int | float
    understanding: int | float
    efficiency: int | float
