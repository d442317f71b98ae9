"""Segment's calls, and RudderStack's, become views, steps and logins of the person who made them."""

from typing import Any

import msgspec
import pytest

from stream.core.events import AccountChange, MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.survey_scales import Kind
from stream.core.users import ANONYMOUS_PREFIX
from stream.inputs.options import Question
from tests.inputs.samples import (
    CRAWLER,
    NOON_MS,
    RUDDERSTACK,
    SEGMENT,
    answers_in,
    changed,
    changes_in,
    events_in,
    logins_in,
    orders_in,
    reads,
    steps_in,
    words_in,
)

read, read_rudderstack = reads("segment"), reads("rudderstack")


def track(event: str, **fields: Any) -> dict[str, Any]:
    return changed(SEGMENT, type="track", event=event, **fields)


def on_server(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "context": {"library": {"name": "analytics-node", "version": "2.3.0"}}, "channel": "server"}


def test_a_page_is_a_view_of_the_person_at_the_corrected_time() -> None:
    (step,) = steps_in(read(SEGMENT))

    assert (step.user, step.at_ms, step.is_view, step.session_id, step.is_bot) == ("ada", NOON_MS, True, None, False)
    assert step.segments == ("web", "pro", "DE", "4.12.0")


def test_a_screen_is_a_view_of_an_app_with_its_platform() -> None:
    context = {"app": {"version": "2.0"}, "device": {"type": "ios", "id": "x"}, "os": {"name": "iOS"}}
    (step,) = steps_in(read(changed(SEGMENT, type="screen", context=context)))

    assert step.is_view
    assert step.segments == ("ios", "", "", "2.0")


def test_a_track_is_an_event_and_of_those_the_specification_knows_more() -> None:
    (click,) = steps_in(read(track("Button Clicked")))
    (leaving,) = steps_in(read(track("Application Backgrounded")))
    (crash,) = steps_in(read(track("Application Crashed")))
    (tapped,) = steps_in(read(track("Push Notification Tapped")))

    assert (click.is_view, click.is_interactive, click.is_end, click.prompted) == (False, True, False, None)
    assert leaving.is_end
    assert not crash.is_interactive
    assert tapped.prompted is True


def test_signed_in_is_a_login_and_a_step_only_where_the_client_sent_it() -> None:
    by_client, by_server = read(track("Signed In")), read(on_server(track("Signed In")))

    by_app = read(track("Signed In", context={"device": {"type": "ios"}, "library": {"name": "analytics-ios"}}))

    assert [login.success for login in logins_in(by_client)] == [True]
    assert (len(logins_in(by_app)), len(steps_in(by_app))) == (1, 1)
    assert len(steps_in(by_client)) == 1
    assert (len(logins_in(by_server)), len(steps_in(by_server))) == (1, 0)


def test_a_server_that_passes_on_the_user_agent_of_the_client_is_still_a_server() -> None:
    passed_on = changed(track("Signed In"), channel="server")
    from_a_warehouse = changed(RUDDERSTACK, type="track", event="Signed In", channel="sources")

    for told in (read(passed_on), read_rudderstack(from_a_warehouse)):
        assert (len(logins_in(told)), len(steps_in(told))) == (1, 0)


def test_a_call_that_says_its_user_was_not_active_makes_nobody_active() -> None:
    (active,) = steps_in(read(changed(SEGMENT, context__active=True)))
    (inactive,) = steps_in(read(changed(SEGMENT, context__active=False)))

    assert (active.is_interactive, inactive.is_interactive) == (True, False)


def test_an_order_without_amount_is_left_out_with_a_word_and_its_step_is_a_key_event() -> None:
    by_client, by_server = read(track("Order Completed")), read(on_server(track("Order Completed")))

    assert words_in(by_client) == words_in(by_server) == ["order"]
    assert [step.is_key_event for step in steps_in(by_client)] == [True]
    assert events_in(by_server) == []


ORDER = {"order_id": "50314b8e9bcf000000000000", "total": 27.5, "revenue": 25, "currency": "usd"}


