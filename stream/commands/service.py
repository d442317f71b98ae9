"""`engagement run`, `worker`, `serve` and `health`: the processes of a deployment."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.commands.topics import make_topics
from stream.settings import Settings, variable
from stream.terminal import BadUse, Command, Failure, load_settings, settings_options, told

_SECONDS_BETWEEN_LINES = 2.0
# Docker kills after 10 s who was asked to stop.
_LONGEST_STOP_SECONDS = 9.0


def _share(settings: Settings, given: Mapping[str, str], *, count: int, server: bool) -> None:
    """Run several workers, and a server if asked, as processes of this one. `given` is the environment of all."""
    from stream.processes import Processes, Program
    from stream.telemetry import configure_logging

    configure_logging(settings.log, secrets=settings.secrets())
    with told():
        make_topics(settings)

    def program(name: str, command: str, environment: Mapping[str, str]) -> Program:
        return Program(name, (sys.executable, "-m", "stream.cli", command), {**given, **environment})

    workers = [program(f"worker-{number}", "worker", _of_one(settings, number)) for number in range(1, count + 1)]
    programs = [program("server", "serve", {}), *workers] if server else workers
    raise SystemExit(Processes(programs, stop_within_seconds=_LONGEST_STOP_SECONDS).run())


def _of_one(settings: Settings, number: int) -> dict[str, str]:
    """What makes one of several workers another one than the rest: its folder, its name, its port."""
    own = {"worker.processes": "1"}
    if settings.state.url.startswith("rocksdb://"):
        own["state.url"] = f"{settings.state.url.rstrip('/')}/worker-{number}"
    if settings.kafka.instance_id:
        own["kafka.instance_id"] = f"{settings.kafka.instance_id}-{number}"
    if settings.worker.port > 0:
        own["worker.port"] = str(settings.worker.port + number - 1)
    return {variable(place): value for place, value in own.items()}


def _started(file: Path | None, kafka: str | None, *, worker: bool, server: bool, **chosen: Any) -> None:
    """Run what was asked for, with a worker or with several."""
    from stream.processes import cores

    settings = load_settings(file, kafka, **chosen)
    asked = settings.worker.processes
    count = (cores() if asked == "auto" else int(asked)) if worker else 1
    if count == 1:
        _serve(settings, worker=worker, server=server)
    places = {"kafka__servers": kafka, **chosen}
    given = {variable(place.replace("__", ".")): str(told) for place, told in places.items() if told is not None}
    _share(settings, {**given, **({"ENGAGEMENT_SETTINGS": str(file)} if file else {})}, count=count, server=server)


def _serve(settings: Settings, *, worker: bool, server: bool) -> NoReturn:
    from stream.ending import be_silent, end_within
    from stream.telemetry import configure_logging
    from stream.wiring import Deployment, run_until_stopped

    configure_logging(settings.log, secrets=settings.secrets())
    with told():
        if worker:
            make_topics(settings)
        deployment = Deployment(settings, worker=worker, server=server)

        def started() -> None:
            click.echo(f"serving {deployment.address}/metrics" if server else "consuming", err=True)
            if deployment.probes_address is not None:
                click.echo(f"worker at {deployment.probes_address}/readyz", err=True)

        with _recovery_progress() as tell:
            stopping = partial(end_within, _LONGEST_STOP_SECONDS)
            running = run_until_stopped(deployment, on_start=started, on_recovery=tell, on_stop=stopping)
            try:
                # Not asyncio.run: it would wait for tasks that can't be cancelled. The process ends here.
                status = asyncio.new_event_loop().run_until_complete(running)
            finally:
                be_silent()
    raise SystemExit(status)


@contextmanager
def _recovery_progress() -> Iterator[Callable[[int, int], None]]:
    """A bar while state is read from its changelog; without a terminal a line every few seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        told = [0.0]

        def tell(rows: int, left: int) -> None:
            if time.monotonic() - told[0] > _SECONDS_BETWEEN_LINES:
                told[0] = time.monotonic()
                click.echo(f"recovering the state: {rows:,} rows read, {left:,} to read", err=True)

        yield tell
        return
    columns = (TextColumn("recovering the state"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)

        def show(rows: int, left: int) -> None:
            progress.update(task, completed=rows, total=rows + left, visible=left > 0)

        yield show


def _server_options(command: Command) -> Command:
    for option in (
        click.option("--port", type=int, help="Port of the server; the setting server.port. 0 picks a free one."),
        click.option("--host", help="Address to listen on; the setting server.host, 127.0.0.1 unless asked."),
    ):
        command = option(command)
    return command


_clock_option = click.option(
    "--clock",
    type=click.Choice(["wall", "event"]),
    help="event: windows end at the newest event instead of now, for old data.",
)


def _worker_options(command: Command) -> Command:
    for option in (
        click.option(
            "--standbys",
            type=click.IntRange(0),
            help="Workers that follow each partition to take over faster; the setting state.standbys.",
        ),
        click.option(
            "--instance-id",
            help="This worker's own name, kept over restarts, so that a short one moves no partition; the setting "
            "kafka.instance_id.",
        ),
        click.option(
            "--workers",
            "processes",
            metavar="N",
            help="Workers, each a process of its own; auto: one a core. The setting worker.processes, 1 unless asked.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@settings_options
@_server_options
@_worker_options
@_clock_option
def run(
    file: Path | None,
    kafka: str | None,
    host: str | None,
    port: int | None,
    instance_id: str | None,
    standbys: int | None,
    processes: str | None,
    clock: str | None,
) -> None:
    """Run worker and server: in one process, or with --workers in several.

    \b
    Example: engagement run --kafka localhost:9092
    """
    chosen = {"server__host": host, "server__port": port, **_of_worker(instance_id, standbys, processes, clock)}
    _started(file, kafka, worker=True, server=True, **chosen)


def _of_worker(
    instance_id: str | None, standbys: int | None, processes: str | None, clock: str | None
) -> dict[str, Any]:
    chosen = {"kafka__instance_id": instance_id, "state__standbys": standbys, "worker__processes": processes}
    return {**chosen, "clock": clock}


@click.command()
@settings_options
@_worker_options
@_clock_option
@click.option("--host", help="Address of the worker's own pages; the setting worker.host, 127.0.0.1 unless asked.")
@click.option(
    "--port", type=int, help="Port of its /livez and /readyz; the setting worker.port. No listener unless asked."
)
def worker(
    file: Path | None,
    kafka: str | None,
    host: str | None,
    port: int | None,
    instance_id: str | None,
    standbys: int | None,
    processes: str | None,
    clock: str | None,
) -> None:
    """Run workers only, without a server; all there are share the partitions.

    \b
    Example: ENGAGEMENT_STATE_URL=rocksdb:///var/lib/engagement engagement worker --kafka kafka:9092
    """
    chosen = {"worker__host": host, "worker__port": port, **_of_worker(instance_id, standbys, processes, clock)}
    _started(file, kafka, worker=True, server=False, **chosen)


@click.command()
@settings_options
@_server_options
def serve(file: Path | None, kafka: str | None, host: str | None, port: int | None) -> None:
    """Run a server only: /metrics and the API, from what the workers report.

    \b
    Example: engagement serve --kafka kafka:9092 --host 0.0.0.0 --port 8600
    """
    _serve(load_settings(file, kafka, server__host=host, server__port=port), worker=False, server=True)


@click.command()
@settings_options
@click.option("--worker", "of_worker", is_flag=True, help="Ask the worker at worker.port instead of the server.")
def health(file: Path | None, kafka: str | None, of_worker: bool) -> None:
    """Ask the server, or a worker, that runs with these settings whether it is ready; exits with 1 when it is not.

    \b
    Example: engagement health
    """
    from stream.export.address import place_of
    from stream.export.probes import ask

    settings = load_settings(file, kafka)
    place = "worker" if of_worker else "server"
    asked = settings.worker if of_worker else settings.server
    if asked.port <= 0:
        raise BadUse(f"{place}.port: {asked.port} is no port that can be asked")
    try:
        ready, told = ask(asked.host, asked.port)
    except OSError as error:
        raise Failure(f"nobody answers at {place_of(asked.host, asked.port)}: {error.strerror or error}") from None
    click.echo(told)
    raise SystemExit(0 if ready else 1)
