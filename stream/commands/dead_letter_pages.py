"""Show dead letters and replays: as tables and text for people, and as JSON for programs.

A producer can put anything into a message, including escape sequences that a terminal would obey. So characters that
cannot be printed are shown escaped, and bytes that are not UTF-8 are shown as base64.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from stream.core.rejections import Reason
from stream.core.time import LATEST_MS, SECOND_MS, iso
from stream.dead_letters.reader import Count, DeadLetter
from stream.dead_letters.redelivery import Run
from stream.dead_letters.replay_sender import Outcome, OutcomeCounts

# A longer value is shown to people up to here. JSON has all of it.
_MAX_CHARACTERS = 2_000


def counts_table(counts: Sequence[Count]) -> Table:
    """Return a table with a row for each topic and reason."""
    table = _table("topic", "reason", "letters", "replayed", "refused again", "by reference", "oldest", "newest")
    for count in counts:
        numbers = (count.letters, count.replayed, count.refused_again, count.by_reference)
        times = (_time(at_ms // SECOND_MS * SECOND_MS) for at_ms in (count.oldest_ms, count.newest_ms))
        table.add_row(count.topic, _plain_cell(count.reason), *(f"{number:,}" for number in numbers), *times)
    return table


def counts_document(counts: Sequence[Count]) -> dict[str, Any]:
    """Return the same counts for programs."""
    rows = [
        {
            "topic": count.topic,
            "reason": count.reason,
            "letters": count.letters,
            "replayed": count.replayed,
            "again": count.refused_again,
            "by_reference": count.by_reference,
            "oldest": _time(count.oldest_ms),
            "newest": _time(count.newest_ms),
        }
        for count in counts
    ]
    return {"letters": sum(count.letters for count in counts), "counts": rows}


def letter_lines(letter: DeadLetter, *, was_replayed: bool) -> Iterable[str]:
    """Return a dead letter as lines of text for people."""
    yield f"{letter.position}  {_time(letter.written_ms)}  {escape_unprintable(letter.reason)}"
    yield f"  detail    {escape_unprintable(letter.detail)}"
    if letter.origin is not None:
        topic, partition, offset, at_ms = letter.origin
        yield f"  origin    {escape_unprintable(topic)}/{partition}/{offset}  {_time(at_ms)}"
    yield f"  attempts  {letter.attempts}{', replayed since' if was_replayed else ''}"
    for name, value in letter.headers:
        yield f"  header    {escape_unprintable(name)} = {printable_bytes(value)}"
    if letter.by_reference != "record":
        yield f"  key       {printable_bytes(letter.key)}"
    if letter.by_reference:
        what = "value" if letter.by_reference == "value" else "record"
        yield f"  {what:<9} too large for a letter: it stays in the original record"
    else:
        yield f"  value     {printable_bytes(letter.value)}"


def letter_document(letter: DeadLetter, *, was_replayed: bool) -> dict[str, Any]:
    """Return a dead letter for programs, complete to the byte."""
    origin = letter.origin
    return {
        "topic": letter.topic,
        "letter": letter.position._asdict(),
        "written": _time(letter.written_ms),
        "reason": letter.reason,
        "detail": letter.detail,
        "origin": None if origin is None else {**origin._asdict(), "timestamp": _time(origin.timestamp)},
        "attempts": letter.attempts,
        "replayed": was_replayed,
        "by_reference": letter.by_reference,
        "key_base64": _base64(letter.key),
        "value_base64": _base64(letter.value),
        "headers": [{"name": name, "value_base64": _base64(value)} for name, value in letter.headers],
    }


def outcomes_table(outcomes: OutcomeCounts) -> Table:
    """Return a table with a row for each topic and reason, and a column for each outcome that occurred."""
    columns = [outcome for outcome in Outcome if outcome is Outcome.REPLAYED or outcomes.count(outcome)]
    table = _table(
        "topic", "reason", *("to replay" if outcome is Outcome.REPLAYED else outcome.value for outcome in columns)
    )
    for key in sorted({key for counts in outcomes.by_outcome.values() for key in counts}):
        topic, reason = key
        table.add_row(topic, _plain_cell(reason), *(f"{outcomes.of(outcome)[key]:,}" for outcome in columns))
    return table


def summary(run: Run, seconds: float) -> str:
    """Return one line about what a run has done."""
    replayed = run.outcomes.count(Outcome.REPLAYED)
    records = "1 record" if replayed == 1 else f"{replayed:,} records"
    late = sum(
        count
        for (_, reason), count in run.outcomes.by_outcome.get(Outcome.REPLAYED, {}).items()
        if reason == Reason.LATE.value
    )
    line = f"{records} replayed in {seconds:.1f} s" if run.sends else f"would replay {records}"
    line += f", {late:,} of them late" if late else ""
    notes = {
        Outcome.MAX_ATTEMPTS_REACHED: f" (--max-attempts {run.attempts})",
        Outcome.TOO_LARGE: f" ({run.settings.max_message_bytes:,})",
    }
    left = [
        f"{run.outcomes.count(outcome):,} {outcome.value}{notes.get(outcome, '')}"
        for outcome in Outcome
        if outcome is not Outcome.REPLAYED and run.outcomes.count(outcome)
    ]
    line += f"; left alone: {', '.join(left)}" if left else ""
    return f"stopped: {line}; the next run goes on from there" if run.stopping.is_set() else line


def printable_bytes(value: bytes | None) -> str:
    """Return bytes as text for people, shortened if they are long."""
    if value is None:
        return "(null)"
    if not value:
        return "(empty)"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = f"(base64) {_base64(value)}"
    if len(text) <= _MAX_CHARACTERS:
        return escape_unprintable(text)
    return f"{escape_unprintable(text[:_MAX_CHARACTERS])} … ({len(value):,} bytes in all)"


def escape_unprintable(text: str) -> str:
    """Return the text with every character escaped that cannot be printed."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _time(at_ms: int) -> str:
    # Producers choose the timestamp of a record, so it may lie outside of the calendar.
    return iso(at_ms) if 0 <= at_ms < LATEST_MS else f"{at_ms} ms"


def _plain_cell(text: str) -> Text:
    """Return a table cell in which brackets are not taken for markup."""
    return Text(escape_unprintable(text))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        is_text = place < 2 or column in ("oldest", "newest")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    return table
