"""The command line: `engagement`. Each command reads its settings, wires the parts, and says what it did."""

import asyncio
import gc
import gzip
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import click
import msgspec
from click.shell_completion import get_completion_class
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from stream.cli_dlq import dlq
from stream.cli_state import grow, state
from stream.core.offline import Offline
from stream.core.time import iso
from stream.export.documents import as_document
from stream.export.table import print_computed
from stream.settings import Settings, items
from stream.terminal import BadUse as _BadUse
from stream.terminal import Command as _Command
from stream.terminal import Failure as _Failure
from stream.terminal import load_settings as _load
from stream.terminal import moment as _moment
from stream.terminal import progress as _progress
from stream.terminal import settings_options as _settings_options
from stream.terminal import told as _told

if TYPE_CHECKING:
    from stream.demo import Demo
    from stream.wiring import Deployment

# Kafka's clients and Faust take most of a second to import: commands that need them import them.

_SECONDS_BETWEEN_LINES = 2.0
# Docker kills after 10 s who was asked to stop.
_LONGEST_STOP_SECONDS = 9.0
_PLAIN_WIDTH = 120
_BLOCK_BYTES = 1024 * 1024


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="engagement-stream", prog_name="engagement")
def main() -> None:
    """Live, exact engagement metrics: events from Kafka become gauges for Prometheus.

    \b
    engagement demo                        see it work, without anything else
    engagement compute events.jsonl.gz     numbers of a file, without a broker
    engagement run --kafka localhost:9092  worker and server on your Kafka
    """


main.add_command(dlq)


# -- the service -------------------------------------------------------------------------------------------------


def _serve(settings: Settings, *, worker: bool, server: bool) -> None:
    from stream.ending import be_silent, end_within
    from stream.telemetry import configure_logging
    from stream.wiring import Deployment, run_until_stopped

    configure_logging(settings.log, secrets=settings.secrets())
    with _told():
        if worker:
            _make_topics(settings)
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


