"""The contract as documents: what its JSON Schemas allow is read, what they forbid is not; AsyncAPI names all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from stream.core.families.registry import message_kinds
from stream.core.offline import Offline
from stream.core.rejections import Rejected
from stream.core.rules import Rules
from stream.export.contract import asyncapi, json_schemas
from stream.settings import load
from stream.simulate.simulator import SimulatorSettings, simulate
from tests.documents import FORMATS, PRIVACY
from tests.integration.deployment import LOAD_STARTS_MS
from tests.native import READERS, Message
from tests.test_cli import engagement

SCHEMAS = json_schemas()
ADA: dict[str, Any] = {"user_id": "ada", "event_time": "2026-11-21T10:00:00Z"}
VIEW, NPS = {**ADA, "type": "page_view"}, {**ADA, "response_id": 1, "kind": "nps", "score": 9}
USED, REVIEW = {**ADA, "feature": "search"}, {**ADA, "review_id": "r-1", "stars": 4}
LIKE = {**ADA, "type": "like", "network": "mastodon", "post_id": 7}
AUDIENCE = {**ADA, "type": "audience", "network": "mastodon", "followers": 500}
OPENED = {**ADA, "type": "opened", "conversation_id": "c-1", "channel": "chat"}
STEP, CANCELLED = {**ADA, "type": "onboarding_step", "step": "invite"}, {**ADA, "type": "cancelled"}
PAID = {**ADA, "type": "paid", "order_id": "o-1", "amount": "19.90", "currency": "EUR"}
SUMMARY = {
    **ADA,
    "type": "summary",
    "session_id": "s",
    "started_at": 1795255200,
    "ended_at": 1795255800.5,
    "page_views": 4,
}


def fits(kind: str, message: object) -> bool:
    """Whether a message is one that the schema of its kind allows."""
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return bool(jsonschema.Draft202012Validator(SCHEMAS[kind], format_checker=checker).is_valid(message))


def is_read(kind: str, message: object) -> bool:
    """Whether a message can be used."""
    try:
        READERS[kind](Message(json.dumps(message).encode()))
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("kind", SCHEMAS)
def test_each_schema_is_one_and_says_what_each_field_means(kind: str) -> None:
    schema = SCHEMAS[kind]

    jsonschema.Draft202012Validator.check_schema(schema)
    assert all(told.get("description") for told in schema["properties"].values())
    fields = {field.encode_name for field in msgspec.structs.fields(message_kinds()[kind].message_type)}
    assert set(schema["properties"]) == fields
    assert message_kinds()[kind].fields.keys() <= fields


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sessions", VIEW),
        ("sessions", {"anonymous_id": 7, "event_time": 1795255200, "type": "end", "unknown": {"any": "thing"}}),
        ("sessions", {**VIEW, "event_time": 1795255200000.5, "platform": 3, "engaged_ms": 1.5, "key_event": None}),
        ("sessions", SUMMARY),
        ("logins", {**ADA, "user_id": None, "anonymous_id": "d-1"}),
        ("logins", {**ADA, "event_time": 1795255200000000, "success": None}),
        ("surveys", NPS),
        ("surveys", {**ADA, "response_id": "r", "kind": "csat", "status": "shown"}),
        ("accounts", STEP),
        ("accounts", {**STEP, "step": 3}),
        ("accounts", CANCELLED),
        ("accounts", {**CANCELLED, "effective_at": "2026-12-21T10:00:00Z", "plan": 7}),
        ("accounts", {**CANCELLED, "effective_at": None}),
        ("orders", PAID),
        ("orders", {**PAID, "order_id": 7, "amount": 19.9, "margin": 0.25, "transaction_type": ["any"]}),
        ("orders", {**PAID, "amount": 0, "margin": "0.25", "refund_id": None}),
        ("orders", {**PAID, "amount": " +1.5e1 ", "margin": None}),
        ("orders", {**PAID, "type": "refunded", "refund_id": 1}),
        ("features", USED),
        ("features", {**USED, "type": "used", "feature": 7, "interactive": False}),
        ("reviews", REVIEW),
        ("reviews", {**REVIEW, "stars": 5.0, "status": "published"}),
        ("reviews", {**REVIEW, "stars": None, "status": "removed"}),
        ("social", LIKE),
        ("social", {**LIKE, "type": "unmention", "interaction_id": "m-1", "sentiment": "negative"}),
        ("social", AUDIENCE),
        ("social", {**AUDIENCE, "followers": None, "reach": 0}),
        ("contacts", OPENED),
        ("contacts", {**OPENED, "channel": ["any"], "outbound": True}),
        ("contacts", {**OPENED, "type": "deleted", "conversation_id": 7, "merged_into": "c-2"}),
    ],
)
def test_what_a_schema_allows_is_read(kind: str, message: dict[str, Any]) -> None:
    assert fits(kind, message)
    assert is_read(kind, message)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sessions", {**ADA, "type": "click"}),
        ("sessions", ADA),
        ("sessions", {"event_time": 1795255200, "type": "page_view"}),
        ("sessions", {**VIEW, "event_time": 17952552}),
        ("sessions", {**VIEW, "event_time": None}),
        ("sessions", {**VIEW, "engaged_ms": -5}),
        ("sessions", {**VIEW, "user_id": ["ada"]}),
        ("sessions", {**VIEW, "user_id": None}),
        ("sessions", {**VIEW, "user_id": "", "anonymous_id": None}),
        ("sessions", {name: value for name, value in SUMMARY.items() if name != "page_views"}),
        ("sessions", [VIEW]),
        ("logins", {**ADA, "success": "yes"}),
        ("surveys", {**NPS, "kind": "csi"}),
        ("surveys", {name: value for name, value in NPS.items() if name != "response_id"}),
        ("accounts", ADA),
        ("accounts", {**ADA, "type": "joined"}),
        ("accounts", {**ADA, "type": "onboarding_step"}),
        ("accounts", {**CANCELLED, "effective_at": 17952552}),
        ("orders", {**PAID, "type": "shipped"}),
        ("orders", {name: value for name, value in PAID.items() if name != "currency"}),
        ("orders", {**PAID, "order_id": None}),
        ("orders", {**PAID, "amount": "19,90"}),
        ("orders", {**PAID, "amount": -1}),
        ("orders", {**PAID, "amount": "-1"}),
        ("orders", {**PAID, "amount": "NaN"}),
        ("orders", {**PAID, "amount": None}),
        ("orders", {**PAID, "currency": 978}),
        ("orders", {**PAID, "margin": -0.1}),
        ("features", {**USED, "feature": None}),
        ("features", {**USED, "type": "seen"}),
        ("reviews", {name: value for name, value in REVIEW.items() if name != "review_id"}),
        ("reviews", {**REVIEW, "status": "hidden"}),
        ("social", {**LIKE, "type": "dislike"}),
        ("social", {**LIKE, "network": None}),
        ("social", {**LIKE, "type": "mention", "sentiment": "glad"}),
        ("social", {**AUDIENCE, "followers": -1}),
        ("contacts", {**OPENED, "type": "answered"}),
        ("contacts", {name: value for name, value in OPENED.items() if name != "conversation_id"}),
    ],
)
def test_what_a_schema_forbids_is_refused(kind: str, message: object) -> None:
    assert not fits(kind, message)
    assert not is_read(kind, message)


def test_all_that_a_population_sends_fits() -> None:
    world = SimulatorSettings(users=100, customers=True, further_topics=True)
    counted = dict.fromkeys(SCHEMAS, 0)
    for event in simulate(world, start_ms=LOAD_STARTS_MS, end_ms=LOAD_STARTS_MS + 3 * 86_400_000):
        message = json.loads(event.value)
        if is_read(event.topic, message):
            assert fits(event.topic, message), message
            counted[event.topic] += 1
    assert counted.pop("privacy") == 0  # nobody of a population asks to be erased
    assert min(counted.values()) > 0


def test_the_examples_are_those_of_the_page_on_formats_and_of_the_page_on_privacy() -> None:
    tables = (page.read_text().partition("| topic | example |")[2].partition("\n\n")[0] for page in (FORMATS, PRIVACY))
    written = [json.loads(code) for table in tables for code in re.findall(r"`(\{.*?\})`", table)]

    assert written == [example for kind in message_kinds().values() for example in kind.examples]


def test_each_example_counts() -> None:
    offline = Offline(Rules(), READERS, at_ms=1_795_300_200_000)  # on the evening of their day
    examples = {name: kind.examples for name, kind in message_kinds().items()}
    lines = [{"topic": kind, **example} for kind, told in examples.items() for example in told]

    assert list(offline.apply(json.dumps(line).encode() for line in lines)) == []
    computed = offline.computed()
    assert computed.events["applied"] == len(lines)
    numbers = {
        (name, *labels.values()): value for name, labels, value in computed.live if labels.get("window", "7d") == "7d"
    }
    assert numbers["engagement_sessions", "7d"] == 2
    assert numbers["engagement_logins", "7d"] == 1
    assert numbers["engagement_nps_answers", "7d", "promoter"] == 1
    assert numbers["engagement_subscribers", "active"] == 1
    assert numbers["engagement_revenue", "7d", "EUR"] == 14.9


def test_asyncapi_has_the_topics_whose_messages_are_ours(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    other = '[[inputs]]\ntopic = "shop.segment"\nformat = "segment"\n'
    ours = '[[inputs]]\ntopic = "web.clicks"\nkind = "sessions"\nname = "web"\n'
    rows = '[[inputs]]\ntopic = "shop.rows"\nkind = "logins"\nenvelope = "debezium"\n'
    file.write_text(other + ours + rows)

    document = asyncapi(load(file, {}), version="1.2.3")

    assert document["asyncapi"] == "3.0.0"
    assert {name: channel["address"] for name, channel in document["channels"].items()} == {"web": "web.clicks"}
    assert document["operations"]["receive-web"]["channel"] == {"$ref": "#/channels/web"}


def test_every_reference_of_asyncapi_leads_somewhere_and_its_examples_fit() -> None:
    document = asyncapi(load(None, {}), version="1.2.3")

    references = re.findall(r'"\$ref": "#/([^"]*)"', json.dumps(document))
    assert references
    for reference in references:
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
        assert found
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft7Validator.check_schema(schema)
    for kind, message in document["components"]["messages"].items():
        assert message["payload"] == {"$ref": f"#/components/schemas/{kind}"}
        assert schemas[kind]["properties"].keys() == SCHEMAS[kind]["properties"].keys()
        assert message["examples"]
        assert all(fits(kind, example["payload"]) for example in message["examples"])


def test_the_command_says_when_no_topic_is_of_our_format(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[[inputs]]\ntopic = "shop.segment"\nformat = "segment"\n')

    printed = engagement("schema", "--settings", str(file))

    assert json.loads(printed.stdout)["channels"] == {}
    assert printed.stderr.startswith("engagement: the messages of all inputs are of other formats")


def test_the_command_prints_them() -> None:
    printed = engagement("schema", "surveys")
    assert json.loads(printed.stdout) == json.loads(json.dumps(SCHEMAS["surveys"]))
    document = engagement("schema")
    assert json.loads(document.stdout)["channels"].keys() == {"sessions", "logins", "surveys"}
    assert document.stderr == ""

    refused = engagement("schema", "weather")
    assert refused.exit_code == 2
    assert (
        "'weather' is none of sessions, logins, surveys, accounts, orders, reviews, features, social, contacts"
        in refused.stderr
    )
