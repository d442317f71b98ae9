"""Sessions: where one ends and the next begins, when it closes, and what it contributes."""

from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import Step, Summary
from stream.core.families.sessions import numbers as fields
from stream.core.families.sessions.family import SessionsFamily
from stream.core.families.sessions.letting_go import prune as let_go_of
from stream.core.families.sessions.numbers import contribution
from stream.core.families.sessions.part import MAX_KEPT_STEPS, CountedSession, Session, UserSessions
from stream.core.histogram import bin_of
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, Days, Span
from tests.core.live import Stream
from tests.core.oracle_events import EventFields
from tests.native import decode_session

NOON_MS = 1_704_110_400_000
TIMEOUT = 30 * MINUTE_MS


def step(after_ms: int = 0, **sent: object) -> Step:
    message = {"user_id": "ann", "event_time": NOON_MS + after_ms, "type": "page_view", **sent}
    decoded = decode_session(msgspec.json.encode(message))
    assert isinstance(decoded, Step)
    return decoded


def summary(start: int, end: int, **sent: object) -> Summary:
    message = {
        "user_id": "ann", "event_time": NOON_MS + end, "type": "summary", "session_id": "s",
        "started_at": NOON_MS + start, "ended_at": NOON_MS + end, "page_views": 1, **sent,
    }  # fmt: skip
    decoded = decode_session(msgspec.json.encode(message))
    assert isinstance(decoded, Summary)
    return decoded


def heard(known: UserSessions, event: Step | Summary) -> bool:
    """Whether an event changes the sessions."""
    family = SessionsFamily(Rules(session_timeout_ms=TIMEOUT))
    changed = bytearray(1)
    family.handlers()[type(event)](known, [event], changed, 0)
    return bool(changed[0])


def visits(*sent: Step | Summary) -> UserSessions:
    known = UserSessions()
    for event in sent:
        heard(known, event)
    return known


def spans(known: UserSessions) -> list[tuple[int, int]]:
    counted = (one.session for one in known.counted(TIMEOUT))
    return sorted((session.first_ms - NOON_MS, session.last_ms - NOON_MS) for session in counted)


def prune(known: UserSessions, *, before_ms: int, timeout_ms: int) -> None:
    let_go_of(known, before_ms=before_ms, timeout_ms=timeout_ms, span=Span(Days()))


def only(known: UserSessions) -> CountedSession:
    (counted,) = known.counted(TIMEOUT)
    return counted


def test_a_gap_of_exactly_30_minutes_still_belongs() -> None:
    assert spans(visits(step(), step(TIMEOUT))) == [(0, TIMEOUT)]
    assert spans(visits(step(), step(TIMEOUT + 1))) == [(0, 0), (TIMEOUT + 1, TIMEOUT + 1)]
    assert spans(visits(step(TIMEOUT), step())) == [(0, TIMEOUT)]
    assert spans(visits(step(TIMEOUT + 1), step())) == [(0, 0), (TIMEOUT + 1, TIMEOUT + 1)]


def test_a_late_step_joins_the_two_sessions_it_lies_between() -> None:
    two = [step(engaged_ms=5), step(2 * TIMEOUT)]

    assert spans(visits(*two)) == [(0, 0), (2 * TIMEOUT, 2 * TIMEOUT)]
    joined = only(visits(*two, step(TIMEOUT, key_event=True, engaged_ms=7))).session
    assert (joined.first_ms, joined.last_ms) == (NOON_MS, NOON_MS + 2 * TIMEOUT)
    assert (joined.views, joined.key_events, joined.engaged_ms) == (3, 1, 12)


