"""Survey responses: which state counts, which answer supersedes which, and what a score is worth."""

from collections import Counter
from itertools import pairwise, permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import Answer, retraction
from stream.core.families.family import Horizon
from stream.core.families.surveys import contribution as fields
from stream.core.families.surveys.contribution import bookings
from stream.core.families.surveys.family import SurveysFamily
from stream.core.families.surveys.part import Response, UserResponses
from stream.core.rejections import Rejected
from stream.core.rules import Rules
from stream.core.survey_scales import SCALES, UNITS, Kind, Scale, Status
from tests.native import decode_survey

AT_MS = 1_704_067_200_000
MINUTE = AT_MS // 60_000


def answer(after_minutes: float = 0, **sent: Any) -> Answer:
    message = {"user_id": "ann", "event_time": AT_MS + int(after_minutes * 60_000), "response_id": "r1", **sent}
    return decode_survey(msgspec.json.encode(message))


def csat(after_minutes: float = 0, **sent: Any) -> Answer:
    return answer(after_minutes, **{"kind": "csat", "score": 5, **sent})


def nps(after_minutes: float, score: int, response_id: str) -> Answer:
    return answer(after_minutes, kind="nps", score=score, response_id=response_id)


def heard(*sent: Answer) -> UserResponses:
    known = UserResponses()
    for one in sent:
        SurveysFamily(Rules()).apply_answer(known, one, 0)
    return known


def responses(*sent: Answer) -> dict[str, Response]:
    return heard(*sent).by_id


def counted(*sent: Answer, now: int = 1 << 40) -> dict[int, int]:
    """The sum of the bookings when the clock shows `now` minutes after the first event."""
    found: Counter[int] = Counter()
    for booking in bookings(responses(*sent)):
        superseded = booking.until is not None and (booking.until <= MINUTE + now or booking.until <= booking.minute)
        if booking.minute <= MINUTE + now and not superseded:
            found.update(booking.amounts)
    return dict(found)


def count(status: Status, found: dict[int, int], kind: Kind = Kind.CSAT) -> int:
    return found.get(fields.RESPONSES[kind, status], 0)


def test_the_latest_state_of_a_response_counts_in_any_order() -> None:
    states = [csat(0, score=1), csat(2, score=5), csat(1, score=2, status="partial")]
    for order in permutations(states):
        found = counted(*order)
        assert found[fields.CSAT_SCORE_UNITS] == 5 * UNITS
        assert (count(Status.COMPLETED, found), count(Status.PARTIAL, found)) == (1, 0)


def test_of_two_states_of_a_moment_the_further_one_counts() -> None:
    states = [csat(status="shown"), csat(status="dismissed"), csat(status="partial"), csat(), csat(status="retracted")]
    for first, second in pairwise(states):
        assert responses(first, second)["r1"].status == responses(second, first)["r1"].status == second.status


def test_of_two_answers_of_a_moment_the_greater_score_counts() -> None:
    nine, ten = csat(score=9, scale_min=0, scale_max=10), csat(score=10, scale_min=0, scale_max=10)

    assert responses(nine, ten)["r1"].score == responses(ten, nine)["r1"].score == 10
    assert responses(csat(score=None, status="partial"), csat(score=1, status="partial"))["r1"].score == 1


def test_of_states_that_contradict_each_other_it_is_always_the_same_one() -> None:
    contradicting = [csat(), csat(score=4), csat(interaction_id="a"), csat(interaction_id="b"), csat(scale_max=9)]

    assert len({repr(responses(*order)) for order in permutations(contradicting)}) == 1


def test_a_state_sent_twice_changes_nothing() -> None:
    known = heard(csat(0, status="shown"), csat(1))

    for again in (csat(1), csat(0, status="shown"), csat(0.5, status="partial")):
        assert not SurveysFamily(Rules()).apply_answer(known, again, 0)


def test_a_retracted_response_counts_nowhere() -> None:
    sent = [csat(0, status="shown"), csat(1), csat(2, status="retracted")]
    for order in permutations(sent):
        assert counted(*order) == {}
    assert counted(csat(0, status="shown"), csat(1), retraction("ann", "r1", at_ms=AT_MS + 120_000)) == {}
    assert count(Status.COMPLETED, counted(*sent, csat(3))) == 1  # told again, later


