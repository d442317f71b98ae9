"""The format `posthog`: events as they are captured, sent on by a webhook or exported.

An event may stand alone, in the `batch` of a capture, or in the `event` or `data` of a webhook; `properties` may be an
object or, in exports, its JSON as text.

| what | where |
| --- | --- |
| user, device | `distinct_id`, which may stand in `properties` too; `properties.$device_id` |
| time | `timestamp`; without an offset it is UTC |
| id of the event | `uuid` |
| session | `properties.$session_id` |
| what happened | `event`: `$pageview`, `$screen`, `$pageleave` (a heartbeat), else an event by its name |
| an answer | `survey sent`, below |
| platform | `web` where `properties.$lib` is, else `properties.$os` |
| plan, version, country | `properties.plan`, `$app_version`, `$geoip_country_code` |
| bot | `properties.$raw_user_agent` of a crawler |

A `distinct_id` that equals the device, or that comes with `$is_identified: false`, is a device.

A `survey sent` holds the answers of a response: `$survey_response_<question id>`, in older versions `$survey_response`
and `$survey_response_<number>`, whose ids are in `$survey_questions`. Which kind of question it is, and on which scale,
stands in the settings of the input, by the id of the question or, for a survey of one question, of the survey.
`$survey_submission_id` is the response, and `$survey_completed: false` says that more is to come. That a survey was
shown or dismissed is counted where it names the response: otherwise nothing tells to which answer it belongs.

Source: PostHog's documentation, "Events", "Capture API" and "Surveys", of November 2026.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import Status
from stream.inputs.options import Options
from stream.inputs.parts import NOTHING, NotAnObject, Parcel, Parts, Told
from stream.inputs.questions import Questions, Response
from stream.inputs.segment import MOBILE_NAMES
from stream.inputs.telling import (
    EVENT,
    HEARTBEAT,
    PAGE,
    PASSIVE,
    SCREEN,
    UTC,
    Clock,
    Meanings,
    deed,
    is_of_a_bot,
    named,
    person,
    shown,
    thing_id,
)

USES = frozenset({"time", "zone", "logins", "key_events", "passive", "questions"})

NAMES = {
    **MOBILE_NAMES,
    **named(PAGE, "$pageview"),
    **named(SCREEN, "$screen"),
    **named(HEARTBEAT, "$pageleave"),
    **named(PASSIVE, "$feature_flag_called", "$exception", "$web_vitals", "$performance_event", "$snapshot"),
    **named(PASSIVE, "$$heatmap", "$opt_in", "$csp_violation", "survey shown", "survey dismissed"),
}

_LEFT_OUT = {
    "$identify": LeftOut.IDENTITY,
    "$create_alias": LeftOut.IDENTITY,
    "$merge_dangerously": LeftOut.IDENTITY,
    "$groupidentify": LeftOut.GROUP,
    "$set": LeftOut.PROFILE,
}
_SURVEYS = {"survey sent": None, "survey shown": Status.SHOWN, "survey dismissed": Status.DISMISSED}
_RESPONSE = "$survey_response"
# What stands beside an event's name and properties, all or some of it.
_MARKS = frozenset({"timestamp", "uuid", "api_key", "offset"})


class _Properties(msgspec.Struct, gc=False):
    distinct_id: object = None
    device_id: object = msgspec.field(default=None, name="$device_id")
    session_id: object = msgspec.field(default=None, name="$session_id")
    is_identified: object = msgspec.field(default=None, name="$is_identified")
    lib: object = msgspec.field(default=None, name="$lib")
    os: object = msgspec.field(default=None, name="$os")
    app_version: object = msgspec.field(default=None, name="$app_version")
    country: object = msgspec.field(default=None, name="$geoip_country_code")
    plan: object = None
    user_agent: object = msgspec.field(default=None, name="$raw_user_agent")


class _Event(msgspec.Struct, gc=False):
    """An event, a batch of them, or a webhook around one."""

    event: object = None
    distinct_id: object = None
    timestamp: object = None
    uuid: object = None
    properties: _Properties | NotAnObject = None
    batch: list[msgspec.Raw] | str | int | float | bool | dict[str, msgspec.Raw] | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Surveyed(msgspec.Struct, gc=False):
    properties: object = None


_NO_PROPERTIES = _Properties()
_properties_of = msgspec.json.Decoder(_Properties).decode
_surveyed = msgspec.json.Decoder(_Surveyed).decode
_any = msgspec.json.Decoder().decode


def reader_of(options: Options) -> Reader:
    """What reads PostHog's events."""
    clock, meanings, questions = Clock(options, zone=UTC), Meanings(options, NAMES), Questions(options)

    def tell(event: _Event, record: Record, raw: bytes) -> Told:
        if not isinstance(event.event, str):
            inner = _inner_of(event, raw)
            if inner is not None:
                return tell(inner[0], record, inner[1])
            raise Rejected(Reason.MISSING_FIELD, f"an event needs its name at `$.event`, got {shown(event.event)}")
        left_out = _LEFT_OUT.get(event.event)
        if left_out is not None:
            return NOTHING[left_out]
        told = event.properties
        if isinstance(told, str):
            told = _from_text(told)
        if not isinstance(told, _Properties):
            told = _NO_PROPERTIES
        user = _user_of(event, told)
        at_ms = clock.at_ms(record, event.timestamp, "timestamp")
        is_bot = told.user_agent is not None and is_of_a_bot(told.user_agent)
        its_step = deed(
            meanings.get(event.event, EVENT),
            user,
            at_ms,
            is_bot,
            ("web" if told.lib == "web" else told.os, told.plan, told.country, told.app_version),
            event_id=thing_id(event.uuid),
            session_id=thing_id(told.session_id),
            of_client=told.session_id is not None or told.device_id is not None,
        )
        if event.event not in _SURVEYS:
            return its_step
        response = Response(user, at_ms, is_bot, None, _SURVEYS[event.event] or Status.COMPLETED)
        return _with_answers(its_step, questions, response, _surveyed_properties(raw))

    return Parts(_Event, tell, batch=_batch_of).read


