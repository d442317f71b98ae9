"""Webhooks and responses of survey tools become answers, each question that is known one of its own."""

from typing import Any

import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind, Status
from stream.core.users import ANONYMOUS_PREFIX
from stream.inputs.options import Question
from tests.inputs.samples import (
    CHATWOOT,
    DELIGHTED,
    FORMBRICKS,
    NOON_MS,
    QUALTRICS,
    SURVEYMONKEY,
    TYPEFORM,
    answers_in,
    changed,
    events_in,
    reads,
    words_in,
)


def nps(question: str, **more: Any) -> Question:
    return Question(question=question, kind=Kind.NPS, **more)


def csat(question: str, **more: Any) -> Question:
    return Question(question=question, kind=Kind.CSAT, **more)


def summary(told: Any) -> list[tuple[str, str, str, int | None, str]]:
    """Of each answer: user, response, kind, score and status."""
    return [(one.user, one.response_id, one.kind.value, one.score, one.status.value) for one in answers_in(told)]


# -- Delighted ---------------------------------------------------------------------------------------------------------


def test_delighted_tells_its_kind_by_itself() -> None:
    assert summary(reads("delighted")(DELIGHTED)) == [("5975", "5435", "nps", 9, "completed")]
    assert reads("delighted")(DELIGHTED["event_data"]) == reads("delighted")(DELIGHTED)


def test_an_edit_at_delighted_counts_at_the_time_of_the_edit() -> None:
    edited = changed(DELIGHTED, event_type="survey_response.updated", event_data__updated_at=1795262400 + 600)
    (answer,) = answers_in(reads("delighted")(edited))

    assert answer.at_ms == NOON_MS + 600_000


def test_at_delighted_the_settings_name_your_id_and_types_that_it_does_not_explain() -> None:
    read = reads("delighted", user="customer_id", questions=(Question(question="ces7", kind=Kind.CES),))
    (answer,) = answers_in(read(changed(DELIGHTED, event_data__survey_type="ces7", event_data__score=6)))
    unknown = read(changed(DELIGHTED, event_data__survey_type="pmf"))
    with pytest.raises(Rejected, match=r"needs `\$.person_properties.customer_id`"):
        read(changed(DELIGHTED, event_data__person_properties=None))

    assert (answer.user, answer.kind, answer.score) == ("ada", Kind.CES, 6)
    assert words_in(unknown) == ["question"]
    assert words_in(read({"event_type": "unsubscribe.created", "event_data": {}})) == ["profile"]


def test_a_score_that_is_not_on_its_scale_is_refused() -> None:
    with pytest.raises(Rejected, match=r"score 11 at `\$.score` is outside its scale 0-10") as rejected:
        reads("delighted")(changed(DELIGHTED, event_data__score=11))

    assert rejected.value.reason is Reason.OUT_OF_RANGE


# -- Typeform ----------------------------------------------------------------------------------------------------------

_SUPPORT = (csat("support"),)


def test_typeform_knows_an_nps_and_the_settings_the_rest() -> None:
    told = reads("typeform", questions=_SUPPORT)(TYPEFORM)
    token = "a3a12ec67a1365927098a606107fbc15"

    assert summary(told) == [
        ("ada", f"{token}/NRsxU591jIW9", "nps", 9, "completed"),
        ("ada", f"{token}/support", "csat", 4, "completed"),
    ]
    assert {one.at_ms for one in answers_in(told)} == {NOON_MS}


def test_a_question_of_typeform_may_be_named_by_reference_or_id_of_one_form_or_all() -> None:
    for name in ("support", "WOTdC00F8A3h", "lT4Z3j/support"):
        assert len(answers_in(reads("typeform", questions=(csat(name),))(TYPEFORM))) == 2
    assert len(answers_in(reads("typeform", questions=(csat("other/support"),))(TYPEFORM))) == 1


def test_a_partial_response_of_typeform_is_partial_and_may_have_no_time_but_that_of_its_beginning() -> None:
    partial = changed(TYPEFORM, event_type="form_response_partial", form_response__submitted_at=None)
    (answer,) = answers_in(reads("typeform")(partial))
    with pytest.raises(Rejected, match=r"no time: needs `\$.form_response.submitted_at`"):
        reads("typeform")(changed(TYPEFORM, form_response__submitted_at=None))

    assert (answer.status, answer.at_ms) == (Status.PARTIAL, NOON_MS - 90_000)


