"""`engagement inputs`: look at the messages of an input before they are read for good, or draft a mapping of them."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.commands.formats import chosen_input, format_options, literal_columns
from stream.core.events import Event, MultipleEvents
from stream.core.lenient_json import UNDECODABLE
from stream.core.messages import Reader, Record
from stream.core.offline import OversizedLine, UnreadableLine
from stream.core.rejections import LeftOut, Reason, Rejected
from stream.core.time import Days, date_of, iso
from stream.inputs.draft import Fields, draft_of, messages_in
from stream.inputs.encodings.debezium import row_of
from stream.inputs.encodings.decoded import decoded
from stream.inputs.encodings.schemas import Schemas
from stream.inputs.files import files_of, messages_of
from stream.inputs.inspection import Group, Inspection, cut
from stream.inputs.mapping.reader import document_of, mapping_of
from stream.inputs.registry import AUTO, MAPPED
from stream.settings import Input, JsonOf, Settings, Unavailable, decoder_of_input, reader_of_input
from stream.terminal import (
    EXIT_LINES_SKIPPED,
    Failure,
    OperatorMistake,
    failures_in_one_line,
    load_settings,
    settings_options,
)

_PLAIN_WIDTH = 120
_LONGEST_CELL = 60
_MOST_UNUSED = 30

_DRAFT_HINT = "no format is known: `engagement inputs draft FILE` proposes a mapping, which --mapping then takes"

# What is left out, and where somebody can change it, how.
EXPLANATIONS = {
    LeftOut.IDENTITY: "identity: who somebody is",
    LeftOut.GROUP: "group: of which company somebody is",
    LeftOut.ACCOUNT: "account: sign-up, subscription",
    LeftOut.ORDER: "order: a purchase or refund",
    LeftOut.CONTACT: "contact: with support",
    LeftOut.QUESTION: "question: see [[inputs.questions]]",
    LeftOut.PROFILE: "profile: what somebody is like",
    LeftOut.TEST: "test: a preview of a survey",
    LeftOut.UNMAPPED: "unmapped: no event of the mapping",
    LeftOut.FILTERED: "filtered by where or unless",
    LeftOut.EMPTY: "empty: tells nothing",
}


class _Line(NamedTuple):
    """A message of a file, as the record that it would be in Kafka."""

    value: bytes | None
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@click.group()
def inputs() -> None:
    """Look at the messages of an input before they are read for good, or draft a mapping of them.

    \b
    Example: engagement inputs check --topic web.clicks --kafka localhost:9092
    """


@inputs.command(name="check")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--topic", help="Look at the newest records of this Kafka topic. Nothing is committed.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True, help="How many messages.")
@format_options
@settings_options
def check_command(
    files: tuple[str, ...],
    topic: str | None,
    limit: int,
    format_: str | None,
    mapping: Path | None,
    file: Path | None,
    kafka: str | None,
) -> None:
    """Say what messages tell, what is left out and why, and what looks wrong. Nothing is committed or counted.

    The messages are those of a file, of any kind that `engagement compute` reads, or the newest of a topic. They are
    read as the table [[inputs]] of the topic says, or as --format or --mapping say, else by the format that they are
    recognised as. The exit status is 3 if some can't be used, and 1 if none can.

    \b
    Example: engagement inputs check events.jsonl --mapping mapping.toml
      engagement inputs check --topic web.clicks --kafka localhost:9092
    """
    if bool(files) == (topic is not None):
        raise OperatorMistake("needs either a FILE or --topic")
    settings = load_settings(file, kafka)
    asked = chosen_input(settings, format_, mapping)
    chosen = asked or _input_of_topic(settings, topic)
    recognised: list[str] = []
    reader = reader_of_input(chosen, recognised.append)
    if asked is None and topic is None:
        reader = _reader_by_topic(settings, reader, recognised)
    with failures_in_one_line():
        if topic is None:
            inspection = _of_files(files, settings, chosen, reader, limit)
        else:
            inspection = _of_topic(topic, settings, chosen, reader, limit)
    console = Console()
    _print(inspection, chosen, recognised, settings, console if console.is_terminal else Console(width=_PLAIN_WIDTH))
    if not inspection.events:
        raise SystemExit(1)
    if inspection.refused:
        raise SystemExit(EXIT_LINES_SKIPPED)


def _input_of_topic(settings: Settings, topic: str | None) -> Input:
    """Return the input that has the topic, or one that recognises its messages."""
    by_topic = [one for one in settings.named_inputs.values() if one.topic == topic]
    return by_topic[0] if by_topic else Input(topic=topic or "file", format=AUTO)


class _Topic(msgspec.Struct):
    topic: str = ""


_topic_of = msgspec.json.Decoder(_Topic).decode


def _reader_by_topic(settings: Settings, otherwise: Reader, recognised: list[str]) -> Reader:
    """Return what reads lines that name the input they are of by their `topic`, and others by their format."""
    readers = settings.readers

    def read(record: Record) -> Event | MultipleEvents:
        try:
            name = _topic_of(record.value or b"").topic
        except UNDECODABLE:
            name = ""
        if name not in readers:
            return otherwise(record)
        how = f"native of the topic {name}"
        if how not in recognised:
            recognised.append(how)
        return readers[name](record)

    return read


def _inspection(settings: Settings, chosen: Input, reader: Reader, **options: Any) -> Inspection:
    mapping = mapping_of(chosen) if chosen.format == MAPPED else None
    not_after_ms = time.time_ns() // 1_000_000 + settings.rules.future_limit_ms
    if chosen.envelope == "debezium":
        options["row_of"] = row_of
    return Inspection(reader, mapping=mapping, not_after_ms=not_after_ms, **options)


def _of_files(files: Iterable[str], settings: Settings, chosen: Input, reader: Reader, limit: int) -> Inspection:
    inspection = _inspection(settings, chosen, reader)
    for number, line in islice(
        _lines_of(files, settings, literal_columns(None if chosen.format == AUTO else chosen)), limit
    ):
        if isinstance(line, UnreadableLine):
            inspection.messages += 1
            inspection.refuse(Reason.NOT_JSON, line.why, "")
        elif isinstance(line, OversizedLine):
            inspection.messages += 1
            allowed = f"{line.size} bytes, {settings.max_message_bytes} are allowed"
            inspection.refuse(Reason.TOO_LARGE, allowed, "")
        else:
            inspection.add(_Line(line, number))
    return inspection


def _lines_of(files: Iterable[str], settings: Settings, literals: frozenset[str]) -> Iterator[tuple[int, bytes]]:
    for path in files_of(files):
        with messages_of(path, max_line_bytes=settings.max_message_bytes, literals=literals) as lines:
            for number, line in enumerate(lines, start=1):
                if isinstance(line, (OversizedLine, UnreadableLine)) or (line and not line.isspace()):
                    yield number, line


def _of_topic(topic: str, settings: Settings, chosen: Input, reader: Reader, limit: int) -> Inspection:
    from stream.kafka.access import required_rights
    from stream.kafka.newest_records import newest_records
    from stream.partitioning import partition_of

    with required_rights(settings, "inputs check", inputs=[topic]):
        records, partitions = asyncio.run(newest_records(settings, topic, limit=limit))
    json_of = _decoder(settings, chosen, records)
    options = {"partition_of": lambda key: partition_of(key, partitions), "decoded": json_of is not None}
    inspection = _inspection(settings, chosen, reader, **options)
    for record in records:
        its_record: Record = record
        try:
            if json_of is not None and record.value is not None:
                its_record = decoded(record, json_of)
        except Rejected as rejection:
            inspection.messages += 1
            inspection.refuse(rejection.reason, str(rejection), (record.value or b"").hex(" "))
            continue
        inspection.add(its_record, partition=record.partition)
    return inspection


def _decoder(settings: Settings, chosen: Input, records: Sequence[Record]) -> JsonOf | None:
    """Return what decodes these records of an input; None if they are JSON. Raises Unavailable, SettingsError."""
    if chosen.encoding != "registry":
        return decoder_of_input(chosen, Schemas())
    from stream.kafka.schema_registry import RegistryAway, SchemaRegistry

    registry = SchemaRegistry(settings)
    try:
        for schema_id in registry.unknown(records):
            registry.fetch(schema_id)
    except RegistryAway as error:
        raise Unavailable(str(error)) from None
    return registry.schemas.json_of


# -- what is printed ---------------------------------------------------------------------------------------------------


def _print(seen: Inspection, chosen: Input, recognised: list[str], settings: Settings, console: Console) -> None:
    how = f"recognised as {' and '.join(recognised)}" if recognised else f"read as {chosen.format}"
    if chosen.format == AUTO and not recognised:
        how = "of no format that is known"
    console.print(Text(f"{seen.messages:,} {'message' if seen.messages == 1 else 'messages'}, {how}", style="bold"))
    if seen.first_ms is not None and seen.last_ms is not None:
        days = Days(settings.timezone)
        first, last = (date_of(days.day_of(at_ms)) for at_ms in (seen.first_ms, seen.last_ms))
        local = f"{first}" if first == last else f"{first} to {last}"
        console.print(Text(f"{iso(seen.first_ms)} to {iso(seen.last_ms)}; days in {settings.timezone}: {local}"))
    for table in (_kinds(seen), _left_out(seen), _fields(seen)):
        if table.row_count:
            console.print("", table, sep="\n")
    _print_other_fields(seen, console)
    if seen.keyed_by_user or seen.keyed_otherwise or seen.without_key:
        keyed = seen.keyed_by_user + seen.keyed_otherwise + seen.without_key
        told = f"Keys: the user's id in {seen.keyed_by_user:,} of {keyed:,} events; {seen.misplaced:,} are misplaced"
        console.print("", Text(told), sep="\n")
    findings = list(seen.findings())
    if seen.messages and chosen.format == AUTO and not recognised and not seen.framed:
        findings.append(_DRAFT_HINT)
    console.print("", Text("What looks wrong" if findings else "Nothing looks wrong", style="bold"), sep="\n")
    for finding in findings:
        console.print(Text(f"- {finding}"))


def _print_other_fields(seen: Inspection, console: Console) -> None:
    """Name what became no event, or nothing of one."""
    if seen.unused:
        more = f", and {len(seen.unused) - _MOST_UNUSED:,} more" if len(seen.unused) > _MOST_UNUSED else ""
        console.print(
            "", Text(f"Fields whose values are in no event: {', '.join(seen.unused[:_MOST_UNUSED])}{more}"), sep="\n"
        )
    if seen.unmapped_values:
        most = ", ".join(f"{value} ({count:,})" for value, count in seen.unmapped_values.most_common(20))
        console.print("", Text(f"Events that the mapping does not name: {most}"), sep="\n")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        is_number = column in ("events", "users", "count", "share", "told")
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table


def _kinds(seen: Inspection) -> Table:
    table = _table("Events", "kind", "events", "users")
    for kind, group in _by_count(seen.kinds):
        table.add_row(kind, f"{group.count:,}", f"{len(group.users):,}")
    if len(seen.kinds) > 1:
        table.add_row("all", f"{seen.events:,}", f"{len(seen.events_of):,}", style="bold")
    if seen.bots:
        table.add_row("of bots, among them", f"{seen.bots:,}", "")
    return table


def _left_out(seen: Inspection) -> Table:
    table = _table("Left out", "reason", "count", "share", "an example")
    total = seen.events + sum(group.count for group in (*seen.left_out.values(), *seen.refused.values()))
    groups: list[tuple[str, Group]] = [
        *((f"refused: {reason.value}", group) for reason, group in _by_count(seen.refused)),
        *((EXPLANATIONS[what], group) for what, group in _by_count(seen.left_out)),
    ]
    for reason, group in groups:
        table.add_row(Text(reason), f"{group.count:,}", f"{group.count / total:.1%}", Text(group.example))
    return table


def _fields(seen: Inspection) -> Table:
    table = _table("Fields", "field", "became", "told", "an example")
    for name, told in seen.fields.items():
        share = f"{told.count:,} of {told.of:,}"
        theirs = told.source or ("(derived)" if told.count else "-")
        table.add_row(Text(theirs), name, share, Text(cut(told.example, _LONGEST_CELL)))
    return table


def _by_count(groups: Mapping[Any, Group]) -> list[tuple[Any, Group]]:
    return sorted(groups.items(), key=lambda item: -item[1].count)


# -- a mapping ---------------------------------------------------------------------------------------------------------


@inputs.command(name="draft")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--limit", type=click.IntRange(1), default=10_000, show_default=True, help="How many messages to look at."
)
@click.option("--topic", default="events", show_default=True, help="The topic that the draft names.")
@settings_options
def draft_command(files: tuple[str, ...], limit: int, topic: str, file: Path | None, kafka: str | None) -> None:
    """Propose a mapping for messages of an unknown shape, as TOML. What is only a guess says so.

    FILE is of any kind that `engagement compute` reads.

    \b
    Example: engagement inputs draft events.jsonl >mapping.toml
      engagement inputs check events.jsonl --mapping mapping.toml
    """
    settings, fields = load_settings(file, kafka), Fields()
    with failures_in_one_line():
        for message in messages_in(islice(_documents_of(files, settings), limit)):
            fields.add(message)
    if not fields.messages:
        raise Failure("no message is a JSON object")
    click.echo(draft_of(fields, topic=topic), nl=False)


def _documents_of(files: Iterable[str], settings: Settings) -> Iterator[Any]:
    for _, line in _lines_of(files, settings, frozenset()):
        try:
            yield document_of(line)[0]
        except Rejected:  # noqa: PERF203  # what is no JSON has no fields
            continue
