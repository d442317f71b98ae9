"""A small OAuth 2.0 server on this machine: it gives tokens for client credentials, and has the keys that sign them."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.ports import free_port

_KEY_ID: Final = "one"


class TokenEndpoint:
    """Gives tokens of `lifetime_seconds` to a client. While it is `away`, it answers with an error."""

    def __init__(self, *, client: str, secret: str, subject: str, lifetime_seconds: float = 3_600.0) -> None:
        self.client, self.secret, self.subject = client, secret, subject
        self.lifetime_seconds = lifetime_seconds
        self.away = False
        self.tokens: list[str] = []  # all that it has given
        self.forms: list[dict[str, list[str]]] = []  # all that it was asked with
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, endpoint._keys())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.forms.append(parse_qs(body.decode()))
                self._answer(*endpoint._answer(self.headers["Authorization"] or ""))

            def _answer(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="token endpoint", daemon=True).start()

    @property
    def url(self) -> str:
        """Where tokens are asked for."""
        return f"http://127.0.0.1:{self._server.server_port}/token"

    @property
    def keys_url(self) -> str:
        """Where a broker asks for the keys."""
        return f"http://127.0.0.1:{self._server.server_port}/keys"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, authorization: str) -> tuple[int, dict[str, Any]]:
        if self.away:
            return 503, {"error": "temporarily_unavailable"}
        client, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(client), unquote_plus(secret)) != (self.client, self.secret):
            return 401, {"error": "invalid_client", "error_description": f"{secret} is not the secret"}
        now = time.time()
        claims = {
            "iss": "tests",
            "sub": self.subject,
            "aud": "kafka",
            "scope": "kafka",
            "iat": int(now),
            "exp": int(now + self.lifetime_seconds),
            "jti": str(len(self.tokens)),
        }
        signed = f"{_base64url({'alg': 'RS256', 'kid': _KEY_ID})}.{_base64url(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
        self.tokens.append(f"{signed}.{_base64url(signature)}")
        return 200, {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": int(self.lifetime_seconds)}

    def _keys(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _KEY_ID}
        for name, number in (("n", numbers.n), ("e", numbers.e)):
            key[name] = _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        return {"keys": [key]}


def _base64url(value: bytes | dict[str, Any]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
