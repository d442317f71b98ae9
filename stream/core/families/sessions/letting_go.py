"""What can be let go of the sessions of one user: what no event that is not late can change."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter, itemgetter

from stream.core.families.sessions.part import Session, SessionGroup, SummarySession, UserSessions, in_sessions, joined
from stream.core.reuse import LONGEST_PAUSE_MS, TimeSpan
from stream.core.time import MINUTE_MS, Span

_last_of = attrgetter("last_ms")


# Is told what is let go: sessions of one id, and the longest pause in them.
LetGo = Callable[[SessionGroup, int], None]


def prune(visits: UserSessions, *, before_ms: int, timeout_ms: int, span: Span, let_go: LetGo | None = None) -> None:
    """Forget the sessions that no event from `before_ms` on can change; what they contribute stays booked."""
    day_ms = before_ms
    if len(visits.without_id.sessions) > 1 or visits.by_id:
        span.end_of_day(before_ms)
        day_ms = span.starts_ms
    if visits.steps_outside:
        for identity in [identity for identity, at_ms in visits.steps_outside.items() if abs(at_ms) < before_ms]:
            del visits.steps_outside[identity]
    closings = _prune_group(visits.without_id, timeout_ms, before_ms, timeout_ms, day_ms, let_go)
    for session_id, group in list(visits.by_id.items()):
        closings += _prune_group(group, LONGEST_PAUSE_MS, before_ms, timeout_ms, day_ms, let_go)
        if not group.sessions and not group.ends and not group.summaries:
            del visits.by_id[session_id]
    if closings:
        minutes = sorted(closes_ms // MINUTE_MS for closes_ms in closings)
        visits.final_closing_minutes = tuple(sorted((*visits.final_closing_minutes, *minutes))[-2:])
        visits.closings = None


def _prune_group(
    group: SessionGroup, pause_ms: int, before_ms: int, timeout_ms: int, day_ms: int, let_go: LetGo | None
) -> list[int]:
    """Forget what ended before; returns when the sessions closed. The day of `before_ms` began at `day_ms`."""
    # A timeout more: an end follows the last step by as much, and until then the session is open.
    final_before_ms = before_ms - pause_ms - timeout_ms
    if not group.summaries:
        first_ms = group.sessions[0].last_ms if group.sessions else before_ms
        if first_ms >= final_before_ms and (first_ms >= day_ms or len(group.sessions) == 1):
            if group.ends:
                _prune_ends(group, before_ms)
            return []  # the common case, fast: the first to end has not ended so long ago
    final, kept = SessionGroup(ends=group.ends), SessionGroup()
    for sessions, summaries in _together(group, pause_ms):
        last_ms = max(pieces[-1].last_ms for pieces in sessions) if sessions else 0
        last_ms = max([last_ms, *(one.span[1] for one in summaries)])
        is_final = last_ms < final_before_ms
        put_into = final if is_final else kept
        for pieces in sessions:
            put_into.sessions += pieces if is_final else _united_before(pieces, day_ms)
        put_into.summaries += summaries
    closings = [counted.closes_ms for counted in final.counted(timeout_ms, pause_ms)]
    if let_go is not None and closings:
        let_go(final, pause_ms)
    if closings or len(kept.sessions) < len(group.sessions):
        group.sessions, group.summaries = kept.sessions, kept.summaries
    _prune_ends(group, before_ms)
    return closings


_Together = tuple[list[tuple[Session, ...]], tuple[SummarySession, ...]]


def _together(group: SessionGroup, pause_ms: int) -> Iterator[_Together]:
    """Sessions and summaries that may make a difference to one another. These are forgotten together."""
    sessions = in_sessions(group.sessions, pause_ms)
    if not group.summaries:
        for pieces in sessions:
            yield [pieces], ()
        return
    spans: list[tuple[TimeSpan, tuple[Session, ...] | SummarySession]] = [
        *(((pieces[0].first_ms, pieces[-1].last_ms), pieces) for pieces in sessions),
        *((one.span, one) for one in group.summaries),
    ]
    near: _Together = [], ()
    until_ms = -1
    for (first_ms, last_ms), one in sorted(spans, key=itemgetter(0)):
        if until_ms >= 0 and first_ms > until_ms + LONGEST_PAUSE_MS:
            yield near
            near = [], ()
        near = (near[0], (*near[1], one)) if isinstance(one, SummarySession) else ([*near[0], one], near[1])
        until_ms = max(until_ms, last_ms)
    yield near


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
