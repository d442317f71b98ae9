"""Tokens are shared, renewed before they expire, and asked for in a way that shows no secret."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stream.kafka.access_tokens import AccessTokens, TokenUnavailable, access_tokens, token_notes
from stream.kafka.options import client_options
from stream.settings import Kafka, Settings
from tests.integration.token_endpoint import TokenEndpoint
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

SECRET = "R0derigo+7/:%"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[TokenEndpoint]:
    """One for all tests, because to make its key takes a while."""
    found = TokenEndpoint(client="app", secret=SECRET, subject="somebody")
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def _as_new(endpoint: TokenEndpoint) -> None:
    endpoint.lifetime_seconds, endpoint.away = 3_600.0, False
    endpoint.tokens.clear()
    endpoint.forms.clear()


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def tokens_of(
    url: str, clock: Callable[[], float] | None = None, secret: str = SECRET, **settings: Any
) -> AccessTokens:
    kafka = Kafka(oauth_token_url=url, oauth_client_id="app", **settings)
    return AccessTokens(kafka, lambda: secret, now=clock or Clock())


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_that_ask_share_one_token(endpoint: TokenEndpoint) -> None:
    tokens = tokens_of(endpoint.url, oauth_scope="kafka events", oauth_audience="brokers")
    found: list[str] = []
    asking = [threading.Thread(target=lambda: found.append(str(tokens.token()))) for _ in range(5)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(TIMEOUT_SECONDS)

    assert found == endpoint.tokens * 5
    assert endpoint.forms == [
        {"grant_type": ["client_credentials"], "scope": ["kafka events"], "audience": ["brokers"]}
    ]
    assert tokens.subject == "somebody"


def test_both_libraries_get_it(endpoint: TokenEndpoint) -> None:
    tokens = tokens_of(endpoint.url, oauth_extensions="logicalCluster=one, pool = two ")

    async def awaited() -> str:
        return str(await tokens.token())

    assert asyncio.run(awaited()) == f"{tokens.token()}" == endpoint.tokens[0]
    assert tokens.extensions() == {"logicalCluster": "one", "pool": "two"}
    assert endpoint.tokens[0] not in repr(tokens) + repr(tokens.token())


def test_a_token_is_renewed_before_it_expires_and_used_while_the_endpoint_is_away(endpoint: TokenEndpoint) -> None:
    clock = Clock()
    tokens = tokens_of(endpoint.url, clock)
    tokens.get()
    clock.now += 2_881  # four fifths of its life
    wait_until(lambda: len(endpoint.tokens) == 2)
    wait_until(lambda: tokens.get() == endpoint.tokens[1])
    endpoint.away = True
    clock.now += 2_881
    wait_until(lambda: tokens.problem)

    assert tokens.get() == endpoint.tokens[1]
    assert tokens.problem == f"no token from {endpoint.url}: status 503, temporarily_unavailable"
    clock.now += 720
    assert not tokens.is_valid
    with pytest.raises(TokenUnavailable, match="status 503"):
        tokens.get()
    endpoint.away = False
    clock.now += 31
    wait_until(lambda: tokens.is_valid)
    assert tokens.problem == ""


def test_an_endpoint_that_fails_is_not_asked_by_each_connection_anew(endpoint: TokenEndpoint) -> None:
    clock = Clock()
    tokens, endpoint.away = tokens_of(endpoint.url, clock), True
    for _ in range(5):
        with pytest.raises(TokenUnavailable):
            tokens.get()
    assert len(endpoint.forms) == 1
    clock.now += 1
    with pytest.raises(TokenUnavailable):
        tokens.get()
    assert len(endpoint.forms) == 2


def test_a_wrong_secret_is_told_without_it(endpoint: TokenEndpoint) -> None:
    with pytest.raises(TokenUnavailable) as raised:
        tokens_of(endpoint.url, secret="I4go").get()

    told = "status 401 of client 'app', invalid_client: ******** is not the secret"
    assert str(raised.value) == f"no token from {endpoint.url}: {told}"


@pytest.mark.parametrize(
    ("status", "headers", "body", "told"),
    [
        (200, {}, b"<html>", "its answer is no JSON with an access_token"),
        (200, {}, b"{}", "its answer has no access_token"),
        (302, {"Location": "http://127.0.0.1:9/"}, b"", "status 302"),
        (500, {}, b"oops", "status 500"),
    ],
)
def test_an_answer_without_a_token_is_told(status: int, headers: dict[str, str], body: bytes, told: str) -> None:
    with answering(status, headers, body) as url, pytest.raises(TokenUnavailable) as raised:
        tokens_of(url).get()

    assert str(raised.value) == f"no token from {url}: {told}"


def test_a_token_that_is_no_jwt_is_used_for_as_long_as_the_answer_says() -> None:
    clock = Clock()
    with answering(200, {}, b'{"access_token": "opaque", "expires_in": "60"}') as url:
        tokens = tokens_of(url, clock)
        assert tokens.get() == "opaque"
    clock.now += 59
    before = tokens.is_valid
    clock.now += 1

    assert (before, tokens.is_valid) == (True, False)
    assert tokens.subject == ""


def test_an_endpoint_whose_tokens_have_expired_already_is_not_asked_without_end(endpoint: TokenEndpoint) -> None:
    clock = Clock()
    endpoint.lifetime_seconds = 0.0
    tokens = tokens_of(endpoint.url, clock)
    tokens.get()
    clock.now += 1
    wait_until(lambda: len(endpoint.tokens) == 2)  # the thread has looked at the clock, which stands still again
    time.sleep(0.1)

    assert len(endpoint.tokens) == 2


def test_nobody_at_the_address_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}/token"

    with pytest.raises(TokenUnavailable, match=f"^no token from {url}: Connection refused$"):
        tokens_of(url).get()


def test_a_secret_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    tokens = access_tokens(oauth_settings("http://127.0.0.1:9/token", tmp_path / "missing"))

    assert tokens is not None
    with pytest.raises(TokenUnavailable, match=r"kafka\.oauth_client_secret_file: can't read '.*/missing'"):
        tokens.get()


def test_all_clients_of_a_process_have_the_same_tokens(endpoint: TokenEndpoint, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = oauth_settings(endpoint.url, tmp_path / "secret")
    options = client_options(settings)

    assert options["sasl_oauth_token_provider"] is client_options(settings)["sasl_oauth_token_provider"]
    assert "sasl_plain_password" not in options
    assert token_notes(settings) == []
    endpoint.away = True
    with pytest.raises(TokenUnavailable):
        options["sasl_oauth_token_provider"].get()
    assert token_notes(settings) == [f"no token from {endpoint.url}: status 503, temporarily_unavailable"]
    assert SECRET in settings.secrets()
    assert token_notes(Settings()) == []


def oauth_settings(url: str, secret: Path) -> Settings:
    kafka = Kafka(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        oauth_token_url=url,
        oauth_client_id="app",
        oauth_client_secret_file=str(secret),
    )
    return Settings(kafka=kafka)


class answering:  # noqa: N801  it is used like a function
    """A server that answers every request alike, and its address."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
