"""`engagement demo`: show the program at work, without Kafka or anything else installed."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from stream.commands.events import record
from stream.commands.formats import chosen_input, format_options
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
    "--input",
    "files",
    multiple=True,
    metavar="FILE",
    help="Show the events of this file, of any kind that `engagement compute` reads, moved up to now, instead of "
    "simulated ones.",
)
@format_options
@strict_option
@click.option(
    "--kafka", metavar="HOST:PORT", help="Use this Kafka, with topics of its own, instead of the embedded broker."
)
@click.option("--port", type=int, help="Port of the server. [default: 8600, or a free one]")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same population."
)
def demo(files: tuple[str, ...], format_: str | None, mapping: Path | None, strict: bool, **options: Any) -> None:
    """Start a broker, load 45 days of simulated history, and show the numbers of live traffic.

    With --input, lines that can't be used are printed and skipped; the exit status is 3 then. Messages of --format or
    --mapping keep their times: the numbers are those of the newest event.

    \b
    Example: engagement demo --scenario drop
    """
    from stream.demo import Demo, DemoOptions
    from stream.simulate.recording import Recording
    from stream.telemetry import configure_logging

    if files and options["speed"] != 1:
        raise OperatorMistake("--speed is for simulated events: with --input nothing comes after the file")
    chosen = chosen_input(Settings(), format_, mapping)
    if chosen is not None and not files:
        raise OperatorMistake("--format and --mapping say what is in the files of --input")
    console, unusable = Console(), UnusableLines(strict=strict)
    with failures_in_one_line(), Recording() as recording:
        if files:
            record(recording, files, Settings(), chosen, unusable)
        try:
            recorded = recording if files else None
            running_demo = Demo(DemoOptions(**options), console, recorded=recorded, recorded_input=chosen)
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
