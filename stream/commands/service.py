"""`engagement run`, `worker`, `serve` and `health`: the processes of a deployment."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.commands.topics import create_missing_topics
from stream.commands.user_score import explain_score
from stream.settings import Settings, environment_variable
from stream.terminal import Command, Failure, OperatorMistake, failures_in_one_line, load_settings, settings_options

_SECONDS_BETWEEN_PROGRESS_LINES = 2.0
# Docker kills a process 10 s after it was asked to stop.
_STOP_TIMEOUT_SECONDS = 9.0


def _run_child_processes(settings: Settings, given: Mapping[str, str], *, count: int, server: bool) -> None:
    """Run several workers, and a server if asked, as child processes. `given` are environment variables for all."""
    from stream.kafka.access import required_rights
    from stream.processes import ProcessSupervisor, Program
    from stream.telemetry import configure_logging

    configure_logging(settings.log, secrets=settings.secrets())
    with failures_in_one_line(), required_rights(settings, "worker"):
        create_missing_topics(settings)

    def program(name: str, command: str, environment: Mapping[str, str]) -> Program:
        return Program(name, (sys.executable, "-m", "stream.cli", command), {**given, **environment})

    workers = [
        program(f"worker-{number}", "worker", _settings_of_worker(settings, number)) for number in range(1, count + 1)
    ]
    programs = [program("server", "serve", {}), *workers] if server else workers
    raise SystemExit(ProcessSupervisor(programs, stop_within_seconds=_STOP_TIMEOUT_SECONDS).run())


def _settings_of_worker(settings: Settings, number: int) -> dict[str, str]:
    """Return the settings that must differ between workers, as variables: state folder, instance id and port."""
    own = {"worker.processes": "1"}
    if settings.state.url.startswith("rocksdb://"):
        own["state.url"] = f"{settings.state.url.rstrip('/')}/worker-{number}"
    if settings.kafka.instance_id:
        own["kafka.instance_id"] = f"{settings.kafka.instance_id}-{number}"
    if settings.worker.port > 0:
        own["worker.port"] = str(settings.worker.port + number - 1)
    return {environment_variable(place): value for place, value in own.items()}


def _run(file: Path | None, kafka: str | None, *, worker: bool, server: bool, **chosen: Any) -> None:
    """Run a server, a worker or both in this process, or several workers as child processes."""
    from stream.processes import available_cores

    settings = load_settings(file, kafka, **chosen)
    asked = settings.worker.processes
    count = (available_cores() if asked == "auto" else int(asked)) if worker else 1
    if count == 1:
        _run_in_this_process(settings, worker=worker, server=server)
    places = {"kafka__servers": kafka, **chosen}
    given = {
        environment_variable(place.replace("__", ".")): str(value)
        for place, value in places.items()
        if value is not None
    }
    _run_child_processes(
        settings, {**given, **({"ENGAGEMENT_SETTINGS": str(file)} if file else {})}, count=count, server=server
    )


def _run_in_this_process(settings: Settings, *, worker: bool, server: bool) -> NoReturn:
    from stream.kafka.access import required_rights
    from stream.shutdown import exit_after, silence_logging
    from stream.telemetry import configure_logging
    from stream.wiring import Deployment, run_until_stopped

    configure_logging(settings.log, secrets=settings.secrets())
    with failures_in_one_line(), ExitStack() as allowed:
        deployment = Deployment(settings, worker=worker, server=server)
        deployment.check_store()
        if worker:
            allowed.enter_context(required_rights(settings, "worker"))
            create_missing_topics(settings)

        def started() -> None:
            click.echo(f"serving {deployment.address}/metrics" if server else "consuming", err=True)
            if deployment.probes_address is not None:
                click.echo(f"worker at {deployment.probes_address}/readyz", err=True)

        with _recovery_progress() as on_progress:
            stopping = partial(exit_after, _STOP_TIMEOUT_SECONDS)
            running = run_until_stopped(deployment, on_start=started, on_recovery=on_progress, on_stop=stopping)
            try:
                # Not asyncio.run, which would wait for tasks that can't be cancelled. The process ends here anyway.
                status = asyncio.new_event_loop().run_until_complete(running)
            finally:
                silence_logging()
    raise SystemExit(status)


@contextmanager
def _recovery_progress() -> Iterator[Callable[[int, int], None]]:
    """Show how far the recovery of the state has got: as a bar, or without a terminal as a line every few seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last_line = [0.0]

        def on_progress(rows: int, left: int) -> None:
            if time.monotonic() - last_line[0] > _SECONDS_BETWEEN_PROGRESS_LINES:
                last_line[0] = time.monotonic()
                click.echo(f"recovering the state: {rows:,} rows read, {left:,} to read", err=True)

        yield on_progress
        return
    columns = (TextColumn("recovering the state"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)

        def show(rows: int, left: int) -> None:
            progress.update(task, completed=rows, total=rows + left, visible=left > 0)

        yield show


def _server_options(command: Command) -> Command:
    for option in (
        click.option("--port", type=int, help="Port of the server. Setting: server.port. 0 takes a free one."),
        click.option("--host", help="Address to listen on. Setting: server.host. [default: 127.0.0.1]"),
    ):
        command = option(command)
    return command


_clock_option = click.option(
    "--clock",
    type=click.Choice(["wall", "event"]),
    help="event: let the windows end at the newest event instead of now. For old data.",
)


def _worker_options(command: Command) -> Command:
    for option in (
        click.option(
            "--standbys",
            type=click.IntRange(0),
            help="How many other workers follow each partition, to take it over faster. Setting: state.standbys.",
        ),
        click.option(
            "--instance-id",
            help="Name of this worker, kept over restarts: after a short restart it keeps its partitions. Setting: "
            "kafka.instance_id.",
        ),
        click.option(
            "--workers",
            "processes",
            metavar="N",
            help="How many workers to run, each in its own process. auto: one for each core. Setting: "
            "worker.processes. [default: 1]",
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
    """Run a worker and a server: in one process, or with --workers in several processes.

    \b
    Example: engagement run --kafka localhost:9092
    """
    chosen = {"server__host": host, "server__port": port, **_worker_settings(instance_id, standbys, processes, clock)}
    _run(file, kafka, worker=True, server=True, **chosen)


def _worker_settings(
    instance_id: str | None, standbys: int | None, processes: str | None, clock: str | None
) -> dict[str, Any]:
    chosen = {"kafka__instance_id": instance_id, "state__standbys": standbys, "worker__processes": processes}
    return {**chosen, "clock": clock}


@click.command()
@settings_options
@_worker_options
@_clock_option
@click.option("--host", help="Address of the worker's own pages. Setting: worker.host. [default: 127.0.0.1]")
@click.option(
    "--port", type=int, help="Port of the worker's /livez and /readyz. Setting: worker.port. [default: no such pages]"
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
    """Run a worker, or several, without a server. All workers of a deployment share the partitions.

    \b
    Example: ENGAGEMENT_STATE_URL=rocksdb:///var/lib/engagement engagement worker --kafka kafka:9092
    """
    chosen = {"worker__host": host, "worker__port": port, **_worker_settings(instance_id, standbys, processes, clock)}
    _run(file, kafka, worker=True, server=False, **chosen)


@click.command()
@settings_options
@_server_options
def serve(file: Path | None, kafka: str | None, host: str | None, port: int | None) -> None:
    """Run a server: it serves the page, /metrics and the API from the reports of the workers.

    \b
    Example: engagement serve --kafka kafka:9092 --host 0.0.0.0 --port 8600
    """
    _run_in_this_process(load_settings(file, kafka, server__host=host, server__port=port), worker=False, server=True)


@click.command()
@settings_options
@click.argument("user", required=False)
@click.option("--worker", "of_worker", is_flag=True, help="Ask the worker (worker.port) instead of the server.")
@click.option("--json", "as_json", is_flag=True, help="Of a user: as JSON, as the topic of scores has it.")
def health(file: Path | None, kafka: str | None, user: str | None, of_worker: bool, as_json: bool) -> None:
    """Ask the running server, or worker, whether it is ready. The exit status is 1 if it is not.

    With USER, tell instead what the health score of this user is made of at the end of the last closed day. It is read
    from the state of the deployment with these settings, whose workers may run meanwhile. The id of a device of which
    no user is known begins with `anonymous:`.

    \b
    Example: engagement health
             engagement health ada --kafka localhost:9092
    """
    if user is not None:
        if of_worker:
            raise OperatorMistake("--worker: asks whether a worker is ready, which no user is")
        explain_score(load_settings(file, kafka), user, as_json=as_json)
        return
    if as_json:
        raise OperatorMistake("--json: is for the score of a user: none is named")
    from stream.export.address import host_and_port
    from stream.export.probes import ask

    settings = load_settings(file, kafka)
    place = "worker" if of_worker else "server"
    asked = settings.worker if of_worker else settings.server
    if asked.port <= 0:
        raise OperatorMistake(f"{place}.port: {asked.port} is no port that can be asked")
    try:
        ready, answer = ask(asked.host, asked.port)
    except OSError as error:
        raise Failure(f"nobody answers at {host_and_port(asked.host, asked.port)}: {error.strerror or error}") from None
    click.echo(answer)
    raise SystemExit(0 if ready else 1)
