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
    fields={
        "type": "whether the order was paid, or an amount of it was paid back",
        "order_id": "the id of the order; a later message with it and this type takes the place of the earlier one",
        "amount": "how much was paid or paid back, with at most as many decimals as the currency has",
        "currency": "the currency of the amount, as an ISO 4217 code",
        "margin": "of a payment: the share of the amount that is earned, between 0 and 1",
        "refund_id": "of a refund: its id; without one it is the only refund of its order",
        "transaction_type": "of a payment: the kind of order, as online or renewal: a text of at most 64 characters",
    },
    examples=(
        {
            "user_id": "ada",
            "event_time": "2026-11-21T10:00:00Z",
            "type": "paid",
            "order_id": "o-1",
            "amount": "19.90",
            "currency": "EUR",
        },
        {
            "user_id": "ada",
            "event_time": "2026-11-21T18:00:00Z",
            "type": "refunded",
            "order_id": "o-1",
            "refund_id": "r-1",
            "amount": "5.00",
            "currency": "EUR",
        },
    ),
)
