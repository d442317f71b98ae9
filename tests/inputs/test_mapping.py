"""A mapping says what is where in messages of any shape; what comes of it is what native messages would tell."""

import json
from typing import Any

import msgspec
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from stream.core.account_changes import Change
from stream.core.events import AccountChange, Answer, Event, Login, MultipleEvents, Step, Summary
from stream.core.families.orders.messages import Paid
from stream.core.messages import Reader
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.inputs.mapping.reader import mapping_of, reader_of, thorough_reader_of
from stream.inputs.options import Options
from stream.inputs.registry import MAPPED, reader
from tests.native import Message, decode_login, decode_session, decode_survey

AT_MS = 1_719_712_800_123

SHOP = """
user_id = "user.id"
anonymous_id = "device"
event_time = "at"
session_id = "visit.id"
event_id = "uid"
country = { path = "geo.country", default = "DE" }
platform = { path = "os", values = { iOS = "app", Android = "app", "*" = "web" } }
event = "name"
unless = [{ path = "user.internal" }, { path = "env", is = ["test", "dev"] }]

[events]
page_view = ["page", "view"]
screen_view = { is = "screen", where = [{ path = "fg", is = true }] }
event = { is = "buy", key_event = true, engaged_ms = "ms" }
logins = [{ is = "login" }, { is = "login_failed", success = false }]
nps = { is = "survey", response_id = "answer.id", score = ["answer.nps", "answer.value"] }
summary = { is = "visit", started_at = "from", ended_at = "to", page_views = "pages" }
"""


def mapping(toml: str = SHOP, **options: Any) -> Options:
    return Options(mapping=tomli.loads(toml), **options)


def read(message: object, options: Options | None = None, **record: Any) -> Event | MultipleEvents:
    """What both ways read of a message: they must be one."""
    options = options or mapping()
    sent = Message(message if isinstance(message, bytes) else json.dumps(message).encode(), **record)
    quick = told_by(reader_of(options), sent)
    assert quick == told_by(thorough_reader_of(mapping_of(options)), sent)
    if isinstance(quick, Rejected):
        raise quick
    return quick


def told_by(read_it: Reader, record: Message) -> "Event | MultipleEvents | Same":
    try:
        return read_it(record)
    except Rejected as rejection:
        return Same(rejection.reason, str(rejection))


class Same(Rejected):
    """A rejection that can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and (self.reason, str(self)) == (other.reason, str(other))

    __hash__ = Rejected.__hash__


def message(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "user": {"id": "ann"}, "at": AT_MS, "uid": "e1", "visit": {"id": "v1"}, "os": "iOS", **fields}


def native(**fields: Any) -> bytes:
    told = {"event_time": AT_MS, "user_id": "ann", "event_id": "e1", "country": "DE", "platform": "app", **fields}
    return json.dumps(told).encode()


def test_each_event_is_the_one_that_a_native_message_tells() -> None:
    assert read(message("view")) == decode_session(native(type="page_view", session_id="v1"))
    assert read(message("screen", fg=True)) == decode_session(native(type="screen_view", session_id="v1"))
    assert read(message("buy", ms=1_500)) == decode_session(
        native(type="event", session_id="v1", key_event=True, engaged_ms=1_500)
    )
    assert read(message("login")) == decode_login(native())
    assert read(message("login_failed")) == decode_login(native(success=False))
    assert read(message("survey", answer={"id": "r1", "nps": 9})) == decode_survey(
        native(kind="nps", response_id="r1", score=9)
    )
    assert read(message("visit", **{"from": AT_MS - 60_000, "to": AT_MS, "pages": 3})) == decode_session(
        native(type="summary", session_id="v1", started_at=AT_MS - 60_000, ended_at=AT_MS, page_views=3)
    )


POSTHOG_SHOP = """
user_id = "distinct_id"
event_time = "timestamp"
event = "event"

[events]
signed_up = "user signed up"
subscribed = { is = "plan bought", plan = "properties.tier" }
cancelled = { is = "plan cancelled", effective_at = "properties.paid_until" }

[events.paid]
is = "purchase"
order_id = "properties.order"
amount = ["properties.total", "properties.revenue"]
currency = { path = "properties.currency", default = "EUR" }