def _make_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names."""
    from stream.agents.inventory import topic_specs
    from stream.agents.kafka_options import client_options
    from stream.agents.topics import check_topics, create_topics

    specs, options = topic_specs(settings), client_options(settings)
    # Looked at before any is made: topics of the wrong size beside those of the right one help nobody.
    problems = [problem for problem in check_topics(specs, client_options=options) if not problem.is_missing]
    if problems:
        raise _BadUse("\n".join(f"{problem.problem}\n  mend it with: {problem.remedy}" for problem in problems))
    return create_topics(specs, client_options=options, replication=settings.topics.replication)


def _server_options(command: _Command) -> _Command:
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


def _worker_options(command: _Command) -> _Command:
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
    ):
        command = option(command)
    return command


@main.command()
@_settings_options
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
    clock: str | None,
) -> None:
    """Run worker and server in one process.

    \b
    Example: engagement run --kafka localhost:9092
    """
    chosen = {"server__host": host, "server__port": port, **_of_worker(instance_id, standbys, clock)}
    _serve(_load(file, kafka, **chosen), worker=True, server=True)


def _of_worker(instance_id: str | None, standbys: int | None, clock: str | None) -> dict[str, Any]:
    return {"kafka__instance_id": instance_id, "state__standbys": standbys, "clock": clock}


@main.command()
@_settings_options
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
    clock: str | None,
) -> None:
    """Run a worker only; several share the partitions.

    \b
    Example: ENGAGEMENT_STATE_URL=rocksdb:///var/lib/engagement engagement worker --kafka kafka:9092
    """
    chosen = {"worker__host": host, "worker__port": port, **_of_worker(instance_id, standbys, clock)}
    _serve(_load(file, kafka, **chosen), worker=True, server=False)


@main.command()
@_settings_options
@_server_options
def serve(file: Path | None, kafka: str | None, host: str | None, port: int | None) -> None:
    """Run a server only: /metrics and the API, from what the workers report.

    \b
    Example: engagement serve --kafka kafka:9092 --host 0.0.0.0 --port 8600
    """
    _serve(_load(file, kafka, server__host=host, server__port=port), worker=False, server=True)


@main.command()
@_settings_options
@click.option("--worker", "of_worker", is_flag=True, help="Ask the worker at worker.port instead of the server.")
def health(file: Path | None, kafka: str | None, of_worker: bool) -> None:
    """Ask the server, or a worker, that runs with these settings whether it is ready; exits with 1 when it is not.

    \b
    Example: engagement health
    """
    from stream.export.probes import ask

    settings = _load(file, kafka)
    place = "worker" if of_worker else "server"
    asked = settings.worker if of_worker else settings.server
    if asked.port <= 0:
        raise _BadUse(f"{place}.port: {asked.port} is no port that can be asked")
    try:
        ready, told = ask(asked.host, asked.port)
    except OSError as error:
        raise _Failure(f"nobody answers at {asked.host}:{asked.port}: {error.strerror or error}") from None
    click.echo(told)
    raise SystemExit(0 if ready else 1)


# -- the demo ----------------------------------------------------------------------------------------------------


@main.command()
@click.option("--users", type=click.IntRange(1), default=2_000, show_default=True, help="Size of the population.")
@click.option(
    "--speed", type=click.FloatRange(0.1, 10_000), default=1.0, show_default=True, help="Live time, times so fast."
)
@click.option(
    "--scenario",
    type=click.Choice(["steady", "drop"]),
    default="steady",
    show_default=True,
    help="drop: less stickiness.",
)
@click.option(
    "--input", "files", multiple=True, help="Show this file's events, moved up to now, instead of simulated ones."
)
@click.option(
    "--kafka", metavar="HOST:PORT", help="Use this Kafka, with topics of its own, instead of the embedded broker."
)
@click.option("--port", type=int, help="Port of the server. [default: 8600, or a free one]")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same population."
)
def demo(**options: Any) -> None:
    """See it work: a broker, 45 days of history, then live traffic and its numbers.

    \b
    Example: engagement demo --scenario drop
    """
    from stream.demo import Demo, DemoOptions
    from stream.telemetry import configure_logging

    options["input"] = tuple(options.pop("files"))
    if options["input"] and options["speed"] != 1:
        raise _BadUse("--speed is for simulated events: with --input nothing comes after the file")
    console = Console()
    with _told():
        try:
            shown = Demo(DemoOptions(**options), console)
        except ValueError as error:
            raise _BadUse(str(error)) from None
        with shown.prepared() as deployment:
            configure_logging(deployment.settings.log)
            asyncio.run(_run_demo(shown, deployment))
    console.print("the demo is over; nothing is left of it")


async def _run_demo(shown: "Demo", deployment: "Deployment") -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await deployment.start()
    parts = [shown.run(deployment), deployment.broken(), stopping.wait()]
    running = [asyncio.ensure_future(part) for part in parts]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await asyncio.wait({asyncio.ensure_future(deployment.stop())}, timeout=3.0)
    for task in done:
        if task is not running[2]:
            raise _Failure(f"the demo broke: {task.exception() or task.result()!r}")


# -- events in, without a service --------------------------------------------------------------------------------


@main.command(name="simulate")
@click.option("--users", type=int, default=2_000, show_default=True)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=35.0, show_default=True, help="Length of the span."
)
@click.option("--until", metavar="TIME", help="End of the span, ISO 8601 or an epoch number. [default: now]")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same events.")
@click.option("--scenario", type=click.Choice(["steady", "drop"]), default="steady", show_default=True)
@click.option("--late", type=float, default=0.0, help="Share of events that arrive minutes to two days late.")
@click.option("--duplicate", type=float, default=0.0, help="Share of events sent twice.")
@click.option("--shuffled", type=float, default=0.0, help="Share of events that arrive a little out of order.")
@click.option("--misrouted", type=float, default=0.0, help="Share of events under a wrong key.")
@click.option("--bot", type=float, default=0.0, help="Events of crawlers, as a share of the others.")
@click.option("--broken", type=float, default=0.0, help="Unusable messages, as a share of the others.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("-"),
    help="A file of JSON lines, .gz too. [default: standard output]",
)
@click.option("--live", is_flag=True, help="With --kafka: go on from now, each event when it happens, until stopped.")
@_settings_options
def simulate_command(
    days: float, until: str | None, output: Path, live: bool, file: Path | None, kafka: str | None, **population: Any
) -> None:
    """Make up the events of a believable population: as JSON lines, or into Kafka with --kafka.

    With --live the population goes on after its history; started again it goes on where it ended.

    \b
    Example: engagement simulate --users 500 --days 7 --duplicate 0.01 --output events.jsonl.gz
    """
    from stream.agents.kafka_options import client_options
    from stream.simulate.producer import EventProducer
    from stream.simulate.simulator import SimulatorSettings, simulate

    asked_ms = _moment(until, "--until")
    end_ms = time.time_ns() // 1_000_000 if asked_ms is None else asked_ms
    if live:
        if kafka is None or asked_ms is not None:
            raise _BadUse("--live: needs --kafka, and no --until")
        _simulate_live(_load(file, kafka), days=days, now_ms=end_ms, population=population)
        return
    try:
        events = simulate(SimulatorSettings(**population), start_ms=end_ms - int(days * 86_400_000), end_ms=end_ms)
        first = list(islice(events, 1))  # what can't be simulated is refused with the first event
    except (ValueError, OverflowError) as error:
        raise _BadUse(str(error)) from None
    events = chain(first, events)
    count = 0
    with _told():
        if kafka is not None:
            chosen = _load(file, kafka)
            with EventProducer(client_options(chosen)) as producer:
                for event in events:
                    producer.send(chosen.input_topics[event.topic], event.key, event.value)
                    count += 1
        else:
            with _writing(output) as sink:
                for event in events:
                    sink.write(_with_topic(event.topic, event.value))
                    count += 1
    click.echo(f"{count:,} events", err=True)


def _simulate_live(settings: Settings, *, days: float, now_ms: int, population: dict[str, Any]) -> None:
    """Send a population's history and then what it does, until SIGINT or SIGTERM."""
    from stream.agents.kafka_options import client_options
    from stream.simulate.live import FOR_EVER_MS, resumes_at_ms, send_as_they_happen
    from stream.simulate.producer import EventProducer
    from stream.simulate.simulator import SimulatorSettings, simulate

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        world = SimulatorSettings(**population).with_drop_before(now_ms)
    except ValueError as error:
        raise _BadUse(str(error)) from None
    topics, options = settings.input_topics, client_options(settings)
    with _told():
        start_ms = resumes_at_ms(options, topics.values(), otherwise_ms=now_ms - int(days * 86_400_000))
        with EventProducer(options) as producer:
            count = send_as_they_happen(
                simulate(world, start_ms=start_ms, end_ms=now_ms + FOR_EVER_MS),
                producer,
                topics=topics,
                wait=stopping.wait,
                now_ms=lambda: time.time_ns() // 1_000_000,
                on_live=lambda sent: click.echo(f"{sent:,} events since {iso(start_ms)} are sent; now live", err=True),
            )
    click.echo(f"{count:,} events", err=True)


