"""`engagement simulate` and `replay`: make up events, or send the events of files."""

import gzip
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from stream.commands.formats import chosen_input, format_options, literal_columns
from stream.core.time import iso
from stream.inputs.files import files_of
from stream.inputs.registry import NATIVE
from stream.settings import Input, Settings, reader_of_input
from stream.terminal import (
    OperatorMistake,
    UnusableLines,
    failures_in_one_line,
    load_settings,
    progress,
    reading_progress,
    settings_options,
    strict_option,
    time_option,
)

if TYPE_CHECKING:
    from stream.simulate.recording import Recording


scenario_option = click.option(
    "--scenario",
    type=click.Choice(["steady", "drop", "churn", "onboarding", "checkout", "support", "adoption", "reviews"]),
    default="steady",
    show_default=True,
    help="What goes wrong in the last weeks. drop: users come back less often; churn: customers cancel; onboarding: new"
    " users can't do one of the steps; checkout: hardly anything can be bought; support: agents take long to reply;"
    " adoption: with a release few go on using a vital feature; reviews: these have few stars.",
)


@click.command(name="simulate")
@click.option("--users", type=int, default=2_000, show_default=True)
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    default=35.0,
    show_default=True,
    help="How many days of events to make.",
)
@click.option("--until", metavar="TIME", help="Time of the last event: ISO 8601 or an epoch number. [default: now]")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same events.")
@scenario_option
@click.option("--late", type=float, default=0.0, help="Share of events that arrive minutes to two days late.")
@click.option("--duplicate", type=float, default=0.0, help="Share of events sent twice.")
@click.option("--shuffled", type=float, default=0.0, help="Share of events that arrive a little out of order.")
@click.option("--misrouted", type=float, default=0.0, help="Share of events whose key is not their user's id.")
@click.option("--bot", type=float, default=0.0, help="How many events of crawlers to add, as a share of the others.")
@click.option("--broken", type=float, default=0.0, help="How many unusable messages to add, as a share of the others.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("-"),
    help="A file of JSON lines, .gz too. [default: standard output]",
)
@click.option("--live", is_flag=True, help="With --kafka: go on after now, and send each event when it happens.")
@settings_options
def simulate_command(
    days: float, until: str | None, output: Path, live: bool, file: Path | None, kafka: str | None, **population: Any
) -> None:
    """Simulate a population of users, and write its events: as JSON lines, or into Kafka with --kafka.

    The population has habits to find: users who come on the weekday of their first day, teams that stay away at
    weekends, a campaign in Brazil every five weeks, other phones in India, other scores in Japan, and every fourth
    release of the app is a bad one on Android. Its customers sign up, subscribe, pay in six currencies, and leave. They
    use features, talk with support, and say what they think on social networks and in reviews. Kafka gets this only if
    the settings name topics for it: topics.accounts, .orders, .features, .contacts, .social and .reviews.

    With --live the population goes on after its history until it is stopped. Started again, it goes on where it ended.

    \b
    Example: engagement simulate --users 500 --days 7 --duplicate 0.01 --output events.jsonl.gz
    """
    from stream.kafka.access import required_rights
    from stream.kafka.options import client_options
    from stream.simulate.producer import EventProducer
    from stream.simulate.simulator import SimulatorSettings, simulate

    asked_ms = time_option(until, "--until")
    end_ms = time.time_ns() // 1_000_000 if asked_ms is None else asked_ms
    if live:
        if kafka is None or asked_ms is not None:
            raise OperatorMistake("--live: needs --kafka, and no --until")
        _simulate_live(load_settings(file, kafka), days=days, now_ms=end_ms, population=population)
        return
    settings = None if kafka is None else load_settings(file, kafka)
    topics = None if settings is None else _topics_of_kinds(settings)
    try:
        world = SimulatorSettings(**population, **_optional_kinds(topics))
        events = simulate(world, start_ms=end_ms - int(days * 86_400_000), end_ms=end_ms)
        first = list(islice(events, 1))  # settings that can't be simulated raise here, before anything is written
    except (ValueError, OverflowError) as error:
        raise OperatorMistake(str(error)) from None
    events = chain(first, events)
    count = 0
    with failures_in_one_line():
        if settings is not None and topics is not None:
            allowed = required_rights(settings, "simulate", inputs=topics.values())
            with allowed, EventProducer(client_options(settings)) as producer:
                for event in events:
                    if event.topic in topics:
                        producer.send(topics[event.topic], event.key, event.value)
                        count += 1
        else:
            with _open_output(output) as sink:
                for event in events:
                    sink.write(_with_topic(event.topic, event.value))
                    count += 1
    click.echo(f"{count:,} events", err=True)


