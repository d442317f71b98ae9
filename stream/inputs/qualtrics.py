"""The format `qualtrics`: responses as Qualtrics' API returns them, one by one or as an export of them in JSON.

Its event subscriptions carry the ids of survey and response only, and no answer: they are refused, with a word. Whoever
receives them asks the API for the response and sends what it returns.

| what | where |
| --- | --- |
| user | the embedded data field that the setting `user` names, else `values.externalDataReference` |
| time | `values.endDate`, else `values.recordedDate` |
| response | `responseId`; each question that is known is a response of its own |
| status | `values.finished`: 1 is completed, 0 partial |
| question, kind and scale | a key of `values`, such as `QID3` or `QID3_1`, by `[[inputs.questions]]` |
| score | its value: a recode value of a choice is what the survey says it is |

An export is an object with the list `responses`, whose elements are as single responses are. It does not say of which
survey they are: a question is named by its key alone.

`values.status` tells previews and tests of the survey, which are left out, and spam, which counts as that of a bot.

Source: Qualtrics' documentation, "Retrieve a survey response" and "Event subscriptions", of November 2026. It does not
show what an export in JSON looks like. So this follows from programs of others that fetch one, among them Databricks'
connector (databrickslabs/lakeflow-community-connectors, sources/qualtrics): an object with the list `responses`, in
each of them `responseId` and `values`, where dates, status, embedded data and `_recordId` stand beside the questions;
`labels`, `displayedFields` and `displayedValues` may stand beside `values`. Answers are codes. That connector looks
for dates beside `values` too, where nobody else does. In the format `ndjson` each line is a response. An event
subscription is sent as a form: `Topic`, `Status`, `SurveyID`, `ResponseID`, `CompletedDate` and `BrandID`, or these in
the field `MSG` beside its `HMAC`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import Status
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told
from stream.inputs.questions import Questions, Response
from stream.inputs.telling import Clock, person, thing_id

USES = frozenset({"time", "user", "questions"})

_USER = "externalDataReference"
_PREVIEWS = frozenset({1, 2, 9, 17})
_SPAM = frozenset({8, 12, 40})


class _Response(msgspec.Struct, gc=False, rename="camel"):
    response_id: object = None
    survey_id: object = None
    values: dict[str, object] | list[object] | str | int | float | bool | None = None


class _Answer(_Response, gc=False, rename="camel"):
    """What the API returns: a response, mostly within a `result`; or the `responses` of an export."""

    result: _Response | NotAnObject = None
    responses: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


def reader_of(options: Options) -> Reader:
    """What reads responses of the API."""
    clock, questions = Clock(options), Questions(options)

    def tell(told: _Answer, record: Record, raw: bytes) -> Told:
        response = told.result if isinstance(told.result, _Response) else told
        values = response.values
        if not isinstance(values, dict):
            missing = (
                "needs the answers at `$.values`: an event subscription carries ids only; send what the API returns"
            )
            raise Rejected(Reason.MISSING_FIELD, missing)
        kind = _number(values.get("status"))
        if kind in _PREVIEWS:
            return NOTHING[LeftOut.TEST]
        name = options.user or _USER
        field = f"values.{name}"
        user = person(values.get(name), user_field=field)
        time, time_field = values.get("endDate"), "values.endDate"
        if time is None:
            time, time_field = values.get("recordedDate"), "values.recordedDate"
        at_ms = clock.at_ms(record, time, time_field)
        status = Status.COMPLETED if _number(values.get("finished")) == 1 else Status.PARTIAL
        response_id = thing_id(response.response_id) or thing_id(values.get("_recordId"))
        its = Response(user, at_ms, kind in _SPAM, response_id, status)
        return questions.told(its, questions.in_answers(response.survey_id, values))

    return Parts(_Answer, tell, batch=_responses_of).read


def _responses_of(export: _Answer) -> tuple[str, Sequence[msgspec.Raw]] | None:
    return ("responses", export.responses) if isinstance(export.responses, list) else None


def _number(value: object) -> int | None:
    """A whole number, a truth as 1 or 0, or either as text."""
    if isinstance(value, (bool, int)):
        return int(value)
    if isinstance(value, str):
        return {"true": 1, "false": 0}.get(value.lower(), int(value) if value.isdecimal() else None)
    return None


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a response of Qualtrics' API."""
    if "responseId" in fields and "values" in fields:
        return True
    inner = fields.get("result") if "meta" in fields else fields.get("responses")
    return inner is not None and b'"responseId"' in bytes(inner)
