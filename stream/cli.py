"""The command line `engagement`. Each command (`commands/`) reads settings, starts what it needs and reports."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click
import msgspec
from click.shell_completion import get_completion_class

from stream.commands.compute import compute
from stream.commands.demo import demo
from stream.commands.dlq import dlq
from stream.commands.events import replay_command, simulate_command
from stream.commands.history import history
from stream.commands.inputs import inputs
from stream.commands.privacy import privacy
from stream.commands.rfm import rfm
from stream.commands.schema import schema
from stream.commands.service import health, run, serve, worker
from stream.commands.state import state
from stream.commands.topics import topics
from stream.settings import TABLES, environment_variable, input_lines, setting_values
from stream.terminal import is_output_error, load_settings, output_failure, settings_options

# Kafka's clients and Faust take most of a second to import, so each command imports them only when it runs.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="engagement-stream", prog_name="engagement")
def main() -> None:
    """Live, exact engagement metrics: events from Kafka become gauges for Prometheus.

    \b
    engagement demo                        see it work, with nothing else installed
    engagement compute events.jsonl.gz     the numbers of a file, without Kafka
    engagement run --kafka localhost:9092  a worker and a server on your Kafka
    """


for _command in (
    run,
    worker,
    serve,
    health,
    history,
    demo,
    simulate_command,
    replay_command,
    compute,
    rfm,
    inputs,
    schema,
    topics,
    state,
    privacy,
    dlq,
):
    main.add_command(_command)


@main.command()
@settings_options
def settings(file: Path | None, kafka: str | None) -> None:
    """Print every setting with its value and the variable that sets it. Secrets are not shown.

    \b
    Example: ENGAGEMENT_TIMEZONE=Europe/Berlin engagement settings
    """
    loaded = load_settings(file, kafka)
    for place, value in setting_values(loaded):
        if place == "inputs":
            continue
        shown = ",".join(value) if isinstance(value, tuple) else value
        variable = "the settings file only" if place in TABLES else environment_variable(place)
        click.echo(f"{place} = {msgspec.json.encode(shown).decode():<32} # {variable}")
    for input_ in loaded.inputs:
        click.echo("\n" + "\n".join(input_lines(input_)))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Example: eval "$(engagement completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells offered here"
    click.echo(kind(main, {}, "engagement", "_ENGAGEMENT_COMPLETE").source())


def program() -> NoReturn:
    """Run a command, and end the process at once when it is done.

    Threads of client libraries would keep a finished process alive, and freeing the memory of half a million rows one
    by one takes a third of a second.
    """
    _replace_closed_output()
    try:
        main()
        raise AssertionError("click leaves by SystemExit")
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except OSError as error:
        if not is_output_error(error):
            raise
        status = _report_output_error(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _report_output_error(error)
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def _report_output_error(error: OSError) -> int:
    """Print that the output can't be written, unless its reader has closed it. Returns the exit status."""
    if not isinstance(error, BrokenPipeError):
        click.echo(f"engagement: {output_failure(error)}", err=True)
    return 1


def _replace_closed_output() -> None:
    """If an output was closed before this process started, open one that refuses what is written to it.

    Python has no stream for a closed output, and the next file or connection that is opened would get its number.
    """
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


if __name__ == "__main__":
    program()
