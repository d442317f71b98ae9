"""Simulate how users answer surveys: CSAT and CXI after a session, CES after a problem, NPS by mail once a quarter.

A mood (0..1: the user's satisfaction, less for what went wrong) becomes a score. A user who is asked may also dismiss
the question, answer a part of it, or retract the answer.
"""

from stream.simulate.messages import SimulatedEvent, Visit, common_fields, time_text

CSAT, CES, CXI, NPS = 1, 2, 3, 4
_KINDS = ("", "csat", "ces", "cxi", "nps")
_LOWEST = (0, 1, 1, 1, 0)
_POINTS = (0, 5, 7, 5, 11)  # how many scores each scale has

COMPLETES_SHARE, DISMISSES_SHARE, HALF_ANSWERS_SHARE = 0.6, 0.2, 0.08  # the others never react
RETRACTS_SHARE = 0.02  # of the completed answers
ANSWERS_WITHIN_MS = 50 * 60_000
RETRACTS_WITHIN_MS = 60 * 60_000


def answer_events(visit: Visit, kind: int, mood: float, asked_after_ms: int, luck: list[float]) -> list[SimulatedEvent]:
    """Return the events of one survey, from being shown to the last change. `luck` are eight draws from [0, 1)."""
    reacts, soon, retracts, *noise = luck
    shown_ms = asked_after_ms + 3_000
    answered_ms = shown_ms + 4_000 + int(ANSWERS_WITHIN_MS * soon**4)  # most answer at once, some much later
    scores = _scores(visit, kind, mood, noise)
    changes: list[tuple[int, str, str]] = []
    if visit.number % 5 < 3:  # three in five producers send what they have shown
        changes.append((shown_ms, "shown", ""))
    if reacts < COMPLETES_SHARE:
        changes.append((answered_ms, "completed", scores))
        if retracts < RETRACTS_SHARE:
            changes.append((answered_ms + 60_000 + int((RETRACTS_WITHIN_MS - 60_000) * soon), "retracted", ""))
    elif reacts < COMPLETES_SHARE + DISMISSES_SHARE:
        changes.append((answered_ms, "dismissed", ""))
    elif reacts < COMPLETES_SHARE + DISMISSES_SHARE + HALF_ANSWERS_SHARE:
        changes.append((answered_ms, "partial", scores))
        if retracts < 0.5:  # half of those who answered a part complete the answer later
            changes.append((answered_ms + 45_000, "completed", scores))
    return [_event(visit, kind, serial, change) for serial, change in enumerate(changes)]


def _event(visit: Visit, kind: int, serial: int, change: tuple[int, str, str]) -> SimulatedEvent:
    at_ms, status, scores = change
    word, ref = _KINDS[kind], visit.session_id
    interaction = f'"interaction_id":"{ref}",' if kind in (CSAT, CES) else ""
    value = (
        f'{{"response_id":"{ref}-{word}","kind":"{word}","status":"{status}",{scores}'
        f'"survey_id":"{word}-1",{interaction}{common_fields(visit)}'
        f'"event_time":{time_text(visit, at_ms)},"event_id":"{ref}-{word}-{serial}"}}'
    )
    return SimulatedEvent(at_ms, at_ms + visit.delay_ms, "surveys", visit.key, value.encode(), "")


def _scores(visit: Visit, kind: int, mood: float, noise: list[float]) -> str:
    """Return the score fields for a mood. Some producers ask for effort on a scale from 1 (easy) to 5 (hard)."""
    if kind == CXI:
        names = ("effort", "empathy", "understanding", "efficiency")
        scores = ",".join(f'"{name}":{_score(mood, jitter, CXI)}' for name, jitter in zip(names, noise, strict=False))
        return f'"scores":{{{scores}}},'
    if kind == CES and visit.number % 8 == 0:
        return f'"score":{6 - _score(mood, noise[0], CSAT)},"scale_min":1,"scale_max":5,"higher_is":"harder",'
    return f'"score":{_score(mood, noise[0], kind)},'


def _score(mood: float, jitter: float, kind: int) -> int:
    """Return the score for a mood: the range of moods is cut into as many equal parts as the scale has points."""
    blurred = min(max(mood + 0.3 * (jitter - 0.5), 0.0), 0.999)
    return _LOWEST[kind] + int(blurred * _POINTS[kind])
