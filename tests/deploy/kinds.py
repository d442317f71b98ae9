"""Schemas of what Kubernetes itself does not know: the kinds of the Prometheus Operator and of Strimzi.

The Prometheus Operator's come from the Java models of fabric8, which are made from its types. Strimzi publishes its
models without a schema, so that the one kind we use is written down here, after the class `KafkaTopicSpec` of
`io.strimzi:api` 0.51.0, which knows `kafka.strimzi.io/v1`.
"""

from __future__ import annotations

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.deploy.tools import tool
from tests.maven import jars

_POM = Path(__file__).parent / "pom.xml"

_KAFKA_TOPIC: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "kafka.strimzi.io/v1"},
        "kind": {"const": "KafkaTopic"},
        "metadata": {
            "type": "object",
            "required": ["name", "namespace", "labels"],
            "properties": {
                # A DNS subdomain, as of every object.
                "name": {"type": "string", "maxLength": 253, "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"},
                # Without this label no operator looks at it.
                "labels": {"type": "object", "required": ["strimzi.io/cluster"]},
            },
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "topicName": {"type": "string"},
                "partitions": {"type": "integer", "minimum": 1},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 32767},
                "config": {"type": "object"},
            },
        },
    },
}


def validate(manifest: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError for a manifest that the operator of its kind would not take."""
    if manifest["apiVersion"].startswith("kafka.strimzi.io/"):
        schema = _KAFKA_TOPIC
    else:
        schema = {**_prometheus_operator(), "$ref": f"#/definitions/os_monitoring_v1_{manifest['kind']}"}
    jsonschema.Draft7Validator(schema).validate(manifest)


@cache
def _prometheus_operator() -> dict[str, Any]:
    """The schema of all its kinds, strict: a field that is not in it is refused."""
    with zipfile.ZipFile(_jar()) as jar:
        schema = json.loads(jar.read("schema/validation-schema.json"))
    definitions = {name: _strict(definition) for name, definition in schema["definitions"].items()}
    # Of Java it is a class, of Kubernetes one or the other.
    definitions["kubernetes_apimachinery_pkg_util_intstr_IntOrString"] = {"type": ["integer", "string"]}
    return {"definitions": definitions}


def _strict(definition: Any) -> Any:
    """A definition as a later draft writes it: which fields are required is said by the object, not by each field."""
    if isinstance(definition, list):
        return [_strict(one) for one in definition]
    if not isinstance(definition, dict):
        return definition
    changed = {name: _strict(value) for name, value in definition.items() if name != "required"}
    fields = definition.get("properties")
    if isinstance(fields, dict) and definition.get("additionalProperties") is True:
        changed["additionalProperties"] = False
        changed["required"] = [name for name, field in fields.items() if field.get("required") is True]
    return changed


def _jar() -> Path:
    tool("mvn", of="Maven")
    (jar,) = jars("kinds", _POM).glob("openshift-model-monitoring-*.jar")
    return jar