def test_an_order_completed_or_refunded_is_one_with_its_total() -> None:
    by_client, by_server = (
        read(track("Order Completed", properties=ORDER)),
        read(on_server(track("Order Completed", properties={**ORDER, "total": None}))),
    )
    (paid,), (paid_by_server,) = orders_in(by_client), orders_in(by_server)
    (refund,) = orders_in(read(track("Order Refunded", properties=ORDER, messageId="m-1")))
    (other,) = orders_in(read(track("Order Refunded", properties=ORDER, messageId="m-2")))

    assert (paid.user, paid.at_ms, paid.order_id, paid.refund_id) == ("ada", NOON_MS, ORDER["order_id"], None)
    assert (paid.version.amount, paid.version.currency) == (2_750, "USD")
    assert (paid_by_server.version.amount, steps_in(by_server)) == (2_500, [])
    assert [step.is_key_event for step in steps_in(by_client)] == [True]
    assert (refund.order_id, refund.refund_id, other.refund_id) == (paid.order_id, "m-1", "m-2")
    assert words_in(by_client) == words_in(by_server) == []


def test_an_amount_that_can_not_be_costs_the_order_alone() -> None:
    told = read(track("Order Completed", properties={**ORDER, "total": 27.555}))

    assert isinstance(told, MultipleEvents)
    assert ([len(steps_in(told)), orders_in(told)]) == [1, []]
    assert [(one.reason, one.detail) for one in told.rejections] == [
        (Reason.OUT_OF_RANGE, "27.555 at `$.amount`: USD has 2 decimals, not more")
    ]


def test_signing_up_and_a_trial_are_changes_of_the_account_by_clients_and_servers() -> None:
    assert changes_in(read(track("Signed Up"))) == changes_in(read(on_server(track("Signed Up")))) == ["signed_up"]
    assert changes_in(read(track("Trial Started"))) == ["trial_started"]
    assert (changes_in(read(track("Trial Ended"))), words_in(read(track("Trial Ended")))) == ([], ["account"])
    (change,) = (event for event in events_in(read(track("Signed Up"))) if isinstance(event, AccountChange))
    assert change.segments == ("web", "pro", "DE", "4.12.0")


@pytest.mark.parametrize(("call", "word"), [("identify", "identity"), ("alias", "identity"), ("group", "group")])
def test_calls_that_tell_who_somebody_is_are_left_out_with_a_word(call: str, word: str) -> None:
    told = read(changed(SEGMENT, type=call, traits={"email": "a@example.com", "plan": 7}))

    assert (events_in(told), words_in(told)) == ([], [word])


def test_the_settings_name_logins_key_events_and_passive_ones() -> None:
    read = reads("segment", logins=("Ident OK",), key_events=("Signed In", "Buy"), passive=("Ping",))

    assert len(logins_in(read(track("Ident OK")))) == 1
    assert [step.is_key_event for step in steps_in(read(track("Buy")))] == [True]
    assert [step.is_interactive for step in steps_in(read(track("Ping")))] == [False]
    assert len(logins_in(read(track("Signed In")))) == 1


@pytest.mark.parametrize("nobody", [None, "", "null", "undefined", "  "])
def test_a_call_without_a_user_is_the_devices(nobody: str | None) -> None:
    (step,) = steps_in(read(changed(SEGMENT, userId=nobody)))

    assert step.user == f"{ANONYMOUS_PREFIX}d-1"


def test_a_call_of_nobody_is_refused_by_the_names_of_the_fields() -> None:
    with pytest.raises(Rejected, match=r"needs `\$.userId` or `\$.anonymousId`") as none:
        read(changed(SEGMENT, userId=None, anonymousId=None))
    with pytest.raises(Rejected, match=r"'' at `\$.userId` is a placeholder, 'null' at `\$.anonymousId`"):
        read(changed(SEGMENT, userId="", anonymousId="null"))
    with pytest.raises(Rejected, match=r"expected text or a whole number at `\$.userId`, got \{'id': 7\}") as odd:
        read(changed(SEGMENT, userId={"id": 7}))

    assert (none.value.reason, odd.value.reason) == (Reason.MISSING_FIELD, Reason.WRONG_TYPE)


def test_a_number_is_the_id_that_its_text_is() -> None:
    assert steps_in(read(changed(SEGMENT, userId=42)))[0].user == "42"


