"""Amplitude's events, uploaded or exported, become steps."""

import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.users import ANONYMOUS_PREFIX
from tests.inputs.samples import AMPLITUDE, NOON_MS, changed, events_in, orders_in, reads, steps_in, words_in

read = reads("amplitude")


def test_a_page_view_is_a_view_in_the_session_of_its_device() -> None:
    (step,) = steps_in(read(AMPLITUDE))

    assert (step.user, step.at_ms, step.is_view, step.session_id) == ("ada", NOON_MS, True, "d-1/1795262390000")
    assert step.segments == ("Web", "pro", "Germany", "4.12.0")


@pytest.mark.parametrize("session_id", [-1, "-1", -1.0])
def test_what_happens_in_no_session_makes_active_and_begins_none(session_id: object) -> None:
    (step,) = steps_in(read(changed(AMPLITUDE, session_id=session_id)))

    assert (step.in_session, step.session_id, step.is_interactive) == (False, None, True)


def test_an_export_has_its_time_without_an_offset_in_utc() -> None:
    exported = changed(
        AMPLITUDE,
        time=None,
        event_time="2026-11-21 12:00:00.000000",
        insert_id=None,
        app_version=None,
        version_name="4.12.0",
        amplitude_id=123,
        **{"$insert_id": AMPLITUDE["insert_id"]},
    )

    assert read(exported) == read(AMPLITUDE)


def test_one_bad_event_of_an_upload_costs_only_itself() -> None:
    upload = {"api_key": "k", "events": [AMPLITUDE, changed(AMPLITUDE, user_id=None, device_id=None), AMPLITUDE]}
    told = read(upload)

    assert isinstance(told, MultipleEvents)
    assert [place for place, _ in told.events] == [0, 2]
    assert [(one.event_index, one.reason) for one in told.rejections] == [(1, Reason.MISSING_FIELD)]


def test_start_and_end_of_a_session_and_what_the_library_records_by_itself() -> None:
    (start,) = steps_in(read(changed(AMPLITUDE, event_type="session_start")))
    (end,) = steps_in(read(changed(AMPLITUDE, event_type="session_end")))
    (replay,) = steps_in(read(changed(AMPLITUDE, event_type="[Amplitude] Replay Captured")))

    assert (start.is_end, start.is_view, end.is_end, replay.is_interactive) == (False, False, True, False)


def test_revenue_is_an_order_besides() -> None:
    in_session = read(changed(AMPLITUDE, event_type="checkout", revenue=12.5))
    by_server = read(changed(AMPLITUDE, event_type="revenue_amount", session_id=-1))

    assert ([step.is_key_event for step in steps_in(in_session)], words_in(in_session)) == ([True], ["order"])
    assert (events_in(by_server), words_in(by_server)) == ([], ["order"])


def test_revenue_with_a_currency_counts_and_a_negative_one_is_a_refund() -> None:
    (paid,) = orders_in(read(changed(AMPLITUDE, event_type="checkout", revenue=12.5, currency="EUR")))
    (refund,) = orders_in(read(changed(AMPLITUDE, event_type="checkout", revenue=-3, currency="EUR")))

    assert (paid.order_id, paid.version.amount, paid.refund_id) == (f"checkout/{AMPLITUDE['insert_id']}", 1_250, None)
    assert (refund.version.amount, refund.refund_id) == (300, "")


def test_who_somebody_is_is_left_out_and_who_has_only_a_device_is_that() -> None:
    assert words_in(read(changed(AMPLITUDE, event_type="$identify"))) == ["identity"]
    assert steps_in(read(changed(AMPLITUDE, user_id=None)))[0].user == f"{ANONYMOUS_PREFIX}d-1"


def test_a_time_in_seconds_is_taken_and_none_is_refused() -> None:
    assert steps_in(read(changed(AMPLITUDE, time=1795262400)))[0].at_ms == NOON_MS
    with pytest.raises(Rejected, match=r"no time: needs `\$.event_time`"):
        read(changed(AMPLITUDE, time=None))
    with pytest.raises(Rejected, match=r"needs its name at `\$.event_type`"):
        read(changed(AMPLITUDE, event_type=None))
