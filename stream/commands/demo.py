"""`engagement demo`: show the program at work, without Kafka or anything else installed."""

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from stream.settings import Settings
from stream.terminal import Failure, OperatorMistake, UnusableLines, failures_in_one_line, strict_option

if TYPE_CHECKING:
    from stream.demo import Demo
    from stream.wiring import Deployment


@click.command()
@click.option("--users", type=click.IntRange(1), default=2_000, show_default=True, help="Size of the population.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 10_000),
    default=1.0,
    show_default=True,
    help="How much faster than real time.",
)
@click.option(
    "--scenario",
    type=click.Choice(["steady", "drop"]),
    default="steady",
    show_default=True,
    help="drop: users come back less often, so stickiness falls.",
)
@click.option(
    "--input", "files", multiple=True, help="Show the events of this file, moved up to now, instead of simulated ones."
)
@strict_option
@click.option(
    "--kafka", metavar="HOST:PORT", help="Use this Kafka, with topics of its own, instead of the embedded broker."
)
@click.option("--port", type=int, help="Port of the server. [default: 8600, or a free one]")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same population."
)
def demo(files: tuple[str, ...], strict: bool, **options: Any) -> None:
    """Start a broker, load 45 days of simulated history, and show the numbers of live traffic.

    With --input, lines that can't be used are printed and skipped; the exit status is 3 then.

    \b
    Example: engagement demo --scenario drop
    """
    from stream.demo import Demo, DemoOptions
    from stream.inputs.registry import kinds
    from stream.simulate.replay import read_events
    from stream.telemetry import configure_logging

    if files and options["speed"] != 1:
        raise OperatorMistake("--speed is for simulated events: with --input nothing comes after the file")
    console, unusable = Console(), UnusableLines(strict=strict)
    with failures_in_one_line():
        max_bytes = Settings().max_message_bytes
        recorded = read_events(files, kinds(), max_message_bytes=max_bytes, on_unusable=unusable.add) if files else None
        unusable.raise_if_strict()
        unusable.raise_if_none_used(len(recorded or ()))
        try:
            running_demo = Demo(DemoOptions(**options), console, recorded=recorded)
        except ValueError as error:
            raise OperatorMistake(str(error)) from None
        with running_demo.open_deployment() as deployment:
            configure_logging(deployment.settings.log)
            asyncio.run(_run_demo(running_demo, deployment))
    console.print("the demo is over; nothing is left of it")
    unusable.exit()


async def _run_demo(running_demo: "Demo", deployment: "Deployment") -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await deployment.start()
    parts = [running_demo.run(deployment), deployment.wait_until_broken(), stopping.wait()]
    running = [asyncio.ensure_future(part) for part in parts]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await asyncio.wait({asyncio.ensure_future(deployment.stop())}, timeout=3.0)
    for task in done:
        if task is not running[2]:
            raise Failure(f"the demo broke: {task.exception() or task.result()!r}")
