"""Survey answers: CSAT, NPS, CES and CXI.

The latest state of each response is booked in the minute of its event. If a later answer of the same user or the same
interaction supersedes it, it is booked *until* the minute of that answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from stream.core.events import Answer, Event, EventWithoutUser, ResponseRemoved
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.families.surveys import messages, samples
from stream.core.families.surveys.contribution import amounts_of, bookings
from stream.core.families.surveys.metrics import METRICS
from stream.core.families.surveys.part import Response, UserResponses, latest_state, state_of
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.time import DAY_MS, MINUTE_MS
from stream.core.windows import SURVEYS

_NO_RESPONSES: dict[str, Response] = {}

_decode = msgspec.msgpack.Decoder(dict[str, Response]).decode


class SurveysFamily(Family[UserResponses]):
    """Survey answers in windows of event time."""

    name = "surveys"
    number = 4
    windows = SURVEYS
    metrics = METRICS
    message_kinds = (messages.SURVEYS,)

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Answer: one_by_one(self.apply_answer)}

    def apply_answer(self, part: UserResponses, answer: Answer, now: int) -> bool:
        """Use a state of a response if it is the latest."""
        new, old = state_of(answer), part.by_id.get(answer.response_id)
        if old is not None:
            new = latest_state(old, new)
            if new == old:
                return False
        if part.booked is None:
            part.booked = part.by_id.copy() if part.by_id else _NO_RESPONSES
            self.changed.append(part)
        part.by_id[answer.response_id] = new
        return True

    def references(self) -> Mapping[type[EventWithoutUser], Callable[[UserResponses], Iterable[str]]]:
        return {ResponseRemoved: lambda part: part.by_id}

    def new(self) -> UserResponses:
        return UserResponses()

    def decode(self, stored: msgspec.Raw) -> UserResponses:
        return UserResponses(_decode(stored))

    def stored(self, part: UserResponses) -> object:
        return part.by_id or None

    def prune(self, part: UserResponses, horizon: Horizon) -> None:
        before_ms = min(horizon.before_ms, horizon.watermark_ms - max(self.lengths.values()) * MINUTE_MS - DAY_MS)
        gone = [name for name, response in part.by_id.items() if response.at_ms < before_ms]
        for name in gone:
            del part.by_id[name]

    def last_ms(self, part: UserResponses) -> int:
        return max((response.at_ms for response in part.by_id.values()), default=0)

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[UserResponses]) -> None:
        ring = self.ring
        for part in parts:
            before, part.booked = part.booked, None
            if before:
                ring.book(bookings(before), times=-1)
            elif len(part.by_id) == 1:  # the common case of a first answer, fast: nothing supersedes it
                (response,) = part.by_id.values()
                minute = response.at_ms // MINUTE_MS
                if response.shown_ms is None:
                    if ring.covers(minute):  # when an old stream is read, most answers are in no window
                        ring.count(minute, amounts_of(response))
                    continue
            ring.book(bookings(part.by_id))

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        for window, length in self.lengths.items():
            yield from samples.of_window({"window": window}, sums.live.get(length, {}))
