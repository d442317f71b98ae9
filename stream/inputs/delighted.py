"""The format `delighted`: webhooks of Delighted, and the responses that its API returns.

| what | where |
| --- | --- |
| user | `person.id`; with the setting `user`, that property of `person_properties` |
| time | `updated_at` in seconds, else `created_at`: edits keep the second |
| response | `id`: an edit replaces what was before |
| kind and scale | `survey_type`: `nps`; `csat` and `stars_five` are CSAT of 1-5; others by `[[inputs.questions]]` |
| score | `score` |

Source: Delighted's documentation, "Webhooks" and "Listing survey responses", of November 2026.
"""

from collections.abc import Mapping

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import Kind
from stream.inputs.options import Options, Question
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told
from stream.inputs.questions import Questions
from stream.inputs.telling import Clock, person, shown, thing_id

USES = frozenset({"time", "user", "questions"})

_KNOWN = (
    Question(question="nps", kind=Kind.NPS),
    Question(question="csat", kind=Kind.CSAT),
    Question(question="stars_five", kind=Kind.CSAT),
)
_RESPONSES = "survey_response."


class _Person(msgspec.Struct, gc=False):
    id: object = None


class _Response(msgspec.Struct, gc=False):
    id: object = None
    person: _Person | NotAnObject = None
    survey_type: object = None
    score: object = None
    created_at: object = None
    updated_at: object = None
    person_properties: dict[str, object] | list[object] | str | int | float | bool | None = None


class _Webhook(_Response, gc=False):
    """A webhook around a response, or a response itself."""

    event_type: object = None
    event_data: _Response | NotAnObject = None


def reader_of(options: Options) -> Reader:
    """What reads responses, with the webhook around them or without."""
    clock, questions = Clock(options), Questions(options, _KNOWN)

    def tell(webhook: _Webhook, record: Record, raw: bytes) -> Told:
        response = _response_of(webhook)
        if response is None:
            return NOTHING[LeftOut.PROFILE]  # who has unsubscribed, or can't be reached
        asked = questions.find(None, response.survey_type)
        if asked is None:
            if response.survey_type is None:
                raise Rejected(Reason.MISSING_FIELD, "a response needs `$.survey_type`")
            return NOTHING[LeftOut.QUESTION]
        time, field = response.updated_at, "updated_at"
        if time is None:
            time, field = response.created_at, "created_at"
        if response.score is None:
            raise Rejected(Reason.MISSING_FIELD, f"a response needs `$.score`, got {shown(response.score)}")
        return asked.told(
            _user_of(options, response),
            clock.at_ms(record, time, field),
            False,
            response_id=thing_id(response.id),
            score=response.score,
        )

    return Parts(_Webhook, tell).read


def _response_of(webhook: _Webhook) -> _Response | None:
    """The response that a webhook carries, or that came without one; None for a webhook about something else."""
    if webhook.event_type is None:
        return webhook
    if not (isinstance(webhook.event_type, str) and webhook.event_type.startswith(_RESPONSES)):
        return None
    if not isinstance(webhook.event_data, _Response):
        raise Rejected(Reason.MISSING_FIELD, "a webhook needs its response at `$.event_data`")
    return webhook.event_data


def _user_of(options: Options, response: _Response) -> str:
    if options.user:
        told = response.person_properties
        named = told.get(options.user) if isinstance(told, dict) else None
        field = f"person_properties.{options.user}"
        return person(named, user_field=field)
    named = response.person.id if isinstance(response.person, _Person) else response.person
    return person(named, user_field="person.id")


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a webhook of Delighted, or a response."""
    if "event_data" in fields and "event_type" in fields:
        return True
    return "survey_type" in fields and "person" in fields and "score" in fields