def test_choices_and_truths_count_by_the_scores_of_the_settings() -> None:
    answers = [
        {"type": "choice", "choice": {"id": "c", "label": "Good"}, "field": {"id": "f1", "ref": "how"}},
        {"type": "boolean", "boolean": False, "field": {"id": "f2", "ref": "solved"}},
    ]
    how = csat("how", scores={"Good": 3, "Bad": 1}, scale_max=3)
    solved = csat("solved", scores={"true": 1, "false": 0}, scale_min=0, scale_max=1)
    told = reads("typeform", questions=(how, solved))(changed(TYPEFORM, form_response__answers=answers))

    assert [(one.score, tuple(one.scale)) for one in answers_in(told)] == [(3, (1, 3)), (0, (0, 1))]


def test_a_choice_without_a_score_costs_no_other_answer() -> None:
    how = csat("else", scores={"Good": 5})
    told = reads("typeform", questions=(*_SUPPORT, how))(TYPEFORM)

    assert isinstance(told, MultipleEvents)
    assert len(answers_in(told)) == 2
    assert [(one.reason, one.detail) for one in told.rejections] == [
        (Reason.WRONG_TYPE, "'All fine', the answer to 'else', is no score, nor one of `scores`")
    ]


def test_a_response_of_typeform_without_a_known_user_is_refused() -> None:
    with pytest.raises(Rejected, match=r"needs `\$.form_response.hidden.user_id`"):
        reads("typeform")(changed(TYPEFORM, form_response__hidden=None))
    with pytest.raises(Rejected, match=r"'form_opened' at `\$.event_type` is none of form_response"):
        reads("typeform")(changed(TYPEFORM, event_type="form_opened"))


def test_a_page_of_typeforms_responses_api_tells_what_its_webhooks_told() -> None:
    form = TYPEFORM["form_response"]
    item = {
        "landing_id": form["token"],
        "token": form["token"],
        "response_id": form["token"],
        "response_type": "completed",
        "landed_at": form["landed_at"],
        "submitted_at": form["submitted_at"],
        "metadata": {"platform": "other", "browser": "default"},
        "hidden": form["hidden"],
        "calculated": {"score": 0},
        # The API has no definition of the form, but the reference of each field.
        "answers": [
            {**one, "field": {**one["field"], "ref": field["ref"]}}
            for one, field in zip(form["answers"], form["definition"]["fields"], strict=True)
        ],
    }
    partial = {**item, "token": "left", "response_type": "partial", "submitted_at": "0001-01-01T00:00:00Z"}
    older = {name: value for name, value in partial.items() if name != "response_type"} | {"token": "before"}
    nameless = {**item, "hidden": {}}
    read = reads("typeform", questions=_SUPPORT)
    page = {"total_items": 4, "page_count": 1, "items": [item, partial, older, nameless]}
    told = read(page)

    assert answers_in(told)[:2] == answers_in(read(TYPEFORM)) == answers_in(read(item))
    assert [(one.response_id.split("/")[0], one.status, one.at_ms) for one in answers_in(told)[2::2]] == [
        ("left", Status.PARTIAL, NOON_MS - 90_000),
        ("before", Status.PARTIAL, NOON_MS - 90_000),
    ]
    assert isinstance(told, MultipleEvents)
    assert [one.detail for one in told.rejections] == ["at `$.items[3]`: needs `$.hidden.user_id`"]
    assert answers_in(reads("auto", questions=_SUPPORT)(page)) == answers_in(told)
    assert answers_in(reads("auto", questions=_SUPPORT)([item])) == answers_in(read(item))


# -- SurveyMonkey ------------------------------------------------------------------------------------------------------

_MONKEY = (nps("319352786"), csat("319352787", scores={"777": 5, "Satisfied": 4}))


def test_surveymonkey_tells_the_score_of_an_nps_and_never_its_group() -> None:
    told = reads("surveymonkey", questions=_MONKEY)(SURVEYMONKEY)

    assert summary(told) == [
        ("ada", "5007154325/319352786", "nps", 9, "completed"),
        ("ada", "5007154325/319352787", "csat", 5, "completed"),
    ]