def _simulate_live(settings: Settings, *, days: float, now_ms: int, population: dict[str, Any]) -> None:
    """Send the history of a population and then each event when it happens, until SIGINT or SIGTERM."""
    from stream.kafka.access import required_rights
    from stream.kafka.options import client_options
    from stream.simulate.live import ENDLESS_MS, resume_time_ms, send_as_they_happen
    from stream.simulate.producer import EventProducer
    from stream.simulate.simulator import SimulatorSettings, simulate

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    topics, options = _topics_of_kinds(settings), client_options(settings)
    history_ms = now_ms - int(days * 86_400_000)
    try:
        world = SimulatorSettings(**population, **_optional_kinds(topics)).of_history(history_ms, now_ms)
    except ValueError as error:
        raise OperatorMistake(str(error)) from None
    with failures_in_one_line(), required_rights(settings, "simulate --live", inputs=topics.values()):
        start_ms = resume_time_ms(options, topics.values(), otherwise_ms=history_ms)
        events = simulate(world, start_ms=start_ms, end_ms=now_ms + ENDLESS_MS)
        with EventProducer(options) as producer:
            count = send_as_they_happen(
                (event for event in events if event.topic in topics),
                producer,
                topics=topics,
                wait=stopping.wait,
                now_ms=lambda: time.time_ns() // 1_000_000,
                on_live=lambda sent: click.echo(f"{sent:,} events since {iso(start_ms)} are sent; now live", err=True),
            )
    click.echo(f"{count:,} events", err=True)


_ALWAYS = ("sessions", "logins", "surveys")
# What a deployment need not count, by the setting of the simulator that makes it.
_OPTIONAL = {"customers": ("accounts", "orders"), "further_topics": ("features", "contacts", "social", "reviews")}


def _optional_kinds(topics: Mapping[str, str] | None) -> dict[str, Any]:
    """Return which optional kinds to simulate: those that have a topic. A file, which is None, gets all."""
    return {option: topics is None or any(kind in topics for kind in kinds) for option, kinds in _OPTIONAL.items()}


def _topics_of_kinds(settings: Settings) -> dict[str, str]:
    """Return the topic for each kind of simulated message: the first input of this kind. Raises OperatorMistake.

    Optional messages are left out where no input takes them: a deployment need not count them.
    """
    topics = {}
    for kind in (*_ALWAYS, *chain.from_iterable(_OPTIONAL.values())):
        fitting = [one.topic for one in settings.named_inputs.values() if one.kind == kind and one.format == NATIVE]
        if not fitting:
            if kind not in _ALWAYS:
                continue
            raise OperatorMistake(
                f"no input of the settings takes messages of the kind {kind!r}, which a population sends too"
            )
        topics[kind] = fitting[0]
    return topics


def _with_topic(topic: str, value: bytes) -> bytes:
    """Return a line for a file: the event with its topic. A message that is broken on purpose stays broken."""
    start = b'{"topic":"%s",' % topic.encode()
    line = start + value[1:] if value[:1] == b"{" and value[1:2] != b"}" else value
    return line.replace(b"\n", b" ") + b"\n"


@contextmanager
def _open_output(output: Path) -> Iterator[BinaryIO]:
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif output.suffix == ".gz":
        with gzip.open(output, "wb") as packed:
            yield packed  # type: ignore[misc]
    else:
        with output.open("wb") as plain:
            yield plain


