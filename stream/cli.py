"""The command line: `engagement`. Each command (`commands/`) reads settings, wires the parts, and says what it did."""

import os
import sys
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
from stream.commands.service import health, run, serve, worker
from stream.commands.state import state
from stream.commands.topics import topics
from stream.settings import items, variable
from stream.terminal import load_settings, settings_options

# Kafka's clients and Faust take most of a second to import: the functions of commands that need them import them.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="engagement-stream", prog_name="engagement")
def main() -> None:
    """Live, exact engagement metrics: events from Kafka become gauges for Prometheus.

    \b
    engagement demo                        see it work, without anything else
    engagement compute events.jsonl.gz     numbers of a file, without a broker
    engagement run --kafka localhost:9092  worker and server on your Kafka
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
    topics,
    state,
    dlq,
):
    main.add_command(_command)


@main.command()
@settings_options
def settings(file: Path | None, kafka: str | None) -> None:
    """Print every setting as it stands, and the variable that sets it. Secrets are not shown.

    \b
    Example: ENGAGEMENT_TIMEZONE=Europe/Berlin engagement settings
    """
    for place, value in items(load_settings(file, kafka)):
        shown = ",".join(value) if isinstance(value, tuple) else value
        click.echo(f"{place} = {msgspec.json.encode(shown).decode():<32} # {variable(place)}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example: eval "$(engagement completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells offered here"
    click.echo(kind(main, {}, "engagement", "_ENGAGEMENT_COMPLETE").source())


def program() -> NoReturn:
    """The console script: runs a command, and leaves without tidying up.

    Threads of client libraries would keep a stopped process alive, and to give back the memory of half a million rows
    one by one takes a third of a second.
    """
    try:
        main()
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise AssertionError("click leaves by SystemExit")


if __name__ == "__main__":
    program()