def test_the_weight_of_a_choice_counts_where_it_is_no_nps() -> None:
    answers = [{"choice_id": "1", "choice_metadata": {"weight": "4"}, "simple_text": "Rather satisfied"}]
    pages = [{"id": "p", "questions": [{"id": "q", "answers": answers}]}]
    told = changed(SURVEYMONKEY, pages=pages)
    numbered = [{**answers[0], "simple_text": "2"}]
    both = changed(SURVEYMONKEY, pages=[{"id": "p", "questions": [{"id": "q", "answers": numbered}]}])
    (shown,) = answers_in(reads("surveymonkey", questions=(csat("q"),))(both))
    (rated,) = answers_in(reads("surveymonkey", questions=(csat("q"),))(told))
    grouped = reads("surveymonkey", questions=(nps("q"),))(told)

    assert (rated.score, shown.score) == (4, 2)
    assert isinstance(grouped, MultipleEvents)
    assert [one.reason for one in grouped.rejections] == [Reason.WRONG_TYPE]


@pytest.mark.parametrize(
    ("told", "status"),
    [("partial", Status.PARTIAL), ("disqualified", Status.DISMISSED), ("overquota", Status.DISMISSED)],
)
def test_the_status_of_a_response_is_taken_over(told: str, status: Status) -> None:
    read = reads("surveymonkey", questions=_MONKEY)

    assert {one.status for one in answers_in(read(changed(SURVEYMONKEY, response_status=told)))} == {status}


def test_responses_come_in_bulk_and_webhooks_are_refused_with_a_word() -> None:
    read = reads("surveymonkey", questions=_MONKEY)
    bulk = read({"data": [SURVEYMONKEY, changed(SURVEYMONKEY, custom_variables={})], "per_page": 2, "total": 2})
    with pytest.raises(Rejected, match="a webhook carries ids only: send what the API returns"):
        read({"name": "w", "event_type": "response_completed", "object_type": "response", "object_id": "1"})

    assert isinstance(bulk, MultipleEvents)
    assert (len(answers_in(bulk)), [one.event_index for one in bulk.rejections]) == (2, [2])


# -- Qualtrics ---------------------------------------------------------------------------------------------------------

_QUALTRICS = (nps("QID1"), csat("QID4"))


def test_qualtrics_tells_its_answers_by_the_ids_of_its_questions() -> None:
    read = reads("qualtrics", questions=_QUALTRICS)

    assert summary(read(QUALTRICS)) == [
        ("ada", "R_1exampleQbN0G2i/QID1", "nps", 9, "completed"),
        ("ada", "R_1exampleQbN0G2i/QID4", "csat", 5, "completed"),
    ]
    assert read(QUALTRICS["result"]) == read(QUALTRICS)


def test_an_export_of_qualtrics_has_many_responses_of_which_a_bad_one_costs_only_itself() -> None:
    read = reads("qualtrics", questions=_QUALTRICS)
    response = QUALTRICS["result"]
    nameless = changed(response, responseId="R_2", values__externalDataReference=None)
    preview = changed(response, responseId="R_3", values__status=1)
    other = changed(response, responseId="R_4", values__QID1=3)
    export = {"responses": [response, nameless, preview, other]}
    told = read(export)

    assert summary(told) == [*summary(read(response)), *summary(read(other))]
    assert isinstance(told, MultipleEvents)
    assert [one.detail for one in told.rejections] == ["at `$.responses[1]`: needs `$.values.externalDataReference`"]
    assert words_in(told) == ["test"]
    assert reads("auto", questions=_QUALTRICS)(export) == told


