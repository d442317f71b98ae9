"""`engagement simulate`, then `compute`: what it says of a file equals what is counted here, by hand, of its lines."""

import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pytest

from stream.simulate.feature_use import FEATURE_WEIGHTS
from stream.simulate.population import DAY_MS
from stream.simulate.voices import NETWORKS
from tests.native import DECODERS
from tests.test_cli import engagement

AT = "2026-11-20T12:00:00Z"
AT_MS = 20_777 * DAY_MS + DAY_MS // 2
HOUR_MS = 3_600_000


class Told(NamedTuple):
    """A line of the file."""

    at_ms: int
    fields: dict[str, Any]


class File(NamedTuple):
    """The lines of the file by topic in the order of their times, and what `compute` says of them."""

    lines: dict[str, list[Told]]
    numbers: dict[tuple[str, tuple[tuple[str, str], ...]], float | None]

    def number(self, name: str, **labels: str) -> float:
        value = self.numbers[name, tuple(sorted(labels.items()))]
        assert value is not None, name
        return value


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> File:
    folder = tmp_path_factory.mktemp("simulated")
    path, settings = folder / "events.jsonl", folder / "settings.toml"
    settings.write_text("[features]\n" + "".join(f"{name} = {weight}\n" for name, weight in FEATURE_WEIGHTS.items()))
    asked = ("--users", "250", "--days", "30", "--until", AT, "--duplicate", "0.02", "--shuffled", "0.05")
    assert engagement("simulate", *asked, "--output", str(path)).exit_code == 0
    computed = engagement("compute", str(path), "--at", AT, "--as", "json", "--settings", str(settings))
    assert computed.exit_code == 0, computed.stderr
    numbers = {
        (one["name"], tuple(sorted(one["labels"].items()))): one["value"] for one in json.loads(computed.stdout)["live"]
    }
    lines: defaultdict[str, list[Told]] = defaultdict(list)
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        lines[fields["topic"]].append(Told(DECODERS[fields["topic"]](line.encode()).at_ms, fields))
    return File({topic: sorted(told, key=lambda one: one.at_ms) for topic, told in lines.items()}, numbers)


def test_features_are_counted_by_their_users(file: File) -> None:
    since_ms = AT_MS - 7 * DAY_MS + HOUR_MS  # whole hours, the current one included
    users: defaultdict[str, set[str]] = defaultdict(set)
    for at_ms, fields in file.lines["features"]:
        if at_ms >= since_ms and fields.get("interactive", True):
            users[fields["feature"]].add(fields["user_id"])
    active = file.number("engagement_active_users", window="7d")
    weighted = sum(weight * len(users[name]) for name, weight in FEATURE_WEIGHTS.items())

    for name in FEATURE_WEIGHTS:
        assert file.number("engagement_feature_users", window="7d", feature=name) == len(users[name])
    score = file.number("engagement_product_adoption_score", window="7d")
    assert score == pytest.approx(100 * weighted / sum(FEATURE_WEIGHTS.values()) / active)


def test_reviews_are_counted_at_their_newest_edit(file: File) -> None:
    newest = {fields["review_id"]: fields for _, fields in file.lines["reviews"]}
    stars = Counter(fields["stars"] for fields in newest.values() if fields.get("status") != "removed")

    assert stars.total() > 15
    for count in range(1, 6):
        assert file.number("engagement_reviews", window="90d", stars=str(count)) == stars[count]


def test_conversations_are_counted_by_their_channel_and_who_waits_is_known(file: File) -> None:
    conversations: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, fields in file.lines["contacts"]:
        conversations[fields["conversation_id"]].append(fields)
    kept = [one for one in conversations.values() if all(fields["type"] != "deleted" for fields in one)]
    channels = Counter(next((fields["channel"] for fields in one if "channel" in fields), "unknown") for one in kept)
    said = [[fields["type"] for fields in one if fields["type"] != "bot_reply"][-1:] for one in kept]
    is_over = ["resolved" in [fields["type"] for fields in one] for one in kept]
    waiting = sum(
        (last == ["opened"] or last == ["reopened"] or (last == ["customer_message"] and not over))
        for last, over in zip(said, is_over, strict=True)
    )

    assert channels["chat"] > 20
    for channel in ("chat", "mail", "in_app", "unknown"):
        assert file.number("engagement_contacts", window="90d", channel=channel) == channels[channel]
    assert file.number("engagement_waiting_conversations") == waiting


def test_likes_that_were_not_taken_back_and_the_newest_audience_are_counted(file: File) -> None:
    stands = {
        (fields["user_id"], fields["network"], fields["post_id"]): fields["type"] == "like"
        for _, fields in file.lines["social"]
        if fields["type"] in ("like", "unlike")
    }
    likes = Counter(network for (_, network, _), stood in stands.items() if stood)
    pages = {
        (fields["network"], fields["user_id"]): fields["followers"]
        for _, fields in file.lines["social"]
        if fields["type"] == "audience"
    }

    for network in NETWORKS:
        told = file.number("engagement_social_interactions", window="90d", network=network, type="like")
        assert told == likes[network] > 0
        followers = sum(count for (on, _), count in pages.items() if on == network)
        assert file.number("engagement_social_audience", network=network, base="followers") == followers
