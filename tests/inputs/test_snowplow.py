"""Snowplow's enriched events tell the same as lines of columns and as JSON."""

from typing import Any

import msgspec
import pytest

from stream.core.rejections import Reason, Rejected
from stream.core.users import ANONYMOUS_PREFIX
from tests.inputs.samples import (
    CRAWLER,
    NOON_MS,
    SNOWPLOW,
    SNOWPLOW_COLUMNS,
    changed,
    events_in,
    orders_in,
    reads,
    snowplow_line,
    steps_in,
    words_in,
)

read = reads("snowplow")

_CONTEXTS = msgspec.json.encode(
    {
        "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1",
        "data": [
            {
                "schema": "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
                "data": {"userId": "phone-1", "sessionId": "s-9", "sessionIndex": 4, "storageMechanism": "SQLITE"},
            },
            {
                "schema": "iglu:com.snowplowanalytics.mobile/application/jsonschema/1-0-0",
                "data": {"version": "7.1", "build": "7100"},
            },
        ],
    }
).decode()


def both(**fields: Any) -> list[Any]:
    """The same event as a line and as JSON, each read."""
    return [read(snowplow_line(**fields)), read(changed(SNOWPLOW, **fields))]


def test_a_line_and_its_json_tell_the_same_view() -> None:
    line, told = both()

    assert line == told
    assert (line.user, line.at_ms, line.is_view, line.session_id) == ("ada", NOON_MS, True, "s-1")
    assert line.segments == ("web", "", "DE", "")


def test_the_columns_are_those_of_the_documentation() -> None:
    assert len(SNOWPLOW_COLUMNS) == 131


@pytest.mark.parametrize("count", [130, 132])
def test_a_line_of_more_or_fewer_columns_is_refused(count: int) -> None:
    columns = [*snowplow_line().split(b"\t"), b"one more"][:count]
    with pytest.raises(Rejected, match=f"{count} tab-separated columns, an enriched event has 131"):
        read(b"\t".join(columns))


def test_a_page_ping_is_a_heartbeat_and_no_view() -> None:
    for told in both(event="page_ping", event_name="page_ping"):
        (step,) = steps_in(told)
        assert (step.is_view, step.is_interactive) == (False, True)


def test_self_describing_events_go_by_their_name_and_structured_ones_by_their_action() -> None:
    read = reads("snowplow", key_events=("checkout",))
    (screen,) = steps_in(read(snowplow_line(event="unstruct", event_name="screen_view")))
    (leaving,) = steps_in(read(snowplow_line(event="unstruct", event_name="application_background")))
    (click,) = steps_in(read(snowplow_line(event="struct", event_name="event", se_action="checkout")))

    assert screen.is_view
    assert leaving.is_end
    assert click.is_key_event


def test_a_transaction_is_an_order_and_no_step_where_a_server_tells_it() -> None:
    for told in both(event="transaction", tr_orderid="o-1", tr_total="12.50"):
        assert (words_in(told), len(steps_in(told))) == (["order"], 1)  # nothing says in which currency
    for told in both(event="transaction", tr_orderid="o-1", tr_total="12.50", tr_currency="EUR"):
        assert [(one.order_id, one.version.amount, one.version.currency) for one in orders_in(told)] == [
            ("o-1", 1_250, "EUR")
        ]
    for told in both(event="transaction", platform="srv"):
        assert (words_in(told), events_in(told)) == (["order"], [])


def test_on_a_phone_device_session_and_version_are_in_contexts() -> None:
    (line,) = steps_in(
        read(
            snowplow_line(
                user_id="", domain_userid="", domain_sessionid="", platform="mob", contexts=_CONTEXTS, event_name="x"
            )
        )
    )
    (told,) = steps_in(
        read(
            changed(
                SNOWPLOW,
                user_id=None,
                domain_userid=None,
                domain_sessionid=None,
                platform="mob",
                contexts_com_snowplowanalytics_snowplow_client_session_1=[{"userId": "phone-1", "sessionId": "s-9"}],
                contexts_com_snowplowanalytics_mobile_application_1=[{"version": "7.1"}],
            )
        )
    )

    assert line == told
    assert (line.user, line.session_id) == (f"{ANONYMOUS_PREFIX}phone-1", "s-9")
    assert line.segments == ("mob", "", "DE", "7.1")


def test_the_device_is_that_of_the_domain_else_of_the_network() -> None:
    for told in both(user_id=None):
        assert told.user == f"{ANONYMOUS_PREFIX}d-1"
    for told in both(user_id=None, domain_userid=None):
        assert told.user == f"{ANONYMOUS_PREFIX}n-1"


def test_without_a_corrected_time_that_of_the_collector_counts() -> None:
    for told in both(derived_tstamp=None):
        assert told.at_ms == NOON_MS + 1_004


def test_broken_contexts_cost_no_event() -> None:
    (step,) = steps_in(read(snowplow_line(contexts='{"data":[{"schema":"x/client_session/y","data":')))

    assert step.session_id == "s-1"


def test_an_event_of_a_crawler_is_a_bots() -> None:
    for told in both(useragent=CRAWLER):
        assert told.is_bot


def test_failed_and_packed_events_are_refused_with_a_word() -> None:
    failed = {"schema": "iglu:com.snowplowanalytics.snowplow.badrows/schema_violations/jsonschema/2-0-0", "data": {}}
    with pytest.raises(Rejected, match=r"a failed event of iglu:com\.snowplowanalytics\.snowplow\.badrows"):
        read(failed)
    with pytest.raises(Rejected, match="a compressed batch of events"):
        read(b"\x28\xb5\x2f\xfd\x04\x00\x11")
    with pytest.raises(Rejected, match=r"needs `\$.event`") as rejected:
        read(snowplow_line(event=""))
    assert rejected.value.reason is Reason.MISSING_FIELD