def test_an_export_of_qualtrics_tells_each_response_with_its_labels_and_which_fields_were_shown() -> None:
    """As programs find it that fetch an export in JSON: dates, embedded data and answers are all in `values`."""
    values = {
        "startDate": "2026-11-21T11:58:12Z",
        "endDate": "2026-11-21T12:00:00Z",
        "recordedDate": "2026-11-21T12:00:01.204Z",
        "status": 0,
        "ipAddress": "198.51.100.7",
        "progress": 100,
        "duration": 108,
        "finished": 1,
        "_recordId": "R_1exampleQbN0G2i",
        "locationLatitude": "52.5",
        "locationLongitude": "13.4",
        "distributionChannel": "email",
        "userLanguage": "DE",
        "externalDataReference": "ada",
        "plan": "pro",
        "QID1": 9,
        "QID1_NPS_GROUP": 3,
        "QID2": [1, 4],
        "QID3_TEXT": "Läuft gut",
        "QID4": 5,
    }
    response = {
        "responseId": "R_1exampleQbN0G2i",
        "values": values,
        "labels": {"status": "IP Address", "finished": "True", "QID1_NPS_GROUP": "Promoter", "QID4": "Very satisfied"},
        "displayedFields": ["QID1", "QID2", "QID3_TEXT", "QID4"],
        "displayedValues": {"QID2": [1, 2, 3, 4], "QID4": [1, 2, 3, 4, 5]},
    }
    read = reads("qualtrics", questions=_QUALTRICS)

    assert summary(read({"responses": [response]})) == summary(read(QUALTRICS))
    assert read(response) == read({"responses": [response]}), "the lines of ndjson are responses"
    assert {one.at_ms for one in answers_in(read(response))} == {NOON_MS}


def test_at_qualtrics_your_id_may_be_embedded_data_and_an_unfinished_response_is_partial() -> None:
    read = reads("qualtrics", questions=_QUALTRICS, user="customer")
    told = read(changed(QUALTRICS, result__values__customer=42, result__values__finished=False))

    assert [(one.user, one.status) for one in answers_in(told)] == [("42", Status.PARTIAL)] * 2


def test_previews_are_left_out_and_spam_is_a_bots() -> None:
    read = reads("qualtrics", questions=_QUALTRICS)

    assert words_in(read(changed(QUALTRICS, result__values__status=1))) == ["test"]
    assert [one.is_bot for one in answers_in(read(changed(QUALTRICS, result__values__status="8")))] == [True, True]
    with pytest.raises(Rejected, match="an event subscription carries ids only"):
        read({"Topic": "brand.surveyengine.completedResponse.SV_1", "SurveyID": "SV_1", "ResponseID": "R_1"})
    with pytest.raises(Rejected, match="an event subscription carries ids only"):
        read({"MSG": '{"Status":"Complete","SurveyID":"SV_1","ResponseID":"R_1"}', "HMAC": "5db5", "Topic": "x"})


def test_the_four_questions_of_a_cxi_are_one_answer() -> None:
    questions = (
        Question(question="QID11", kind=Kind.CXI, dimension="effort"),
        Question(question="QID12", kind=Kind.CXI, dimension="empathy"),
        Question(question="QID13", kind=Kind.CXI, dimension="understanding"),
        Question(question="QID14", kind=Kind.CXI, dimension="efficiency"),
    )
    read = reads("qualtrics", questions=questions)
    values = {"endDate": "2026-11-21T12:00:00Z", "externalDataReference": "ada", "finished": 1}
    scores = {"QID11": 5, "QID12": 4, "QID13": 3, "QID14": "2"}
    (answer,) = answers_in(read({"responseId": "R", "values": {**values, **scores}}))
    missing = read({"responseId": "R", "values": {**values, **scores, "QID13": None}})

    assert (answer.kind, answer.cxi_scores, answer.response_id) == (Kind.CXI, (5, 4, 3, 2), "R/cxi")
    assert isinstance(missing, MultipleEvents)
    assert [one.detail for one in missing.rejections] == ["a completed cxi answer needs a score of understanding too"]


# -- Formbricks --------------------------------------------------------------------------------------------------------

_FORMBRICKS = (nps("nps"), csat("cljr6ozho0008pe0k5bc0yzh2/cs7k2jzq"))


def test_formbricks_tells_its_answers_by_the_ids_of_its_questions() -> None:
    assert summary(reads("formbricks", questions=_FORMBRICKS)(FORMBRICKS)) == [
        ("ada", "cljr7zu8t0001pe0krdvcle6f/nps", "nps", 9, "completed"),
        ("ada", "cljr7zu8t0001pe0krdvcle6f/cljr6ozho0008pe0k5bc0yzh2/cs7k2jzq", "csat", 4, "completed"),
    ]


