"""What can be let go of the sessions of one user: what no event that is not late can change."""

from bisect import bisect_left
from operator import attrgetter

from stream.core.families.sessions.part import (
    MAX_PAUSE_MS,
    Session,
    SessionGroup,
    UserSessions,
    closed,
    in_sessions,
    is_near,
    joined,
)
from stream.core.time import MINUTE_MS, Span

_last_of = attrgetter("last_ms")


def prune(visits: UserSessions, *, before_ms: int, timeout_ms: int, span: Span) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    day_ms = before_ms
    if len(visits.without_id.sessions) > 1 or visits.by_id:
        span.end_of_day(before_ms)
        day_ms = span.starts_ms
    if visits.steps_outside:
        for identity in [identity for identity, at_ms in visits.steps_outside.items() if at_ms < before_ms]:
            del visits.steps_outside[identity]
    closings = _prune_group(visits.without_id, timeout_ms, before_ms, timeout_ms, day_ms)
    for session_id, group in list(visits.by_id.items()):
        closings += _prune_group(group, MAX_PAUSE_MS, before_ms, timeout_ms, day_ms)
        if not group.sessions and not group.ends and group.summary is None:
            del visits.by_id[session_id]
    if closings:
        minutes = sorted(closes_ms // MINUTE_MS for closes_ms in closings)
        visits.final_closing_minutes = tuple(sorted((*visits.final_closing_minutes, *minutes))[-2:])
        visits.closings = None


def _prune_group(group: SessionGroup, pause_ms: int, before_ms: int, timeout_ms: int, day_ms: int) -> list[int]:
    """Forget what ended before; returns when the sessions closed. The day of `before_ms` began at `day_ms`."""
    # A timeout more: an end follows the last step by as much, and until then the session is open.
    final_before_ms = before_ms - pause_ms - timeout_ms
    if group.summary is None and not group.ends:
        first_ms = group.sessions[0].last_ms if group.sessions else before_ms
        if first_ms >= final_before_ms and (first_ms >= day_ms or len(group.sessions) == 1):
            return []  # the common case, fast: the first to end has not ended so long ago
    whole = None if group.summary is None else group.summary.session
    sessions = in_sessions(group.sessions, pause_ms)
    replaced = [pieces for pieces in sessions if whole is not None and is_near(pieces, whole)]
    is_final = whole is not None and _last_ms(group, replaced) < final_before_ms
    kept: list[Session] = []
    closings = []
    for pieces in sessions:
        if pieces in replaced:  # what a summary replaces goes when it goes
            kept += () if is_final else _united_before(pieces, day_ms)
        elif pieces[-1].last_ms < final_before_ms:
            closings.append(closed(pieces, group.ends, timeout_ms).closes_ms)
        else:
            kept += _united_before(pieces, day_ms)
    if whole is not None and is_final:
        closings.append(whole.last_ms)
        group.summary, group.earlier = None, ()
    if len(kept) < len(group.sessions):
        group.sessions = tuple(kept)
    _prune_ends(group, before_ms)
    return closings


def _last_ms(group: SessionGroup, replaced: list[tuple[Session, ...]]) -> int:
    """The end of the last of a session's summaries, and of the steps that they replace."""
    summaries = (one.session.last_ms for one in (*group.earlier, group.summary) if one is not None)
    return max((*summaries, *(pieces[-1].last_ms for pieces in replaced)))


def _united_before(pieces: tuple[Session, ...], day_ms: int) -> tuple[Session, ...]:
    """The pieces of days before the one that began at `day_ms` in one: what a session was then can change no more."""
    old = bisect_left(pieces, day_ms, key=_last_of)
    return (joined(pieces[:old]), *pieces[old:]) if old > 1 else pieces


def _prune_ends(group: SessionGroup, before_ms: int) -> None:
    """Forget the ends that no session is left for."""
    needed_ms = min((session.first_ms for session in group.sessions), default=before_ms)
    if group.ends and group.ends[0].at_ms < min(before_ms, needed_ms):
        group.ends = tuple(end for end in group.ends if end.at_ms >= min(before_ms, needed_ms))


def closing_minutes(visits: UserSessions, timeout_ms: int) -> list[int]:
    """The minutes in which sessions close, in order; of those that were let go the last two."""
    minutes = [counted.closes_ms // MINUTE_MS for counted in visits.counted(timeout_ms)]
    minutes.extend(visits.final_closing_minutes)
    minutes.sort()
    return minutes
