"""How dead letters look: a table of counts, a block of lines a letter, what a replay came to; and each as JSON.

What producers send may hold anything, escape sequences of terminals too: text is shown as far as it prints, the rest
escaped, and what is no text as base64.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from stream.core.rejections import Reason
from stream.core.time import LATEST_MS, SECOND_MS, iso
from stream.letters.dead_letters import Count, Letter
from stream.letters.delivery import Fate, Outcome
from stream.letters.redelivery import Run

# Of a longer value people see the beginning; JSON has all of it.
_CHARACTERS_SHOWN = 2_000


def counts_table(counts: Sequence[Count]) -> Table:
    """A row a topic and reason, and their sum."""
    table = _table("topic", "reason", "letters", "replayed", "refused again", "by reference", "oldest", "newest")
    for count in counts:
        numbers = (count.letters, count.replayed, count.again, count.by_reference)
        times = (_time(at_ms // SECOND_MS * SECOND_MS) for at_ms in (count.oldest_ms, count.newest_ms))
        table.add_row(count.topic, _cell(count.reason), *(f"{number:,}" for number in numbers), *times)
    return table


def counts_document(counts: Sequence[Count]) -> dict[str, Any]:
    """The same for programs."""
    rows = [
        {
            "topic": count.topic,
            "reason": count.reason,
            "letters": count.letters,
            "replayed": count.replayed,
            "again": count.again,
            "by_reference": count.by_reference,
            "oldest": _time(count.oldest_ms),
            "newest": _time(count.newest_ms),
        }
        for count in counts
    ]
    return {"letters": sum(count.letters for count in counts), "counts": rows}


def letter_lines(letter: Letter, *, was_replayed: bool) -> Iterable[str]:
    """A letter for people."""
    yield f"{letter.place}  {_time(letter.written_ms)}  {escaped(letter.reason)}"
    yield f"  detail    {escaped(letter.detail)}"
    if letter.origin is not None:
        topic, partition, offset, at_ms = letter.origin
        yield f"  origin    {escaped(topic)}/{partition}/{offset}  {_time(at_ms)}"
    yield f"  attempts  {letter.attempts}{', replayed since' if was_replayed else ''}"
    for name, value in letter.headers:
        yield f"  header    {escaped(name)} = {shown(value)}"
    if letter.by_reference != "record":
        yield f"  key       {shown(letter.key)}"
    if letter.by_reference:
        what = "value" if letter.by_reference == "value" else "record"
        yield f"  {what:<9} too large for a letter: it is where it was produced to"
    else:
        yield f"  value     {shown(letter.value)}"


def letter_document(letter: Letter, *, was_replayed: bool) -> dict[str, Any]:
    """A letter for programs, each byte of it."""
    origin = letter.origin
    return {
        "topic": letter.topic,
        "letter": letter.place._asdict(),
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


def outcome_table(outcome: Outcome) -> Table:
    """A row a topic and reason, and a column for each fate that any letter met."""
    fates = [fate for fate in Fate if fate is Fate.REPLAYED or outcome.count(fate)]
    table = _table("topic", "reason", *("to replay" if fate is Fate.REPLAYED else fate.value for fate in fates))
    for place in sorted({place for counts in outcome.fates.values() for place in counts}):
        topic, reason = place
        table.add_row(topic, _cell(reason), *(f"{outcome.of(fate)[place]:,}" for fate in fates))
    return table


def summary(run: Run, seconds: float) -> str:
    """What a run came to, in a line."""
    replayed = run.outcome.count(Fate.REPLAYED)
    records = "1 record" if replayed == 1 else f"{replayed:,} records"
    late = sum(
        count for (_, reason), count in run.outcome.fates.get(Fate.REPLAYED, {}).items() if reason == Reason.LATE.value
    )
    told = f"{records} replayed in {seconds:.1f} s" if run.sends else f"would replay {records}"
    told += f", {late:,} of them late" if late else ""
    notes = {
        Fate.OFTEN_ENOUGH: f" (--max-attempts {run.attempts})",
        Fate.TOO_LARGE: f" ({run.settings.max_message_bytes:,})",
    }
    left = [
        f"{run.outcome.count(fate):,} {fate.value}{notes.get(fate, '')}"
        for fate in Fate
        if fate is not Fate.REPLAYED and run.outcome.count(fate)
    ]
    told += f"; left alone: {', '.join(left)}" if left else ""
    return f"stopped: {told}; the next run goes on from there" if run.stopping.is_set() else told


def shown(value: bytes | None) -> str:
    """Bytes for people."""
    if value is None:
        return "(null)"
    if not value:
        return "(empty)"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = f"(base64) {_base64(value)}"
    if len(text) <= _CHARACTERS_SHOWN:
        return escaped(text)
    return f"{escaped(text[:_CHARACTERS_SHOWN])} … ({len(value):,} bytes in all)"


def escaped(text: str) -> str:
    """Text of which everything prints."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _time(at_ms: int) -> str:
    # Producers choose the time of a record, which may be none that calendars know.
    return iso(at_ms) if 0 <= at_ms < LATEST_MS else f"{at_ms} ms"


def _cell(text: str) -> Text:
    """Text in which brackets are no markup."""
    return Text(escaped(text))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        is_text = place < 2 or column in ("oldest", "newest")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    return table
