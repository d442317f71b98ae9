"""What people say: CSAT, NPS, CES and CXI.

The latest state of each response is booked in the minute of its event. An answer that a later one supersedes, of the
same user or the same interaction, is booked *until* that one's minute.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from stream.core import reuse
from stream.core.events import Answer, Event, Nameless, ResponseRemoved
from stream.core.families.family import Family, Heard, Horizon, one_by_one
from stream.core.families.surveys import messages, samples
from stream.core.families.surveys.contribution import amounts_of, bookings
from stream.core.families.surveys.metrics import METRICS
from stream.core.families.surveys.part import SHORTEST_PAUSE_MS, Response, Responses, latest_state, state_of
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.snapshot import Sums
from stream.core.time import MINUTE_MS
from stream.core.windows import SURVEYS

_NONE: dict[str, Response] = {}

_decode = msgspec.msgpack.Decoder(dict[str, Response]).decode


class SurveysFamily(Family[Responses]):
    """Survey answers, by the windows of their events."""

    name = "surveys"
    number = 4
    windows = SURVEYS
    metrics = METRICS
    messages = (messages.SURVEYS,)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._pause_ms = max(SHORTEST_PAUSE_MS, super().reach_ms())

    # -- the part of a user ----------------------------------------------------------------------------------------

    def hears(self) -> Mapping[type[Event], Heard]:
        return {Answer: one_by_one(self.hear_answer)}

    def hear_answer(self, part: Responses, answer: Answer, now: int) -> bool:
        """A state of a response counts when it is the latest."""
        new, name, by_id = state_of(answer), answer.response_id, part.by_id
        near = self._keys_near(by_id, name, answer.at_ms) if name in by_id else []
        for key in near:
            new = latest_state(by_id[key], new)
        if len(near) == 1 and new == by_id[near[0]]:
            return False
        if part.booked is None:
            part.booked = by_id.copy() if by_id else _NONE
            self.changed.append(part)
        reuse.put(by_id, name, new, near, Response.span)
        return True

    def _keys_near(self, by_id: dict[str, Response], name: str, at_ms: int) -> list[str]:
        return reuse.keys_near(by_id, name, at_ms, self._pause_ms, Response.span)

    def knows(self) -> Mapping[type[Nameless], Callable[[Responses, str, int], bool]]:
        return {ResponseRemoved: lambda part, name, at_ms: bool(self._keys_near(part.by_id, name, at_ms))}

    def new(self) -> Responses:
        return Responses()

    def decode(self, stored: msgspec.Raw) -> Responses:
        return Responses(_decode(stored))

    def stored(self, part: Responses) -> object:
        return part.by_id or None

    def let_go(self, part: Responses, horizon: Horizon) -> None:
        before_ms = horizon.before_ms - self._pause_ms
        gone = [
            name
            for name, response in part.by_id.items()
            if response.at_ms < before_ms and response.span()[1] < before_ms
        ]
        for name in gone:
            del part.by_id[name]

    def last_ms(self, part: Responses) -> int:
        return max((response.span()[1] for response in part.by_id.values()), default=0)

    def reach_ms(self) -> int:
        return self._pause_ms

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[Responses]) -> None:
        ring = self.ring
        for part in parts:
            before, part.booked = part.booked, None
            if before:
                ring.book(bookings(before), times=-1)
            elif len(part.by_id) == 1:  # the common case of a first answer, fast: nothing supersedes it
                (response,) = part.by_id.values()
                minute = response.at_ms // MINUTE_MS
                if response.shown_ms is None:
                    if ring.remembers(minute):  # most of an old stream's answers count no more
                        ring.count(minute, amounts_of(response))
                    continue
            ring.book(bookings(part.by_id))

    # -- numbers ---------------------------------------------------------------------------------------------------

    def live(self, sums: Sums) -> Iterator[Sample]:
        for window, length in self.lengths.items():
            yield from samples.of_window({"window": window}, sums.live.get(length, {}))