def test_sessions_far_from_a_late_step_stay_as_they_are() -> None:
    far = visits(step(), step(DAY_MS), step(2 * DAY_MS))
    first, _, last = far.without_id.sessions
    heard(far, step(DAY_MS - MINUTE_MS))

    assert spans(far) == [(0, 0), (DAY_MS - MINUTE_MS, DAY_MS), (2 * DAY_MS, 2 * DAY_MS)]
    assert (far.without_id.sessions[0], far.without_id.sessions[2]) == (first, last)
    heard(far, step(DAY_MS // 2))
    assert len(far.without_id.sessions) == 4


def test_any_order_of_steps_gives_the_same_sessions() -> None:
    steps = [step(), step(TIMEOUT), step(TIMEOUT, type="end"), step(2 * TIMEOUT + 1), step(9 * TIMEOUT, engaged_ms=0)]
    outcomes = {
        tuple(
            (one.session.first_ms, one.session.last_ms, one.closes_ms, one.session.views, one.session.engaged_ms)
            for one in visits(*order).counted(TIMEOUT)
        )
        for order in permutations(steps)
    }

    assert len(outcomes) == 1


@pytest.mark.parametrize("session_id", [None, "s"])
def test_a_step_sent_twice_is_one_step(session_id: str | None) -> None:
    sent: dict[str, Any] = {"session_id": session_id} if session_id else {}
    steps = [step(**sent), step(TIMEOUT, **sent), step(9 * TIMEOUT, **sent)]
    known = visits(*steps)

    assert not any(heard(known, again) for again in steps)
    assert heard(known, step(event_id="other", **sent))


def test_a_session_with_an_id_is_the_steps_that_carry_it_up_to_a_day_apart() -> None:
    known = visits(step(session_id="s"), step(5 * HOUR_MS, session_id="s"), step(session_id="t"))

    assert spans(known) == [(0, 0), (0, 5 * HOUR_MS)]
    heard(known, step(5 * HOUR_MS + DAY_MS, session_id="s"))
    assert spans(known) == [(0, 0), (0, 5 * HOUR_MS + DAY_MS)]
    later_ms = 5 * HOUR_MS + 2 * DAY_MS + 1
    heard(known, step(later_ms, session_id="s"))
    assert spans(known) == [(0, 0), (0, 5 * HOUR_MS + DAY_MS), (later_ms, later_ms)]


def test_a_session_closes_at_its_end_unless_a_step_follows_it() -> None:
    def closes(*sent: Step) -> int:
        return only(visits(*sent)).closes_ms - NOON_MS

    end = step(5_000, type="end")
    assert closes(step(), end) == closes(end, step()) == 5_000
    assert closes(step(), end, step(5_000)) == 5_000
    assert closes(step(), end, step(5_001)) == 5_001 + TIMEOUT
    assert closes(step(5_001), end) == 5_001 + TIMEOUT
    assert closes(end, step(6_000), step(7_000, type="end")) == 7_000
    assert closes(step(), end, step(TIMEOUT, type="end")) == TIMEOUT
    assert closes(step()) == TIMEOUT


def test_an_end_that_comes_too_late_or_alone_changes_nothing() -> None:
    assert spans(visits(step(), step(TIMEOUT + 1, type="end"))) == [(0, 0)]
    assert only(visits(step(), step(TIMEOUT + 1, type="end"))).closes_ms == NOON_MS + TIMEOUT
    assert spans(visits(step(type="end"))) == spans(visits(step(type="end", session_id="s"))) == []
    assert only(visits(step(session_id="s"), step(5, type="end"))).closes_ms == NOON_MS + TIMEOUT


def test_views_at_10_00_and_10_45_with_an_end_at_10_20_are_two_sessions() -> None:
    known = visits(step(), step(45 * MINUTE_MS), step(20 * MINUTE_MS, type="end"))

    assert spans(known) == [(0, 1_200_000), (45 * MINUTE_MS, 45 * MINUTE_MS)]


def test_the_end_that_counts_brings_its_engaged_time() -> None:
    sent = (step(engaged_ms=1), step(5, type="end", engaged_ms=10), step(9, type="end", engaged_ms=100))

    assert {only(visits(*order)).session.engaged_ms for order in permutations(sent)} == {101}


def test_what_nobody_did_takes_no_part_in_sessions() -> None:
    ping = step(20 * MINUTE_MS, interactive=False, engaged_ms=9, key_event=True)
    known = visits(step(), ping)

    assert spans(known) == [(0, 0)]
    assert (only(known).session.views, only(known).session.key_events, only(known).session.engaged_ms) == (1, 0, None)
    assert contribution(only(known).session)[fields.GA4_BOUNCES] == 1
    assert spans(visits(ping)) == spans(visits(step(in_session=False))) == []
    assert heard(UserSessions(), ping)
    assert not heard(known, ping)  # it is known


def test_whether_a_session_was_prompted_is_what_its_first_step_says() -> None:
    sent = (step(prompted=True), step(5, prompted=False), step(9))

    assert {only(visits(*order)).session.prompted for order in permutations(sent)} == {True}
    later = only(visits(step(), step(5, prompted=True))).session
    assert (later.prompted, later.has_prompted) == (None, True)
    assert not only(visits(step(), step(5))).session.has_prompted
    same = (step(), step(prompted=False, type="start"), step(prompted=True, type="heartbeat"))
    assert {only(visits(*order)).session.prompted for order in permutations(same)} == {True}


def test_a_summary_tells_the_whole_session_before_and_after_its_steps() -> None:
    inside, sent = step(5_000, session_id="s"), summary(0, 1_000, page_views=7, key_events=2, engaged_ms=3)
    counted = only(visits(inside, sent))

    assert counted == only(visits(sent, inside))
    assert (counted.session.views, counted.session.key_events, counted.session.engaged_ms) == (7, 2, 3)
    assert counted.closes_ms == NOON_MS + 1_000


def test_steps_more_than_a_day_from_a_summary_are_a_session_of_their_own() -> None:
    sent = summary(0, 1_000)
    near, far = step(1_000 + DAY_MS, session_id="s"), step(1_001 + DAY_MS, session_id="s")

    assert spans(visits(sent, near)) == spans(visits(near, sent)) == [(0, 1_000)]
    assert spans(visits(sent, far)) == spans(visits(far, sent)) == [(0, 1_000), (1_001 + DAY_MS, 1_001 + DAY_MS)]


def test_the_highest_revision_wins_then_the_latest_end() -> None:
    first, longer, corrected = summary(0, 1_000), summary(0, 2_000), summary(0, 500, revision=1)
    for order in permutations((first, longer, corrected)):
        assert only(visits(*order)).session.last_ms == NOON_MS + 500
    assert only(visits(longer, first)).session.last_ms == NOON_MS + 2_000
    assert not heard(visits(corrected), corrected)


def test_of_two_summaries_that_contradict_each_other_it_is_always_the_same_one() -> None:
    contradicting = [
        summary(0, 1_000),
        summary(0, 1_000, page_views=2),
        summary(500, 1_000, engaged_ms=9, page_views=5),
    ]

    assert len({only(visits(*order)).session for order in permutations(contradicting)}) == 1


def test_a_session_counts_once_with_its_duration_capped_at_a_day() -> None:
    assert contribution(Session(0, 0)) == {fields.SESSIONS: 1, fields.FIRST_DURATION_BIN: 1}
    for last_ms in (DAY_MS, DAY_MS + 1, 9 * DAY_MS):
        found = contribution(Session(0, last_ms))
        assert found[fields.DURATION_MS] == DAY_MS
        assert found[fields.FIRST_DURATION_BIN + bin_of(DAY_MS)] == 1
    assert contribution(Session(0, DAY_MS), cap_ms=HOUR_MS) == contribution(Session(0, HOUR_MS))


@pytest.mark.parametrize(
    ("session", "single_page", "ga4"),
    [
        (Session(0, 9_999, views=1), 1, 1),
        (Session(0, 10_000, views=1), 1, 0),
        (Session(0, 60_000, views=1, engaged_ms=9_999), 1, 1),  # engaged time is asked first
        (Session(0, 0, views=1, engaged_ms=10_000), 1, 0),
        (Session(0, 0, views=1, key_events=1), 0, 0),
        (Session(0, 0, views=2), 0, 0),
        (Session(0, 0), 0, 0),  # no view, no bounce
    ],
)
def test_who_bounced(session: Session, single_page: int, ga4: int) -> None:
    found = contribution(session)

    assert found.get(fields.SINGLE_PAGE_BOUNCES, 0) == single_page
    assert found.get(fields.GA4_BOUNCES, 0) == ga4
    assert (fields.SESSIONS_WITH_VIEWS in found) is bool(session.views)


def test_engaged_time_counts_only_where_it_is_sent() -> None:
    assert fields.SESSIONS_WITH_ENGAGED_TIME not in contribution(Session(0, 5))
    zero = contribution(Session(0, 5, engaged_ms=0))
    assert (zero[fields.SESSIONS_WITH_ENGAGED_TIME], fields.ENGAGED_MS in zero) == (1, False)
    assert contribution(Session(0, 5, engaged_ms=4))[fields.ENGAGED_MS] == 4


def booked(*sent: Step | Summary, clock_ms: int) -> dict[int, int]:
    """The sums of the longest window after these events, at a time of the clock."""
    family = SessionsFamily(Rules(session_timeout_ms=TIMEOUT))
    known = family.new()
    for event in sent:
        family.handlers()[type(event)](known, [event], bytearray(1), 0)
        family.update_totals(clock_ms // MINUTE_MS)
    return family.ring.sums()[43_200]  # type: ignore[return-value]


def test_a_session_is_booked_where_it_closes_and_a_visitor_where_the_last_one_does() -> None:
    two = (step(), step(2 * TIMEOUT), step(2 * TIMEOUT, type="end"))

    for after_ms, sessions in ((TIMEOUT - 1, 0), (TIMEOUT, 1), (2 * TIMEOUT - 1, 1), (2 * TIMEOUT, 2)):
        found = booked(*two, clock_ms=NOON_MS + after_ms)
        assert (found.get(fields.SESSIONS, 0), found.get(fields.VISITORS, 0)) == (sessions, min(sessions, 1))
        assert found.get(fields.REPEAT_VISITORS, 0) == (1 if sessions == 2 else 0)


def test_who_has_come_back_counts_until_the_visit_before_the_last_leaves_the_window() -> None:
    family = SessionsFamily(Rules(session_timeout_ms=TIMEOUT))
    known = family.new()
    for day in (0, 3, 5):
        family.apply_steps(known, [step(day * DAY_MS)], bytearray(1), 0)
    repeated = []
    for day in (1, 4, 6, 9, 11, 13):
        family.update_totals((NOON_MS + day * DAY_MS) // MINUTE_MS)
        repeated.append(family.ring.sums()[7 * 24 * 60].get(fields.REPEAT_VISITORS, 0))

    assert repeated == [0, 1, 1, 1, 0, 0]


def test_each_step_counts_at_its_own_time_and_what_a_summary_alone_tells_at_its_end() -> None:
    sent = (step(session_id="s"), step(5, session_id="s"), step(type="end", session_id="s"), step(9, interactive=False))

    assert booked(*sent, *sent, clock_ms=NOON_MS)[fields.STEPS] == 2
    assert booked(summary(0, 1_000, page_views=7), clock_ms=NOON_MS + MINUTE_MS)[fields.STEPS] == 7
    steps_and_summary: list[Step | Summary] = [*sent[:2], summary(0, 1_000, page_views=7)]
    for order in permutations(steps_and_summary):
        assert booked(*order, clock_ms=NOON_MS + MINUTE_MS)[fields.STEPS] == 2
    assert booked(step(in_session=False), clock_ms=NOON_MS)[fields.STEPS] == 1


def test_steps_that_a_summary_longer_than_a_day_may_have_come_too_late_for_are_a_session_of_their_own() -> None:
    begun = step(session_id="s")

    assert len(list(visits(begun, summary(0, DAY_MS)).counted(TIMEOUT))) == 1
    assert len(list(visits(begun, summary(0, DAY_MS + 1)).counted(TIMEOUT))) == 2


def test_of_many_steps_that_take_no_part_the_last_are_known() -> None:
    known = visits(*(step(number, interactive=False) for number in range(MAX_KEPT_STEPS + 10)))

    assert len(known.steps_outside) == MAX_KEPT_STEPS
    assert not heard(known, step(MAX_KEPT_STEPS + 9, interactive=False))


def closing_minute(after_ms: int) -> int:
    return (NOON_MS + after_ms) // MINUTE_MS


def test_a_settled_session_is_forgotten_but_when_it_closed_is_not() -> None:
    known = visits(step(), step(DAY_MS))
    edge_ms = NOON_MS + 2 * TIMEOUT

    prune(known, before_ms=edge_ms, timeout_ms=TIMEOUT)
    assert len(spans(known)) == 2
    prune(known, before_ms=edge_ms + 1, timeout_ms=TIMEOUT)
    assert spans(known) == [(DAY_MS, DAY_MS)]
    assert list(known.final_closing_minutes) == [closing_minute(TIMEOUT)]
    prune(known, before_ms=NOON_MS + 9 * DAY_MS, timeout_ms=TIMEOUT)
    assert spans(known) == []
    assert list(known.final_closing_minutes) == [closing_minute(TIMEOUT), closing_minute(DAY_MS + TIMEOUT)]


def test_a_session_with_an_id_is_kept_for_as_long_as_a_step_may_take_it_up_again() -> None:
    for sent in (step(session_id="s"), summary(-1_000, 0)):
        known = visits(sent)
        edge_ms = NOON_MS + DAY_MS + TIMEOUT
        prune(known, before_ms=edge_ms, timeout_ms=TIMEOUT)
        assert list(known.by_id) == ["s"]
        prune(known, before_ms=edge_ms + 1, timeout_ms=TIMEOUT)
        assert (known.by_id, len(known.final_closing_minutes)) == ({}, 1)


def test_what_a_summary_replaces_is_kept_as_long_as_the_summary() -> None:
    known = visits(step(session_id="s"), summary(0, DAY_MS // 2))
    prune(known, before_ms=NOON_MS + DAY_MS + TIMEOUT + 1, timeout_ms=TIMEOUT)

    assert only(known).steps_counted
    assert len(known.by_id["s"].sessions) == 1


def test_of_sessions_settled_one_after_the_other_the_last_two_closings_are_kept() -> None:
    known = visits(step(), step(DAY_MS), step(2 * DAY_MS), step(2 * DAY_MS + 5, type="end"))

    for day in (1, 2, 3):
        prune(known, before_ms=NOON_MS + day * DAY_MS, timeout_ms=TIMEOUT)
    assert known.final_closing_minutes == (closing_minute(DAY_MS + TIMEOUT), closing_minute(2 * DAY_MS + 5))
    assert not known.without_id.ends


def test_an_end_is_kept_for_as_long_as_a_step_before_it_may_come() -> None:
    known = visits(step(5_000, type="end"), step(20 * DAY_MS, interactive=False))
    prune(known, before_ms=NOON_MS + 5_000, timeout_ms=TIMEOUT)
    assert len(known.without_id.ends) == 1
    prune(known, before_ms=NOON_MS + 5_001, timeout_ms=TIMEOUT)
    assert (len(known.without_id.ends), len(known.steps_outside)) == (0, 1)
    prune(known, before_ms=NOON_MS + 21 * DAY_MS, timeout_ms=TIMEOUT)
    assert not known.steps_outside


def test_each_session_stays_booked_once_whichever_of_them_changes() -> None:
    sent = [step(), step(DAY_MS), step(session_id="s"), step(session_id="t")]
    more = [step(DAY_MS + 1), step(1, session_id="s"), step(DAY_MS + 2)]

    found = booked(*sent, *more, clock_ms=NOON_MS + 9 * DAY_MS)
    assert (found[fields.SESSIONS], found[fields.PAGE_VIEWS], found[fields.DURATION_MS]) == (4, 7, 3)


def test_a_session_that_never_ends_does_not_remember_all_of_its_steps() -> None:
    known = visits(*(step(10_000 * number, session_id="s", type="heartbeat") for number in range(4_100)))

    assert len(only(known).session.steps) == 4_001
    assert only(known).session.last_ms == NOON_MS + 10_000 * 4_099


_near_midnight = st.sampled_from(
    [minutes * MINUTE_MS for minutes in (-60, -45, -30, -29, -1, 0, 1, 15, 29, 30, 45)] + [-1, 1, -30 * MINUTE_MS - 1]
)
_told = st.tuples(
    _near_midnight, st.sampled_from(("page_view", "end", "end", "summary")), st.sampled_from((None, "s")), st.booleans()
)
# A view half an hour before midnight or later, and an end of each day, more often than chance would have it.
_view_and_ends = st.tuples(
    st.sampled_from((-30 * MINUTE_MS, -20 * MINUTE_MS, -1)),
    st.sampled_from((0, MINUTE_MS, 20 * MINUTE_MS)),
    st.sampled_from((0, 1, 10 * MINUTE_MS)),
    st.sampled_from((None, "s")),
).map(
    lambda told: [
        (told[0], "page_view", told[3], False),
        (min(told[0] + told[1], -1), "end", told[3], False),
        (told[2], "end", told[3], True),
    ]
)
_visit_near_midnight = st.builds(
    lambda told, more, shuffled: shuffled.sample([*told, *more], len(told) + len(more)),
    st.one_of(st.just([]), _view_and_ends),
    st.lists(_told, max_size=4),
    st.randoms(use_true_random=False),
)


@given(_visit_near_midnight)
def test_a_closed_day_says_of_sessions_what_their_steps_and_ends_said_by_its_end(
    visit: list[tuple[int, str, str | None, bool]],
) -> None:
    midnight_ms = 1_704_153_600_000
    stream, events = Stream(Rules(allowed_lateness_ms=DAY_MS)), list[EventFields]()
    for near_ms, kind, session_id, is_needed in visit:
        at_ms = midnight_ms + near_ms
        event = {
            "topic": "sessions",
            "user_id": "ada",
            "event_time": at_ms,
            "type": kind,
            "event_id": f"{kind} {at_ms}",
        }
        if kind == "summary":
            event |= {"session_id": "s", "started_at": at_ms, "ended_at": at_ms, "page_views": 1}
        elif session_id is not None:
            event["session_id"] = session_id
        events.append(event)
        assert stream.apply("sessions", [event], not_after_ms=midnight_ms + DAY_MS) == ([], [])
        if is_needed:
            stream.snapshot()
    for clock_ms in (midnight_ms + HOUR_MS, midnight_ms + DAY_MS):
        stream.tick(clock_ms)
        stream.agrees_with_recount(events, clock_ms)
