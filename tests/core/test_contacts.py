"""Conversations: examples counted by hand, who waits and since when, business time, and what is refused."""

import datetime as dt
from itertools import permutations
from typing import Any

import pytest

from stream.core.business_hours import BusinessHours, hours_of
from stream.core.rejections import Reason
from stream.core.rules import Rules
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tests.core.numbers import closed_numbers, live_numbers, refusal

TEN_MS = 1_704_103_200_000  # Monday, 2024-01-01T10:00Z
LATER_MS = TEN_MS + 4 * HOUR_MS


def contact(kind: str, after_ms: int = 0, conversation: object = "c", **fields: Any) -> dict[str, Any]:
    """What happens in a conversation so long after ten o'clock."""
    told = {"topic": "contacts", "user_id": "ann", "event_time": TEN_MS + after_ms, "type": kind}
    return {**told, "conversation_id": conversation, **fields}


def test_a_bot_stops_no_clock() -> None:
    events = [contact("opened"), contact("bot_reply", 5 * SECOND_MS), contact("agent_reply", 7 * MINUTE_MS)]
    for order in permutations(events):
        found = live_numbers(*order, *order[:1], at_ms=LATER_MS)
        assert found["first_reply_mean_seconds"] == found["reply_mean_seconds"] == 420
        assert found["replies"] == 1
        assert found["first_reply_seconds 0.5"] == pytest.approx(420, rel=0.01)


def test_the_resolution_of_a_reopened_conversation_is_its_latest() -> None:
    events = [contact("opened"), contact("resolved", HOUR_MS), contact("reopened", 2 * HOUR_MS)]
    found = live_numbers(*events, at_ms=TEN_MS + 2 * HOUR_MS)
    assert (found["resolutions"], found["resolved_ratio"]) == (0, 0)

    found = live_numbers(*events, contact("resolved", 3 * HOUR_MS), at_ms=LATER_MS)
    assert found["resolution_mean_seconds"] == 3 * 3_600
    assert (found["resolutions"], found["resolved_ratio"]) == (1, 1)


def test_an_agents_message_before_any_of_the_customer_is_no_reply() -> None:
    found = live_numbers(contact("agent_reply"), contact("agent_reply", MINUTE_MS), at_ms=LATER_MS)
    assert (found["replies"], found["waiting_conversations"]) == (0, 0)
    assert found["contacts unknown"] == 1
    assert "oldest_waiting_seconds" not in found


def test_nobody_waits_in_a_conversation_that_we_have_opened_until_the_customer_writes() -> None:
    events = [contact("opened", outbound=True), contact("customer_message", HOUR_MS)]
    assert live_numbers(*events[:1], at_ms=LATER_MS)["waiting_conversations"] == 0

    events += [contact("agent_reply", HOUR_MS + MINUTE_MS), contact("resolved", 2 * HOUR_MS)]
    found = live_numbers(*events, at_ms=LATER_MS)
    assert found["first_reply_mean_seconds"] == 60
    assert found["resolution_mean_seconds"] == 3_600  # from the first wait on


@pytest.mark.parametrize(
    ("events", "is_of_customer"),
    [
        ([contact("opened"), contact("agent_reply", MINUTE_MS)], True),
        ([contact("customer_message"), contact("agent_reply", MINUTE_MS)], True),
        ([contact("opened", outbound=True), contact("customer_message", HOUR_MS)], False),
        ([contact("agent_reply"), contact("customer_message", HOUR_MS)], False),
        ([contact("bot_reply"), contact("opened", HOUR_MS)], False),
    ],
)
def test_a_conversation_is_of_a_customer_whose_message_or_opening_is_the_first(
    events: list[dict[str, Any]], is_of_customer: bool
) -> None:
    for order in permutations(events):
        found = live_numbers(*order, contact("opened", conversation="other"), at_ms=LATER_MS)
        assert found["contacts_of_customers"] == 1 + is_of_customer
        assert found["contacts_of_customers_ratio"] == (1 + is_of_customer) / 2

    gone = live_numbers(*events, contact("deleted", 2 * HOUR_MS), contact("opened", conversation="b"), at_ms=LATER_MS)
    assert gone["contacts_of_customers"] == 1