@pytest.mark.parametrize(
    ("times", "at_ms"),
    [
        ({"timestamp": "2026-1-5T1:02:03.5Z"}, 1_767_574_923_500),  # as in the documentation's own example
        ({"timestamp": "2026-11-21T13:00:00+01:00"}, NOON_MS),
        ({"timestamp": None}, NOON_MS + 7_313),
        ({"timestamp": "", "originalTimestamp": None}, NOON_MS + 1_004),
        ({"timestamp": None, "originalTimestamp": None, "receivedAt": None}, NOON_MS + 8_301),
        ({"timestamp": 1795262400123}, NOON_MS + 123),
        ({"timestamp": "1795262400"}, NOON_MS),
        ({"timestamp": "2026-11-21T12:00:00.9999999Z"}, NOON_MS + 999),
    ],
)
def test_the_time_is_the_best_that_is_told(times: dict[str, Any], at_ms: int) -> None:
    assert steps_in(read(changed(SEGMENT, **times)))[0].at_ms == at_ms


@pytest.mark.parametrize("time", ["yesterday", "2026-11-21T12:00:00", "2026-13-01T00:00:00Z", 12, True, ["x"]])
def test_a_time_that_is_none_is_refused_and_no_other_takes_its_place(time: Any) -> None:
    with pytest.raises(Rejected, match=r"`\$.timestamp`") as rejected:
        read(changed(SEGMENT, timestamp=time))

    assert rejected.value.reason is Reason.BAD_TIME


def test_a_time_without_an_offset_is_that_of_the_zone_of_the_settings() -> None:
    read = reads("segment", zone="Europe/Berlin")

    assert steps_in(read(changed(SEGMENT, timestamp="2026-11-21T13:00:00")))[0].at_ms == NOON_MS
    assert steps_in(read(changed(SEGMENT, timestamp="2026-7-1 14:00:00")))[0].at_ms == 1_782_907_200_000


def test_a_call_without_any_time_is_refused_unless_that_of_the_record_may_stand_for_it() -> None:
    timeless = changed(SEGMENT, timestamp=None, originalTimestamp=None, receivedAt=None, sentAt=None)
    with pytest.raises(Rejected, match='the setting time = "record"') as rejected:
        read(timeless)

    assert rejected.value.reason is Reason.MISSING_FIELD
    assert steps_in(reads("segment", time="record")(timeless, timestamp=NOON_MS))[0].at_ms == NOON_MS


def test_a_call_that_is_sent_again_is_the_same_and_another_one_is_not() -> None:
    one, again, other = (
        steps_in(read(changed(SEGMENT, messageId=message, sentAt=sent)))[0].identity
        for message, sent in (("m-1", "x"), ("m-1", "y"), ("m-2", "x"))
    )

    assert one == again != other


def test_one_bad_call_of_a_batch_costs_only_itself_and_is_named() -> None:
    told = read(
        {
            "batch": [
                SEGMENT,
                changed(SEGMENT, userId=None, anonymousId=None),
                "no call",
                changed(SEGMENT, type="identify"),
                track("Signed In"),
            ],
            "sentAt": "2026-11-21T12:00:08.301Z",
        }
    )

    assert isinstance(told, MultipleEvents)
    assert (len(steps_in(told)), len(logins_in(told)), words_in(told)) == (2, 1, ["identity"])
    assert [(one.reason, one.detail.split(":")[0]) for one in told.rejections] == [
        (Reason.MISSING_FIELD, "at `$.batch[1]`"),
        (Reason.WRONG_TYPE, "at `$.batch[2]`"),
    ]
    places = [place for place, _ in told.events] + [one.event_index for one in told.rejections]
    assert len(set(places)) == len(places)


def test_an_empty_batch_is_counted_as_empty() -> None:
    assert words_in(read({"batch": []})) == words_in(read([])) == ["empty"]


@pytest.mark.parametrize("properties", [None, [], "text", 7, {"plan": {"a": [1]}}, {"score": {}}])
def test_properties_and_contexts_of_any_shape_cost_no_call(properties: Any) -> None:
    for odd in (changed(SEGMENT, properties=properties), changed(SEGMENT, context=properties)):
        assert len(steps_in(read(odd))) == 1


