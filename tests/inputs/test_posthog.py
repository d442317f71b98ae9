"""PostHog's events, as captured, sent on and exported, become steps and answers."""

from typing import Any

import msgspec
import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind, Status
from stream.core.users import ANONYMOUS_PREFIX
from stream.inputs.options import Question
from tests.inputs.samples import NOON_MS, POSTHOG, answers_in, changed, events_in, reads, steps_in, words_in

read = reads("posthog")

_NPS = Question(question="q-nps", kind=Kind.NPS)
_CSAT = Question(question="spring/q-csat", kind=Kind.CSAT, scale_min=1, scale_max=3)
read_surveys = reads("posthog", questions=(_NPS, _CSAT))


def survey(properties: dict[str, Any], *, event: str = "survey sent") -> dict[str, Any]:
    told = {"$survey_id": "spring", "$session_id": "s-1", "$device_id": "d-1", **properties}
    return changed(POSTHOG, event=event, properties=told)


def test_a_page_view_is_a_view_in_its_session() -> None:
    (step,) = steps_in(read(POSTHOG))

    assert (step.user, step.at_ms, step.is_view, step.session_id) == ("ada", NOON_MS, True, "s-1")
    assert step.segments == ("web", "pro", "DE", "4.12.0")


def test_leaving_a_page_is_a_heartbeat_and_what_the_client_does_by_itself_makes_nobody_active() -> None:
    (leaving,) = steps_in(read(changed(POSTHOG, event="$pageleave")))
    (flag,) = steps_in(read(changed(POSTHOG, event="$feature_flag_called")))
    (click,) = steps_in(read(changed(POSTHOG, event="$autocapture")))

    assert (leaving.is_view, leaving.is_end, leaving.is_interactive) == (False, False, True)
    assert not flag.is_interactive
    assert click.is_interactive


def test_a_distinct_id_that_is_the_device_is_no_person() -> None:
    for anonymous in ({"distinct_id": "d-1"}, {"distinct_id": "x-1", "properties__$is_identified": False}):
        (step,) = steps_in(read(changed(POSTHOG, **anonymous)))
        assert step.user == f"{ANONYMOUS_PREFIX}{anonymous['distinct_id']}"


def test_the_distinct_id_may_lie_in_the_properties() -> None:
    (step,) = steps_in(read(changed(POSTHOG, distinct_id=None, properties__distinct_id="ada")))

    assert step.user == "ada"


def test_exports_and_webhooks_hold_the_same_event() -> None:
    exported = changed(
        POSTHOG, properties=msgspec.json.encode(POSTHOG["properties"]).decode(), timestamp="2026-11-21 12:00:00.000000"
    )

    webhook = {"event": POSTHOG, "person": {"id": "p", "properties": {}}}
    hook = {"hook": {"id": "h"}, "data": POSTHOG}
    assert read(exported) == read(webhook) == read(hook) == read(POSTHOG)


def test_one_bad_event_of_a_batch_costs_only_itself() -> None:
    told = read(
        {
            "api_key": "phc_example",
            "batch": [POSTHOG, changed(POSTHOG, distinct_id="undefined", properties={}), {"event": 7}],
        }
    )

    assert isinstance(told, MultipleEvents)
    assert len(events_in(told)) == 1
    assert [(one.event_index, one.reason) for one in told.rejections] == [
        (1, Reason.BAD_USER),
        (2, Reason.MISSING_FIELD),
    ]
    assert told.rejections[0].detail.startswith("at `$.batch[1]`: tells no user: 'undefined' at `$.distinct_id`")


@pytest.mark.parametrize(
    ("event", "word"),
    [("$identify", "identity"), ("$create_alias", "identity"), ("$groupidentify", "group"), ("$set", "profile")],
)
def test_what_tells_who_somebody_is_is_left_out_with_a_word(event: str, word: str) -> None:
    assert words_in(read(changed(POSTHOG, event=event))) == [word]


def test_a_survey_is_a_step_and_an_answer_to_each_question_that_is_known() -> None:
    told = read_surveys(
        survey(
            {
                "$survey_submission_id": "sub-1",
                "$survey_response_q-nps": "9",
                "$survey_response_q-csat": 3,
                "$survey_response_q-why": "quick",
                "$survey_completed": True,
            }
        )
    )

    assert [step.session_id for step in steps_in(told)] == ["s-1"]
    assert [(one.response_id, one.kind, one.score, one.status, tuple(one.scale)) for one in answers_in(told)] == [
        ("sub-1/q-nps", Kind.NPS, 9, Status.COMPLETED, (0, 10)),
        ("sub-1/spring/q-csat", Kind.CSAT, 3, Status.COMPLETED, (1, 3)),
    ]


def test_the_same_answer_by_its_number_and_by_its_id_is_one() -> None:
    asked = [{"id": "q-nps", "question": "Recommend us?"}, {"id": "q-why", "question": "Why?"}]
    (twice,) = answers_in(
        read_surveys(survey({"$survey_questions": asked, "$survey_response": 9, "$survey_response_q-nps": 9, "x": 1}))
    )
    (by_number,) = answers_in(read_surveys(survey({"$survey_questions": asked, "$survey_response": 9})))

    assert twice == by_number
    assert by_number.response_id == "spring/1/q-nps"


def test_a_survey_of_one_question_may_be_named_by_itself() -> None:
    read = reads("posthog", questions=(Question(question="spring", kind=Kind.CES),))
    (answer,) = answers_in(read(survey({"$survey_response": "7", "$survey_submission_id": "s"})))

    assert (answer.kind, answer.score) == (Kind.CES, 7)


def test_a_response_that_is_not_complete_is_partial() -> None:
    (answer,) = answers_in(
        read_surveys(survey({"$survey_response_q-nps": 3, "$survey_completed": False, "$survey_submission_id": "s"}))
    )

    assert answer.status is Status.PARTIAL


def test_a_survey_that_nobody_knows_is_a_step_and_left_out() -> None:
    told = read(survey({"$survey_response": 9}))

    assert (len(steps_in(told)), answers_in(told), words_in(told)) == (1, [], ["question"])


def test_one_score_that_can_not_be_costs_no_other() -> None:
    told = read_surveys(
        survey({"$survey_submission_id": "s", "$survey_response_q-nps": 11, "$survey_response_q-csat": 2})
    )

    assert isinstance(told, MultipleEvents)
    assert [one.score for one in answers_in(told)] == [2]
    assert [one.reason for one in told.rejections] == [Reason.OUT_OF_RANGE]


def test_that_a_survey_was_shown_counts_where_it_names_its_response() -> None:
    (shown,) = answers_in(read_surveys(survey({"$survey_submission_id": "sub-1"}, event="survey shown")))
    nameless = read_surveys(survey({}, event="survey shown"))

    assert (shown.status, shown.score, shown.response_id) == (Status.SHOWN, None, "sub-1/spring/q-csat")
    assert (events_in(nameless), words_in(nameless)) == ([], ["question"])


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(Rejected, match=r"needs its name at `\$.event`"):
        read({"distinct_id": "ada"})
    with pytest.raises(Rejected, match=r"no time: needs `\$.timestamp`"):
        read(changed(POSTHOG, timestamp=None))
    with pytest.raises(Rejected, match=r"the text at `\$.properties` is no JSON object"):
        read(changed(POSTHOG, properties="{"))
