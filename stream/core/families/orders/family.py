"""Orders and refunds in windows of event time, and what was ever paid."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from stream.core.contribution import Contribution
from stream.core.days import Amounts, DayBook, OfWindows
from stream.core.events import Event
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.orders import messages, samples
from stream.core.families.orders.contribution import (
    BUYERS,
    COHORT,
    KIND,
    REPEAT_BUYERS,
    Contributions,
    parsed_cohort_field,
)
from stream.core.families.orders.messages import Paid
from stream.core.families.orders.metrics import METRICS
from stream.core.families.orders.part import (
    Life,
    Order,
    UserOrders,
    forget,
    lives,
    order_of,
    purchases,
    purchases_of_newest_life,
    put,
)
from stream.core.families.orders.purchases import Purchases
from stream.core.label_texts import LabelTexts
from stream.core.ledger import Ledger
from stream.core.ring import Booking, latest_bookings, second_latest_bookings
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.snapshot import Sums
from stream.core.tally import Field, add
from stream.core.time import DAY_MS, MINUTE_MS, Span
from stream.core.windows import ORDERS

_BUYER = {BUYERS: 1}
_REPEAT_BUYER = {REPEAT_BUYERS: 1}

_ById = dict[str, tuple[Order, ...]]


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The form in which the orders of a user are stored."""

    by_id: _ById
    past: tuple[Life, ...] = ()


_decode = msgspec.msgpack.Decoder(_Stored).decode