def test_a_customer_waits_from_the_first_of_several_messages() -> None:
    events = [contact("customer_message", minutes * MINUTE_MS) for minutes in (0, 5, 9)]
    found = live_numbers(*events, contact("agent_reply", 10 * MINUTE_MS), at_ms=LATER_MS)
    assert (found["replies"], found["reply_mean_seconds"]) == (1, 600)


def test_a_wait_that_ends_by_resolution_is_booked_nowhere() -> None:
    found = live_numbers(contact("opened"), contact("resolved", MINUTE_MS), at_ms=LATER_MS)
    assert (found["first_replies"], found["replies"], found["resolution_mean_seconds"]) == (0, 0, 60)


def test_a_thank_you_waits_for_nobody_unless_the_conversation_is_reopened() -> None:
    events = [contact("opened"), contact("resolved", MINUTE_MS), contact("customer_message", 5 * MINUTE_MS)]
    assert live_numbers(*events, at_ms=LATER_MS)["waiting_conversations"] == 0

    found = live_numbers(*events, contact("reopened", 9 * MINUTE_MS), at_ms=TEN_MS + 10 * MINUTE_MS)
    assert (found["waiting_conversations"], found["oldest_waiting_seconds"]) == (1, 300)


def test_who_waits_longest_follows_the_clock_without_an_event() -> None:
    events = [contact("opened"), contact("opened", HOUR_MS, "d", user_id="bob")]
    for hours in (2, 3, 500):
        found = live_numbers(*events, at_ms=TEN_MS + hours * HOUR_MS)
        assert (found["waiting_conversations"], found["oldest_waiting_seconds"]) == (2, hours * 3_600)


@pytest.mark.parametrize("gone", [{"type": "deleted"}, {"type": "agent_reply", "merged_into": "d"}])
def test_what_is_deleted_or_merged_counts_nowhere(gone: dict[str, Any]) -> None:
    events = [contact("opened"), contact("agent_reply", MINUTE_MS), contact("resolved", 2 * MINUTE_MS)]
    events += [{**contact("", HOUR_MS), **gone}, contact("opened", HOUR_MS, "d")]
    found = live_numbers(*events, contact("customer_message", 2 * HOUR_MS), at_ms=LATER_MS)
    assert (found["contacts unknown"], found["replies"], found["resolutions"]) == (1, 0, 0)
    assert found["waiting_conversations"] == 1


def test_a_closed_day_says_who_waited_at_its_end_and_what_was_resolved_within_a_week() -> None:
    events = [contact("opened"), contact("opened", HOUR_MS, "d"), contact("resolved", 2 * DAY_MS)]
    days = closed_numbers(*events, at_ms=TEN_MS + 4 * DAY_MS)
    assert [day["waiting_conversations_closed"] for day in days[-4:]] == [2, 2, 1, 1]
    assert [day["oldest_waiting_closed_seconds"] for day in days[-4:-1]] == [14 * 3_600, 38 * 3_600, 61 * 3_600]

    last = closed_numbers(*events, at_ms=TEN_MS + 9 * DAY_MS)[-1]
    assert (last["contacts_matured_closed"], last["resolved_closed_ratio"]) == (2, 0.5)


def test_with_business_hours_waits_are_told_in_them() -> None:
    hours = BusinessHours("UTC", dict.fromkeys(("mon", "wed"), (hours_of("09:00-12:00"),)), [dt.date(2024, 1, 3)])
    rules = Rules(contact_hours=hours)
    events = [contact("opened"), contact("agent_reply", 7 * DAY_MS), contact("opened", HOUR_MS, "d")]
    found = live_numbers(*events, at_ms=TEN_MS + 7 * DAY_MS + HOUR_MS, rules=rules)
    assert found["first_reply_mean_seconds"] == 3 * 3_600  # two hours of that Monday, and one of the next
    assert found["oldest_waiting_seconds"] == (1 + 2) * 3_600


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"conversation_id": " "}, Reason.MISSING_FIELD, "' ' at `$.conversation_id` names no conversation"),
        ({"type": "closed"}, Reason.UNKNOWN_VALUE, "Invalid enum value 'closed' - at `$.type`"),
    ],
)
def test_what_is_no_conversation_is_refused(fields: dict[str, Any], reason: Reason, told: str) -> None:
    assert refusal("contacts", {**contact("opened"), **fields}) == (reason, told)
