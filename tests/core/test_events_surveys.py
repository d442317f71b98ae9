"""How messages of surveys become events: kinds, scales and scores."""

from typing import Any

import msgspec
import pytest

from stream.core.events import Answer, EventWithoutUser, retraction
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind, Scale, Status
from stream.core.users import user_of
from tests.native import READERS, Message, decode_survey

AT_MS = 1_704_067_200_000
GOOD = {"effort": 5, "empathy": 4, "understanding": 3, "efficiency": 1}


def answer_fields(kind: str, **fields: object) -> dict[str, Any]:
    return {"user_id": "ann", "event_time": AT_MS, "response_id": "r1", "kind": kind, **fields}


def answer(kind: str, **fields: object) -> Answer:
    return decode_survey(msgspec.json.encode(answer_fields(kind, **fields)))


def refusal(kind: str, **fields: object) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as raised:
        decode_survey(msgspec.json.encode(answer_fields(kind, **fields)))
    return raised.value.reason, str(raised.value)


def test_an_answer_is_completed_unless_it_says_otherwise() -> None:
    found = answer("csat", score=4, interaction_id="call-1")

    assert (found.response_id, found.kind, found.status) == ("r1", Kind.CSAT, Status.COMPLETED)
    assert (found.score, found.scale, found.interaction_id) == (4, Scale(1, 5), "call-1")
    assert answer("csat", score=4, interaction_id="").interaction_id is None
    assert answer("csat", score=4, interaction_id="null").interaction_id is None
    assert answer("csat", score=4, interaction_id=7, response_id=8).interaction_id == "7"
    assert answer("csat", score=4, interaction_id=7, response_id=8).response_id == "8"


@pytest.mark.parametrize(("kind", "lowest", "highest"), [("csat", 1, 5), ("nps", 0, 10), ("ces", 1, 7)])
def test_a_score_lies_on_its_scale_both_ends_included(kind: str, lowest: int, highest: int) -> None:
    assert [answer(kind, score=score).score for score in (lowest, highest)] == [lowest, highest]
    for score in (lowest - 1, highest + 1, 1e300, 10**30):
        expected = f"score {score} at `$.score` is outside its scale {lowest}-{highest}"
        assert refusal(kind, score=score) == (Reason.OUT_OF_RANGE, expected)


def test_a_score_is_a_whole_number() -> None:
    assert answer("csat", score=4.0).score == 4
    expected = "a score is a whole number: 4.5 at `$.score`"
    assert refusal("csat", score=4.5) == (Reason.OUT_OF_RANGE, expected)
    assert refusal("csat", score="4")[0] is Reason.WRONG_TYPE
    assert refusal("csat", score=True)[0] is Reason.WRONG_TYPE


def test_csat_and_ces_are_asked_on_any_scale_of_2_to_1001_boxes() -> None:
    assert answer("csat", score=10, scale_max=10).scale == Scale(1, 10)
    assert answer("ces", score=0, scale_min=0).scale == Scale(0, 7)
    assert answer("csat", score=-2, scale_min=-3, scale_max=3).score == -2
    assert answer("csat", score=1_000, scale_min=0, scale_max=1_000).score == 1_000
    for lowest, highest in ((1, 1), (5, 1), (0, 1_001), (1_000_001, 1_000_005), (-(10**30), 5)):
        expected = f"scale {lowest}-{highest} is no scale of 2 to 1001 boxes"
        assert refusal("csat", score=1, scale_min=lowest, scale_max=highest) == (Reason.OUT_OF_RANGE, expected)


@pytest.mark.parametrize(("kind", "scale"), [("nps", "0-10"), ("cxi", "1-5")])
def test_nps_and_cxi_have_one_scale(kind: str, scale: str) -> None:
    lowest, highest = map(int, scale.split("-"))
    content = {"scores": GOOD} if kind == "cxi" else {"score": 9}

    assert answer(kind, scale_min=lowest, scale_max=highest, **content).scale == Scale(lowest, highest)
    expected = f"scale {lowest}-7, {kind} is asked on {scale}"
    assert refusal(kind, scale_max=7, **content) == (Reason.OUT_OF_RANGE, expected)
    assert refusal(kind, scale_min=lowest + 1, **content)[0] is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(("higher_is", "score"), [("easier", 6), ("better", 6), ("harder", 2), ("worse", 2)])
def test_a_score_is_turned_round_where_high_is_bad(higher_is: str, score: int) -> None:
    assert answer("ces", score=6, higher_is=higher_is).score == score