class OrdersFamily(Family[UserOrders]):
    """Orders, refunds, buyers, and what they have ever paid."""

    name = "orders"
    number = 6
    since_format = 7
    windows = ORDERS
    metrics = METRICS
    is_absent_when_empty = True
    message_kinds = (messages.ORDERS,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._is_same_day = Span(rules.days).is_same_day
        self._memory_days = rules.memory_days
        self._contributions = Contributions(rules.days, memory_days=rules.memory_days, wait_ms=rules.refund_wait_ms)
        # Windows of hours are longer by up to an hour, and local days by up to some hours.
        self._kept_days = max(rules.memory_days, max(self.lengths.values()) * MINUTE_MS // DAY_MS + 2)
        self._kinds = LabelTexts(KIND)
        self.ledger = Ledger(f"{self.name}-ever")

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Paid: one_by_one(self.apply_order)}

    def apply_order(self, part: UserOrders, event: Paid, now: int) -> bool:
        """Use what an event says of an order, unless it is known."""
        version = event.version
        if version.kind:
            version = msgspec.structs.replace(version, kind=self._kinds.of(version.kind))
        known = part.by_id.get(event.order_id, ())
        after = put(
            known,
            order_of(version, event.refund_id),
            memory_days=self._memory_days,
            day_of=self._day_of,
            is_same_day=self._is_same_day,
        )
        if after is known:
            return False
        if part.booked is None:
            part.booked = dict(part.by_id)
            self.changed.append(part)
        part.by_id[event.order_id] = after
        return True

    def new(self) -> UserOrders:
        return UserOrders()

    def decode(self, stored: msgspec.Raw) -> UserOrders:
        kept = _decode(stored)
        return UserOrders(kept.by_id, kept.past)

    def stored(self, part: UserOrders) -> object:
        return (part.by_id, part.past) if part.by_id or part.past else None

    def prune(self, part: UserOrders, horizon: Horizon) -> None:
        before = (dict(part.by_id), part.past) if self.rules.erases and (part.by_id or part.past) else None
        forget(
            part,
            before_day=self._day_of(max(0, horizon.before_ms)),
            memory_days=self._memory_days,
            kept_days=self._kept_days,
            day_of=self._day_of,
        )
        if before is not None:
            self._remember_dropped(*before, part)

    def _remember_dropped(self, by_id: _ById, past: tuple[Life, ...], part: UserOrders) -> None:
        """Note what the ledger holds for ever of orders that were dropped."""
        kept = {(order_id, order.first_ms) for order_id, orders in part.by_id.items() for order in orders}
        gone = [
            order for order_id, orders in by_id.items() for order in orders if (order_id, order.first_ms) not in kept
        ]
        if not gone and past == part.past:
            return
        of_user, kept_lives = (
            lives(orders, lives_past, memory_days=self._memory_days, day_of=self._day_of)
            for orders, lives_past in ((by_id, past), (part.by_id, part.past))
        )
        let_go = Contribution()
        for order in gone:
            self._contributions.add_order(let_go, order, self._cohort(order, of_user), 1)
        for life in of_user:
            if not any(life.first_day <= one.first_day <= life.last_day for one in kept_lives):
                its = (order for orders in by_id.values() for order in orders if self._is_of(order, life))
                self._contributions.add_payers(let_go, life, its, 1)
        for amounts in let_go.changes.values():
            self.remember_ever(amounts)

    def long_term_part(self, part: UserOrders) -> UserOrders | None:
        return part if part.by_id or part.past else None

    def last_ms(self, part: UserOrders) -> int:
        times = [order.last_ms for orders in part.by_id.values() for order in orders]
        days = [self.rules.days.starts_ms(life.last_day + 1) for life in part.past]
        return max([*times, *days], default=0)

    def min_retention_ms(self) -> int:
        return super().min_retention_ms() + 2 * DAY_MS

    def purchases(self, part: UserOrders, *, of_all_times: bool) -> tuple[Purchases, ...]:
        """What a user has bought, by currency: at all times, or since the user is one buyer."""
        if of_all_times or not (part.by_id or part.past):
            return purchases(part, self._day_of)
        return purchases_of_newest_life(part, memory_days=self._memory_days, day_of=self._day_of)

    # -- totals ----------------------------------------------------------------------------------------------------

    def update_totals(self, now: int) -> None:
        self.ledger.advance(now)
        super().update_totals(now)

    def book(self, parts: list[UserOrders]) -> None:
        for part in parts:
            before, part.booked = part.booked or {}, None
            self._book_difference(before, part.by_id, part.past, part.past)

    def take_out(self, part: UserOrders) -> None:
        self._book_difference(part.by_id, {}, part.past, ())

    def _book_difference(
        self, before: _ById, after: _ById, past_before: tuple[Life, ...], past: tuple[Life, ...]
    ) -> None:
        lives_before, lives_after = (
            lives(by_id, lives_past, memory_days=self._memory_days, day_of=self._day_of)
            for by_id, lives_past in ((before, past_before), (after, past))
        )
        changed = {order_id for order_id in {*before, *after} if before.get(order_id) is not after.get(order_id)}
        if [life.first_paid_ms for life in lives_before] != [life.first_paid_ms for life in lives_after]:
            changed = {*before, *after}  # their cohort may be another one
        difference = Contribution()
        for by_id, of_user, times in ((before, lives_before, -1), (after, lives_after, 1)):
            for order_id in changed:
                for order in by_id.get(order_id, ()):
                    self._contributions.add_order(difference, order, self._cohort(order, of_user), times)
            for life in of_user:
                orders = (order for orders in by_id.values() for order in orders if self._is_of(order, life))
                self._contributions.add_payers(difference, life, orders, times)
        difference.put(self.ring, self.days, self.ledger)
        self._book_buyers(before, after)

    def _is_of(self, order: Order, life: Life) -> bool:
        return life.first_day <= self._day_of(order.first_ms) <= life.last_day

    def _cohort(self, order: Order, of_user: Iterable[Life]) -> int | None:
        """The day on which the buyer of an order first paid."""
        for life in of_user:
            if self._is_of(order, life) and life.first_paid_ms is not None:
                return self._day_of(life.first_paid_ms)
        return None

    def _book_buyers(self, before: _ById, after: _ById) -> None:
        """Book who bought, and who bought twice, in the latest and the second latest minute and day."""
        times_before, times_after = _paid_times(before), _paid_times(after)
        if times_before == times_after:
            return
        for book, place_of in (
            (self.ring.book, lambda at_ms: at_ms // MINUTE_MS),
            (self.days.book, self._day_of),
        ):
            gone, new = (_buyer_bookings([place_of(at_ms) for at_ms in times]) for times in (times_before, times_after))
            kept = gone.keys() & new.keys()
            book([booking for key, booking in gone.items() if key not in kept], times=-1)
            book([booking for key, booking in new.items() if key not in kept])

    def sums(self) -> Sums:
        self._kinds.make_room(self.ring.now * MINUTE_MS // DAY_MS, lambda: (*self.ring.tallies(), *self.days.tallies()))
        live: dict[int, dict[Field, int]] = dict(self.ring.sums())
        live[samples.EVER] = self._ever(self.ledger.now())
        return Sums(live=live)

    def _ever(self, held: Mapping[Field, int]) -> Amounts:
        """What a ledger holds, of cohorts only the sums over periods for which capital was spent."""
        ever: Amounts = {}
        for field, amount in held.items():
            if not isinstance(field, str):
                ever[field] = amount
            elif field.startswith(COHORT):
                day, currency, what = parsed_cohort_field(field)
                for capex in self.rules.capex:
                    if capex.currency == currency and capex.first_day <= day <= capex.last_day:
                        add(ever, {samples.period_field(capex.period, what): amount})
        return ever

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        told = super().closed_sums(day, first_known)
        told[samples.EVER] = self._ever(self.ledger.as_of(day))
        return told

    def books(self) -> tuple[DayBook | Ledger, ...]:
        return (self.days, self.ledger)

    def restore(self, stored: Any, *, now: int, days_since: Mapping[str, int]) -> None:
        super().restore(stored, now=now, days_since=days_since)
        self._kinds.keep((*self.ring.tallies(), *self.days.tallies()))

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        return samples.live(sums.live, self.lengths, self.rules)

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        return samples.closed(of_windows, self.closed_lengths, self.rules)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        """The names of currencies and types come from the longest window: all are told together."""
        yield from ()


def _paid_times(by_id: _ById) -> list[int]:
    return sorted(order.paid.first_ms for orders in by_id.values() for order in orders if order.paid is not None)


def _buyer_bookings(places: list[int]) -> dict[tuple[object, ...], Booking]:
    """The bookings of one buyer, by what tells them apart; several payments may be of one minute or day."""
    bookings: dict[tuple[object, ...], Booking] = {}
    seen: dict[tuple[object, ...], int] = defaultdict(int)
    for what, of in ((0, latest_bookings(places, _BUYER)), (1, second_latest_bookings(places, _REPEAT_BUYER))):
        for booking in of if places else ():
            key = (what, booking.minute, booking.until, booking.since)
            seen[key] += 1
            numbered = (*key, seen[key])
            bookings[numbered] = booking
    return bookings
