"""The native messages of accounts."""

from stream.core.account_changes import Change
from stream.core.events import AccountChange
from stream.core.ids import Id
from stream.core.messages import LabelledMessage, MessageKind, Time, segments_of, time_field_ms
from stream.core.rejections import Reason, Rejected
from stream.core.segments import cleaned_value


class AccountMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `accounts`."""

    type: Change
    step: Id | None = None
    effective_at: Time | None = None


def event_of(message: AccountMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> AccountChange:
    """The change of an account in a message. Raises Rejected."""
    step, effective_ms = "", at_ms
    if message.type is Change.ONBOARDING_STEP:
        step = cleaned_value(message.step)
        if not step:
            raise Rejected(Reason.MISSING_FIELD, f"an onboarding step needs a name at `$.step`, not {message.step!r}")
    if message.type is Change.CANCELLED and message.effective_at is not None:
        effective_ms = max(at_ms, time_field_ms(message.effective_at, "effective_at"))
    return AccountChange(user, at_ms, is_bot, message.type, step, effective_ms, segments_of(message))


_NO_STEP, _NO_DATE = frozenset({"step"}), frozenset({"effective_at"})

ACCOUNTS = MessageKind(
    "accounts",
    AccountMessage,
    event_of,
    type_field="type",
    ignored_fields={
        change.value: (frozenset() if change is Change.ONBOARDING_STEP else _NO_STEP)
        | (frozenset() if change is Change.CANCELLED else _NO_DATE)
        for change in Change
    },
    needs={Change.ONBOARDING_STEP.value: ("step",)},
    fields={
        "type": "what happened to the account",
        "step": "of an onboarding step: its name",
        "effective_at": "of a cancellation: when it takes effect, if that is after `event_time`",
    },
    examples=(
        {"user_id": "ada", "event_time": "2026-11-21T10:00:00Z", "type": "subscribed", "plan": "pro"},
        {
            "user_id": "ada",
            "event_time": "2026-11-21T18:00:00Z",
            "type": "cancelled",
            "effective_at": "2026-12-21T10:00:00Z",
        },
    ),
)
