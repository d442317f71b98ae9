"""Kafka's OAUTHBEARER: every client logs in with a token, which is renewed while it runs and shown nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.authorizing_kafka import AuthorizingKafka
from tests.integration.deployment import Deployment, simulated
from tests.integration.fixtures import Deploy, a_kafka_of
from tests.integration.token_endpoint import TokenEndpoint
from tests.ports import free_port

CLIENT, SECRET, SUBJECT = "engagement client", "R0derigo+7/:%", "engagement-app"
# Long enough for a machine that is busy with other tests, short enough to see that tokens and sessions are renewed.
LIFETIME_SECONDS = 40.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[TokenEndpoint]:
    """Gives tokens, and the keys to the broker."""
    found = TokenEndpoint(client=CLIENT, secret=SECRET, subject=SUBJECT, lifetime_seconds=LIFETIME_SECONDS)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def guarded_kafka(endpoint: TokenEndpoint) -> Iterator[AuthorizingKafka]:
    """A Kafka that knows the keys of the endpoint."""
    with a_kafka_of(AuthorizingKafka, users={}, keys=endpoint.keys_url) as server:
        yield server


@pytest.fixture
def deployment(guarded_kafka: AuthorizingKafka, endpoint: TokenEndpoint, deploy: Deploy, tmp_path: Path) -> Deployment:
    """A deployment that logs in with tokens."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    made = deploy(
        guarded_kafka.address,
        **{
            "kafka.servers": guarded_kafka.guarded_address,
            "kafka.security_protocol": "SASL_PLAINTEXT",
            "kafka.sasl_mechanism": "OAUTHBEARER",
            "kafka.oauth_token_url": endpoint.url,
            "kafka.oauth_client_id": CLIENT,
            "kafka.oauth_client_secret_file": f"{tmp_path}/secret",
            "kafka.oauth_scope": "kafka",
            "kafka.oauth_extensions": "logicalCluster=one",
            "topics.partitions": "2",
        },
    )
    made.create_topics()
    return made


def test_tokens_are_renewed_while_it_runs_and_it_goes_on_when_the_endpoint_was_away(
    guarded_kafka: AuthorizingKafka, endpoint: TokenEndpoint, deployment: Deployment
) -> None:
    printed = deployment.start("topics", "rights", "--principal", SUBJECT)
    assert printed.wait_for_exit() == 0
    guarded_kafka.run_script(printed.log)
    program = deployment.start()
    program.wait_until_ready()
    deployment.send(simulated(users=20, days=2))
    given = len(endpoint.tokens)
    program.wait_until(lambda: len(endpoint.tokens) >= given + 2, "tokens renewed")
    deployment.send(simulated(users=25, days=2))
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(program)
    expired = guarded_kafka.expired_sessions
    endpoint.away = True
    program.wait_until(lambda: "no token from" in program.get("/readyz")[1], "the endpoint is missed")
    deployment.send(simulated(users=30, days=2))
    program.wait_until(lambda: program.get("/readyz")[0] == 503, "the token has expired")
    missed = program.get("/readyz")[1]
    endpoint.away = False
    program.wait_until_ready()
    deployment.wait_until_every_gauge_equals_the_recount(program)
    program.terminate()
    assert program.wait_for_exit() == 0

    assert expired == 0  # each client has logged in again before its session ended
    assert f"no token from {endpoint.url}: status 503, temporarily_unavailable" in missed
    assert endpoint.forms[0] == {"grant_type": ["client_credentials"], "scope": ["kafka"]}


def test_commands_log_in_with_tokens_and_show_neither_them_nor_the_secret(
    guarded_kafka: AuthorizingKafka, endpoint: TokenEndpoint, deployment: Deployment
) -> None:
    printed = deployment.start("topics", "rights", "--principal", SUBJECT)
    assert printed.wait_for_exit() == 0
    guarded_kafka.run_script(printed.log)
    deployment.variables["ENGAGEMENT_LOG_LEVEL"] = "debug"

    for command in (["dlq", "list"], ["topics", "check"], ["settings"]):
        program = deployment.start(*command)
        assert program.wait_for_exit() == 0, program.log
        assert SECRET not in program.log
        assert not any(token[-40:] in program.log for token in endpoint.tokens)
        # Else the log would show nothing in any case.
        assert "SaslAuthenticate" in program.log or command != ["dlq", "list"]


@pytest.mark.parametrize("command", [["worker"], ["dlq", "list"], ["state", "inspect"]])
def test_without_an_endpoint_or_with_a_wrong_secret_a_command_says_so_at_once(
    endpoint: TokenEndpoint, deployment: Deployment, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "wrong").write_text("I4go")
    refused = deployment.start(*command, ENGAGEMENT_KAFKA_OAUTH_CLIENT_SECRET_FILE=f"{tmp_path}/wrong")
    assert refused.wait_for_exit() == 1
    nobody = f"http://127.0.0.1:{free_port()}/token"
    away = deployment.start(*command, ENGAGEMENT_KAFKA_OAUTH_TOKEN_URL=nobody)
    assert away.wait_for_exit() == 1

    told = f"engagement: no token from {endpoint.url}: status 401 of client {CLIENT!r}, invalid_client: "
    assert any(line.startswith(told) for line in refused.log.splitlines())
    assert "I4go" not in refused.log
    assert f"engagement: no token from {nobody}: Connection refused" in away.log.splitlines()
    assert "Traceback" not in refused.log + away.log