def test_a_call_of_a_crawler_is_a_bots() -> None:
    assert steps_in(read(changed(SEGMENT, context__userAgent=CRAWLER)))[0].is_bot


def test_what_is_no_call_is_refused() -> None:
    with pytest.raises(Rejected, match=r"'login' at `\$.type` is none of alias, group"):
        read(changed(SEGMENT, type="login"))
    with pytest.raises(Rejected, match=r"needs `\$.type`, or `\$.batch`"):
        read(changed(SEGMENT, type=None))
    with pytest.raises(Rejected, match="a track call needs its name"):
        read(changed(SEGMENT, type="track", event=None))
    for nothing in (None, b"", b"{", b"7", b"\x00\xff"):
        with pytest.raises(Rejected):
            read(nothing)


def test_text_that_is_cut_in_the_middle_of_a_character_costs_a_call_only_where_it_is_an_id() -> None:
    whole = msgspec.json.encode(SEGMENT)

    assert steps_in(read(whole.replace(b'"Pricing"', b'"Pric\\ud83d"')))[0].user == "ada"
    with pytest.raises(Rejected, match=r"at `\$.userId` is cut in the middle of a character") as rejected:
        read(whole.replace(b'"ada"', b'"ad\\ud83d"'))
    assert rejected.value.reason is Reason.BAD_USER


def test_tens_of_kilobytes_and_deep_nesting_are_read() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    large = changed(SEGMENT, properties={"cart": [{"sku": str(number), "name": "x" * 40} for number in range(700)]})

    assert len(msgspec.json.encode(large)) > 40_000
    assert len(steps_in(read({**large, "nested": deep}))) == 1
    assert len(steps_in(read(b'{"deep":' + b"[" * 5_000 + b"]" * 5_000 + b"," + msgspec.json.encode(large)[1:]))) == 1


def test_survey_submitted_is_an_answer_where_it_tells_its_kind_or_the_settings_do() -> None:
    told = {"kind": "nps", "score": "9", "response_id": "r-1"}
    (answer,) = answers_in(read(track("Survey Submitted", properties=told)))
    read_known = reads("segment", questions=[Question(question="spring", kind=Kind.CSAT, scores={"good": 5})])
    (by_settings,) = answers_in(
        read_known(track("Survey Submitted", properties={"survey_id": "spring", "rating": "good"}))
    )
    unknown = read(track("Survey Submitted", properties={"survey_id": "spring", "rating": 5}))

    assert (answer.kind, answer.score, answer.response_id) == (Kind.NPS, 9, "r-1")
    assert (by_settings.kind, by_settings.score, by_settings.response_id) == (Kind.CSAT, 5, SEGMENT["messageId"])
    assert (events_in(unknown), words_in(unknown)) == ([], ["question"])


def test_rudderstack_tells_sessions_that_are_unique_on_their_device_only() -> None:
    (step,) = steps_in(read_rudderstack(RUDDERSTACK))
    (other,) = steps_in(read_rudderstack(changed(RUDDERSTACK, anonymousId="d-2")))
    (without,) = steps_in(read_rudderstack(changed(RUDDERSTACK, context__sessionId=None)))

    assert (step.session_id, other.session_id, without.session_id) == ("d-1/1795262390", "d-2/1795262390", None)
    assert step.user == "ada"


def test_the_version_of_rudderstacks_library_is_none_of_the_app() -> None:
    phone = {"app": {"version": "5.1"}, "device": {"type": "Android"}, "library": {"name": "com.rudderstack.android"}}
    (on_web,) = steps_in(read_rudderstack(RUDDERSTACK))
    (on_phone,) = steps_in(read_rudderstack(changed(RUDDERSTACK, type="screen", context=phone)))

    assert on_web.segments == ("web", "pro", "", "")
    assert on_phone.segments == ("Android", "", "", "5.1")


def test_the_empty_name_of_a_system_that_rudderstacks_web_library_sends_hides_no_platform() -> None:
    (step,) = steps_in(read_rudderstack(changed(RUDDERSTACK, context__os={"name": "", "version": ""})))

    assert step.segments[0] == "web"