[events.refunded]
is = "refund"
order_id = "properties.order"
refund_id = "uuid"
amount = "properties.total"
currency = { path = "properties.currency", default = "EUR" }
"""


@pytest.mark.parametrize("amount", [12.34, "12.34"])
def test_orders_and_accounts_are_told_by_whatever_the_producer_calls_them(amount: object) -> None:
    def told(event: str, **properties: Any) -> Event | MultipleEvents:
        sent = {"event": event, "distinct_id": "ann", "timestamp": AT_MS, "uuid": "u1", "properties": properties}
        return read(sent, mapping(POSTHOG_SHOP))

    paid, refund = told("purchase", order=7, revenue=amount), told("refund", order="7", total=1, currency="JPY")
    cancelled = told("plan cancelled", paid_until=AT_MS + 60_000)

    assert isinstance(paid, Paid)
    assert isinstance(refund, Paid)
    assert isinstance(cancelled, AccountChange)
    assert (paid.order_id, paid.refund_id, paid.version.amount, paid.version.currency) == ("7", None, 1_234, "EUR")
    assert (refund.order_id, refund.refund_id, refund.version.amount, refund.version.currency) == ("7", "u1", 1, "JPY")
    assert (cancelled.change, cancelled.effective_ms) == (Change.CANCELLED, AT_MS + 60_000)
    with pytest.raises(Rejected, match="EUR has 2 decimals, not more"):
        told("purchase", order=7, revenue="12.345")


def test_numbers_and_times_may_be_texts_and_a_number_an_id() -> None:
    told = read({**message("buy", ms="1500"), "at": "2024-06-30T02:00:00.123Z", "user": {"id": 42}})

    assert isinstance(told, Step)
    assert (told.user, told.at_ms, told.engaged_ms) == ("42", AT_MS, 1_500)
    assert read(message("survey", answer={"id": 7, "value": "10"})) == read(
        message("survey", answer={"id": "7", "nps": 10})
    )


def test_the_first_of_several_places_that_tells_something_counts() -> None:
    nps = read(message("survey", answer={"id": "r1", "nps": None, "value": 3}))

    assert isinstance(nps, Answer)
    assert nps.score == 3


def test_null_blank_and_missing_tell_nothing_so_the_default_holds() -> None:
    plain = read(message("page", geo={"country": "DE"}))

    for geo in ({}, {"country": None}, {"country": " "}, None):
        assert read(message("page", geo=geo)) == plain
    assert read(message("page", geo={"country": "AT"})) != plain
    assert read({**message("page"), "user": None, "device": "d1"}) == read(
        {**message("page"), "user": {"id": "null"}, "device": "d1"}
    )


def test_values_are_renamed_and_a_star_is_any_other() -> None:
    def platform(os: object) -> object:
        told = read({**message("page"), "os": os})
        assert isinstance(told, Step)
        return told.segments[0]

    assert [platform(os) for os in ("iOS", "Android", "Windows", 7)] == ["app", "app", "web", "web"]


@pytest.mark.parametrize("told", [{"env": "test"}, {"user": {"id": "ann", "internal": True}}])
def test_what_the_filters_keep_out_is_counted_as_that(told: dict[str, Any]) -> None:
    assert read({**message("page"), **told}) == MultipleEvents((), (), (LeftOut.FILTERED,))


def test_what_is_no_event_of_the_mapping_is_counted_as_that() -> None:
    for other in (message("wishlist"), message("screen", fg=False), message("screen"), {"a": 1}):
        assert read(other) == MultipleEvents((), (), (LeftOut.UNMAPPED,))
    assert reader_of(mapping())(Message(None)) == MultipleEvents((), (), (LeftOut.EMPTY,))


def test_a_star_is_every_other_event_and_the_first_that_fits_counts() -> None:
    options = mapping(
        'user_id = "u"\nevent_time = "t"\nevent = "n"\n'
        '[events]\npage_view = { is = "*", where = [{ path = "v" }] }\nlogins = "l"\nevent = "*"'
    )

    def kind(**fields: Any) -> tuple[type, bool]:
        told = read({"u": "ann", "t": AT_MS, **fields}, options)
        return type(told), isinstance(told, Step) and told.is_view

    assert kind(n="x", v=1) == (Step, True)
    assert kind(n="l", v=1) == (Step, True)
    assert kind(n="l") == (Login, False)
    assert kind(n="x") == (Step, False)
    assert kind() == (Step, False)


def test_a_field_may_say_which_event_of_a_kind_it_is() -> None:
    options = mapping(
        'user_id = "u"\nevent_time = "t"\n[events.surveys]\nresponse_id = "id"\nscore = "s"\n'
        'kind = { path = "k", values = { "How likely" = "nps" } }\nwhere = [{ path = "k" }]'
    )

    nps = read({"u": "ann", "t": AT_MS, "id": 1, "s": 9, "k": "How likely"}, options)
    assert nps == decode_survey(
        json.dumps({"user_id": "ann", "event_time": AT_MS, "kind": "nps", "response_id": 1, "score": 9}).encode()
    )
    with pytest.raises(Rejected, match=r"Invalid enum value 'xyz' - at `\$.kind` \(by the mapping kind is k\)"):
        read({"u": "ann", "t": AT_MS, "id": 1, "s": 9, "k": "xyz"}, options)


def test_the_scores_of_a_cxi_may_lie_anywhere() -> None:
    options = mapping(
        'user_id = "u"\nevent_time = "t"\n[events.cxi]\nresponse_id = "id"\n'
        '[events.cxi.scores]\neffort = "q[0].score"\nempathy = "q[1].score"\nunderstanding = "q[-1].score"\n'
        'efficiency = { jmespath = "max(q[].score)" }'
    )

    cxi = read({"u": "ann", "t": AT_MS, "id": 1, "q": [{"score": 2}, {"score": 3}, {"score": 5}]}, options)
    assert isinstance(cxi, Answer)
    assert cxi.cxi_scores == (2, 3, 5, 5)


def test_a_message_may_hold_many_events_and_a_bad_one_costs_only_itself() -> None:
    options = mapping(
        'each = "batch"\nuser_id = "$.user.id"\nevent_time = "t"\nevent = "n"\nunless = [{ path = "test" }]\n'
        '[events]\npage_view = "page"'
    )
    events = [
        {"n": "page", "t": AT_MS},
        {"n": "page", "t": "yesterday"},
        {"n": "click", "t": AT_MS},
        {"n": "page", "t": AT_MS + 1},
        {"n": "page", "t": AT_MS, "test": True},
        "page",
    ]

    told = read({"user": {"id": "ann"}, "batch": events}, options)
    assert isinstance(told, MultipleEvents)
    assert [(place, event.user, event.at_ms) for place, event in told.events] == [
        (0, "ann", AT_MS),
        (3, "ann", AT_MS + 1),
    ]
    [bad] = told.rejections
    assert (bad.event_index, bad.reason) == (1, Reason.BAD_TIME)
    assert bad.detail.startswith("at `batch[1]`: 'yesterday' at `t` is no ISO 8601 time")
    assert told.left_out == (LeftOut.UNMAPPED, LeftOut.FILTERED, LeftOut.UNMAPPED)

    good = read({"user": {"id": "ann"}, "batch": [events[0], events[2]]}, options)
    assert isinstance(good, MultipleEvents)
    assert (len(good.events), good.left_out) == (1, (LeftOut.UNMAPPED,))
    nothings: list[Any] = [[], None]
    for none in nothings:
        assert read({"user": {"id": "ann"}, "batch": none}, options) == MultipleEvents((), (), (LeftOut.EMPTY,))
    with pytest.raises(Rejected, match="expected a list at `batch`, got 7"):
        read({"batch": 7}, options)


def test_a_message_that_is_a_list_is_read_with_each_alone() -> None:
    fields = 'user_id = "u"\nevent_time = "t"\nevents.page_view = "*"\n'
    events = [{"u": "ann", "t": AT_MS}, {"u": "bob", "t": AT_MS}]

    told = read(events, mapping(f'each = "$"\n{fields}'))
    assert isinstance(told, MultipleEvents)
    assert [event.user for _, event in told.events] == ["ann", "bob"]
    with pytest.raises(Rejected, match="expected `object`, got `array`: see `each`"):
        read(events, mapping(fields))


def test_what_the_record_carries_can_be_mapped() -> None:
    options = mapping(
        'user_id = { record = "key" }\nevent_time = { record = "timestamp" }\nevent = { header = "type" }\n'
        '[events]\npage_view = "page"'
    )

    told = read({}, options, key=b"ann", timestamp=AT_MS, headers=(("type", b"page"),))
    assert isinstance(told, Step)
    assert (told.user, told.at_ms) == ("ann", AT_MS)
    assert read({}, options, key=b"ann", timestamp=AT_MS) == MultipleEvents((), (), (LeftOut.UNMAPPED,))


def test_jmespath_reaches_what_a_path_does_not() -> None:
    options = mapping(
        'user_id = { jmespath = "ids[?type==\'customer\'].value | [0]" }\nevent_time = "t"\n'
        "where = [{ jmespath = \"contains(tags, 'live') && n > `1`\" }]\n"
        "events.page_view = '*'"
    )
    ids = [{"type": "device", "value": "d1"}, {"type": "customer", "value": "ann"}]

    told = read({"ids": ids, "t": AT_MS, "tags": ["live"], "n": 2}, options)
    assert isinstance(told, Step)
    assert told.user == "ann"
    assert read({"ids": ids, "t": AT_MS, "tags": ["live"], "n": 1}, options) == MultipleEvents(
        (), (), (LeftOut.FILTERED,)
    )
    with pytest.raises(Rejected, match=r"jmespath .* of where.*contains"):
        read({"ids": ids, "t": AT_MS, "tags": None, "n": 2}, options)


@pytest.mark.parametrize(
    ("source", "sent", "at_ms"),
    [
        ('{ path = "t", unit = "s" }', 1_719_712_800, 1_719_712_800_000),
        ('{ path = "t", unit = "s" }', "1719712800.123", AT_MS),
        ('{ path = "t", unit = "s" }', 1_000, 1_000_000),  # in 1970, which digits alone don't tell
        ('{ path = "t", unit = "us" }', AT_MS * 1_000 + 999, AT_MS),
        ('{ path = "t", unit = "ns" }', AT_MS * 1_000_000, AT_MS),
        ('"t"', AT_MS * 1_000, AT_MS),
        ('"t"', "1719712800123", AT_MS),
        ('"t"', "2024-06-30T04:00:00.1239999+02:00", AT_MS),  # cut, not rounded
        ('{ path = "t", zone = "Europe/Berlin" }', "2024-06-30 04:00:00.123", AT_MS),
        ('{ path = "t", zone = "Europe/Berlin" }', "2024-06-30T02:00:00.123Z", AT_MS),  # it tells its own
        ('{ path = "t", zone = "Europe/Berlin" }', "2024-10-27 02:30:00", 1_729_989_000_000),  # of two the first
        ('{ path = "t", zone = "Europe/Berlin" }', "2024-06-30", 1_719_698_400_000),
        ('{ path = "t", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }', "30.06.2024 04:00", 1_719_712_800_000),
        ('{ path = "t", format = "%d/%b/%Y:%H:%M:%S %z" }', "30/Jun/2024:04:00:00 +0200", 1_719_712_800_000),
        ('[{ path = "none" }, { path = "t", unit = "ms" }]', AT_MS, AT_MS),
    ],
)
def test_times_are_read_as_the_mapping_says(source: str, sent: object, at_ms: int) -> None:
    told = read({"u": "ann", "t": sent}, mapping(f'user_id = "u"\nevent_time = {source}\nevents.page_view = "*"'))

    assert isinstance(told, Step)
    assert told.at_ms == at_ms


def test_other_times_are_of_the_kind_of_event_time_if_they_name_none() -> None:
    options = mapping(
        'user_id = "u"\nevent_time = { path = "t", unit = "s" }\n'
        '[events.summary]\nsession_id = "s"\nstarted_at = "t"\npage_views = "p"\n'
        'ended_at = { path = "end", format = "%Y%m%d", zone = "UTC" }'
    )

    told = read({"u": "ann", "t": 1_719_705_600, "end": "20240701", "s": "v1", "p": 2}, options)
    assert isinstance(told, Summary)
    assert (told.started_ms, told.at_ms) == (1_719_705_600_000, 1_719_792_000_000)


def test_zone_and_time_of_the_input_hold_where_the_mapping_tells_none() -> None:
    toml = 'user_id = "u"\nevent_time = "t"\nevents.page_view = "*"'

    told = read({"u": "ann", "t": "2024-06-30 04:00:00.123"}, mapping(toml, zone="Europe/Berlin"))
    assert isinstance(told, Step)
    assert told.at_ms == AT_MS
    assert read({"u": "ann"}, mapping(toml, time="record"), timestamp=AT_MS) == told
    with pytest.raises(Rejected, match=r"needs `\$.event_time` \(by the mapping event_time is t\)"):
        read({"u": "ann"}, mapping(toml))


@pytest.mark.parametrize(
    ("sent", "reason", "told"),
    [
        ({**message("page"), "at": "2024-06-30 02:00"}, Reason.BAD_TIME, "with an offset: say in which zone it is"),
        ({**message("page"), "at": 12345}, Reason.BAD_TIME, "12345 at `at` has not 10 (s), 13 (ms) or 16 (us) digits"),
        ({**message("page"), "at": True}, Reason.BAD_TIME, "True at `at` is no time"),
        ({**message("page"), "at": None}, Reason.MISSING_FIELD, "(by the mapping event_time is at)"),
        ({**message("page"), "user": {}}, Reason.MISSING_FIELD, "user_id is user.id, anonymous_id is device)"),
        ({**message("page"), "user": {"id": "null"}}, Reason.BAD_USER, "'null' at `$.user_id` is a placeholder"),
        ({**message("page"), "user": {"id": True}}, Reason.WRONG_TYPE, "got `bool` - at `$.user_id`"),
        (message("buy", ms="long"), Reason.WRONG_TYPE, "at `$.engaged_ms` (by the mapping engaged_ms is ms)"),
        (message("buy", ms=-5), Reason.OUT_OF_RANGE, "at `$.engaged_ms` (by the mapping engaged_ms is ms)"),
        (message("survey", answer={"nps": 9}), Reason.MISSING_FIELD, "missing required field `response_id`"),
        (
            message("survey", answer={"id": 1, "nps": 11}),
            Reason.OUT_OF_RANGE,
            "is outside its scale 0-10 (by the mapping score is answer.nps or answer.value)",
        ),
        (b'{"name":', Reason.NOT_JSON, "Input data was truncated"),
        (b'"page"', Reason.WRONG_TYPE, "expected `object`, got 'page'"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_field_of_theirs(sent: object, reason: Reason, told: str) -> None:
    with pytest.raises(Rejected) as raised:
        read(sent)

    assert raised.value.reason is reason
    assert told in str(raised.value)


def test_text_that_is_cut_costs_no_event_but_where_it_is_an_id() -> None:
    cut = json.dumps(message("page", title="x")).encode().replace(b'"x"', b'"\\ud83d"')
    assert read(cut) == read(message("page"))

    with pytest.raises(Rejected, match="is cut in the middle of a character") as raised:
        read(json.dumps(message("page")).encode().replace(b'"ann"', b'"a\xff"'))
    assert raised.value.reason is Reason.BAD_USER


def test_the_registry_knows_the_format() -> None:
    assert reader(format=MAPPED, options=mapping())(Message(json.dumps(message("login")).encode())) == read(
        message("login")
    )


_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 20),
    st.sampled_from(
        [AT_MS, AT_MS // 1_000, "2024-06-30T02:00:00Z", "2024-06-30T02:00:00.9999999Z", 1e300, "", " ", "7"]
    ),
    st.sampled_from(
        ["page", "view", "screen", "buy", "login", "login_failed", "survey", "visit", "ann", "null", "true"]
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
_VALUE = st.recursive(
    _ANY, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "nps", "country"]), inner)
)
_MESSAGE = st.fixed_dictionaries(
    {"name": _VALUE},
    optional=dict.fromkeys(
        ("user", "device", "at", "visit", "uid", "geo", "os", "env", "fg", "ms", "answer", "from", "to", "pages"),
        _VALUE,
    ),
)


@given(_MESSAGE)
def test_both_ways_come_to_the_same_whatever_a_message_holds(sent: dict[str, Any]) -> None:
    for told in (sent, {**message("page"), **sent}, {**message("survey"), **sent, "name": "survey"}):
        record = Message(msgspec.json.encode(told))
        assert told_by(_QUICK, record) == told_by(_THOROUGH, record)


_QUICK, _THOROUGH = reader_of(mapping()), thorough_reader_of(mapping_of(mapping()))
