"""`engagement privacy`: what is held of a person, a copy of it, and requests to erase her or to make her anonymous."""

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from stream.core.families.registry import families
from stream.core.partition.rows import USER_PREFIX
from stream.core.partition.user_index import INDEX_PREFIX, IndexEntry
from stream.core.personal_data import personal_data
from stream.core.privacy import RECORDS_PREFIX, Erased, Request, salt_of
from stream.core.rejections import Rejected
from stream.core.time import iso
from stream.core.users import ANONYMOUS_PREFIX, partition_key, public_id, user_of, user_of_public_id
from stream.inputs.native import user_of_message
from stream.partitioning import partition_of
from stream.redis_url import is_redis_url
from stream.settings import Settings
from stream.terminal import Failure, OperatorMistake, failures_in_one_line, load_settings, settings_options, time_option

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

    from stream.dead_letters.reader import DeadLetter
    from stream.maintenance.partition_state import StateMaintenance

_Result = TypeVar("_Result")

_user = click.argument("user")
_at = click.option(
    "--at", metavar="TIME", help="What happened up to this time is meant: ISO 8601, or an epoch number. [default: now]"
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def privacy() -> None:
    """What is held of a person: find it, copy it, erase it, or make it anonymous.

    USER is the user_id that producers send, or anonymous:ID for a device of which no user is known.

    \b
    Example: engagement privacy find ada --kafka localhost:9092
    """


# -- requests ----------------------------------------------------------------------------------------------------------


@privacy.command()
@settings_options
@_user
@_at
@_yes
def erase(file: Path | None, kafka: str | None, user: str, at: str | None, yes: bool) -> None:
    """Have a person erased: from live numbers, rows and stores.

    Sends a request to the topic of the setting topics.privacy; workers fulfil it, at once or when they run again. Days
    that have ended keep their counts. What she did up to now and arrives later is dropped; what she does from now on is
    of somebody new. Look with `engagement privacy find` whether it is done. A device whose events had no user yet is
    somebody else: erase anonymous:ID too.

    \b
    Example: engagement privacy erase ada --yes
    """
    _request(file, kafka, user, Request.ERASE, at, yes=yes)


@privacy.command()
@settings_options
@_user
@_at
@_yes
def anonymise(file: Path | None, kafka: str | None, user: str, at: str | None, yes: bool) -> None:
    """Have the id of a person replaced by a random one. All counts stay.

    Sends a request to the topic of the setting topics.privacy; workers fulfil it, at once or when they run again. What
    she did up to now and arrives later is dropped; what she does from now on is of somebody new. Times and values, such
    as those of orders, stay as they are: whoever knows them from elsewhere may still tell whose they were.

    \b
    Example: engagement privacy anonymise ada --yes
    """
    _request(file, kafka, user, Request.ANONYMISE, at, yes=yes)


def _request(file: Path | None, kafka: str | None, name: str, request: Request, at: str | None, *, yes: bool) -> None:
    settings = load_settings(file, kafka)
    asked_ms, now_ms = time_option(at, "--at"), time.time_ns() // 1_000_000
    if asked_ms is not None and asked_ms > now_ms:
        raise OperatorMistake(f"--at: {at!r} is in the future: a request holds for what happened before it")
    at_ms = now_ms if asked_ms is None else asked_ms
    user, topic = _user_named(name), _topic_of_requests(settings)
    if not yes:
        done = "erase" if request is Request.ERASE else "make anonymous"
        click.confirm(f"{done} {name!r} in {settings.app_id!r}? It can't be undone", abort=True)
    _run(settings, "privacy erase", lambda: _send(settings, topic, user, request, at_ms))
    click.echo(f"requested; look whether it is done: engagement privacy find {shlex.quote(name)}", err=True)


def _user_named(name: str) -> str:
    """The user whom USER means. Raises OperatorMistake if nobody can have that id."""
    is_device = user_of_public_id(name).startswith(ANONYMOUS_PREFIX)
    id_ = user_of_public_id(name).removeprefix(ANONYMOUS_PREFIX)
    try:
        return user_of(None if is_device else id_, id_ if is_device else None)
    except Rejected as rejection:
        raise OperatorMistake(f"{name!r} is no USER: {rejection}") from None


def _topic_of_requests(settings: Settings) -> str:
    """The Kafka topic that takes the requests of a person that we send. Raises OperatorMistake."""
    if not settings.erases:
        raise OperatorMistake("nobody can be erased: set topics.privacy, and start the workers again with it")
    for input_ in settings.named_inputs.values():
        if input_.topic in settings.privacy_topics and (input_.encoding, input_.envelope) == ("json", "none"):
            return input_.topic
    raise OperatorMistake(
        f"the topic {settings.privacy_topics[0]!r} of requests takes no plain JSON: send the request there yourself"
    )


async def _send(settings: Settings, topic: str, user: str, request: Request, at_ms: int) -> None:
    """Send a request to the partition of a person, as producers send her events."""
    from aiokafka import AIOKafkaProducer

    from stream.kafka.options import client_options
    from stream.kafka.range_reader import kafka_errors_as_unavailable

    field = "anonymous_id" if user.startswith(ANONYMOUS_PREFIX) else "user_id"
    told = {
        field: user.removeprefix(ANONYMOUS_PREFIX),
        "event_time": at_ms,
        "type": request.value,
    }
    producer = AIOKafkaProducer(**client_options(settings), acks="all", enable_idempotence=settings.kafka.idempotent)
    with kafka_errors_as_unavailable(settings):
        await producer.start()
        try:
            value, partition = msgspec.json.encode(told), _partition(settings, user)
            await producer.send_and_wait(topic, value, key=partition_key(user), partition=partition)
        finally:
            await producer.stop()


# -- what is held ------------------------------------------------------------------------------------------------------


class Held(msgspec.Struct, frozen=True):
    """What was found of a person, and where."""

    user: str
    partition: int  # in which her events lie
    row_bytes: int  # of her row; 0 if there is none
    parts: tuple[str, ...]  # of the row: the families that hold something
    references: int  # that mean her: responses that can be removed by their id alone
    changelog_records: int | None  # of her row that Kafka has not compacted yet; None for Redis
    changelog_deleted: bool  # whether the newest of them is a tombstone
    score: bool | None  # whether there is a health score of her; None where nobody is scored
    dead_letters: tuple[str, ...]  # where those lie that name her
    erased_until: str | None  # up to when what she did is dropped, because she was erased

    @property
    def is_anything(self) -> bool:
        """Whether anything is held of her."""
        return bool(self.row_bytes or self.references or self.score or self.dead_letters)


@privacy.command()
@settings_options
@_user
@click.option("--everywhere", is_flag=True, help="Look for references in all partitions; it reads the whole state.")
@_json
def find(file: Path | None, kafka: str | None, user: str, everywhere: bool, as_json: bool) -> None:
    """Tell what is held of a person and where, without its contents; before and after an erasure.

    Looks into the row, the references and the changelog of her partition, the health topic and the dead letters. Where
    a changelog is used it is read as a whole; workers may run meanwhile. Totals and closed days have no ids. The input
    topics themselves are not searched: what lies in them, and for how long, is for their owner to say.

    \b
    Example: engagement privacy find ada --json
    """
    settings = load_settings(file, kafka)
    name = _user_named(user)
    held = _run(settings, "privacy find", lambda: _find(settings, name, everywhere=everywhere))
    if as_json:
        click.echo(msgspec.json.encode(held).decode())
        return
    for line in _lines(settings, held):
        click.echo(line)


@privacy.command()
@settings_options
@_user
@click.option("--json", "as_json", is_flag=True, help="Print JSON on one line; otherwise it is indented.")
def export(file: Path | None, kafka: str | None, user: str, as_json: bool) -> None:
    """Print all that the state holds of a person, as JSON: by family of metrics, with times and days in ISO 8601.

    Dead letters that name her are not part of it: `engagement privacy find` says where they lie.

    \b
    Example: engagement privacy export ada > ada.json
    """
    settings = load_settings(file, kafka)
    name = _user_named(user)
    document = msgspec.json.encode(_run(settings, "privacy export", lambda: _export(settings, name, user)))
    click.echo((document if as_json else msgspec.json.format(document, indent=2)).decode())


async def _export(settings: Settings, user: str, name: str) -> dict[str, Any]:
    with _maintenance(settings) as maintenance:
        async with maintenance:
            progress, rows = await maintenance.rows_of(_partition(settings, user))
            row = await asyncio.to_thread(rows.read, f"{USER_PREFIX}{user}".encode())
    if row is None:
        raise Failure(f"nothing is held of a user {name!r}")
    of = iso(progress.now_ms) if progress.now_ms >= 0 else None
    return {"user": name, "app_id": settings.app_id, "as_of": of, "held": personal_data(families(settings.rules), row)}


async def _find(settings: Settings, user: str, *, everywhere: bool) -> Held:
    partition = _partition(settings, user)
    key = f"{USER_PREFIX}{user}".encode()
    erased = Erased(salt=salt_of(settings.app_id), allowed_lateness_ms=None)
    references = 0
    with _maintenance(settings) as maintenance:
        async with maintenance:
            _, rows = await maintenance.rows_of(partition)
            row = await asyncio.to_thread(rows.read, key)
            erased.restore(await asyncio.to_thread(lambda: list(rows.scan(RECORDS_PREFIX.encode()))))
            for number in range(settings.topics.partitions) if everywhere else (partition,):
                _, its_rows = (None, rows) if number == partition else await maintenance.rows_of(number)
                references += await asyncio.to_thread(lambda its_rows=its_rows: _references(its_rows, user))  # type: ignore[misc]
    until_ms = erased.until_ms(user)
    return Held(
        public_id(user),
        partition,
        len(row or b""),
        tuple(personal_data(families(settings.rules), row)) if row is not None else (),
        references,
        *await _in_changelog(settings, partition, key),
        await _has_score(settings, partition, user),
        await _dead_letters(settings, user),
        iso(until_ms) if until_ms >= 0 else None,
    )


def _references(rows: Any, user: str) -> int:
    decode = msgspec.msgpack.Decoder(IndexEntry).decode
    return sum(decode(value).user == user for _, value in rows.scan(INDEX_PREFIX.encode()))


async def _in_changelog(settings: Settings, partition: int, key: bytes) -> tuple[int | None, bool]:
    """How many versions of a row lie in the changelog, and whether the newest of its records is a tombstone."""
    if is_redis_url(settings.state.url):
        return None, False
    values = await _values(settings, settings.changelog_topic, partition, key)
    return sum(value is not None for value in values), bool(values) and values[-1] is None


async def _has_score(settings: Settings, partition: int, user: str) -> bool | None:
    if not settings.health.enabled:
        return None
    values = await _values(settings, settings.health_topic, partition, public_id(user).encode())
    return bool(values) and values[-1] is not None


async def _values(settings: Settings, topic: str, partition: int, key: bytes) -> list[bytes | None]:
    """The values of the records that a partition has of a key, in order."""
    from aiokafka.structs import TopicPartition

    from stream.kafka.range_reader import current_ranges, open_consumer, read_ranges

    async with open_consumer(settings) as opened:
        consumer: AIOKafkaConsumer = opened
        ranges = await current_ranges(consumer, [TopicPartition(topic, partition)])
        return [record.value async for record in read_ranges(consumer, ranges) if record.key == key]


async def _dead_letters(settings: Settings, user: str) -> tuple[str, ...]:
    """Where the dead letters lie that name a user."""
    from stream.dead_letters.reader import LetterFilter, open_dead_letters

    selection = LetterFilter(tuple(settings.input_topics))
    async with open_dead_letters(settings, selection) as letters:
        found = letters.read(selection, on_progress=lambda done: None)
        return tuple([str(letter.position) async for letter in found if _names(letter, user)])


def _names(letter: "DeadLetter", user: str) -> bool:
    """Whether a dead letter names a user: as its key, as the user of the message, or as any text in it."""
    id_, value = partition_key(user), letter.value or b""
    return letter.key == id_ or user_of_message(value) == user or msgspec.json.encode(id_.decode()) in value


def _lines(settings: Settings, held: Held) -> Iterator[str]:
    if held.row_bytes:
        yield f"row: {held.row_bytes} bytes in partition {held.partition}, of {', '.join(held.parts)}"
    if held.references:
        yield f"references: {held.references} responses that can be removed by their id alone"
    if held.score:
        yield f"health score: in {settings.health_topic}"
    for place in held.dead_letters:
        yield f"dead letter: {place}; it goes when the topic's retention ends"
    if not held.is_anything:
        yield f"nothing is held of {held.user!r}"
    if held.changelog_records and not held.row_bytes:
        yield (
            f"changelog: {held.changelog_records} older versions of a deleted row, until Kafka compacts "
            f"{settings.changelog_topic}"
        )
    if held.erased_until is not None:
        yield f"erased: what happened up to {held.erased_until} is dropped when it arrives"


def _partition(settings: Settings, user: str) -> int:
    return partition_of(partition_key(user), settings.topics.partitions)


@contextmanager
def _maintenance(settings: Settings) -> Iterator["StateMaintenance"]:
    from stream.wiring import open_maintenance

    with open_maintenance(settings) as maintenance:
        yield maintenance


def _run(settings: Settings, command: str, work: Callable[[], Awaitable[_Result]]) -> _Result:
    from stream.kafka.access import required_rights
    from stream.telemetry import configure_logging

    configure_logging(settings.log, secrets=settings.secrets())

    async def run() -> _Result:
        return await work()

    with failures_in_one_line(), required_rights(settings, command):
        return asyncio.run(run())
