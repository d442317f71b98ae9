"""A Kafka with a listener for those who have a password: TLS, and SASL by PLAIN or SCRAM."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.integration.kafka_server import KafkaServer, classes_read
from tests.ports import free_port

_SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_MODULES: Final = "org.apache.kafka.common.security"


class SecuredKafka(KafkaServer):
    """Its other listener, `address`, is there for tests that produce and look."""

    def __init__(self, libs: Path, *, certificate: Path, user: str, password: str) -> None:
        """`certificate` is a file with a private key (PKCS #8) and the certificates of the server."""
        super().__init__(libs, classes=classes_read(libs))
        self._certificate, self._user, self._password = certificate, user, password
        self._secured_port = free_port()

    @property
    def secured_address(self) -> str:
        """What goes into `bootstrap_servers` of those who have the password."""
        return f"127.0.0.1:{self._secured_port}"

    def _told(self) -> dict[str, str]:
        told = super()._told()
        secured = {"listeners", "advertised.listeners"}
        plain = f'{_MODULES}.plain.PlainLoginModule required user_{self._user}="{self._password}";'
        scram = f"{_MODULES}.scram.ScramLoginModule required;"
        protocols = "listener.security.protocol.map"
        return {
            **told,
            **{name: f"{told[name]},SASL_SSL://{self.secured_address}" for name in secured},
            protocols: f"{told[protocols]},SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": ",".join(["PLAIN", *_SCRAM]),
            "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
            **{f"listener.name.sasl_ssl.{name.lower()}.sasl.jaas.config": scram for name in _SCRAM},
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._certificate),
        }

    def _format(self) -> None:
        user = f"name={self._user},password={self._password}"
        self.format_by_itself(*(f"--add-scram={mechanism}=[{user}]" for mechanism in _SCRAM))
