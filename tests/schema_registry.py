"""A schema registry for tests: the part of Confluent's REST API that serializers and readers use, in memory.

Clients register a schema under a subject and get an id; who has the id, or the GUID, gets the schema. One of Protobuf
is given as text, or as a serialized descriptor where that is asked for, as Confluent's and Karapace give it; here only
those are known that were registered so. The registry can go away and come back with all that it had.

Source: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.ports import free_port

_PROTOBUF_TEXT: Final = 'syntax = "proto3"; // the registry gives text where nothing else is asked for'


class SchemaRegistry:
    """The registry. It answers while it runs."""

    def __init__(self, *, user: str = "", password: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.asked: list[str] = []  # the paths that were asked for
        self.fails_with = 0  # a status that answers everything
        self._authorization = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        self._tls = tls
        self._schemas: list[dict[str, Any]] = []
        self._versions: dict[str, list[int]] = {}
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Begin to answer."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any] | None) -> None:
                status, told = registry.answer(self.path, body, self.headers.get("Authorization", ""))
                written = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Go away: nobody listens any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def register(self, subject: str, schema: str, *, kind: str = "AVRO", references: Any = ()) -> int:
        """Register a schema, as a client does; returns its id."""
        registered = {"schema": schema, "schemaType": kind, "references": list(references)}
        if registered not in self._schemas:
            self._schemas.append(registered)
        schema_id = self._schemas.index(registered) + 1
        versions = self._versions.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def guid(self, schema_id: int) -> str:
        """The GUID of a schema."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(self._schemas[schema_id - 1])))

    # -- what it answers -------------------------------------------------------------------------------------------

    def answer(self, path: str, body: dict[str, Any] | None, authorization: str) -> tuple[int, Any]:
        """Status and body for a request."""
        self.asked.append(path)
        if self.fails_with:
            return self.fails_with, {"error_code": self.fails_with, "message": "as the test wants it"}
        if authorization != self._authorization:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        place = urlsplit(path)
        query = {name: values[-1] for name, values in parse_qs(place.query).items()}
        match [unquote(part) for part in place.path.strip("/").split("/")], body:
            case ["schemas", "ids", number], None:
                return self._by_id(int(number), query.get("format", ""))
            case ["schemas", "guids", guid], None:
                found = [id_ for id_ in range(1, len(self._schemas) + 1) if self.guid(id_) == guid]
                return self._by_id(found[0] if found else 0, query.get("format", ""))
            case ["subjects", subject, "versions", number], None:
                return self._by_version(subject, number, query.get("format", ""))
            case ["subjects", subject, "versions"], dict():
                schema_id = self.register(
                    subject, body["schema"], kind=body.get("schemaType", "AVRO"), references=body.get("references", ())
                )
                return 200, {"id": schema_id, "guid": self.guid(schema_id), **self._schemas[schema_id - 1]}
            case ["subjects", subject], dict():  # is it registered?
                return 404, {"error_code": 40403, "message": "Schema not found"}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _by_id(self, schema_id: int, format_: str) -> tuple[int, Any]:
        if not 1 <= schema_id <= len(self._schemas):
            return 404, {"error_code": 40403, "message": f"Schema {schema_id} not found"}
        return 200, {"guid": self.guid(schema_id), **self._told(schema_id, format_)}

    def _by_version(self, subject: str, number: str, format_: str) -> tuple[int, Any]:
        if subject not in self._versions:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        versions = self._versions[subject]
        if not 1 <= int(number) <= len(versions):
            return 404, {"error_code": 40402, "message": f"Version {number} not found."}
        schema_id = versions[int(number) - 1]
        place = {"subject": subject, "version": int(number), "id": schema_id}
        return 200, {**place, **self._told(schema_id, format_)}

    def _told(self, schema_id: int, format_: str) -> dict[str, Any]:
        told = {name: value for name, value in self._schemas[schema_id - 1].items() if value}
        if told["schemaType"] == "PROTOBUF" and format_ != "serialized":
            told["schema"] = _PROTOBUF_TEXT
        if told["schemaType"] == "AVRO":
            del told["schemaType"]  # as registries of before Protobuf, which knew nothing else
        return told


@contextmanager
def running(registry: SchemaRegistry) -> Iterator[SchemaRegistry]:
    """A registry that answers, for as long as the block runs."""
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