def test_what_was_shown_stays_counted_as_shown_when_it_is_answered() -> None:
    sent = [csat(1, status="shown"), csat(0, status="shown"), csat(9)]
    for order in permutations(sent):
        booked = bookings(responses(*order))
        shown = [booking for booking in booked if fields.RESPONSES[Kind.CSAT, Status.SHOWN] in booking.amounts]
        assert [booking.minute for booking in shown] == [MINUTE]
        assert shown[0].amounts[fields.COMPLETED_OF_SHOWN[Kind.CSAT]] == 1
    only_shown = counted(csat(status="shown"))
    assert only_shown == {fields.RESPONSES[Kind.CSAT, Status.SHOWN]: 1}
    unfinished = counted(csat(0, status="shown"), csat(1, status="partial"))
    assert fields.COMPLETED_OF_SHOWN[Kind.CSAT] not in unfinished
    assert fields.RESPONSES[Kind.CSAT, Status.SHOWN] not in counted(csat())


def test_a_partial_answer_counts_where_it_has_a_score_and_no_other_state_does() -> None:
    assert counted(csat(status="partial"))[fields.CSAT_ANSWERS] == 1
    assert fields.CSAT_ANSWERS not in counted(csat(status="partial", score=None))
    assert fields.CSAT_ANSWERS not in counted(csat(status="dismissed"))
    assert fields.CSAT_ANSWERS not in counted(csat(status="shown"))


def test_the_latest_nps_answer_of_a_user_counts_once_it_has_come() -> None:
    sent = [nps(0, 10, "a"), nps(5, 3, "b")]

    assert counted(*sent, now=4)[fields.NPS_PROMOTERS] == 1
    later = counted(*sent, now=5)
    assert (later.get(fields.NPS_PROMOTERS, 0), later[fields.NPS_DETRACTORS]) == (0, 1)
    assert count(Status.COMPLETED, later, Kind.NPS) == 2
    same_minute = counted(nps(0.5, 3, "b"), nps(0, 10, "a"))
    assert (same_minute.get(fields.NPS_PROMOTERS, 0), same_minute[fields.NPS_DETRACTORS]) == (0, 1)


@pytest.mark.parametrize("kind", ["csat", "ces"])
def test_of_an_interaction_only_the_latest_answer_counts(kind: str) -> None:
    answers = fields.CSAT_ANSWERS if kind == "csat" else fields.CES_ANSWERS
    one: dict[str, Any] = {"kind": kind, "score": 5, "response_id": "r1"}
    other: dict[str, Any] = {**one, "response_id": "r2"}

    assert counted(answer(**one), answer(1, **other))[answers] == 2
    call: dict[str, Any] = {"interaction_id": "call"}
    same = counted(answer(**one, **call), answer(1, **other, **call))
    assert (same[answers], count(Status.COMPLETED, same, Kind(kind))) == (1, 2)
    assert counted(answer(**one, **call), answer(1, **other, interaction_id="next"))[answers] == 2


def test_an_interaction_does_not_mix_csat_with_ces() -> None:
    call: dict[str, Any] = {"score": 5, "interaction_id": "call"}
    found = counted(answer(kind="csat", **call), answer(kind="ces", response_id="r2", **call))

    assert (found[fields.CSAT_ANSWERS], found[fields.CES_ANSWERS]) == (1, 1)


@pytest.mark.parametrize(
    ("scale", "boundary"),
    [
        ({}, 4),
        ({"scale_max": 2}, 2),
        ({"scale_max": 3}, 3),
        ({"scale_max": 4}, 3),
        ({"scale_min": 0}, 4),
        ({"scale_max": 7}, 6),
        ({"scale_max": 8}, 6),
        ({"scale_max": 10}, 8),
        ({"scale_min": 0, "scale_max": 10}, 8),
        ({"scale_max": 12}, 10),
        ({"scale_min": 0, "scale_max": 100}, 71),
    ],
)
def test_how_many_boxes_are_satisfied_depends_on_the_scale(scale: dict[str, int], boundary: int) -> None:
    assert counted(csat(score=boundary, **scale))[fields.CSAT_SATISFIED] == 1
    assert fields.CSAT_SATISFIED not in counted(csat(score=boundary - 1, **scale))


