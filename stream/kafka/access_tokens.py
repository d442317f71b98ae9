"""Access tokens for Kafka's OAUTHBEARER, by OAuth 2.0 client credentials (RFC 6749, section 4.4).

All clients of a process share one token. It is renewed after four fifths of its life, in a thread that nobody waits
for. While the endpoint is away the token goes on being used until it expires, and the endpoint is asked again and
again. A connection is opened only with a token that is valid, and replaced before its session ends
(`kafka.connections`; kafka-python logs in again by itself).
"""

import asyncio
import base64
import binascii
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec
import structlog
from aiokafka.abc import AbstractTokenProvider
from kafka.net.sasl.oauth import AbstractTokenProvider as KafkaPythonTokenProvider

from stream.masking import HIDDEN, masked
from stream.settings import Kafka, Settings, SettingsError, Unavailable

log = structlog.get_logger(__name__)

# As Kafka's own clients (`sasl.login.refresh.window.factor`).
_RENEWED_AFTER: Final = 0.8
_TIMEOUT_SECONDS: Final = 10.0
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 30.0
# An answer has one token, of some kilobytes.
_MAX_ANSWER_BYTES: Final = 1024 * 1024
# Of a token that does not say how long it is valid.
_ASSUMED_SECONDS: Final = 300.0
_LONGEST_REASON: Final = 300


class TokenUnavailable(Unavailable, ConnectionError):
    """There is no valid token. The text names the endpoint and says what it has answered."""


class _Answer(msgspec.Struct):
    """What an endpoint answers (RFC 6749, sections 5.1 and 5.2)."""

    access_token: str = ""
    expires_in: float | None = None
    error: str = ""
    error_description: str = ""


class _Claims(msgspec.Struct):
    """What is read of a token, if it is a JSON Web Token."""

    sub: str = ""
    exp: float | None = None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The secret goes to no other address than the one in the settings."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_answer_of = msgspec.json.Decoder(_Answer, strict=False).decode
_claims_of = msgspec.json.Decoder(_Claims, strict=False).decode


def _now() -> float:
    """Seconds that also pass while the machine sleeps, as far as the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Token:
    """The token at the time of its use: aiokafka awaits it, and kafka-python makes text of it."""

    def __init__(self, get: Callable[[], str]) -> None:
        self._get = get

    def __str__(self) -> str:
        return self._get()

    def __repr__(self) -> str:
        return f"<token {HIDDEN}>"

    def __await__(self) -> Generator[Any, None, str]:
        return _in_own_thread(self._get).__await__()


async def _in_own_thread(get: Callable[[], str]) -> str:
    """Wait for the result of a call in a thread of its own, which Python does not wait for when it exits."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def tell(told: str | Exception) -> None:
        if not result.done():
            result.set_exception(told) if isinstance(told, Exception) else result.set_result(told)

    def call() -> None:
        told: str | Exception
        try:
            told = get()
        except Exception as error:  # noqa: BLE001  who waits for the future raises it
            told = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, told)

    threading.Thread(target=call, name="access token", daemon=True).start()
    return await result


