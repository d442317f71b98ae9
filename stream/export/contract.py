"""The contract for producers as documents: AsyncAPI 3 with the topics of a deployment, and a JSON Schema a kind.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0, and the binding for Kafka 0.5.0.
"""

from typing import Any

from stream.core.contract import DIALECT, schema_and_parts, schema_of
from stream.core.families.registry import message_kinds
from stream.inputs.registry import NATIVE
from stream.settings import Settings

_PARTS = "#/components/schemas/{name}"
_BINDING = "0.5.0"


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each kind of native messages."""
    return {name: schema_of(kind) for name, kind in message_kinds().items()}


def asyncapi(settings: Settings, *, version: str) -> dict[str, Any]:
    """The AsyncAPI document of a deployment: the topics whose messages are ours, and what may stand in them."""
    inputs = {
        name: input_
        for name, input_ in settings.named_inputs.items()
        if input_.format == NATIVE and input_.encoding == "json" and input_.envelope == "none"
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Events that {settings.app_id} counts",
            "version": version,
            "description": "What producers write to the topics of an engagement-stream. The key of each message is the"
            " user's id. Unknown fields are ignored. What can't be used goes to the topic with `.dlq` behind its name.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": input_.topic,
                "title": f"{input_.kind} from the topic {input_.topic}",
                "messages": {input_.kind: {"$ref": f"#/components/messages/{input_.kind}"}},
                "bindings": {
                    "kafka": {
                        "topic": input_.topic,
                        "partitions": settings.topics.partitions,
                        "bindingVersion": _BINDING,
                    }
                },
            }
            for name, input_ in inputs.items()
        },
        "operations": {
            f"receive-{name}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{_pointer(name)}"},
                "messages": [{"$ref": f"#/channels/{_pointer(name)}/messages/{input_.kind}"}],
            }
            for name, input_ in inputs.items()
        },
        "components": _components(),
    }


def _components() -> dict[str, Any]:
    messages, schemas = {}, {}
    for name, kind in message_kinds().items():
        schemas[name], parts = schema_and_parts(kind, reference=_PARTS)
        schemas |= parts
        messages[name] = {
            "name": name,
            "title": f"a message of the kind {name}",
            "contentType": "application/json",
            "payload": {"schemaFormat": f"application/schema+json;version={DIALECT}", "schema": schemas[name]},
            "bindings": {
                "kafka": {
                    "key": {"type": "string", "description": "the user's id: `user_id`, else `anonymous_id`"},
                    "bindingVersion": _BINDING,
                }
            },
            "examples": [{"payload": example} for example in kind.examples],
        }
    return {"messages": messages, "schemas": schemas}


def _pointer(name: str) -> str:
    """A name as part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
