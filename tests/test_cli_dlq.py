"""`engagement dlq`, as far as it needs no broker."""

import pytest
from click.testing import CliRunner, Result

from stream.cli import main
from stream.terminal import OperatorMistake, since_option

NOW = "2026-03-10T12:00:00Z"
NOW_MS = 1_773_144_000_000
HOUR_MS = 3_600_000


def since_ms(text: str | None) -> int | None:
    return since_option(text, "--since")


def engagement(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: NOW_MS * 1_000_000)


@pytest.mark.usefixtures("now")
def test_since_is_a_span_or_a_moment() -> None:
    assert since_ms(None) is None
    assert since_ms("2h") == NOW_MS - 2 * HOUR_MS
    assert since_ms("7d") == NOW_MS - 7 * 24 * HOUR_MS
    assert since_ms("0s") == NOW_MS
    assert since_ms("99999999d") == 0
    assert since_ms(NOW) == since_ms("2026-03-10T13:00:00+01:00") == NOW_MS
    assert since_ms(str(NOW_MS)) == since_ms(str(NOW_MS // 1_000)) == NOW_MS


@pytest.mark.parametrize("text", ["yesterday", "2 h", "2w", "-2h", "2026-03-10", "2026-03-10T12:00:00", "17", ""])
def test_any_other_since_is_refused_with_what_it_may_be(text: str) -> None:
    with pytest.raises(OperatorMistake) as raised:
        since_ms(text)

    assert raised.value.message.startswith(f"--since: {text!r} is no ISO 8601 time with an offset, such as ")
    assert raised.value.message.endswith(", nor a span such as '2h' or '7d'")


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_an_unknown_reason_or_topic_is_refused_and_the_known_ones_are_named(command: str) -> None:
    reason = engagement("dlq", command, "--reason", "lost")
    topic = engagement("dlq", command, "--topic", "orders")

    assert (reason.exit_code, topic.exit_code) == (2, 2)
    assert "'lost' is not one of 'not_json', 'missing_field'," in reason.stderr
    assert "'orders' is not one of 'sessions', 'logins', 'surveys'" in topic.stderr


@pytest.mark.parametrize(
    "options", [("--limit", "0"), ("--rate", "0"), ("--rate", "-1"), ("--max-attempts", "0"), ("--since", "soon")]
)
def test_what_can_not_be_asked_of_a_replay_is_refused(options: tuple[str, str]) -> None:
    result = engagement("dlq", "replay", *options)

    assert result.exit_code == 2
    assert options[0] in result.stderr


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_a_broker_that_is_not_there_is_told_in_a_line(command: str) -> None:
    result = engagement("dlq", command, "--kafka", "127.0.0.1:1")

    assert result.exit_code == 1
    assert result.stderr == "engagement: cannot reach a Kafka broker at 127.0.0.1:1: connection refused\n"
    assert result.stdout == ""