class AccessTokens(AbstractTokenProvider, KafkaPythonTokenProvider):  # type: ignore[misc]  # they have no types
    """The token that all clients with the same settings share. `secret` returns the client's secret."""

    def __init__(self, kafka: Kafka, secret: Callable[[], str], *, now: Callable[[], float] = _now) -> None:
        self._kafka, self._secret, self._now = kafka, secret, now
        self._context = _ssl_context(kafka) if kafka.oauth_token_url.startswith("https:") else None
        self._asking = threading.Lock()
        self._token, self._expires_at, self._renew_at = "", 0.0, 0.0
        self._failed_at = -_MIN_PAUSE_SECONDS
        self._renewing: threading.Thread | None = None
        self.subject = ""  # whom the token is of, if it says so
        self.problem = ""  # why the last renewal has failed; empty if it has not

    def __repr__(self) -> str:
        return f"<AccessTokens of {masked('oauth_token_url', self._kafka.oauth_token_url)}>"

    @property
    def is_valid(self) -> bool:
        """Whether there is a token that has not expired."""
        return bool(self._token) and self._now() < self._expires_at

    def token(self) -> Any:
        """Return the token, for a client of either library."""
        return _Token(self.get)

    def extensions(self) -> dict[str, str]:
        """Return what is sent with the token."""
        return extensions_of(self._kafka)

    def get(self) -> str:
        """Return a valid token, and ask for one if there is none. Raises TokenUnavailable."""
        if not self.is_valid:
            with self._asking:
                if not self.is_valid:  # nobody else has asked meanwhile
                    self._ask_unless_just_failed()
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._renew_for_ever, name="token renewal", daemon=True)
            self._renewing.start()
        return self._token

    def _ask_unless_just_failed(self) -> None:
        if self.problem and self._now() - self._failed_at < _MIN_PAUSE_SECONDS:
            raise TokenUnavailable(self.problem)
        self._ask()

    def _renew_for_ever(self) -> None:
        pause = _MIN_PAUSE_SECONDS
        while True:
            # Look often, because a machine that sleeps does not wake its threads in time.
            time.sleep(min(_MIN_PAUSE_SECONDS, max(0.0, self._renew_at - self._now())))
            if self._now() < self._renew_at:
                continue
            try:
                with self._asking:
                    self._ask()
                pause = _MIN_PAUSE_SECONDS
            except TokenUnavailable as error:
                log.warning("the token for Kafka can't be renewed, trying again", reason=str(error), seconds=pause)
                self._renew_at = self._now() + pause
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    def _ask(self) -> None:
        try:
            asked_at = self._now()
            answer = self._request()
        except TokenUnavailable as error:
            self._failed_at, self.problem = self._now(), str(error)
            raise
        claims = _claims(answer.access_token)
        seconds = answer.expires_in
        if seconds is None:
            seconds = _ASSUMED_SECONDS if claims.exp is None else max(0.0, claims.exp - time.time())
        self._token, self._expires_at = answer.access_token, asked_at + seconds
        self._renew_at = asked_at + max(_MIN_PAUSE_SECONDS, _RENEWED_AFTER * seconds)
        self.subject, self.problem = claims.sub, ""

    def _request(self) -> _Answer:
        kafka = self._kafka
        url = masked("oauth_token_url", kafka.oauth_token_url)
        form = {"grant_type": "client_credentials", "scope": kafka.oauth_scope, "audience": kafka.oauth_audience}
        try:
            secret = self._secret()
        except SettingsError as error:
            raise TokenUnavailable(str(error)) from None
        # Both are encoded before they are joined (RFC 6749, section 2.3.1).
        credentials = f"{quote_plus(kafka.oauth_client_id)}:{quote_plus(secret)}".encode()
        request = urllib.request.Request(  # noqa: S310  the settings allow only http and https
            kafka.oauth_token_url,
            data=urlencode({name: value for name, value in form.items() if value}).encode(),
            headers={
                "Authorization": f"Basic {base64.b64encode(credentials).decode()}",
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if self._context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_SECONDS) as response:
                answer = _answer_of(response.read(_MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise TokenUnavailable(f"no token from {url}: {self._refusal(error, secret)}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise TokenUnavailable(f"no token from {url}: {getattr(reason, 'strerror', None) or reason}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise TokenUnavailable(f"no token from {url}: its answer is no JSON with an access_token") from None
        if not answer.access_token:
            raise TokenUnavailable(f"no token from {url}: its answer has no access_token")
        return answer

    def _refusal(self, error: urllib.error.HTTPError, secret: str) -> str:
        """Return what an endpoint says of a request that it refuses, without the secret."""
        told = ""
        with suppress(OSError, HTTPException, msgspec.MsgspecError, UnicodeDecodeError):
            answer = _answer_of(error.read(_MAX_ANSWER_BYTES))
            told = ": ".join(part for part in (answer.error, answer.error_description) if part)
        of_client = f" of client {self._kafka.oauth_client_id!r}" if error.code in (400, 401, 403) else ""
        reason = f"status {error.code}{of_client}{f', {told}' if told else ''}"
        return (reason.replace(secret, HIDDEN) if secret else reason)[:_LONGEST_REASON]


def _claims(token: str) -> _Claims:
    """Return what a JSON Web Token says. Nothing is verified: this is for the broker to do."""
    part = token.split(".")[1] if token.count(".") == 2 else ""  # header, claims and signature
    try:
        return _claims_of(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return _Claims()


def _ssl_context(kafka: Kafka) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=kafka.oauth_cafile or None)
    except OSError as error:
        problem = f"can't use {masked('oauth_cafile', kafka.oauth_cafile)!r}: {error.strerror or error}"
        raise SettingsError(f"kafka.oauth_cafile: {problem}") from None


def extensions_of(kafka: Kafka) -> dict[str, str]:
    """Return the extensions of the settings, by name."""
    pairs = (pair.partition("=") for pair in kafka.oauth_extensions.split(",") if pair)
    return {name.strip(): value.strip() for name, _, value in pairs}


@lru_cache(maxsize=8)
def _tokens_of(kafka: Kafka) -> AccessTokens:
    return AccessTokens(kafka, Settings(kafka=kafka).oauth_client_secret)


def access_tokens(settings: Settings) -> AccessTokens | None:
    """Return the tokens of these settings, which all clients of the process share. None without OAUTHBEARER.

    Raises SettingsError when the certificate file of the endpoint can't be used.
    """
    kafka = settings.kafka
    uses_tokens = kafka.security_protocol.startswith("SASL") and kafka.sasl_mechanism == "OAUTHBEARER"
    return _tokens_of(kafka) if uses_tokens else None


def token_notes(settings: Settings) -> list[str]:
    """Return what people should know: that the token can't be renewed, though it may still be valid."""
    problem, _ = token_problem(settings)
    return [problem] if problem else []


def token_problem(settings: Settings) -> tuple[str, bool]:
    """Return why the token can't be renewed now, empty if it can, and whether one is valid meanwhile."""
    tokens = access_tokens(settings)
    return ("", True) if tokens is None else (tokens.problem, tokens.is_valid)
