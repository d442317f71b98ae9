"""Turn the settings for TLS and SASL into Faust's credentials."""

from typing import Any

from faust import SASLCredentials, SSLCredentials
from faust.auth import OAuthCredentials

from stream.kafka.access_tokens import access_tokens
from stream.kafka.options import ssl_context
from stream.settings import Settings


def faust_credentials(settings: Settings) -> Any:
    """Return Faust's credentials for these settings, or None for a connection without TLS and SASL."""
    protocol = settings.kafka.security_protocol
    context = ssl_context(settings)
    tokens = access_tokens(settings)
    if tokens is not None:
        return OAuthCredentials(oauth_cb=tokens, ssl_context=context)
    if protocol.startswith("SASL"):
        return SASLCredentials(
            mechanism=settings.kafka.sasl_mechanism,
            username=settings.kafka.sasl_username,
            password=settings.sasl_password(),
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None
