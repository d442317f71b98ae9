"""What `engagement inputs check` and `draft` say of messages."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
import tomli

from stream.core.account_changes import Change
from stream.core.events import AccountChange, Login
from stream.core.families.orders.messages import Paid
from stream.core.rejections import LeftOut, Reason
from stream.core.survey_scales import Kind
from stream.core.time import DAY_MS, iso
from stream.inputs.draft import Fields, draft_of, messages_in
from stream.inputs.inspection import COST_OF_ALL_MISPLACED, Inspection
from stream.inputs.mapping.reader import mapping_of, reader_of
from stream.inputs.options import Options
from stream.inputs.registry import reader
from stream.partitioning import partition_of
from tests.inputs.samples import NOON_MS, SEGMENT, changed
from tests.inputs.test_mapping import AT_MS, mapping, message
from tests.native import READERS, SESSIONS, SURVEYS, Message

AFTER_MS = AT_MS + DAY_MS


def looked_at(
    messages: Iterable[object], *, kind: str = SESSIONS, keys: Callable[[str], bytes | None] | None = None
) -> Inspection:
    """What is seen of native messages; with `keys` they lie in a topic of four partitions, by these."""
    seen = Inspection(READERS[kind], not_after_ms=AFTER_MS, partition_of=lambda key: partition_of(key, 4))
    for number, one in enumerate(messages):
        key = keys(one["user_id"]) if keys is not None and isinstance(one, dict) else None
        partition = None if keys is None else number % 4 if key is None else partition_of(key, 4)
        seen.add(Message(one if isinstance(one, bytes) else json.dumps(one).encode(), key=key), partition=partition)
    return seen


def view(user: str, after_ms: int = 0, **fields: Any) -> dict[str, Any]:
    return {"user_id": user, "event_time": AT_MS + after_ms, "type": "page_view", **fields}


def test_events_are_counted_by_kind_with_their_users() -> None:
    seen = looked_at([view("ann"), view("bob"), view("ann", 5_000), {**view("ann"), "type": "end"}])

    assert {kind: (group.count, len(group.users)) for kind, group in seen.kinds.items()} == {
        "view": (3, 2),
        "end of a session": (1, 1),
    }
    assert (seen.messages, seen.events, seen.first_ms, seen.span_ms) == (4, 4, AT_MS, 5_000)
    assert (seen.fields["user_id"].count, seen.fields["session_id"].count) == (4, 0)


def test_what_is_left_out_has_its_reason_and_an_example() -> None:
    seen = looked_at([view("ann"), {**view("ann"), "type": "click"}, b"nonsense", view("ann", 2 * DAY_MS)])

    assert {reason: group.count for reason, group in seen.refused.items()} == dict.fromkeys(
        (Reason.UNKNOWN_VALUE, Reason.NOT_JSON, Reason.FUTURE), 1
    )
    assert "Invalid enum value 'click'" in seen.refused[Reason.UNKNOWN_VALUE].example
    assert '"type": "click"' in seen.refused[Reason.UNKNOWN_VALUE].example
    assert seen.refused[Reason.FUTURE].example.startswith(f"{iso(AT_MS + 2 * DAY_MS)} is after {iso(AFTER_MS)}")
    assert list(seen.findings())[-2:] == [
        "3 can't be used: a worker sends them to the dead letters",
        "more is left out than is used: 3 against 1 events",
    ]


def test_an_id_of_a_third_of_all_events_looks_like_no_person() -> None:
    people = [view(f"u{number}", session_id=f"s{number}") for number in range(40)]
    web = [view("web", number, session_id="s") for number in range(20)]

    assert list(looked_at(people + web).findings()) == []
    assert list(looked_at(people + [view("web", number, session_id="s") for number in range(21)]).findings()) == [
        "the user 'web' has 34% of all events: is it an id of one person?"
    ]
    assert list(looked_at(web).findings()) == []  # too few to say so


def test_session_ids_of_several_users_are_told() -> None:
    one, *more = looked_at([view(user, session_id="1") for user in ("ann", "bob")]).findings()

    assert one.startswith("1 of 1 session ids are not unique: '1' is of 2 users")
    assert more == []
    assert list(looked_at([view("ann", session_id="1"), view("ann", 1, session_id="1")]).findings()) == []
    assert next(looked_at([view("ann")]).findings()).startswith("no step has a session id")


def test_keys_and_partitions_are_looked_at() -> None:
    people = [view(f"u{number}", session_id=str(number)) for number in range(40)]

    by_user = looked_at(people, keys=lambda user: user.encode())
    assert (by_user.keyed_by_user, by_user.misplaced, list(by_user.findings())) == (40, 0, [])

    [otherwise, misplaced, cost] = looked_at(people, keys=lambda user: f"device of {user}".encode()).findings()
    assert otherwise == "40 of 40 events have another key than the user's id: 'device of u0' of the user 'u0'"
    assert misplaced.endswith("of 40 events lie in another partition than their users belong to")

    assert re.fullmatch(r"misplaced events are forwarded: none is lost, and a worker is about \d+% slower", cost)

    [without, misplaced, _] = looked_at(people, keys=lambda user: None).findings()
    assert without == "40 of 40 events have no key: key records by the user's id"

    seen = Inspection(READERS[SESSIONS], not_after_ms=AFTER_MS, partition_of=lambda key: 0)
    seen.add(Message(json.dumps(people[0]).encode(), key=b"u0"), partition=1)
    [misplaced, cost] = seen.findings()
    assert cost.endswith(f"about {COST_OF_ALL_MISPLACED:.0%} slower")
    assert misplaced.endswith("belong to: librdkafka needs partitioner=murmur2_random")


def test_a_wrong_unit_of_time_and_only_anonymous_users_are_told() -> None:
    answers = [
        {
            "anonymous_id": f"d{number}",
            "event_time": "1970-01-20T00:00:00Z",
            "response_id": number,
            "kind": "nps",
            "score": 9,
        }
        for number in range(3)
    ]

    assert list(looked_at(answers, kind=SURVEYS).findings()) == [
        "all users are anonymous: no event names one by `user_id`",
        "the oldest event is of 1970-01-20T00:00:00Z: is the unit of the time wrong?",
    ]
    assert list(looked_at([]).findings()) == ["no event could be read"]


def test_of_a_mapping_it_tells_what_each_field_is_and_what_is_not_mapped() -> None:
    options = mapping()
    seen = Inspection(reader_of(options), mapping=mapping_of(options), not_after_ms=AFTER_MS)
    sent = [
        message("page"),
        message("login", visit=None),
        message("wishlist"),
        message("wishlist"),
        message("page", env="dev"),
    ]
    for one in [*sent, {**message("page"), "at": "yesterday"}]:
        seen.add(Message(json.dumps(one).encode()))

    assert {what: group.count for what, group in seen.left_out.items()} == {LeftOut.UNMAPPED: 2, LeftOut.FILTERED: 1}
    assert seen.unmapped_values == {"wishlist": 2}
    fields = {name: (told.source, told.count, told.of, told.example) for name, told in seen.fields.items()}
    assert fields["user_id"] == ("user.id", 3, 3, "ann")
    assert fields["event_time"] == ("at", 2, 3, iso(AT_MS))
    assert fields["session_id"] == ("visit.id", 2, 2, "v1")
    assert fields["success"] == ("False", 0, 0, "") if "success" in fields else True


def test_of_orders_and_accounts_it_tells_words_and_where_each_field_stands() -> None:
    order = {"order_id": "o-1", "total": "19.90", "currency": "EUR", "coupon": "SPRING"}
    calls = [
        changed(SEGMENT, type="track", event="Order Completed", messageId="m-1", properties=order),
        changed(SEGMENT, type="track", event="Order Refunded", messageId="m-2", properties={**order, "total": 5}),
        changed(SEGMENT, type="track", event="Signed Up", messageId="m-3"),
    ]
    seen = Inspection(reader(format="segment"), not_after_ms=NOON_MS + DAY_MS)
    for one in calls:
        seen.add(Message(json.dumps(one).encode()))

    assert {kind: group.count for kind, group in seen.kinds.items() if "step" not in kind} == {
        "order": 1,
        "refund": 1,
        "account: signed up": 1,
    }
    told = {name: (one.source, one.count, one.example) for name, one in seen.fields.items()}
    assert told["order_id"] == ("properties.order_id", 2, "o-1")
    assert told["amount"] == ("properties.total", 2, "19.9")
    assert told["currency"] == ("properties.currency", 2, "EUR")
    assert "properties.coupon" in seen.unused


def test_a_field_that_is_read_stands_among_no_unused_ones_whatever_shape_its_message_has() -> None:
    seen = Inspection(reader(format="segment"), not_after_ms=NOON_MS + DAY_MS)
    batch = {"batch": [changed(SEGMENT, userId=f"u{number}", messageId=f"m{number}") for number in range(9)]}
    nobody = [changed(SEGMENT, type="identify", traits={"mood": "good"})] * 3  # their fields are told by their word
    for one in (batch, changed(SEGMENT, userId="eve", messageId="m"), *nobody):
        seen.add(Message(json.dumps(one).encode()))

    assert (seen.events, seen.left_out[LeftOut.IDENTITY].count) == (10, 3)
    assert seen.fields["user_id"].source == "batch[].userId"
    unused = set(seen.unused)
    assert not unused & {"userId", "batch[].userId", "timestamp", "batch[].timestamp", "context.traits.plan"}
    assert {"context.ip", "batch[].context.ip", "receivedAt"} <= unused
    assert "traits.mood" not in unused


# -- drafts ------------------------------------------------------------------------------------------------------------

SHOP = [
    {
        "eventName": name,
        "profile": {"customerId": f"c{number % 7}", "email": "a@example.org"},
        "context": {"os": {"name": "iOS"}, "app.version": "1.10", "geo": {"country_code": "DE"}},
        "occurredAt": 1_719_712_800 + number,
        "visit": {"id": f"v{number % 9}"},
        "messageId": f"m{number}",
    }
    for number, name in enumerate(["Page Viewed", "Signed In", "Added to Cart"] * 10)
]


def drafted(messages: Iterable[object]) -> tuple[str, dict[str, Any]]:
    fields = Fields()
    for one in messages_in(messages):
        fields.add(one)
    text = draft_of(fields, topic="shop")
    [table] = tomli.loads(text)["inputs"]
    return text, table


def test_a_draft_is_a_mapping_that_reads_the_messages() -> None:
    text, table = drafted(SHOP)

    assert table == {
        "topic": "shop",
        "format": "mapped",
        "mapping": {
            "user_id": "profile.customerId",
            "event_time": {"path": "occurredAt", "unit": "s"},
            "session_id": "visit.id",
            "event_id": "messageId",
            "event": "eventName",
            "platform": "context.os.name",
            "country": "context.geo.country_code",
            "app_version": 'context."app.version"',
            "events": {"page_view": ["Page Viewed"], "logins": ["Signed In"], "event": "*"},
        },
    }
    assert 'user_id = "profile.customerId"  # in all messages, 7 different, as "c0"' in text
    assert '# others, the most frequent first: "Added to Cart"' in text

    read = reader_of(Options(mapping=table["mapping"]))
    for one in SHOP:
        assert read(Message(msgspec.json.encode(one))) is not None


def test_a_draft_knows_the_short_name_of_a_session() -> None:
    messages = [{"user": "ann", "ts": 1_719_712_800 + number, "sid": f"s{number // 9}"} for number in range(20)]

    assert drafted(messages)[1]["mapping"]["session_id"] == "sid"


GAME = [
    {
        "evt": ("app_open", "login", "purchase", "account_registered")[number % 4],
        "ts": "soon" if number == 0 else 1_719_712_800 + number + 0.25,
        "player": {"uid": 10_000 + number % 7, "device": {"os": "Android", "ver": "3.1"}},
        "sess": f"{number % 7}-{number // 20}",
        "payload": {1: {"ok": number % 8 != 1}, 2: {"tx": f"t{number}", "price": 4.99, "cur": "EUR"}}.get(
            number % 4, {}
        ),
    }
    for number in range(40)
]


def test_a_draft_knows_short_names_and_logins_that_failed() -> None:
    text, table = drafted(GAME)

    assert table["mapping"] == {
        "user_id": "player.uid",
        "event_time": {"path": "ts", "unit": "s"},
        "session_id": "sess",
        "event": "evt",
        "platform": "player.device.os",
        "app_version": "player.device.ver",
        "success": "payload.ok",
        "events": {"logins": ["login"], "event": "*"},
    }
    assert 'event_time = { path = "ts", unit = "s" }  # in all messages, 40 different, as "1719712801.25"' in text
    read = reader_of(Options(mapping=table["mapping"]))
    told: list[Any] = [read(Message(json.dumps(one).encode())) for one in GAME[1:]]
    assert [one.success for one in told if isinstance(one, Login)] == [number % 8 != 1 for number in range(1, 40, 4)]


def test_a_draft_asks_about_orders_and_sign_ups_and_what_it_would_write_is_a_mapping() -> None:
    text, _ = drafted(GAME)
    (order,) = re.findall("^# instead of a step an order, if it is money that is paid: (.*)$", text, re.MULTILINE)
    (sign_up,) = re.findall("^# instead of a step a sign-up: (.*)$", text, re.MULTILINE)
    [table] = tomli.loads(text.replace('event = "*"', f'{order}\n{sign_up}\nevent = "*"'))["inputs"]

    read = reader_of(Options(mapping=table["mapping"]))
    paid, signed_up = (read(Message(json.dumps(GAME[number]).encode())) for number in (2, 3))
    assert isinstance(paid, Paid)
    assert (paid.order_id, paid.version.amount, paid.version.currency) == ("t2", 499, "EUR")
    assert isinstance(signed_up, AccountChange)
    assert signed_up.change is Change.SIGNED_UP
    for shop in (SHOP, [{**one, "evt": "purchase"} for one in SHOP[:1]]):  # of nothing that is paid nothing is asked
        assert "instead of a step" not in drafted(shop)[0]


def test_a_draft_says_what_it_does_not_know() -> None:
    text, table = drafted([{"a": 1, "b": "x y"}, {"a": 2}])

    assert '# user_id = "?"  # no field looks like it: name yours' in text
    assert '# event_time = "?"' in text
    assert table["mapping"] == {"events": {"event": "*"}}


def answered(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "customer_id": number % 7, "ts": AT_MS + number, **fields}


def read_as_drafted(messages: list[dict[str, Any]]) -> list[Any]:
    """What a draft of these messages reads in them."""
    _, table = drafted(messages)
    assert set(table) == {"topic", "format", "mapping"}
    read = reader_of(Options(mapping=table["mapping"]))
    return [read(Message(json.dumps(one).encode())) for one in messages]


@pytest.mark.parametrize(
    ("field", "scores", "kind", "why"),
    [
        ("nps", [0, 9, 10], Kind.NPS, "as its field is called; the scores are 0 to 10"),
        ("csat_score", ["4", "5", "1"], Kind.CSAT, "as its field is called; the scores are 1 to 5"),
        ("score", [3, 8, 10], Kind.NPS, "a guess, for the scores are 3 to 10: it may be csat, nps or ces"),
        ("score", [1, 4, 5], Kind.CSAT, "a guess, for the scores are 1 to 5: it may be csat, nps or ces"),
    ],
)
def test_a_file_with_a_column_of_scores_is_drafted_as_a_survey(
    field: str, scores: list[Any], kind: Kind, why: str
) -> None:
    messages = [answered(number, **{field: scores[number % 3]}, comment="Fine") for number in range(30)]

    assert why in drafted(messages)[0]
    told = read_as_drafted(messages)
    assert [one.score for one in told] == [int(scores[number % 3]) for number in range(30)]
    assert {one.kind for one in told} == {kind}
    assert [one.response_id for one in told] == [f"r{number}" for number in range(30)]


def test_a_draft_of_several_surveys_goes_by_the_field_that_tells_which_one_it_is() -> None:
    messages = [
        answered(number, type=("NPS survey", "csat", "other")[number % 3], score=number % 5 + 1) for number in range(30)
    ]

    told = read_as_drafted(messages)
    assert [getattr(one, "kind", None) for one in told[:3]] == [Kind.NPS, Kind.CSAT, None]


def test_few_scores_among_many_events_make_no_survey_and_a_count_is_no_score() -> None:
    seldom = [{**SHOP[0], "rating": 4}, *SHOP, *SHOP]
    counts = [answered(number, score=number * 1_000) for number in range(30)]

    for messages in (seldom, counts):
        assert "score" not in drafted(messages)[1]["mapping"]


def test_times_are_recognised_by_their_values_and_a_zone_is_called_a_guess() -> None:
    def time_of(*values: object) -> Any:
        return drafted([{"user": "ann", "ts": value} for value in values])[1]["mapping"].get("event_time")

    assert time_of("2024-06-30T02:00:00Z") == "ts"
    assert time_of("2024-06-30 02:00:00") == {"path": "ts", "zone": "UTC"}
    assert [time_of(AT_MS * times // 1_000) for times in (1, 1_000, 10**6, 10**9)] == [
        {"path": "ts", "unit": unit} for unit in ("s", "ms", "us", "ns")
    ]
    assert time_of(str(AT_MS)) == {"path": "ts", "unit": "ms"}
    assert time_of("soon") is None
    assert time_of(5) is None
    assert time_of(*["2024-06-30T02:00:00Z"] * 19, "soon") == "ts"
    assert "a guess: say in which zone it is" in drafted([{"user": "ann", "ts": "2024-06-30 02:00"}])[0]


def test_a_list_of_messages_is_looked_at_one_by_one() -> None:
    assert drafted([SHOP[:3], 5, "x", SHOP[3:]]) == drafted(SHOP)


def test_messages_of_a_registry_and_changes_of_a_table_are_recognised_and_what_to_set_is_said() -> None:
    change = json.dumps({"op": "c", "after": view("ann"), "source": {"table": "views"}}).encode()
    framed = [b"\0\0\0\0\1avro", b"\0\0\0\0\1avro"]

    told = list(looked_at([*framed, change, view("ann")]).findings())
    of_registry = '2 of 4 messages look like those that name a schema of a registry: set encoding = "registry"'
    assert told[0] == f"{of_registry} for the input, and url in the section [registry]"
    of_table = '1 of 4 messages look like changes of a table by Debezium: set envelope = "debezium"'
    assert told[1] == f"{of_table} for the input"

    seen = Inspection(READERS[SESSIONS], not_after_ms=AFTER_MS, row_of=lambda record: record, decoded=True)
    for message_ in (*framed, change):
        seen.add(Message(message_))
    assert list(seen.findings()) == ["no event could be read"]
