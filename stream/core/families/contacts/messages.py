"""The native messages of conversations, and the event that is made of them."""

from stream.core.events import Event
from stream.core.families.contacts.part import Message as Told
from stream.core.families.contacts.part import Type
from stream.core.ids import Id, id_of
from stream.core.messages import LabelledMessage, MessageKind
from stream.core.rejections import Reason, Rejected
from stream.core.segments import cleaned_value


class ContactMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `contacts`."""

    type: Type
    conversation_id: Id
    channel: object = None
    outbound: bool | None = False
    merged_into: Id | None = None


class ConversationChanged(Event, frozen=True, gc=False):
    """Something happened in a conversation of a customer."""

    conversation_id: str
    told: Told


def event_of(message: ContactMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> ConversationChanged:
    """What a message tells of a conversation. Raises Rejected."""
    conversation_id = id_of(message.conversation_id)
    if conversation_id is None:
        raise Rejected(
            Reason.MISSING_FIELD, f"{message.conversation_id!r} at `$.conversation_id` names no conversation"
        )
    is_outbound = message.type is Type.OPENED and message.outbound is True
    is_gone = message.type is Type.DELETED or id_of(message.merged_into) is not None
    told = Told(
        at_ms, Type.DELETED.number if is_gone else message.type.number, cleaned_value(message.channel), is_outbound
    )
    return ConversationChanged(user, at_ms, is_bot, conversation_id, told)


CONTACTS = MessageKind(
    "contacts",
    ContactMessage,
    event_of,
    type_field="type",
    fields={
        "type": "opened, customer_message, agent_reply, bot_reply, resolved, reopened or deleted",
        "conversation_id": "the conversation; the user is always the customer, of an agent's reply too",
        "channel": "such as chat or mail",
        "outbound": "of opened: true where we have written first, so that nobody waits",
        "merged_into": "the conversation that goes on instead of this one, which counts no more",
    },
    examples=(
        {
            "user_id": "ada",
            "event_time": "2026-11-21T10:00:00Z",
            "type": "opened",
            "conversation_id": "c-1",
            "channel": "chat",
        },
        {"user_id": "ada", "event_time": "2026-11-21T10:07:00Z", "type": "agent_reply", "conversation_id": "c-1"},
    ),
)
