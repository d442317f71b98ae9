"""Turn settings into the options of Kafka clients. All clients take them from here."""

import ssl
from typing import Any

from stream.kafka.access_tokens import access_tokens
from stream.kafka.connections import adapt_aiokafka
from stream.masking import masked
from stream.settings import Settings, SettingsError


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that the settings ask for, or None without TLS.

    Raises SettingsError when a certificate file cannot be used.
    """
    kafka = settings.kafka
    if kafka.security_protocol not in ("SSL", "SASL_SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
    except OSError as error:
        problem = f"can't use {masked('ssl_cafile', kafka.ssl_cafile)!r}: {error.strerror or error}"
        raise SettingsError(f"kafka.ssl_cafile: {problem}") from None
    if kafka.ssl_certfile:
        try:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None)
        except OSError as error:
            certificate, key = masked("ssl_certfile", kafka.ssl_certfile), masked("ssl_keyfile", kafka.ssl_keyfile)
            problem = f"can't use {certificate!r} with {key!r}: {error.strerror or error}"
            raise SettingsError(f"kafka.ssl_certfile: {problem}") from None
    return context


def _security(settings: Settings) -> dict[str, Any]:
    kafka = settings.kafka
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    context = ssl_context(settings)
    if context is not None:
        options["ssl_context"] = context
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        tokens = access_tokens(settings)
        if tokens is not None:
            options["sasl_oauth_token_provider"] = tokens
        else:
            options["sasl_plain_username"] = kafka.sasl_username
            options["sasl_plain_password"] = settings.sasl_password()
    return options


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the options that all clients of kafka-python and aiokafka share: addresses, TLS and credentials."""
    adapt_aiokafka()
    servers = [server.strip() for server in settings.kafka.servers.split(",")]
    return {"bootstrap_servers": servers, **_security(settings)}