@pytest.mark.parametrize(
    ("scale", "boundary"), [({}, 5), ({"scale_max": 5}, 4), ({"scale_min": 0, "scale_max": 10}, 7)]
)
def test_easy_is_5_of_7_and_4_of_5(scale: dict[str, int], boundary: int) -> None:
    assert counted(answer(kind="ces", score=boundary, **scale))[fields.CES_EASY] == 1
    assert fields.CES_EASY not in counted(answer(kind="ces", score=boundary - 1, **scale))


@pytest.mark.parametrize(
    ("score", "group"),
    [(9, fields.NPS_PROMOTERS), (8, fields.NPS_PASSIVES), (7, fields.NPS_PASSIVES), (6, fields.NPS_DETRACTORS)],
)
def test_promoters_begin_at_9_and_passives_at_7(score: int, group: int) -> None:
    groups = {fields.NPS_PROMOTERS, fields.NPS_PASSIVES, fields.NPS_DETRACTORS}

    assert groups & counted(nps(0, score, "r")).keys() == {group}


def test_a_cxi_answer_counts_each_dimension() -> None:
    scores = {"effort": 5, "empathy": 4, "understanding": 3, "efficiency": 2}
    found = counted(answer(kind="cxi", scores=scores))

    assert all(found[fields.CXI_ANSWERS[name]] == 1 for name in scores)
    assert [name for name in scores if fields.CXI_POSITIVE[name] in found] == ["effort", "empathy"]
    assert [name for name in scores if fields.CXI_NEGATIVE[name] in found] == ["efficiency"]
    assert fields.CXI_ANSWERS["effort"] not in counted(answer(kind="cxi", status="partial"))


@given(st.integers(-50, 50), st.integers(1, 100), st.data())
def test_rescaling_keeps_both_ends_and_is_linear_to_the_last_billionth(
    low: int, span: int, data: st.DataObject
) -> None:
    scale, to = Scale(low, low + span), SCALES[Kind.CES]
    score = data.draw(st.integers(low, low + span))

    assert scale.rescaled(low, to=to) == to.lowest * UNITS
    assert scale.rescaled(low + span, to=to) == to.highest * UNITS
    assert abs(scale.rescaled(score, to=to) / UNITS - (1 + 6 * (score - low) / span)) <= 1e-9


@pytest.mark.parametrize(("window", "kept_days"), [("1d", 90), ("88d", 90), ("120d", 122)])
def test_responses_are_forgotten_when_nothing_can_change_them(window: str, kept_days: int) -> None:
    family = SurveysFamily(Rules(windows={"surveys": (window,)}))
    # What comes later with the same id is another response, and none of a window of local days supersedes it.
    last_ms = AT_MS + kept_days * 86_400_000

    for before_ms, left in ((last_ms, ["r1", "r2"]), (last_ms + 1, ["r2"])):
        known = heard(csat(), csat(1, response_id="r2"))
        family.prune(known, Horizon(before_ms, 0))
        assert list(known.by_id) == left


def test_no_two_numbers_share_a_field() -> None:
    dimensions = (fields.CXI_POSITIVE, fields.CXI_NEGATIVE, fields.CXI_ANSWERS)
    numbers = [number for name, number in vars(fields).items() if name.isupper() and type(number) is int]
    numbers += [number for of in dimensions for number in of.values()]
    numbers += [*fields.RESPONSES.values(), *fields.COMPLETED_OF_SHOWN.values()]
    numbers += [*fields.SHOWN_MATURED.values(), *fields.COMPLETED_OF_MATURED.values()]
    numbers.remove(UNITS)

    assert len(numbers) == len(set(numbers))


def test_what_is_shown_again_later_takes_no_answer_back() -> None:
    known = responses(csat(0), csat(1, status="shown", score=None))

    assert known["r1"].status is Status.COMPLETED
    assert known["r1"].shown_ms == AT_MS + 60_000


def test_high_is_good_in_nps_and_cxi_whatever_a_producer_says() -> None:
    with pytest.raises(Rejected, match=r"'worse' at `\$.higher_is`: high is good in nps"):
        answer(kind="nps", score=10, higher_is="worse")
    assert answer(kind="nps", score=10, higher_is="better").score == 10