def test_a_score_is_turned_round_on_its_own_scale() -> None:
    assert answer("ces", score=0, scale_min=0, scale_max=10, higher_is="harder").score == 10


def test_cxi_has_four_scores() -> None:
    assert answer("cxi", scores=GOOD).cxi_scores == (5, 4, 3, 1)
    expected = "score 6 at `$.scores.empathy` is outside its scale 1-5"
    assert refusal("cxi", scores={**GOOD, "empathy": 6}) == (Reason.OUT_OF_RANGE, expected)
    expected = "a score is a whole number: 2.5 at `$.scores.effort`"
    assert refusal("cxi", scores={**GOOD, "effort": 2.5}) == (Reason.OUT_OF_RANGE, expected)
    expected = "Object missing required field `effort` - at `$.scores`"
    assert refusal("cxi", scores={"empathy": 6}) == (Reason.MISSING_FIELD, expected)


@pytest.mark.parametrize("value", [None, True, -1, 99, 1.5, 10**30, "", "9", [], {"effort": "x"}], ids=repr)
def test_what_a_score_holds_that_the_kind_does_not_have_does_not_matter(value: object) -> None:
    assert answer("csat", score=4, scores=value) == answer("csat", score=4)
    assert answer("cxi", scores=GOOD, score=value) == answer("cxi", scores=GOOD)


def test_only_a_completed_answer_needs_a_score() -> None:
    assert refusal("nps") == (Reason.MISSING_FIELD, "a completed nps answer needs `$.score`")
    assert refusal("cxi", score=3) == (Reason.MISSING_FIELD, "a completed cxi answer needs `$.scores`")
    for status in ("partial", "dismissed", "shown", "retracted"):
        assert answer("nps", status=status).score is None
        assert answer("cxi", status=status).cxi_scores is None
    assert answer("nps", status="partial", score=3).score == 3
    assert refusal("nps", status="partial", score=11)[0] is Reason.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("fields", "reason", "expected"),
    [
        ({"kind": "smile"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'smile' - at `$.kind`"),
        ({"status": "started"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'started' - at `$.status`"),
        ({"higher_is": "more"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'more' - at `$.higher_is`"),
        ({"response_id": ""}, Reason.MISSING_FIELD, "'' at `$.response_id` names no response"),
        ({"response_id": "null"}, Reason.MISSING_FIELD, "'null' at `$.response_id` names no response"),
        ({"response_id": 4.5}, Reason.WRONG_TYPE, "Expected `int | str`, got `float` - at `$.response_id`"),
        ({"scale_min": 1.5}, Reason.WRONG_TYPE, "Expected `int | null`, got `float` - at `$.scale_min`"),
        ({"interaction_id": []}, Reason.WRONG_TYPE, "Expected `int | str | null`, got `array` - at `$.interaction_id`"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(fields: dict[str, object], reason: Reason, expected: str) -> None:
    assert refusal(**{"kind": "csat", "score": 3, **fields}) == (reason, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["response_id", "kind"])
def test_an_answer_needs_an_id_and_a_kind(field: str) -> None:
    message = {name: value for name, value in answer_fields("csat", score=3).items() if name != field}
    with pytest.raises(Rejected, match=f"^Object missing required field `{field}`$") as raised:
        decode_survey(msgspec.json.encode(message))

    assert raised.value.reason is Reason.MISSING_FIELD


def test_a_null_message_is_a_retraction_at_a_time_that_can_be() -> None:
    def null(at_ms: int) -> Message:
        return Message(None, timestamp=at_ms, key=b"device", headers=(("response_id", b"r1"),))

    found = READERS["surveys"](null(AT_MS))
    assert isinstance(found, EventWithoutUser)
    assert (found.user, found.users, found.reference) == ("", (user_of(None, "device"), "device"), "r1")
    assert found.with_user("device") == retraction("device", "r1", at_ms=AT_MS)
    for at_ms in (-1, AT_MS * 1_000):
        with pytest.raises(Rejected, match="is not between 1970 and 9999") as raised:
            READERS["surveys"](null(at_ms))
        assert raised.value.reason is Reason.BAD_TIME


def test_an_answer_that_is_keyed_by_its_response_leaves_a_name() -> None:
    value = msgspec.json.encode(answer_fields("nps", score=9))
    for key, name in ((b"r1", "r1"), (b"ann", None), (None, None)):
        answer = READERS["surveys"](Message(value, key=key))
        assert isinstance(answer, Answer)
        assert answer.user_reference() == name
