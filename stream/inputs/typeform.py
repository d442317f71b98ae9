"""The format `typeform`: webhooks of Typeform, and pages of its Responses API or single responses of them.

| what | where |
| --- | --- |
| user | the hidden field that the setting `user` names, else `hidden.user_id` |
| time | `submitted_at`; of a partial response without it, `landed_at` |
| response | `token`; each question that is known is a response of its own |
| status | `form_response` is completed, `form_response_partial` partial; of the API `response_type`: `completed`, \
`partial` or `started`, and without it completed if there is a `submitted_at` |
| question | the field's `ref`, else its `id`; `ref` may be missing in an answer and is then found in `definition` |
| kind and scale | a field of the type `nps` is NPS; others by `[[inputs.questions]]`: no answer tells its scale |
| score | `number`, or a `boolean` or the label of a `choice` that the settings give a score |

The API does not say of which form a response is, nor what its form asks: a question is named by `ref` or `id` alone. A
form that was left before it was submitted may have the year 1 as `submitted_at`, which is none.

Source: Typeform's documentation, "Webhooks: example payload", "Retrieve responses" and "JSON response explanation", of
November 2026.
"""

from collections.abc import Mapping, Sequence

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind, Status
from stream.inputs.options import Options, Question
from stream.inputs.parts import NotAnObject, Parts, Told
from stream.inputs.questions import Asked, Questions, Response
from stream.inputs.telling import Clock, person, shown, thing_id

USES = frozenset({"time", "user", "questions"})

_USER = "user_id"
_STATUSES = {"form_response": Status.COMPLETED, "form_response_partial": Status.PARTIAL}
_NPS = "nps"
_NEVER = "0001-"


class _Field(msgspec.Struct, gc=False):
    id: object = None
    ref: object = None
    type: object = None


class _Choice(msgspec.Struct, gc=False):
    label: object = None
    other: object = None


class _Answer(msgspec.Struct, gc=False):
    field: _Field | NotAnObject = None
    number: object = None
    boolean: object = None
    text: object = None
    choice: _Choice | NotAnObject = None


class _Definition(msgspec.Struct, gc=False):
    fields: list[_Field] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


class _Form(msgspec.Struct, gc=False):
    form_id: object = None
    token: object = None
    submitted_at: object = None
    landed_at: object = None
    hidden: dict[str, object] | list[object] | str | int | float | bool | None = None
    definition: _Definition | NotAnObject = None
    answers: list[_Answer] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


class _Webhook(_Form, gc=False):
    """A webhook; or what the API returns: a response, or a page of `items`."""

    event_type: object = None
    form_response: _Form | NotAnObject = None
    response_type: object = None
    items: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None


def reader_of(options: Options) -> Reader:
    """What reads Typeform's webhooks and the responses of its API."""
    clock, questions = Clock(options), Questions(options)

    def tell(webhook: _Webhook, record: Record, raw: bytes) -> Told:
        form, status, place = _response_in(webhook)
        time, field = _submitted(form), f"{place}submitted_at"
        if time is None and status is Status.PARTIAL:
            time, field = form.landed_at, f"{place}landed_at"
        name = options.user or _USER
        hidden = form.hidden if isinstance(form.hidden, dict) else {}
        user = person(hidden.get(name), user_field=f"{place}hidden.{name}")
        response = Response(user, clock.at_ms(record, time, field), False, thing_id(form.token), status)
        refs = _refs_by_id(form.definition)
        answers = form.answers if isinstance(form.answers, list) else []
        return questions.told(response, [(_asked(questions, form, one, refs), _score(one)) for one in answers])

    return Parts(_Webhook, tell, batch=_items_of).read


def _items_of(page: _Webhook) -> tuple[str, Sequence[msgspec.Raw]] | None:
    return ("items", page.items) if isinstance(page.items, list) else None


def _response_in(webhook: _Webhook) -> tuple[_Form, Status, str]:
    """The response of a message, its status, and where it stands. Raises Rejected."""
    if webhook.event_type is None and webhook.form_response is None and webhook.landed_at is not None:
        is_completed = _submitted(webhook) is not None
        if webhook.response_type is not None:
            is_completed = webhook.response_type == "completed"
        return webhook, Status.COMPLETED if is_completed else Status.PARTIAL, ""
    status = _STATUSES.get(webhook.event_type) if isinstance(webhook.event_type, str) else None
    if status is None:
        told = f"{shown(webhook.event_type)} at `$.event_type` is none of {', '.join(_STATUSES)}"
        raise Rejected(Reason.UNKNOWN_VALUE, told)
    if not isinstance(webhook.form_response, _Form):
        raise Rejected(Reason.MISSING_FIELD, "a webhook needs its response at `$.form_response`")
    return webhook.form_response, status, "form_response."


def _submitted(form: _Form) -> object:
    time = form.submitted_at
    return None if isinstance(time, str) and time.startswith(_NEVER) else time


def _refs_by_id(definition: object) -> dict[object, object]:
    fields = definition.fields if isinstance(definition, _Definition) else None
    return {thing_id(one.id): one.ref for one in fields} if isinstance(fields, list) else {}


def _asked(questions: Questions, form: _Form, answer: _Answer, refs: Mapping[object, object]) -> Asked | None:
    field = answer.field
    if not isinstance(field, _Field):
        return None
    ref = field.ref if field.ref is not None else refs.get(thing_id(field.id))
    found = questions.find(form.form_id, ref, field.id)
    if found is None and field.type == _NPS:
        return Asked(Question(question=str(thing_id(field.id) or ref), kind=Kind.NPS))
    return found


def _score(answer: _Answer) -> object:
    if answer.number is not None:
        return answer.number
    if answer.boolean is not None:
        return answer.boolean
    return answer.choice.label if isinstance(answer.choice, _Choice) else answer.text


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a webhook of Typeform, a page of its API or a response of one."""
    if "form_response" in fields and "event_type" in fields:
        return True
    if "landing_id" in fields and "token" in fields:
        return True
    return "total_items" in fields and "page_count" in fields and "items" in fields
