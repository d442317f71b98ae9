"""The options --format and --mapping of commands that read files, and what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from stream.inputs.mapping.targets import literal_fields
from stream.inputs.registry import FORMATS, MAPPED, NATIVE
from stream.settings import Input, Settings, SettingsError, check_input, read_toml
from stream.terminal import OperatorMistake

Command = TypeVar("Command", bound=Callable[..., Any])


def format_options(command: Command) -> Command:
    """Add the options --format and --mapping to a command that reads files of messages."""
    options = (
        click.option(
            "--format",
            "format_",
            type=click.Choice([name for name in FORMATS if name != NATIVE]),
            help="The format of the messages, if they are not events with their `topic`. Its other settings are those "
            "of the first table [[inputs]] with this format.",
        ),
        click.option(
            "--mapping",
            type=click.Path(path_type=Path),
            help="A TOML file with the mapping of the messages, as `engagement inputs draft` makes it.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_input(settings: Settings, format_: str | None, mapping: Path | None) -> Input | None:
    """Return what --format and --mapping say of the messages; None without them. Raises OperatorMistake.

    Its topic is empty where no table names one.
    """
    if mapping is not None:
        if format_ not in (None, MAPPED):
            raise OperatorMistake(f"--mapping: is for the format {MAPPED}, not {format_}")
        found = _input_of_file(mapping)
        place = f"--mapping {mapping}"
    elif format_ is not None:
        of_format = [one for one in settings.inputs if one.format == format_]
        found = of_format[0] if of_format else Input(topic="", format=format_)
        place = f"--format {format_}"
    else:
        return None
    try:
        check_input(place, found)
    except SettingsError as error:
        raise OperatorMistake(str(error)) from None
    return msgspec.structs.replace(found, name=found.name or found.topic or found.format)


def _input_of_file(path: Path) -> Input:
    """Return the mapped input of a file of settings, or of one that is a mapping. Raises OperatorMistake."""
    try:
        told = read_toml(path)
        if "inputs" not in told:
            return Input(topic="", format=MAPPED, mapping=told)
        inputs = [one for one in msgspec.convert(told["inputs"], list[Input]) if one.format == MAPPED]
    except SettingsError as error:
        raise OperatorMistake(f"--mapping: {error}") from None
    except msgspec.ValidationError as error:
        raise OperatorMistake(f"--mapping {path}: {error}") from None
    if len(inputs) != 1:
        raise OperatorMistake(f"--mapping {path}: needs one table [[inputs]] of the format {MAPPED}, not {len(inputs)}")
    return inputs[0]


def literal_columns(chosen: Input | None) -> frozenset[str]:
    """Return the columns of a table whose cells may be numbers, true or false: of native messages those that need be.

    All others are text, as ids and versions are; a mapping makes of them what its fields need.
    """
    if chosen is not None:
        return frozenset()
    return literal_fields()
