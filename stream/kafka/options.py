"""One place that turns settings into the options of each Kafka client."""

import ssl
from typing import Any

from stream.masking import shown
from stream.settings import Settings, SettingsError


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    kafka = settings.kafka
    if kafka.security_protocol not in ("SSL", "SASL_SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
    except OSError as error:
        told = f"can't use {shown('ssl_cafile', kafka.ssl_cafile)!r}: {error.strerror or error}"
        raise SettingsError(f"kafka.ssl_cafile: {told}") from None
    if kafka.ssl_certfile:
        try:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None)
        except OSError as error:
            certificate, key = shown("ssl_certfile", kafka.ssl_certfile), shown("ssl_keyfile", kafka.ssl_keyfile)
            told = f"can't use {certificate!r} with {key!r}: {error.strerror or error}"
            raise SettingsError(f"kafka.ssl_certfile: {told}") from None
    return context


def _security(settings: Settings) -> dict[str, Any]:
    kafka = settings.kafka
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    context = ssl_context(settings)
    if context is not None:
        options["ssl_context"] = context
    if kafka.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = settings.sasl_password()
    return options


def client_options(settings: Settings) -> dict[str, Any]:
    """Options that every client of kafka-python takes, and every one of aiokafka."""
    servers = [server.strip() for server in settings.kafka.servers.split(",")]
    return {"bootstrap_servers": servers, **_security(settings)}
