"""The options --rules and --arrival-order of `engagement compute`, and what they mean."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from stream.core.reconciliation.actions import Recorder
from stream.core.reconciliation.tools import TOOLS
from stream.terminal import OperatorMistake

Command = TypeVar("Command", bound=Callable[..., Any])


def comparison_options(command: Command) -> Command:
    """Add the options to a command."""
    options = (
        click.option(
            "--rules",
            "other_rules",
            type=click.Choice(list(TOOLS)),
            help="Compare closed days with what this tool's documented rules make of the same events.",
        ),
        click.option(
            "--arrival-order",
            is_flag=True,
            help="With --rules: lines are in the order in which they arrived, so the tool's limit for late events"
            " applies.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def recorder_of(name: str | None, arrival_order: bool, *, days: int, not_after_ms: int) -> Recorder | None:
    """Return what keeps events for the tool that is asked for; None without --rules. Raises OperatorMistake."""
    if name is None:
        if arrival_order:
            raise OperatorMistake("--arrival-order: needs --rules")
        return None
    if days == 0:
        raise OperatorMistake("--days: 0 leaves no closed day to compare by --rules")
    late_after_ms = TOOLS[name].late_after_ms
    if arrival_order and late_after_ms is None:
        raise OperatorMistake(f"--arrival-order: {TOOLS[name].title} documents no limit for late events")
    return Recorder(not_after_ms=not_after_ms, late_after_ms=late_after_ms if arrival_order else None)