@click.command(name="replay")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--rate", type=float, help="Send at most this many events a second.")
@click.option("--rebase", "rebased", is_flag=True, help="Move all times so that the last event is now.")
@click.option("--topic", help="The topic for messages of --format or --mapping, if no table [[inputs]] names it.")
@format_options
@strict_option
@settings_options
def replay_command(
    files: tuple[str, ...],
    rate: float | None,
    rebased: bool,
    topic: str | None,
    format_: str | None,
    mapping: Path | None,
    strict: bool,
    file: Path | None,
    kafka: str | None,
) -> None:
    """Send the events of files to their topics, in the order of their times.

    FILE is of any kind that `engagement compute` reads. Messages of --format or --mapping are sent as they are, those
    of tables as JSON; they keep their times. Lines that can't be sent are printed and skipped; the exit status is 3
    then, or 1 if no line can be sent.

    \b
    Example: engagement replay events.jsonl.gz --kafka localhost:9092 --rebase
    """
    from stream.kafka.access import required_rights
    from stream.kafka.options import client_options
    from stream.simulate.recording import Recording
    from stream.simulate.replay import rebase, replay

    settings = load_settings(file, kafka)
    chosen = chosen_input(settings, format_, mapping)
    if chosen is not None and rebased:
        raise OperatorMistake('--rebase: moves the times of native messages only; see clock = "event" for old ones')
    unusable, topics = UnusableLines(strict=strict), _topics_of_replay(settings, chosen, topic)
    with failures_in_one_line(), Recording() as recording:
        record(recording, files, settings, chosen, unusable)
        sent = iter(recording)
        if rebased and recording.last_ms is not None:
            sent = rebase(recording, last_ms=recording.last_ms, now_ms=time.time_ns() // 1_000_000)
        events = (event._replace(topic=topics[event.topic]) for event in sent)
        with progress("sending", len(recording)) as on_progress:
            allowed = required_rights(settings, "replay", inputs={topics[name] for name in recording.topics})
            try:
                with allowed:
                    summary = replay(events, client_options(settings), rate=rate, on_progress=on_progress)
            except ValueError as error:
                raise OperatorMistake(str(error)) from None
    click.echo(f"{summary.events:,} events sent in {summary.seconds:.1f} s", err=True)
    unusable.exit()


def _topics_of_replay(settings: Settings, chosen: Input | None, topic: str | None) -> dict[str, str]:
    """Return the Kafka topic for each name of an input. Raises OperatorMistake."""
    if chosen is None:
        if topic is not None:
            raise OperatorMistake("--topic: needs --format or --mapping; native messages tell their topic")
        return settings.input_topics
    if not (topic or chosen.topic):
        raise OperatorMistake(f"--topic: is needed, for no table [[inputs]] has the format {chosen.format}")
    return {chosen.name: topic or chosen.topic}


def record(
    recording: "Recording", files: Iterable[str], settings: Settings, chosen: Input | None, unusable: UnusableLines
) -> None:
    """Read the events of files into a recording. Raises Failure, OperatorMistake and OSError."""
    from stream.simulate.replay import event_by, native_event_of, read_events

    if chosen is None:
        event_of = native_event_of(settings.input_topics)
    else:
        event_of = event_by(
            reader_of_input(chosen, lambda name: click.echo(f"recognised {name}", err=True)), chosen.name
        )
    paths = files_of(files)
    with reading_progress(paths) as progress_of:
        empty = read_events(
            recording,
            paths,
            event_of,
            max_message_bytes=settings.max_message_bytes,
            on_unusable=unusable.add,
            literals=literal_columns(chosen),
            progress_of=progress_of,
        )
    unusable.raise_if_strict()
    unusable.raise_if_none_used(len(recording))
    if empty:
        click.echo(f"{empty:,} {'message tells' if empty == 1 else 'messages tell'} nothing that is counted", err=True)
