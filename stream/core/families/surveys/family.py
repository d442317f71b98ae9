"""Survey answers: CSAT, NPS, CES and CXI.

The latest state of each response is booked in the minute of its event. If a later answer of the same user or the same
interaction supersedes it, it is booked *until* the minute of that answer.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import msgspec

from stream.core import reuse
from stream.core.days import OfWindows, Version, by_day
from stream.core.events import Answer, Event, EventWithoutUser, ResponseRemoved
from stream.core.families.family import BySegment, EventHandler, Family, Horizon, one_by_one
from stream.core.families.surveys import messages, samples
from stream.core.families.surveys.contribution import (
    COMPLETED_OF_MATURED,
    COMPLETED_OF_SHOWN,
    OF_VALUE,
    RESPONSES,
    SHOWN_MATURED,
    amounts_of,
    bookings,
)
from stream.core.families.surveys.metrics import METRICS, NAMES_BY_SEGMENT
from stream.core.families.surveys.part import (
    SHORTEST_PAUSE_MS,
    Response,
    UserResponses,
    as_of,
    days_told,
    latest_state,
    state_of,
)
from stream.core.metrics import closed_name
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.survey_scales import Kind, Status
from stream.core.time import DAY_MS, MINUTE_MS, Span
from stream.core.windows import SEGMENTS_SURVEYS, SURVEYS

_NO_RESPONSES: dict[str, Response] = {}

# So many days whoever was asked has to answer before a closed day asks how many have.
_MATURES_DAYS = 7
# On closed days made of these days instead.
_OF_MATURED = {"engagement_survey_response_ratio", "engagement_survey_shown_completed"}
_OF_MATURED |= {f"{name}{end}" for name in _OF_MATURED for end in ("_lower", "_upper")}

_decode = msgspec.msgpack.Decoder(dict[str, Response]).decode


class SurveysFamily(Family[UserResponses]):
    """Survey answers in windows of event time."""

    name = "surveys"
    number = 4
    windows = SURVEYS
    metrics = METRICS
    message_kinds = (messages.SURVEYS,)
    by_segment = BySegment(NAMES_BY_SEGMENT, SEGMENTS_SURVEYS, OF_VALUE)

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._day_of = rules.days.day_of
        self._is_same_day = Span(rules.days).is_same_day
        self._pause_ms = max(SHORTEST_PAUSE_MS, super().min_retention_ms())

    # -- the part of a user ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Answer: one_by_one(self.apply_answer)}

    def apply_answer(self, part: UserResponses, answer: Answer, now: int) -> bool:
        """Use a state of a response if it is the latest."""
        new, name, by_id = state_of(answer, self.counted), answer.response_id, part.by_id
        near = self._keys_near(by_id, name, answer.at_ms) if name in by_id else []
        for key in near:
            new = latest_state(by_id[key], new, self._is_same_day)
        if len(near) == 1 and new == by_id[near[0]]:
            return False
        if part.booked is None:
            part.booked = by_id.copy() if by_id else _NO_RESPONSES
            self.changed.append(part)
        reuse.put(by_id, name, new, near, Response.span)
        return True

    def _keys_near(self, by_id: dict[str, Response], name: str, at_ms: int) -> list[str]:
        return reuse.keys_near(by_id, name, (at_ms, at_ms), self._pause_ms, Response.span)

    def references(self) -> Mapping[type[EventWithoutUser], Callable[[UserResponses, str, int], bool]]:
        return {ResponseRemoved: lambda part, name, at_ms: bool(self._keys_near(part.by_id, name, at_ms))}

    def new(self) -> UserResponses:
        return UserResponses()

    def decode(self, stored: msgspec.Raw) -> UserResponses:
        return UserResponses(_decode(stored))

    def stored(self, part: UserResponses) -> object:
        return part.by_id or None

    def prune(self, part: UserResponses, horizon: Horizon) -> None:
        # As long as an event can belong to the response, or supersede it in a window.
        before_ms = horizon.before_ms - self.min_retention_ms()
        gone = [
            name
            for name, response in part.by_id.items()
            if response.at_ms < before_ms and response.span()[1] < before_ms
        ]
        for name in gone:
            del part.by_id[name]

    def min_retention_ms(self) -> int:
        # Local days may be longer, and begin before the moment that is asked for.
        least_ms = max(self._pause_ms, super().min_retention_ms() + 2 * DAY_MS)
        # Who is erased is taken out of all that a closed day looks back to.
        return max(least_ms, (self.closed_reach() + 2) * DAY_MS) if self.rules.erases else least_ms

    def last_ms(self, part: UserResponses) -> int:
        return max((response.span()[1] for response in part.by_id.values()), default=0)

    # -- totals ----------------------------------------------------------------------------------------------------

    def book(self, parts: list[UserResponses]) -> None:
        for part in parts:
            before, part.booked = part.booked, None
            if before:
                self._book(before, -1)
            elif len(part.by_id) == 1:  # the common case of a first answer, fast: nothing supersedes it
                (response,) = part.by_id.values()
                if response.shown_ms is None and not response.earlier:
                    self.count(response.at_ms // MINUTE_MS, amounts_of(response))
                    continue
            self._book(part.by_id, 1)

    def take_out(self, part: UserResponses) -> None:
        self._book(part.by_id, -1)

    def _book(self, responses: Mapping[str, Response], times: int) -> None:
        booked = bookings(responses)
        self.ring.book(booked, times=times)
        final = by_day(booked, self.day_of_minute)
        self.days.book(final, times=times)
        self.days.book_versions(final, self._versions(responses), times=times)

    def _versions(self, responses: Mapping[str, Response]) -> Iterator[Version]:
        """What was booked at the end of earlier days, where a response was otherwise then."""
        days = {
            day
            for response in responses.values()
            if response.earlier or response.shown_ms not in (None, response.at_ms)
            for day in days_told(response, self._day_of)
        }
        for since, until in pairwise(sorted(days)):
            # Of those that were never otherwise what is told meanwhile counts from its own day on.
            then = {name: as_of(response, until - 1, self._day_of) for name, response in responses.items()}
            known = {name: response for name, response in then.items() if response is not None}
            yield Version(since, until, by_day(bookings(known), self.day_of_minute))

    def closed_sums(self, day: int, first_known: int) -> OfWindows:
        told = super().closed_sums(day, first_known)
        matured = self.days.windows(day, self.closed_lengths, ended_before=_MATURES_DAYS)
        for length, tally in told.items():
            for kind in Kind:
                for field, of in (
                    (SHOWN_MATURED[kind], RESPONSES[kind, Status.SHOWN]),
                    (COMPLETED_OF_MATURED[kind], COMPLETED_OF_SHOWN[kind]),
                ):
                    if count := matured[length].get(of):
                        tally[field] = count
        return told

    def closed_reach(self) -> int:
        return super().closed_reach() + _MATURES_DAYS

    # -- numbers ---------------------------------------------------------------------------------------------------

    def closed(self, of_windows: OfWindows, day: int, *, whole_since: int) -> Iterator[Sample]:
        for length in self.closed_lengths:
            labels, tally = {"window": f"{length}d"}, of_windows.get(length, {})
            for name, its_labels, value in self.of_window(labels, tally):
                if name not in _OF_MATURED:
                    yield Sample(closed_name(name), its_labels, value)
            yield from samples.matured(labels, tally)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        return samples.of_window(labels, tally)

    def of_value(self, of_windows: Mapping[int, Mapping[int, int]], lengths: Mapping[str, int]) -> Iterator[Sample]:
        for window, length in lengths.items():
            yield from samples.of_value({"window": window}, of_windows.get(length, {}))