def _batch_of(event: _Event) -> tuple[str, Sequence[msgspec.Raw]] | None:
    return ("batch", event.batch) if isinstance(event.batch, list) else None


class _Webhook(msgspec.Struct, gc=False):
    event: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


_webhook_of = msgspec.json.Decoder(_Webhook).decode
_event_of = msgspec.json.Decoder(_Event).decode


def _inner_of(event: _Event, raw: bytes) -> tuple[_Event, bytes] | None:
    """The event that a webhook carries, and its bytes."""
    webhook = _webhook_of(raw)
    for part in (webhook.event, webhook.data):
        value = bytes(part)
        if value[:1] != b"{":
            continue
        try:
            inner = _event_of(value)
        except UNDECODABLE as error:
            raise Rejected(Reason.WRONG_TYPE, f"of the event in a webhook: {error}") from None
        return (inner, value) if isinstance(inner.event, str) else None
    return None


def _from_text(text: str) -> _Properties:
    try:
        return _properties_of(text.encode())
    except UNDECODABLE:
        raise Rejected(Reason.NOT_JSON, "the text at `$.properties` is no JSON object") from None


def _user_of(event: _Event, told: _Properties) -> str:
    distinct_id = event.distinct_id if event.distinct_id not in (None, "") else told.distinct_id
    device_id = told.device_id
    if distinct_id is not None and (distinct_id == device_id or told.is_identified is False):
        return person(None, distinct_id, user_field="distinct_id", device_field="distinct_id")
    return person(distinct_id, device_id, user_field="distinct_id", device_field="properties.$device_id")


def _surveyed_properties(raw: bytes) -> dict[str, Any]:
    """All properties of an event, whose names are not known beforehand."""
    try:
        told = _surveyed(raw).properties
        told = _any(told.encode()) if isinstance(told, str) else told
    except UNDECODABLE as error:  # what the fields that are read otherwise don't have: a number that is too large
        raise Rejected(Reason.WRONG_TYPE, f"at `$.properties`: {error}") from None
    return told if isinstance(told, dict) else {}


def _with_answers(its_step: Told, questions: Questions, response: Response, told: dict[str, Any]) -> Told:
    """What an event of a survey tells: a step, where a person has answered, and the answers."""
    parcel = Parcel()
    survey_id = told.get("$survey_id")
    submission = thing_id(told.get("$survey_submission_id"))
    if response.status is Status.COMPLETED:
        parcel.add(its_step)
        status = Status.PARTIAL if told.get("$survey_completed") is False else Status.COMPLETED
        response_id = submission or f"{survey_id}/{told.get('$survey_iteration') or 1}"
        its = response._replace(status=status, response_id=response_id)
        answers = _answers(told)
        asked = [(questions.find(survey_id, name), score) for name, score in answers.items()]
        if not any(one for one, _ in asked) and len(answers) == 1:
            asked = [(questions.find(None, survey_id), score) for score in answers.values()]
        parcel.add(questions.told(its, asked))
    elif submission is None:
        return NOTHING[LeftOut.QUESTION]
    else:
        parcel.add(questions.told_without_scores(response._replace(response_id=submission), survey_id))
    return parcel.told()


def _answers(told: dict[str, Any]) -> dict[str, Any]:
    """The answers by the id of their question; of a question without one, by its number."""
    asked = told.get("$survey_questions")
    listed = asked if isinstance(asked, list) else []
    ids = [str(one.get("id") or "") if isinstance(one, dict) else "" for one in listed]
    answers: dict[str, Any] = {}
    for name, score in told.items():
        if name != _RESPONSE and not name.startswith(f"{_RESPONSE}_"):
            continue
        number = name.removeprefix(_RESPONSE).removeprefix("_") or "0"
        if number.isdecimal() and int(number) < len(ids) and ids[int(number)]:
            answers.setdefault(ids[int(number)], score)
        else:
            answers[number] = score
    if len(answers) > 1 and "0" in answers and not ids:
        del answers["0"]  # sent beside the same answer by its id
    return answers


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is an event of PostHog, a batch of them, or a webhook with one."""
    if "api_key" in fields and "batch" in fields:
        return True
    if "event" not in fields:
        return False
    if bytes(fields["event"])[:1] == b"{":
        return recognises(msgspec.json.decode(fields["event"], type=dict[str, msgspec.Raw]))
    if "distinct_id" in fields:
        return True
    properties = bytes(fields.get("properties", b"null"))
    is_captured = not _MARKS.isdisjoint(fields)  # the time is optional: PostHog takes that of the arrival
    return is_captured and properties[:1] == b"{" and b'"distinct_id"' in properties
