"""`engagement topics rights`: what each role must be allowed to do in Kafka, as a script, a table or JSON."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table

from stream.settings import Settings
from stream.terminal import OperatorMistake, load_settings, settings_options

if TYPE_CHECKING:
    from stream.kafka.rights import Right

# The names of the roles, here too because only commands that talk to Kafka import what knows what they need.
_ROLES = ("worker", "server", "dlq", "state", "privacy", "topics", "replay", "inputs")

_PLAIN_WIDTH = 160


class _Grant(NamedTuple):
    """What a principal must be allowed to do, and the roles and commands that need it."""

    principal: str
    right: "Right"
    role: str
    commands: list[str]


@click.command()
@settings_options
@click.option(
    "--principal",
    "principals",
    metavar="[ROLE=]PRINCIPAL",
    multiple=True,
    help="Who runs a role, such as worker=User:engagement-worker; without ROLE=, who runs all others. Repeat it for "
    "more. [default: the user of the settings]",
)
@click.option("--role", "roles", type=click.Choice(_ROLES), multiple=True, help="Only this role; repeat it for more.")
@click.option(
    "--read-only",
    is_flag=True,
    help="Leave out what only dlq replay, state reset and accept and privacy erase need.",
)
@click.option("--all", "every", is_flag=True, help="Add what only topics create, topics grow and simulate --live need.")
@click.option("--prefixed", is_flag=True, help="One right for all internal topics, by their prefix.")
@click.option("--old-brokers", is_flag=True, help="Add what brokers before Kafka 2.8 ask of producers.")
@click.option("--bootstrap-server", metavar="HOST:PORT", help="Brokers in the script. [default: kafka.servers]")
@click.option("--command-config", metavar="FILE", default="", help="The settings of an administrator's client.")
@click.option(
    "--format", "as_format", type=click.Choice(["script", "table", "json"]), default="script", show_default=True
)
def rights(
    file: Path | None,
    kafka: str | None,
    principals: tuple[str, ...],
    roles: tuple[str, ...],
    read_only: bool,
    every: bool,
    prefixed: bool,
    old_brokers: bool,
    bootstrap_server: str | None,
    command_config: str,
    as_format: str,
) -> None:
    """Print the least rights that each role needs in Kafka, with the settings of this deployment.

    Nothing is changed and Kafka is not asked. The script has the lines of kafka-acls that an administrator runs.

    \b
    Example: engagement topics rights --principal worker=User:worker --principal User:engagement >rights.sh
    """
    from stream.kafka.rights import CHANGING, RARE

    settings = load_settings(file, kafka)
    who = _principals(principals, settings)
    left_out = (CHANGING if read_only else frozenset()) | (frozenset() if every else RARE)
    chosen = roles or _ROLES
    grants = [
        grant
        for role in chosen
        for grant in _grants(role, who[role], settings, but=left_out, prefixed=prefixed, old_brokers=old_brokers)
    ]
    if as_format == "table":
        console = Console()
        (console if console.is_terminal else Console(width=_PLAIN_WIDTH)).print(_table(grants))
    elif as_format == "json":
        click.echo(msgspec.json.encode([_document(grant) for grant in grants]))
    else:
        _print_script(grants, servers=bootstrap_server or settings.kafka.servers, command_config=command_config)


def _principals(given: Sequence[str], settings: Settings) -> dict[str, str]:
    """Return the principal of each role. Raises OperatorMistake."""
    from stream.kafka.rights import principal_of

    of_role: dict[str, str] = {}
    otherwise = principal_of(settings)
    for one in given:
        role, is_of_role, principal = one.partition("=")
        if is_of_role and role in _ROLES:
            of_role[role] = _with_type(principal, one)
        elif is_of_role and ":" not in role:  # the name of a certificate's subject has an equals sign too
            raise OperatorMistake(f"--principal: {role!r} is not one of {', '.join(_ROLES)}")
        else:
            otherwise = _with_type(one, one)
    return {role: of_role.get(role, otherwise) for role in _ROLES}


def _with_type(principal: str, given: str) -> str:
    if not principal.strip():
        raise OperatorMistake(f"--principal: {given!r} names nobody")
    return principal if ":" in principal else f"User:{principal}"


def _grants(
    role: str, principal: str, settings: Settings, *, but: frozenset[str], prefixed: bool, old_brokers: bool
) -> Iterator[_Grant]:
    from stream.kafka.rights import rights_of_role, with_prefix

    needed = rights_of_role(role, settings, but=but, old_brokers=old_brokers)
    for right, commands in (with_prefix(needed, settings) if prefixed else needed).items():
        yield _Grant(principal, right, role, commands)


def _print_script(grants: Sequence[_Grant], *, servers: str, command_config: str) -> None:
    """Print the lines by principal: one that has several roles gets each right once."""
    from stream.kafka.rights import acl_lines, without_included

    click.echo("#!/bin/sh\n# The least rights that this deployment needs in Kafka. An administrator runs this.\nset -e")
    for principal in dict.fromkeys(grant.principal for grant in grants):
        its = [grant for grant in grants if grant.principal == principal]
        click.echo(f"\n# {principal}: {', '.join(dict.fromkeys(grant.role for grant in its))}")
        for line in acl_lines(
            without_included(grant.right for grant in its),
            principal=principal,
            servers=servers,
            command_config=command_config,
        ):
            click.echo(line)


def _document(grant: _Grant) -> dict[str, object]:
    right = grant.right
    return {
        "role": grant.role,
        "principal": grant.principal,
        "operation": right.operation,
        "resource": right.kind,
        "name": right.name,
        "pattern": right.pattern,
        "commands": grant.commands,
    }


def _table(grants: Sequence[_Grant]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("role", "principal", "operation", "resource", "name", "needed by"):
        table.add_column(title, overflow="fold")
    for grant in grants:
        right = grant.right
        name = right.name if right.pattern == "literal" else f"{right.name}*"
        needed_by = ", ".join(grant.commands)
        table.add_row(grant.role, grant.principal, right.operation, right.kind, name, needed_by)
    return table
