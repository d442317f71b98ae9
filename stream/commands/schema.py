"""`engagement schema`: the contract for producers as documents that other tools read."""

from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from stream.export.contract import asyncapi, json_schemas
from stream.terminal import OperatorMistake, load_settings, settings_options


@click.command()
@click.argument("kind", required=False)
@settings_options
def schema(kind: str | None, file: Path | None, kafka: str | None) -> None:
    """Print what producers may send: as an AsyncAPI 3 document, or of a KIND of messages as JSON Schema.

    The document has the topics of the settings whose messages are ours. KIND is sessions, logins or surveys.

    \b
    Example: engagement schema >asyncapi.json
      engagement schema sessions >sessions.schema.json
    """
    settings, schemas = load_settings(file, kafka), json_schemas()
    if kind is None:
        document = asyncapi(settings, version=version("engagement-stream"))
    elif kind in schemas:
        document = schemas[kind]
    else:
        raise OperatorMistake(f"{kind!r} is none of {', '.join(schemas)}")
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
