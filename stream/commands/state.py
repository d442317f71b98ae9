"""`engagement state` and `engagement topics grow`: look at the state and change it, while no worker runs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream.core.time import iso
from stream.redis_url import is_redis_url
from stream.settings import Settings
from stream.terminal import OperatorMistake, failures_in_one_line, load_settings, settings_options

if TYPE_CHECKING:
    from stream.maintenance.partition_state import PartitionState, StateMaintenance

_Result = TypeVar("_Result")

_partition_option = click.option(
    "--partition", type=click.IntRange(0), multiple=True, help="A partition; repeat it for more. [default: all]"
)


@click.group()
def state() -> None:
    """Look at the state of partitions, and decide what to do if it does not fit the topics any more.

    State and topics do not fit after records were deleted before a worker read them, after a topic was created again,
    or after a store was set back. A worker that notices this stops, and names the command that decides it.

    \b
    Example: engagement state inspect --kafka localhost:9092
    """


@state.command()
@settings_options
@_partition_option
@click.option("--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def inspect(file: Path | None, kafka: str | None, partition: tuple[int, ...], as_format: str) -> None:
    """Show how far the state has read each topic and what does not fit. The exit status is 1 if something does not.

    The whole changelog is read; workers may run meanwhile. State in Redis can be read only while no worker runs.

    \b
    Example: engagement state inspect --partition 3 --format json
    """
    settings = load_settings(file, kafka)
    shared = is_redis_url(settings.state.url)
    found = _run(
        settings, "state inspect", lambda opened: _inspect(opened, _chosen(settings, partition), shared=shared)
    )
    if as_format == "json":
        from stream.maintenance.partition_state import as_document

        click.echo(msgspec.json.encode([as_document(held) for held in found]))
    else:
        _print(found)
    problems = [problem for held in found for problem in held.problems]
    for problem in problems:
        click.echo(problem, err=True)
    raise SystemExit(1 if problems else 0)


@state.command()
@settings_options
@click.option("--partition", type=click.IntRange(0), multiple=True, required=True, help="A partition; repeat for more.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def reset(file: Path | None, kafka: str | None, partition: tuple[int, ...], yes: bool) -> None:
    """Delete the state of a partition. Workers then count again all that the topics still hold.

    Records that the topics do not hold any more are then missing from the numbers. Unusable messages are sent to the
    dead letters again. Stop the workers first.

    \b
    Example: engagement state reset --partition 3
    """
    settings = load_settings(file, kafka)
    chosen = _chosen(settings, partition)
    if not yes:
        click.confirm(
            f"delete the state of partition {', '.join(map(str, chosen))} of {settings.app_id!r}?", abort=True
        )

    async def work(maintenance: "StateMaintenance") -> None:
        for number in chosen:
            with _reading_progress(number) as on_progress:
                await maintenance.reset(number, on_progress)
            click.echo(f"partition {number} has no state now and is counted again: start the workers", err=True)

    _run(settings, "state reset", work)


@state.command()
@settings_options
@click.option("--partition", type=click.IntRange(0), multiple=True, required=True, help="A partition; repeat for more.")
def accept(file: Path | None, kafka: str | None, partition: tuple[int, ...]) -> None:
    """Keep the state of a partition, and go on with the topics as they are.

    Records that were deleted before they were read stay uncounted. A topic that was created again is read from its
    beginning. If a higher offset was committed than the state has, the records in between are read again. Stop the
    workers first.

    \b
    Example: engagement state accept --partition 3
    """
    settings = load_settings(file, kafka)

    async def work(maintenance: "StateMaintenance") -> None:
        for number in _chosen(settings, partition):
            with _reading_progress(number) as on_progress:
                accepted = await maintenance.accept(number, on_progress)
            for problem in accepted:
                click.echo(f"accepted: {problem.splitlines()[0]}", err=True)
            click.echo(f"partition {number} keeps its state: start the workers", err=True)

    _run(settings, "state accept", work)


@click.command()
@settings_options
@click.option("--partitions", type=click.IntRange(2), required=True, help="How many partitions each topic shall have.")
def grow(file: Path | None, kafka: str | None, partitions: int) -> None:
    """Add partitions to all topics, and move each user's state to the partition that is the user's then.

    \b
    1. let the workers catch up, and stop them; producers may go on
    2. engagement topics grow --partitions 8
    3. set topics.partitions = 8 for workers and servers, and start them

    No event is lost or counted twice. If the command was interrupted, run it again. It needs disk space for temporary
    files of the size of the whole state.

    \b
    Example: engagement topics grow --partitions 8
    """
    from stream.maintenance.add_partitions import add_partitions

    settings = load_settings(file, kafka, topics__partitions=partitions)
    moved = _run(
        settings,
        "topics grow",
        lambda maintenance: add_partitions(maintenance, partitions, lambda step: click.echo(step, err=True)),
    )
    click.echo(
        f"{moved:,} users moved; start workers and servers with topics.partitions = {partitions} "
        f"(ENGAGEMENT_TOPICS_PARTITIONS={partitions})",
        err=True,
    )


def _chosen(settings: Settings, partitions: tuple[int, ...]) -> list[int]:
    for number in partitions:
        if number >= settings.topics.partitions:
            problem = f"--partition: {number} is none of 0 to {settings.topics.partitions - 1}; topics.partitions is"
            raise OperatorMistake(f"{problem} {settings.topics.partitions}")
    return sorted(set(partitions)) or list(range(settings.topics.partitions))


def _run(settings: Settings, command: str, work: "Callable[[StateMaintenance], Awaitable[_Result]]") -> _Result:
    from stream.kafka.access import required_rights
    from stream.telemetry import configure_logging
    from stream.wiring import open_maintenance

    configure_logging(settings.log, secrets=settings.secrets())

    async def run_with_maintenance() -> _Result:
        with open_maintenance(settings) as opened:
            async with opened:
                return await work(opened)

    with failures_in_one_line(), required_rights(settings, command):
        return asyncio.run(run_with_maintenance())


async def _inspect(maintenance: "StateMaintenance", partitions: list[int], *, shared: bool) -> "list[PartitionState]":
    if shared:  # reading a state in Redis takes it over from its worker
        await maintenance.require_no_workers()
    found = []
    for number in partitions:
        with _reading_progress(number) as on_progress:
            found.append(await maintenance.read_state(number, on_progress))
    return found


@contextmanager
def _reading_progress(partition: int) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while a changelog is read. Without a terminal nothing is shown."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda read, left: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} records"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"partition {partition}", total=None)
        yield lambda read, left: bar.update(task, completed=read, total=read + left)


def _print(found: "list[PartitionState]") -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for held in found:
        console.print(_headline(held), highlight=False)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
        table.add_column("topic")
        for title in ("begins at", "read up to", "committed", "ends at"):
            table.add_column(title, justify="right")
        for topic_offsets in held.offsets:
            offsets = (topic_offsets.first, topic_offsets.position, topic_offsets.committed, topic_offsets.end)
            table.add_row(topic_offsets.topic, *("–" if offset is None else f"{offset:,}" for offset in offsets))
        console.print(table)


def _headline(held: "PartitionState") -> str:
    clock_ms, seal = held.progress.now_ms, held.seal
    parts = [f"partition {held.partition}: {held.rows['user']:,} users"]
    parts.append(f"clock {iso(clock_ms)}" if clock_ms >= 0 else "nothing counted yet")
    if held.changelog is not None:
        parts.append(f"changelog {held.changelog.first:,} to {held.changelog.end:,}")
    if seal is not None:
        parts.append(f"taken over {seal.epoch:,} times, last written {iso(seal.written_ms)}")
    return ", ".join(parts)
