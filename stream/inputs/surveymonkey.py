"""The format `surveymonkey`: responses as SurveyMonkey's API returns them with their details, singly or in bulk.

Its webhooks carry ids only, and no answer: they are refused, with a word. Whoever receives them asks the API for the
response and sends what it returns.

| what | where |
| --- | --- |
| user | the custom variable that the setting `user` names, else `custom_variables.user_id` |
| time | `date_modified` |
| response | `id`; each question that is known is a response of its own. An edit has a later time and replaces it |
| status | `response_status`: `completed`, `partial`; who was turned away (`disqualified`, `overquota`) gave no answer |
| question, kind and scale | `pages[].questions[].id`, by `[[inputs.questions]]` |
| score | what the settings say of `choice_id` or `text`; else a number there; else the weight of the choice |

The weight of an NPS choice is its group, not its score, and is not read.

Source: SurveyMonkey's documentation, "API v3: survey responses" and "Webhooks", of November 2026.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind, Status
from stream.inputs.options import Options
from stream.inputs.parts import NotAnObject, Parts, Told
from stream.inputs.questions import Asked, Questions, Response
from stream.inputs.telling import Clock, person, shown, thing_id

USES = frozenset({"time", "user", "questions"})

_USER = "user_id"
_STATUSES = {
    "completed": Status.COMPLETED,
    "partial": Status.PARTIAL,
    "disqualified": Status.DISMISSED,
    "overquota": Status.DISMISSED,
}


class _Weight(msgspec.Struct, gc=False):
    weight: object = None


class _Answer(msgspec.Struct, gc=False):
    choice_id: object = None
    text: object = None
    simple_text: object = None
    choice_metadata: _Weight | NotAnObject = None


class _Question(msgspec.Struct, gc=False):
    id: object = None
    answers: list[_Answer] = []


class _Page(msgspec.Struct, gc=False):
    questions: list[_Question] = []


class _Details(msgspec.Struct, gc=False):
    """A response, or several in bulk."""

    id: object = None
    survey_id: object = None
    response_status: object = None
    date_modified: object = None
    custom_variables: dict[str, object] | list[object] | str | int | float | bool | None = None
    pages: list[_Page] | None = None
    data: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None
    object_id: object = None


def reader_of(options: Options) -> Reader:
    """What reads responses with their details."""
    clock, questions = Clock(options), Questions(options)

    def tell(details: _Details, record: Record, raw: bytes) -> Told:
        if details.pages is None:
            if details.object_id is not None:
                told = "a webhook carries ids only: send what the API returns of the response, with details"
                raise Rejected(Reason.MISSING_FIELD, told)
            raise Rejected(Reason.MISSING_FIELD, "a response needs its answers at `$.pages`")
        status = _STATUSES.get(details.response_status) if isinstance(details.response_status, str) else None
        if status is None:
            told = f"{shown(details.response_status)} at `$.response_status` is none of {', '.join(_STATUSES)}"
            raise Rejected(Reason.UNKNOWN_VALUE, told)
        name = options.user or _USER
        variables = details.custom_variables if isinstance(details.custom_variables, dict) else {}
        field = f"custom_variables.{name}"
        user = person(variables.get(name), user_field=field)
        at_ms = clock.at_ms(record, details.date_modified, "date_modified")
        return questions.told(
            Response(user, at_ms, False, thing_id(details.id), status), _answers(questions, details, details.pages)
        )

    return Parts(_Details, tell, batch=_batch_of).read


def _batch_of(details: _Details) -> tuple[str, Sequence[msgspec.Raw]] | None:
    return ("data", details.data) if isinstance(details.data, list) and details.pages is None else None


def _answers(questions: Questions, details: _Details, pages: list[_Page]) -> Iterator[tuple[Asked | None, object]]:
    for page in pages:
        for question in page.questions:
            asked = questions.find(details.survey_id, question.id)
            for answer in question.answers[:1]:
                yield asked, None if asked is None else _score(asked, answer)


def _score(asked: Asked, answer: _Answer) -> object:
    scores = asked.question.scores
    for raw in (answer.choice_id, answer.text, answer.simple_text):
        if raw is not None and str(raw).strip() in scores:
            return scores[str(raw).strip()]
    for raw in (answer.simple_text, answer.text):
        if isinstance(raw, str) and raw.strip().isdecimal():
            return raw
    if isinstance(answer.choice_metadata, _Weight) and asked.question.kind is not Kind.NPS:
        return answer.choice_metadata.weight
    # An id is no score, though it is made of digits.
    return answer.text or answer.simple_text or (f"choice {answer.choice_id}" if answer.choice_id else None)


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a response with its details, some in bulk, or a webhook of SurveyMonkey."""
    if "response_status" in fields and "survey_id" in fields:
        return True
    if "object_id" in fields and "object_type" in fields and "resources" in fields:
        return True
    return "data" in fields and "per_page" in fields and b'"response_status"' in bytes(fields["data"])
