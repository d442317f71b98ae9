"""`engagement state` and `engagement topics grow`: what an operator decides about state while no worker runs."""

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
from stream.terminal import BadUse, load_settings, settings_options, told

if TYPE_CHECKING:
    from stream.upkeep.state import Held, Upkeep

_Result = TypeVar("_Result")

_partition_option = click.option(
    "--partition", type=click.IntRange(0), multiple=True, help="The partition; several, or none for all."
)


@click.group()
def state() -> None:
    """Look at the state of partitions, or decide what to do when it does not fit the topics any more.

    A worker that finds state and topics at odds (records deleted before they were read, a topic created again, a store
    set back) stops and says which of these commands decides it.

    \b
    Example: engagement state inspect --kafka localhost:9092
    """


@state.command()
@settings_options
@_partition_option
@click.option("--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def inspect(file: Path | None, kafka: str | None, partition: tuple[int, ...], as_format: str) -> None:
    """Show how far state has read, what the topics hold, and what does not fit; exits with 1 when something does not.

    The changelog is read whole, workers may run; state in Redis is looked at while they are stopped.

    \b
    Example: engagement state inspect --partition 3 --format json
    """
    settings = load_settings(file, kafka)
    shared = is_redis_url(settings.state.url)
    found = _run(settings, lambda upkeep: _inspect(upkeep, _chosen(settings, partition), shared=shared))
    if as_format == "json":
        from stream.upkeep.state import as_document

        click.echo(msgspec.json.encode([as_document(held) for held in found]))
    else:
        _print(found)
    problems = [problem for held in found for problem in held.problems]
    for problem in problems:
        click.echo(problem, err=True)
    raise SystemExit(1 if problems else 0)


@state.command()
@settings_options
@click.option("--partition", type=click.IntRange(0), multiple=True, required=True, help="The partition; several.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def reset(file: Path | None, kafka: str | None, partition: tuple[int, ...], yes: bool) -> None:
    """Give the state of a partition up: workers count again all that the topics still hold.

    What the topics have lost by now is lost for the numbers too; dead letters are written again. Stop the workers
    first.

    \b
    Example: engagement state reset --partition 3
    """
    settings = load_settings(file, kafka)
    chosen = _chosen(settings, partition)
    if not yes:
        click.confirm(
            f"give up the state of partition {', '.join(map(str, chosen))} of {settings.app_id!r}?", abort=True
        )

    async def work(upkeep: "Upkeep") -> None:
        for number in chosen:
            with _reading(number) as tell:
                await upkeep.reset(number, tell)
            click.echo(f"partition {number} begins anew: start the workers", err=True)

    _run(settings, work)


@state.command()
@settings_options
@click.option("--partition", type=click.IntRange(0), multiple=True, required=True, help="The partition; several.")
def accept(file: Path | None, kafka: str | None, partition: tuple[int, ...]) -> None:
    """Keep the state of a partition, and go on with the topics as they are.

    Where records were deleted before they were read, they stay uncounted; a topic that was created again is read from
    its beginning; where more was committed than the state knows of, it is read again. Stop the workers first.

    \b
    Example: engagement state accept --partition 3
    """
    settings = load_settings(file, kafka)

    async def work(upkeep: "Upkeep") -> None:
        for number in _chosen(settings, partition):
            with _reading(number) as tell:
                accepted = await upkeep.accept(number, tell)
            for problem in accepted:
                click.echo(f"accepted: {problem.splitlines()[0]}", err=True)
            click.echo(f"partition {number} goes on as it is: start the workers", err=True)

    _run(settings, work)


@click.command()
@settings_options
@click.option("--partitions", type=click.IntRange(2), required=True, help="How many each topic is to have.")
def grow(file: Path | None, kafka: str | None, partitions: int) -> None:
    """Give each topic more partitions, and move users to those that are theirs then.

    \b
    1. let the workers catch up, and stop them; producers may go on
    2. engagement topics grow --partitions 8
    3. set topics.partitions = 8 for workers and servers, and start them

    Nothing is counted twice or lost; a run that was interrupted is started again. It needs room for the state of all
    partitions on the disk of temporary files.

    \b
    Example: engagement topics grow --partitions 8
    """
    from stream.upkeep.growth import grow as grow_partitions

    settings = load_settings(file, kafka, topics__partitions=partitions)
    moved = _run(settings, lambda upkeep: grow_partitions(upkeep, partitions, lambda step: click.echo(step, err=True)))
    click.echo(
        f"{moved:,} users moved; start workers and servers with topics.partitions = {partitions} "
        f"(ENGAGEMENT_TOPICS_PARTITIONS={partitions})",
        err=True,
    )


def _chosen(settings: Settings, partitions: tuple[int, ...]) -> list[int]:
    for number in partitions:
        if number >= settings.topics.partitions:
            told = f"--partition: {number} is none of 0 to {settings.topics.partitions - 1}; topics.partitions is"
            raise BadUse(f"{told} {settings.topics.partitions}")
    return sorted(set(partitions)) or list(range(settings.topics.partitions))


def _run(settings: Settings, work: "Callable[[Upkeep], Awaitable[_Result]]") -> _Result:
    from stream.telemetry import configure_logging
    from stream.wiring import upkeep

    configure_logging(settings.log, secrets=settings.secrets())

    async def with_upkeep() -> _Result:
        with upkeep(settings) as opened:
            async with opened:
                return await work(opened)

    with told():
        return asyncio.run(with_upkeep())


async def _inspect(upkeep: "Upkeep", partitions: list[int], *, shared: bool) -> "list[Held]":
    if shared:  # to read it is to take it over
        await upkeep.refuse_workers()
    found = []
    for number in partitions:
        with _reading(number) as tell:
            found.append(await upkeep.held(number, tell))
    return found


@contextmanager
def _reading(partition: int) -> Iterator[Callable[[int, int], None]]:
    """A bar while a changelog is read; nothing without a terminal."""
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


def _print(found: "list[Held]") -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for held in found:
        console.print(_headline(held), highlight=False)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
        table.add_column("topic")
        for title in ("begins at", "read up to", "committed", "ends at"):
            table.add_column(title, justify="right")
        for place in held.places:
            offsets = (place.first, place.position, place.committed, place.end)
            table.add_row(place.topic, *("–" if offset is None else f"{offset:,}" for offset in offsets))
        console.print(table)


def _headline(held: "Held") -> str:
    clock_ms, seal = held.progress.now_ms, held.seal
    told = [f"partition {held.partition}: {held.rows['user']:,} users"]
    told.append(f"clock {iso(clock_ms)}" if clock_ms >= 0 else "nothing counted yet")
    if held.changelog is not None:
        told.append(f"changelog {held.changelog.first:,} to {held.changelog.end:,}")
    if seal is not None:
        told.append(f"taken over {seal.epoch:,} times, last written {iso(seal.written_ms)}")
    return ", ".join(told)