def test_states_of_one_response_of_formbricks_have_their_own_times() -> None:
    first = changed(
        FORMBRICKS, event="responseCreated", data__finished=False, data__updatedAt=None, data__data={"nps": 3}
    )
    (answer,) = answers_in(reads("formbricks", questions=_FORMBRICKS)(first))

    (last, _) = answers_in(reads("formbricks", questions=_FORMBRICKS)(FORMBRICKS))

    assert (answer.status, answer.score, answer.at_ms) == (Status.PARTIAL, 3, NOON_MS - 89_899)
    assert (last.status, last.at_ms) == (Status.COMPLETED, NOON_MS)


def test_who_answers_formbricks_is_the_user_else_the_contact_or_what_the_settings_name() -> None:
    anonymous = changed(FORMBRICKS, data__contact={"id": "c-1"})
    hidden = changed(FORMBRICKS, data__contactAttributes={}, data__data__customer="bob")

    assert {one.user for one in answers_in(reads("formbricks", questions=_FORMBRICKS)(anonymous))} == {
        f"{ANONYMOUS_PREFIX}c-1"
    }
    read = reads("formbricks", questions=_FORMBRICKS, user="customer")
    assert {one.user for one in answers_in(read(FORMBRICKS))} == {"ada"}
    assert {one.user for one in answers_in(read(hidden))} == {"bob"}
    with pytest.raises(Rejected, match=r"'surveyPublished' at `\$.event` is none of responseCreated"):
        read(changed(FORMBRICKS, event="surveyPublished"))


# -- Chatwoot ----------------------------------------------------------------------------------------------------------


def test_a_rating_of_chatwoot_has_the_time_of_its_record() -> None:
    read = reads("chatwoot", time="record")
    (answer,) = answers_in(read(CHATWOOT, timestamp=NOON_MS))
    with pytest.raises(Rejected, match="no time"):
        reads("chatwoot")(CHATWOOT, timestamp=NOON_MS)

    assert (answer.user, answer.at_ms, answer.score, answer.kind) == ("89", NOON_MS, 5, Kind.CSAT)
    assert (answer.response_id, answer.interaction_id) == ("1402", "567")


def test_that_chatwoot_has_asked_is_told_at_its_own_time() -> None:
    asked = changed(CHATWOOT, event="message_created", content_attributes={})
    (answer,) = answers_in(reads("chatwoot", user="identifier")(asked))

    assert (answer.user, answer.status, answer.at_ms) == ("ada", Status.SHOWN, NOON_MS - 1_800_000)


def test_what_the_api_of_chatwoot_returns_has_its_own_time() -> None:
    told = {
        "id": 9,
        "rating": 4,
        "feedback_message": "",
        "conversation_id": 567,
        "message_id": 1402,
        "contact": {"id": 89, "custom_attributes": {"shop": "ada"}},
        "created_at": 1795262400,
    }

    assert summary(reads("chatwoot", user="shop")([told, {**told, "rating": 9}]))[0] == (
        "ada",
        "1402",
        "csat",
        4,
        "completed",
    )


@pytest.mark.parametrize(("event", "word"), [("conversation_created", "contact"), ("contact_updated", "profile")])
def test_what_else_chatwoot_tells_is_left_out_with_a_word(event: str, word: str) -> None:
    told = reads("chatwoot")({"event": event, "account": {"id": 1}, "id": 567, "status": "open", "messages": []})

    assert (events_in(told), words_in(told)) == ([], [word])


@pytest.mark.parametrize("questions", [(), (nps("another"),)])
@pytest.mark.parametrize(
    ("format_", "sample"), [("surveymonkey", SURVEYMONKEY), ("qualtrics", QUALTRICS), ("formbricks", FORMBRICKS)]
)
def test_a_response_of_which_no_question_is_known_is_left_out_with_a_word(
    format_: str, sample: dict[str, Any], questions: tuple[Question, ...]
) -> None:
    told = reads(format_, questions=questions)(sample)

    assert (events_in(told), words_in(told)) == ([], ["question"])
