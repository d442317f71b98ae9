"""What the commands `engagement privacy` say without Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.commands.privacy import Held, _lines, _names
from stream.dead_letters.reader import DeadLetter, KafkaPosition
from stream.settings import load
from tests.test_cli import engagement

SETTINGS = load(None, {}, {"app_id": "shop"})
NOTHING = Held("ada", 1, 0, (), 0, 2, True, False, (), "2026-11-21T10:00:00Z")


@pytest.mark.parametrize("command", ["erase", "anonymise"])
def test_nobody_can_be_erased_where_no_worker_would_read_it(command: str) -> None:
    done = engagement("privacy", command, "ada", "--yes")

    assert done.exit_code == 2
    assert "nobody can be erased: set topics.privacy" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["erase", ""], "'' is no USER: tells no user"),
        (["erase", "null", "--yes"], "'null' is no USER: tells no user: 'null' at `$.user_id` is a placeholder"),
        (["anonymise", "anonymous:", "--yes"], "'anonymous:' is no USER"),
        (["find", "a" * 600], "has 600 characters, 512 are allowed"),
        (["export", " "], "' ' is no USER"),
        (["erase", "ada", "--at", "2999-01-01T00:00:00Z"], "--at: '2999-01-01T00:00:00Z' is in the future"),
    ],
)
def test_a_request_that_no_worker_would_fulfil_is_not_sent(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGEMENT_TOPICS_PRIVACY", "privacy")
    done = engagement("privacy", *arguments)

    assert done.exit_code == 2
    assert told in done.stderr


def test_requests_are_not_sent_as_json_where_they_are_read_otherwise(tmp_path: Path) -> None:
    (tmp_path / "engagement.toml").write_text(
        '[[inputs]]\ntopic = "asked"\nkind = "privacy"\nenvelope = "debezium"\n', encoding="utf-8"
    )
    done = engagement("privacy", "erase", "ada", "--yes", "--settings", str(tmp_path / "engagement.toml"))

    assert done.exit_code == 2
    assert "the topic 'asked' of requests takes no plain JSON" in done.stderr


def test_what_is_held_is_told_place_by_place() -> None:
    held = Held("ada", 1, 90, ("activity", "logins"), 2, 3, False, True, ("logins.dlq/0/7",), None)

    assert list(_lines(SETTINGS, held)) == [
        "row: 90 bytes in partition 1, of activity, logins",
        "references: 2 responses that can be removed by their id alone",
        "health score: in shop-health",
        "dead letter: logins.dlq/0/7; it goes when the topic's retention ends",
    ]


def test_after_an_erasure_it_is_told_that_nothing_is_held_and_what_kafka_has_still_to_compact() -> None:
    assert list(_lines(SETTINGS, NOTHING)) == [
        "nothing is held of 'ada'",
        "changelog: 2 older versions of a deleted row, until Kafka compacts shop-state-changelog",
        "erased: what happened up to 2026-11-21T10:00:00Z is dropped when it arrives",
    ]


@pytest.mark.parametrize(
    ("key", "value", "is_named"),
    [
        (b"ada", None, True),
        (b"other", b'{"user_id": " ada ", "score": 99}', True),
        (None, b'{"userId": "ada"}', True),
        (None, b'{"user_id": "adam"}', False),
        (b"device", b"not JSON", False),
    ],
)
def test_a_dead_letter_names_a_user_by_key_or_message(key: bytes | None, value: bytes | None, is_named: bool) -> None:
    place = KafkaPosition("logins.dlq", 0, 7)
    letter = DeadLetter("logins", place, 0, "late", "", None, 0, None, key, value, [])

    assert _names(letter, "ada") is is_named
