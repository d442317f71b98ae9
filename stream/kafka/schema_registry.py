"""The schema registry: an HTTP service that has the schemas by which messages were written.

A schema never changes, so it is asked for once. A registry that can't be reached, or that answers with an error, means
that nobody knows what the messages say: they wait. A registry that says that it has no such schema is believed, and
asked again a minute later, because a registry that follows another one may be behind.
"""

import ssl
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stream.core.messages import Record
from stream.core.time import seconds_of
from stream.inputs.encodings.framing import SchemaId
from stream.inputs.encodings.schemas import Schema, Schemas
from stream.masking import without_credentials
from stream.settings import Settings, SettingsError

# After this time a schema that the registry did not have is asked for again.
_MISSING_SECONDS = 60.0

# The codes of the registry's own answers "schema not found", "subject not found" and "version not found". Any other
# answer 404 is of something else that listens there.
_NOT_FOUND = (40403, 40401, 40402)

_INSTALL = "needs confluent-kafka: pip install 'engagement-stream[registry]'"


class RegistryAway(Exception):
    """The registry can't be asked now. The text says why."""


class SchemaRegistry:
    """A client of the registry, and the schemas that it has fetched."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a file that can't be used."""
        self.schemas = Schemas()
        self._settings = settings
        self._client: Any = self._new_client()
        self._fetching = threading.Lock()
        self._forgotten_at = time.monotonic()

    def unknown(self, records: Iterable[Record]) -> list[SchemaId]:
        """Return the ids of the schemas that reading these records needs, and that are to be fetched first."""
        now = time.monotonic()
        if now - self._forgotten_at >= _MISSING_SECONDS:
            self._forgotten_at = now
            self.schemas.forget_unusable()
        return self.schemas.unknown(records)

    def fetch(self, schema_id: SchemaId) -> None:
        """Fetch a schema, with all that it refers to. Blocks. Raises RegistryAway."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            with self._fetching:
                found: Schema | None = self._fetch(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code in _NOT_FOUND:
                found = None
            else:
                if error.http_status_code in (401, 403):  # the password may be a new one the next time
                    self._client = None
                raise self._away(f"answers {error.http_status_code}: {error.error_message}") from None
        except Exception as error:  # noqa: BLE001  the client's own, of several HTTP libraries: there was no answer
            raise self._away(f"can't be reached: {type(error).__name__}: {error}".rstrip(": ")) from None
        self.schemas.add(schema_id, found)

    def _away(self, why: str) -> RegistryAway:
        told = " ".join(without_credentials(why, of_settings=False).split())[:300]
        return RegistryAway(f"the schema registry at {self._settings.registry.url} {told}")

    def _fetch(self, schema_id: SchemaId) -> Schema:
        if self._client is None:
            self._client = self._new_client()
        self._client.clear_caches()  # it does not tell formats apart
        found = self._schema(schema_id, None)
        kind = found.schema_type or "AVRO"
        format_ = "serialized" if kind == "PROTOBUF" else None
        if format_ is not None:
            self._client.clear_caches()
            found = self._schema(schema_id, format_)
        references: dict[str, str] = {}
        self._add_references(found, format_, references)
        return Schema(kind, found.schema_str or "", references)

    def _schema(self, schema_id: SchemaId, format_: str | None) -> Any:
        if isinstance(schema_id, int):
            return self._client.get_schema(schema_id, fmt=format_)
        return self._client.get_schema_by_guid(schema_id, fmt=format_)

    def _add_references(self, schema: Any, format_: str | None, found: dict[str, str]) -> None:
        """Add what a schema refers to, each after what it refers to itself."""
        for reference in schema.references or ():
            if reference.name not in found:
                of_reference = self._client.get_version(reference.subject, reference.version, deleted=True, fmt=format_)
                self._add_references(of_reference.schema, format_, found)
                found[reference.name] = of_reference.schema.schema_str or ""

    def _new_client(self) -> Any:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError:
            raise SettingsError(f"inputs: encoding 'registry' {_INSTALL}") from None
        try:
            return SchemaRegistryClient(self._options())
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or error
            raise SettingsError(f"registry: can't use its certificates: {problem}") from None

    def _options(self) -> dict[str, Any]:
        registry = self._settings.registry
        options: dict[str, Any] = {"url": registry.url, "timeout": seconds_of(registry.timeout), "max.retries": 0}
        if registry.username:
            options["basic.auth.user.info"] = f"{registry.username}:{self._settings.registry_password()}"
        named = {
            "ssl.ca.location": registry.ssl_cafile or _system_certificates(),
            "ssl.certificate.location": registry.ssl_certfile,
            "ssl.key.location": registry.ssl_keyfile,
        }
        return {**options, **{name: path for name, path in named.items() if path}}


def schema_registry_of(settings: Settings) -> SchemaRegistry | None:
    """Return a client of the registry if an input needs one. Raises SettingsError for a file that can't be used."""
    if any(input_.encoding == "registry" for input_ in settings.named_inputs.values()):
        return SchemaRegistry(settings)
    return None


def _system_certificates() -> str:
    """The file or folder of the system's certificates; empty if there is none, for those that the client brings."""
    paths = ssl.get_default_verify_paths()
    return next((path for path in (paths.cafile, paths.capath) if path and Path(path).exists()), "")
