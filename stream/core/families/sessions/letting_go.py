"""What can be let go of the sessions of one user: what no event that is not late can change."""

from bisect import bisect_left
from operator import attrgetter

from stream.core.families.sessions.part import (
    LONGEST_PAUSE_MS,
    Session,
    Track,
    Visits,
    closed,
    in_sessions,
    is_near,
    joined,
)
from stream.core.time import MINUTE_MS, Span

_last_of = attrgetter("last_ms")


def let_go(visits: Visits, *, before_ms: int, timeout_ms: int, span: Span) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    day_ms = before_ms
    if len(visits.by_gap.sessions) > 1 or visits.by_id:
        span.end_of_day(before_ms)
        day_ms = span.starts_ms
    if visits.aside:
        for identity in [identity for identity, at_ms in visits.aside.items() if at_ms < before_ms]:
            del visits.aside[identity]
    closings = _let_go_of(visits.by_gap, timeout_ms, before_ms, timeout_ms, day_ms)
    for session_id, track in list(visits.by_id.items()):
        closings += _let_go_of(track, LONGEST_PAUSE_MS, before_ms, timeout_ms, day_ms)
        if not track.sessions and not track.ends and track.summary is None:
            del visits.by_id[session_id]
    if closings:
        minutes = sorted(closes_ms // MINUTE_MS for closes_ms in closings)
        visits.settled_minutes = tuple(sorted((*visits.settled_minutes, *minutes))[-2:])
        visits.closings = None


def _let_go_of(track: Track, pause_ms: int, before_ms: int, timeout_ms: int, day_ms: int) -> list[int]:
    """Forget what ended before; returns when the sessions closed. The day of `before_ms` began at `day_ms`."""
    # A timeout more: an end follows the last step by as much, and until then the session is open.
    settled_before_ms = before_ms - pause_ms - timeout_ms
    if track.summary is None and not track.ends:
        first_ms = track.sessions[0].last_ms if track.sessions else before_ms
        if first_ms >= settled_before_ms and (first_ms >= day_ms or len(track.sessions) == 1):
            return []  # the common case, fast: the first to end has not ended so long ago
    whole = None if track.summary is None else track.summary.session
    sessions = in_sessions(track.sessions, pause_ms)
    told = [pieces for pieces in sessions if whole is not None and is_near(pieces, whole)]
    goes_whole = whole is not None and _last_ms(track, told) < settled_before_ms
    kept: list[Session] = []
    closings = []
    for pieces in sessions:
        if pieces in told:  # what a summary replaces goes when it goes
            kept += () if goes_whole else _united_before(pieces, day_ms)
        elif pieces[-1].last_ms < settled_before_ms:
            closings.append(closed(pieces, track.ends, timeout_ms).closes_ms)
        else:
            kept += _united_before(pieces, day_ms)
    if whole is not None and goes_whole:
        closings.append(whole.last_ms)
        track.summary, track.earlier = None, ()
    if len(kept) < len(track.sessions):
        track.sessions = tuple(kept)
    _let_go_of_ends(track, before_ms)
    return closings


def _last_ms(track: Track, told: list[tuple[Session, ...]]) -> int:
    """The end of the last of a session's summaries, and of the steps that they replace."""
    summaries = (one.session.last_ms for one in (*track.earlier, track.summary) if one is not None)
    return max((*summaries, *(pieces[-1].last_ms for pieces in told)))


def _united_before(pieces: tuple[Session, ...], day_ms: int) -> tuple[Session, ...]:
    """The pieces of days before the one that began at `day_ms` in one: what a session was then can change no more."""
    old = bisect_left(pieces, day_ms, key=_last_of)
    return (joined(pieces[:old]), *pieces[old:]) if old > 1 else pieces


def _let_go_of_ends(track: Track, before_ms: int) -> None:
    """Forget the ends that no session is left for."""
    needed_ms = min((session.first_ms for session in track.sessions), default=before_ms)
    if track.ends and track.ends[0].at_ms < min(before_ms, needed_ms):
        track.ends = tuple(end for end in track.ends if end.at_ms >= min(before_ms, needed_ms))


def closing_minutes(visits: Visits, timeout_ms: int) -> list[int]:
    """The minutes in which sessions close, in order; of those that were let go the last two."""
    minutes = [counted.closes_ms // MINUTE_MS for counted in visits.counted(timeout_ms)]
    minutes.extend(visits.settled_minutes)
    minutes.sort()
    return minutes
