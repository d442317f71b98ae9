"""The native messages of orders, and the event that is made of them."""

from decimal import Decimal
from typing import Literal

from stream.core.events import Event
from stream.core.families.orders.part import Version
from stream.core.ids import Id, id_of
from stream.core.messages import LabelledMessage, MessageKind
from stream.core.money import minor_units
from stream.core.rejections import Reason, Rejected
from stream.core.segments import cleaned_value


class OrderMessage(LabelledMessage, gc=False, kw_only=True):
    """A message of the kind `orders`."""

    type: Literal["paid", "refunded"]
    order_id: Id
    amount: Decimal
    currency: str
    margin: Decimal | None = None
    refund_id: Id | None = None
    transaction_type: object = None


class Paid(Event, frozen=True, gc=False):
    """An order that was paid, or one of its refunds."""

    order_id: str
    refund_id: str | None  # None for a payment
    version: Version


# A refund without an id is the only one of its order.
_THE_REFUND = ""


def event_of(message: OrderMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Paid:
    """The payment or the refund of a message. Raises Rejected."""
    order_id = id_of(message.order_id)
    if order_id is None:
        raise Rejected(Reason.MISSING_FIELD, f"{message.order_id!r} at `$.order_id` names no order")
    currency = message.currency.strip()
    amount = minor_units(message.amount, currency)
    if message.type == "refunded":
        version = Version(at_ms, amount, currency)
        return Paid(user, at_ms, is_bot, order_id, id_of(message.refund_id) or _THE_REFUND, version)
    margin = -1 if message.margin is None else _margin(message.margin, amount)
    return Paid(
        user,
        at_ms,
        is_bot,
        order_id,
        None,
        Version(at_ms, amount, currency, margin, cleaned_value(message.transaction_type)),
    )


def _margin(share: Decimal, amount: int) -> int:
    """What an order earns, in whole minor units. Raises Rejected."""
    if not share.is_finite() or not 0 <= share <= 1:
        raise Rejected(Reason.OUT_OF_RANGE, f"{share} at `$.margin` is no share between 0 and 1")
    return round(share * amount)


ORDERS = MessageKind(
    "orders",
    OrderMessage,
    event_of,
    type_field="type",
    ignored_fields={"refunded": frozenset({"margin", "transaction_type"}), "paid": frozenset({"refund_id"})},
)
