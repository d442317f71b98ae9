"""What sessions were at the end of earlier days: what closed days say of them.

As of a day a session is what its steps, ends and summaries of that day and before make of it. One whose steps all lie
in one day was never otherwise. One that went on over midnight, or was taken up again under its id on a later day, had
closed, or was open, as its first pieces say: until the day of the next piece. An end that comes after another one of an
earlier day counts from its own day on, and so do a summary that outranks another one, and steps that a summary turns
out to have told too.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from stream.core.families.sessions.part import (
    CountedSession,
    End,
    Session,
    SessionGroup,
    SummarySession,
    closed,
    in_sessions,
)
from stream.core.reuse import LONGEST_PAUSE_MS
from stream.core.ring import Booking, latest_bookings, second_latest_bookings
from stream.core.tally import Tally

DayOf = Callable[[int], int]


class Earlier(NamedTuple):
    """The sessions of a track from the end of one day on, until another day; whether all of them are told."""

    since: int
    until: int
    sessions: list[CountedSession]
    are_all: bool


def was_otherwise(group: SessionGroup, pause_ms: int) -> bool:
    """Whether a track may have been otherwise at the end of an earlier day."""
    if group.summaries:
        return bool(group.sessions) or any(one.earlier for one in group.summaries)
    pieces, ends = group.sessions, group.ends
    return any(later.first_ms <= earlier.last_ms + pause_ms for earlier, later in pairwise(pieces)) or any(
        later.at_ms <= earlier.at_ms + pause_ms for earlier, later in pairwise(ends)
    )


def earlier_versions(group: SessionGroup, timeout_ms: int, pause_ms: int, day_of: DayOf) -> list[Earlier]:
    """What sessions were until they became what they are."""
    if group.summaries:
        return _with_summaries(group, timeout_ms, pause_ms, day_of)
    found = []
    for pieces in in_sessions(group.sessions, pause_ms):
        # Each session by itself. As it is now it closes on the day of its last piece or end, or later.
        days = {day_of(piece.last_ms) for piece in pieces}
        days |= {day_of(at_ms) for at_ms in _times_of_ends(pieces, group.ends, timeout_ms)}
        for since, until in pairwise(sorted(days)):
            known = [piece for piece in pieces if day_of(piece.last_ms) <= since]
            found.append(Earlier(since, until, [closed(known, _ends_by(group, since, day_of), timeout_ms)], False))
    return found


def _times_of_ends(pieces: Sequence[Session], ends: Sequence[End], timeout_ms: int) -> Iterator[int]:
    """The times of the ends that close a session, or closed it when it had only its first pieces."""
    for end in ends:
        if any(piece.last_ms <= end.at_ms <= piece.last_ms + timeout_ms for piece in pieces):
            yield end.at_ms


def _ends_by(group: SessionGroup, day: int, day_of: DayOf) -> tuple[End, ...]:
    """The ends of a track that had come by the end of a day."""
    return tuple(end for end in group.ends if day_of(end.at_ms) <= day)


def _with_summaries(group: SessionGroup, timeout_ms: int, pause_ms: int, day_of: DayOf) -> list[Earlier]:
    of_sessions = [(*one.earlier, one) for one in group.summaries]
    days = {day_of(piece.last_ms) for piece in group.sessions}
    days |= {day_of(one.session.last_ms) for summaries in of_sessions for one in summaries}
    days |= {day_of(at_ms) for at_ms in _times_of_ends(group.sessions, group.ends, timeout_ms)}
    found = []
    for since, until in pairwise(sorted(days)):
        pieces = tuple(piece for piece in group.sessions if day_of(piece.last_ms) <= since)
        known = ([one for one in summaries if day_of(one.session.last_ms) <= since] for summaries in of_sessions)
        wholes = tuple(whole for summaries in known for whole in _wholes_of(summaries))
        then = SessionGroup(pieces, _ends_by(group, since, day_of), wholes)
        found.append(Earlier(since, until, list(then.counted(timeout_ms, pause_ms)), True))
    return found


def _wholes_of(summaries: Sequence[SummarySession]) -> Iterator[SummarySession]:
    """The sessions that summaries in order of rank describe: several where a later one has joined these."""
    greatest, until_ms = -1, 0
    for rank in sorted(range(len(summaries)), key=lambda rank: _begins(summaries[rank])):
        one = summaries[rank]
        if greatest >= 0 and _begins(one) > until_ms + LONGEST_PAUSE_MS:
            yield summaries[greatest]
            greatest = -1
        greatest, until_ms = max(greatest, rank), max(until_ms, one.session.last_ms)
    if greatest >= 0:
        yield summaries[greatest]


def _begins(summary: SummarySession) -> int:
    """When the session of one summary begins, if that is not too late to count."""
    return max(summary.session.first_ms, summary.span[0])


class Closing(NamedTuple):
    """A session that closes on a day, as far as is known from one day on and until another."""

    day: int
    since: int
    until: int | None


def visits_of(
    days: Sequence[int], otherwise: Iterable[Closing], visitor: Tally, repeat_visitor: Tally
) -> list[Booking]:
    """A visitor, booked on the day of the last session, and again where two have closed, on that of the last but one.

    `days` are those on which sessions close that were never otherwise, in order.
    """
    more = list(otherwise)
    if not more:
        return [*latest_bookings(days, visitor), *second_latest_bookings(days, repeat_visitor)] if days else []
    closings = [*(Closing(day, day, None) for day in days), *more]
    changes = {closing.since for closing in closings} | {
        closing.until for closing in closings if closing.until is not None
    }
    bookings = []
    for since, until in pairwise([*sorted(changes), None]):
        assert since is not None
        known = sorted(one.day for one in closings if one.since <= since and (one.until is None or since < one.until))
        bookings += [
            Booking(day, amounts, until, since)
            for day, amounts in zip(reversed(known[-2:]), (visitor, repeat_visitor), strict=False)
        ]
    return bookings


def closings_of(group: SessionGroup, timeout_ms: int, pause_ms: int, day_of: DayOf) -> Iterator[Closing]:
    """When the sessions of a track close, as they are and as they were."""
    versions = earlier_versions(group, timeout_ms, pause_ms, day_of)
    for since, until, sessions, _ in versions:
        for counted in sessions:
            day = day_of(counted.closes_ms)
            if max(since, day) < until:
                yield Closing(day, max(since, day), until)
    became = max((version.until for version in versions if version.are_all), default=0)
    for counted in group.counted(timeout_ms, pause_ms):
        day = day_of(counted.closes_ms)
        yield Closing(day, max(became, day), None)