def _with_topic(topic: str, value: bytes) -> bytes:
    """A line of a file: the event with its topic; what is broken stays broken, as long as it is one line."""
    start = b'{"topic":"%s",' % topic.encode()
    line = start + value[1:] if value[:1] == b"{" and value[1:2] != b"}" else value
    return line.replace(b"\n", b" ") + b"\n"


@contextmanager
def _writing(output: Path) -> Iterator[BinaryIO]:
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif output.suffix == ".gz":
        with gzip.open(output, "wb") as packed:
            yield packed  # type: ignore[misc]
    else:
        with output.open("wb") as plain:
            yield plain


@main.command(name="replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--rate", type=float, help="Events a second at most.")
@click.option("--rebase", "rebased", is_flag=True, help="Shift all times so that the last event is now.")
@click.option("--skip-invalid", is_flag=True, help="Leave out lines that can't be sent, instead of refusing the file.")
@_settings_options
def replay_command(
    files: tuple[str, ...], rate: float | None, rebased: bool, skip_invalid: bool, file: Path | None, kafka: str | None
) -> None:
    """Send files of events to their topics, in order of event time.

    FILE holds JSON lines, each an event with its `topic`; .gz too, - is standard input.

    \b
    Example: engagement replay events.jsonl.gz --kafka localhost:9092 --rebase
    """
    from stream.agents.kafka_options import client_options
    from stream.simulate.replay import InvalidLine, read_events, rebase, replay

    settings = _load(file, kafka)
    skipped: list[InvalidLine] = []
    with _told():
        try:
            events = read_events(list(files), on_invalid=skipped.append if skip_invalid else None)
        except ValueError as error:
            raise _BadUse(str(error)) from None
        if rebased:
            events = rebase(events, now_ms=time.time_ns() // 1_000_000)
        topics = settings.input_topics
        unknown = sorted({event.topic for event in events} - set(topics))
        if unknown:
            raise _BadUse(f"unknown topic {', '.join(map(repr, unknown))}: events go to {', '.join(topics)}")
        events = [event._replace(topic=topics[event.topic]) for event in events]
        with _progress("sending", len(events)) as tell:
            try:
                summary = replay(events, client_options(settings), rate=rate, on_progress=tell)
            except ValueError as error:
                raise _BadUse(str(error)) from None
    left_out = f", {len(skipped):,} lines left out" if skipped else ""
    click.echo(f"{summary.events:,} events sent in {summary.seconds:.1f} s{left_out}", err=True)


# -- numbers of files --------------------------------------------------------------------------------------------


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--at", metavar="TIME", help="The moment the numbers are for; later events are ignored. [default: newest event]"
)
@click.option("--days", type=click.IntRange(0), default=1, show_default=True, help="How many closed days to print.")
@click.option("--timezone", metavar="ZONE", help="IANA time zone that cuts days; the setting timezone.")
@click.option("--settings", "file", type=click.Path(path_type=Path), envvar="ENGAGEMENT_SETTINGS", help="A TOML file.")
@click.option("--format", "as_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
def compute(
    files: tuple[str, ...], at: str | None, days: int, timezone: str | None, file: Path | None, as_format: str
) -> None:
    """Compute the numbers of files of events, without a broker.

    FILE holds JSON lines, each an event with its `topic`; .gz too, - is standard input. Nothing is too late, and the
    files need not be in order of time.

    \b
    Example: engagement compute events.jsonl.gz --at 2024-06-30T02:00:00Z --days 7
    """
    settings = _load(file, timezone=timezone)
    offline = Offline(settings.rules, at_ms=_moment(at, "--at"))
    click.get_current_context().find_root().obj = offline  # kept until the process leaves
    with _told(), _collected_once():
        for path in files:
            with _reading(path) as lines:
                _apply(offline, path, lines)
        computed = offline.computed(days=days)
    console = Console()
    if as_format == "json":
        sys.stdout.buffer.write(msgspec.json.encode(as_document(computed)) + b"\n")
    else:
        # Wide enough for every window where nothing says how wide it may be.
        print_computed(computed, console if console.is_terminal else Console(width=_PLAIN_WIDTH))


# Lines shown that can't be used; all are counted.
_REFUSALS_SHOWN = 5


def _apply(offline: Offline, path: str, lines: Iterator[bytes]) -> None:
    refused = 0
    first = offline.lines
    for refusal in offline.apply(lines):
        if refusal.reason.value == "future":
            continue
        refused += 1
        if refused <= _REFUSALS_SHOWN:
            where = f"{path}:{refusal.record.offset - first}"
            click.echo(f"{where}: {refusal.reason.value}: {refusal.detail}", err=True)
    if refused > _REFUSALS_SHOWN:
        click.echo(f"{path}: {refused - _REFUSALS_SHOWN:,} more lines can't be used", err=True)


@contextmanager
def _collected_once() -> Iterator[None]:
    """Rows only grow here: a garbage collection would walk over all of them and find nothing, again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _reading(path: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file, packed or not, or of standard input."""
    if path == "-":
        yield iter(sys.stdin.buffer)
        return
    with Path(path).open("rb") as raw, _reading_progress(path, Path(path).stat().st_size) as tell:
        source: Any = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        try:
            yield chain.from_iterable(_blocks_of_lines(source, lambda: tell(raw.tell())))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _Failure(f"{path}: {error}") from None


def _blocks_of_lines(source: BinaryIO, tell: Callable[[], None]) -> Iterator[list[bytes]]:
    """Some thousand lines at a time: reading them singly takes as long as decoding them."""
    begun = b""
    while block := source.read(_BLOCK_BYTES):
        *lines, begun = (begun + block).split(b"\n")
        tell()
        yield lines
    if begun:
        yield [begun]


@contextmanager
def _reading_progress(path: str, size: int) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {path}", total=size)
        yield lambda done: progress.update(task, completed=done)


# -- topics, settings, completion --------------------------------------------------------------------------------


@main.group()
def topics() -> None:
    """Create the topics that are needed, or check those that are there.

    \b
    Example: engagement topics check --kafka localhost:9092
    """


@topics.command(name="create")
@_settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic; the setting topics.partitions.")
def topics_create(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Create the missing ones; those that exist are left as they are.

    \b
    Example: engagement topics create --kafka localhost:9092 --partitions 12
    """
    from stream.agents.inventory import topic_specs

    settings = _load(file, kafka, topics__partitions=partitions)
    with _told():
        created = _make_topics(settings)
    for spec in topic_specs(settings):
        click.echo(f"{'created' if spec.name in created else 'exists '}  {spec.name}")


@topics.command(name="check")
@_settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic; the setting topics.partitions.")
def topics_check(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Say what is wrong with the topics, and what mends it; exits with 1 when something is.

    \b
    Example: engagement topics check --kafka localhost:9092
    """
    with _told():
        _report_problems(_load(file, kafka, topics__partitions=partitions))
    click.echo("all topics are as they should be")


def _report_problems(settings: Settings) -> None:
    from stream.agents.inventory import topic_specs
    from stream.agents.kafka_options import client_options
    from stream.agents.topics import check_topics

    problems = check_topics(topic_specs(settings), client_options=client_options(settings))
    for problem in problems:
        click.echo(f"{problem.problem}\n  mend it with: {problem.remedy}", err=True)
    if problems:
        raise SystemExit(1)


topics.add_command(grow)
main.add_command(state)


@main.command()
@_settings_options
def settings(file: Path | None, kafka: str | None) -> None:
    """Print every setting as it stands, and the variable that sets it. Secrets are not shown.

    \b
    Example: ENGAGEMENT_TIMEZONE=Europe/Berlin engagement settings
    """
    for place, value in items(_load(file, kafka)):
        shown = ",".join(value) if isinstance(value, tuple) else value
        click.echo(
            f"{place} = {msgspec.json.encode(shown).decode():<32} # ENGAGEMENT_{place.replace('.', '_').upper()}"
        )


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
