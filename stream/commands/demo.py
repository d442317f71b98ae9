"""`engagement demo`: show the program at work, without Kafka or anything else installed."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from stream.commands.events import record, scenario_option
from stream.commands.formats import chosen_input, format_options
from stream.settings import Settings, Unavailable
from stream.terminal import Failure, OperatorMistake, UnusableLines, failures_in_one_line, strict_option

# A Kafka that is gone never answers who takes leave of it.
_STOP_SECONDS = 3.0
# How long a thread that still waits for Kafka may keep the process from ending, once nothing is left of the demo.
_END_SECONDS = 10.0

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
@scenario_option
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
    from stream.shutdown import exit_after, silence_logging
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
            record(recording, files, Settings().of_files, chosen, unusable)
        try:
            recorded = recording if files else None
            running_demo = Demo(DemoOptions(**options), console, recorded=recorded, recorded_input=chosen)
        except ValueError as error:
            raise OperatorMistake(str(error)) from None
        status = 1
        try:
            with running_demo.open_deployment() as deployment:
                configure_logging(deployment.settings.log)
                try:
                    # Not asyncio.run, which would wait for tasks that can't be cancelled. The process ends here anyway.
                    asyncio.new_event_loop().run_until_complete(_run_demo(running_demo, deployment))
                finally:
                    silence_logging()
            status = unusable.status
        finally:
            exit_after(_END_SECONDS, status)
    console.print("the demo is over; nothing is left of it")
    unusable.exit()


async def _run_demo(running_demo: "Demo", deployment: "Deployment") -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await deployment.start()
    parts = [
        stopping.wait(),
        running_demo.run(deployment),
        deployment.wait_until_broken(),
        running_demo.wait_until_broken(),
    ]
    stopped, *_ = running = [asyncio.ensure_future(part) for part in parts]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.wait(running, timeout=_STOP_SECONDS)
    await asyncio.wait({asyncio.ensure_future(deployment.stop())}, timeout=_STOP_SECONDS)
    for task in done:
        if task is not stopped:
            error = task.exception() or task.result()
            raise Failure(f"the demo broke: {error if isinstance(error, Unavailable) else repr(error)}")
