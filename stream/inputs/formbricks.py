"""The format `formbricks`: webhooks of Formbricks.

| what | where |
| --- | --- |
| user | `data.contact.userId`; with the setting `user`, that contact attribute, else that hidden field |
| device | `data.contact.id`, of whom no user id is known |
| time | `data.updatedAt`, else `data.createdAt`: edits keep the second |
| response | `data.id`; each question that is known is a response of its own |
| status | `data.finished`: the states of a response arrive one after the other |
| question, kind and scale | a key of `data.data`, by `[[inputs.questions]]`: the webhook does not say them |
| score | its value |

Source: Formbricks' documentation, "Webhooks", of November 2026.
"""

from collections.abc import Mapping

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Status
from stream.inputs.options import Options
from stream.inputs.parts import NotAnObject, Parts, Told
from stream.inputs.questions import Questions, Response
from stream.inputs.telling import Clock, person, shown, thing_id

USES = frozenset({"time", "user", "questions"})

_EVENTS = ("responseCreated", "responseUpdated", "responseFinished")


class _Contact(msgspec.Struct, gc=False, rename="camel"):
    id: object = None
    user_id: object = None


class _Response(msgspec.Struct, gc=False, rename="camel"):
    id: object = None
    survey_id: object = None
    created_at: object = None
    updated_at: object = None
    finished: object = None
    contact: _Contact | NotAnObject = None
    contact_attributes: dict[str, object] | list[object] | str | int | float | bool | None = None
    data: dict[str, object] | list[object] | str | int | float | bool | None = None


class _Webhook(msgspec.Struct, gc=False):
    event: object = None
    data: _Response | NotAnObject = None


def reader_of(options: Options) -> Reader:
    """What reads Formbricks' webhooks."""
    clock, questions = Clock(options), Questions(options)

    def tell(webhook: _Webhook, record: Record, raw: bytes) -> Told:
        if webhook.event not in _EVENTS:
            told = f"{shown(webhook.event)} at `$.event` is none of {', '.join(_EVENTS)}"
            raise Rejected(Reason.UNKNOWN_VALUE, told)
        response = webhook.data
        if not isinstance(response, _Response):
            raise Rejected(Reason.MISSING_FIELD, "a webhook needs its response at `$.data`")
        answers = response.data if isinstance(response.data, dict) else {}
        user = _user_of(options, response, answers)
        time, field = response.updated_at, "data.updatedAt"
        if time is None:
            time, field = response.created_at, "data.createdAt"
        status = Status.COMPLETED if response.finished is True else Status.PARTIAL
        its = Response(user, clock.at_ms(record, time, field), False, thing_id(response.id), status)
        return questions.told(its, questions.in_answers(response.survey_id, answers))

    return Parts(_Webhook, tell).read


def _user_of(options: Options, response: _Response, answers: Mapping[str, object]) -> str:
    contact = response.contact if isinstance(response.contact, _Contact) else _Contact()
    attributes = response.contact_attributes if isinstance(response.contact_attributes, dict) else {}
    if options.user:
        named = attributes.get(options.user, answers.get(options.user))
        field = f"data.contactAttributes.{options.user}"
        return person(named, user_field=field)
    user_id = contact.user_id if contact.user_id is not None else attributes.get("userId")
    return person(user_id, contact.id, user_field="data.contact.userId", device_field="data.contact.id")


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a webhook of Formbricks."""
    return "webhookId" in fields and "event" in fields and "data" in fields
