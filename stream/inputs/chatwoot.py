"""The format `chatwoot`: the ratings of conversations, as webhooks of Chatwoot and as its API returns them.

| what | where |
| --- | --- |
| user | `conversation.meta.sender.id`, the contact; with the setting `user`, that attribute of it (`identifier`) |
| time | of the question, `created_at`; of a rating, nowhere in a webhook: it needs `time = "record"` |
| response | the message that asks, so a changed rating replaces the first |
| conversation | `conversation.id`: of two ratings of a conversation the later counts |
| score | `content_attributes.submitted_values.csat_survey_response.rating`, CSAT of 1-5 |

A message with the content type `input_csat` and no rating says that a rating was asked for. All other webhooks tell of
conversations and contacts.

Source: Chatwoot's documentation, "Webhooks", and the published code of its webhooks, of November 2026.
"""

from collections.abc import Mapping

import msgspec

from stream.core.messages import Reader, Record
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.survey_scales import Kind, Status
from stream.inputs.options import Options, Question
from stream.inputs.parts import NOTHING, NotAnObject, Parts, Told
from stream.inputs.questions import Questions
from stream.inputs.telling import Clock, person, shown, thing_id

USES = frozenset({"time", "user", "questions"})

_QUESTION = "csat"
_KNOWN = (Question(question=_QUESTION, kind=Kind.CSAT),)
_ASKS = "input_csat"
_PROFILES = ("contact_created", "contact_updated", "inbox_created", "inbox_updated", "webwidget_triggered")

_Attributes = dict[str, object] | list[object] | str | int | float | bool | None


class _Rating(msgspec.Struct, gc=False):
    rating: object = None


class _Submitted(msgspec.Struct, gc=False):
    csat_survey_response: _Rating | NotAnObject = None


class _Content(msgspec.Struct, gc=False):
    submitted_values: _Submitted | NotAnObject = None


class _Meta(msgspec.Struct, gc=False):
    sender: _Attributes = None


class _Inbox(msgspec.Struct, gc=False):
    contact_id: object = None


class _Conversation(msgspec.Struct, gc=False):
    id: object = None
    meta: _Meta | NotAnObject = None
    contact_inbox: _Inbox | NotAnObject = None


class _Webhook(msgspec.Struct, gc=False):
    """A webhook, or a rating as the API returns it."""

    event: object = None
    id: object = None
    content_type: object = None
    content_attributes: _Content | NotAnObject = None
    conversation: _Conversation | NotAnObject = None
    created_at: object = None
    # Of the API.
    rating: object = None
    message_id: object = None
    conversation_id: object = None
    contact: _Attributes = None


def reader_of(options: Options) -> Reader:
    """What reads ratings."""
    clock, (asked, *_) = Clock(options), Questions(options, _KNOWN).all()

    def tell(webhook: _Webhook, record: Record, raw: bytes) -> Told:
        if webhook.event is None:
            if webhook.rating is None:
                raise Rejected(Reason.MISSING_FIELD, "needs `$.event`, or `$.rating`")
            return asked.told(
                _user_of(options, webhook.contact, None, "contact"),
                clock.at_ms(record, webhook.created_at, "created_at"),
                False,
                response_id=thing_id(webhook.message_id) or thing_id(webhook.id),
                score=webhook.rating,
                interaction_id=thing_id(webhook.conversation_id),
            )
        if webhook.content_type != _ASKS:
            return NOTHING[LeftOut.PROFILE if webhook.event in _PROFILES else LeftOut.CONTACT]
        conversation = webhook.conversation
        if not isinstance(conversation, _Conversation):
            raise Rejected(Reason.MISSING_FIELD, f"needs `$.conversation`, got {shown(conversation)}")
        sender = conversation.meta.sender if isinstance(conversation.meta, _Meta) else None
        inbox = conversation.contact_inbox
        contact_id = inbox.contact_id if isinstance(inbox, _Inbox) else None
        rating = _rating_of(webhook)
        # Of a rating the message tells when it was asked for: only the record says when it was given.
        time = webhook.created_at if rating is None else None
        return asked.told(
            _user_of(options, sender, contact_id, "conversation.meta.sender"),
            clock.at_ms(record, time, "created_at"),
            False,
            response_id=thing_id(webhook.id),
            score=rating,
            status=Status.SHOWN if rating is None else Status.COMPLETED,
            interaction_id=thing_id(conversation.id),
        )

    return Parts(_Webhook, tell).read


def _rating_of(webhook: _Webhook) -> object:
    content = webhook.content_attributes
    submitted = content.submitted_values if isinstance(content, _Content) else None
    response = submitted.csat_survey_response if isinstance(submitted, _Submitted) else None
    return response.rating if isinstance(response, _Rating) else None


def _user_of(options: Options, contact: object, contact_id: object, place: str) -> str:
    told = contact if isinstance(contact, dict) else {}
    name = options.user or "id"
    named = told.get(name)
    if named is None and options.user:
        custom = told.get("custom_attributes")
        named = custom.get(name) if isinstance(custom, dict) else None
    if named is None and not options.user:
        named = contact_id
    field = f"{place}.{name}"
    return person(named, user_field=field)


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a webhook of Chatwoot, or a rating of its API."""
    if "event" in fields and "account" in fields:
        return "conversation" in fields or "inbox" in fields or "contact_inbox" in fields or "messages" in fields
    return "rating" in fields and "feedback_message" in fields and "conversation_id" in fields
