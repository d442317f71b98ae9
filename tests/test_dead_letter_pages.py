"""How dead letters look to people and to programs."""

import io
import json
from contextlib import nullcontext
from dataclasses import replace
from textwrap import dedent

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from stream.commands.dead_letter_pages import (
    counts_document,
    counts_table,
    escape_unprintable,
    letter_document,
    letter_lines,
    outcomes_table,
    printable_bytes,
    summary,
)
from stream.dead_letters.reader import Count, DeadLetter, LetterFilter
from stream.dead_letters.redelivery import Run
from stream.dead_letters.replay_sender import Outcome, OutcomeCounts
from stream.kafka.headers import Origin
from stream.settings import load
from tests.dead_letters.test_reader import LETTER


def printed(table: Table) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def block(text: str) -> str:
    return dedent(text).strip("\n")


def lines(letter: DeadLetter, *, was_replayed: bool = False) -> str:
    return "\n".join(letter_lines(letter, was_replayed=was_replayed))


def test_a_letter_for_people() -> None:
    letter = replace(LETTER, headers=[("trace", b"t"), ("none", None)], value=b'{"user_id":"ad\xc3\xa4"}')

    assert lines(letter) == block(
        """
        logins.dlq/1/17  2025-03-01T00:00:05Z  late
          detail    told
          origin    logins/1/7  2025-03-01T00:00:00Z
          attempts  0
          header    trace = t
          header    none = (null)
          key       ada
          value     {"user_id":"adä"}
        """
    )


def test_a_letter_whose_value_was_left_where_it_was() -> None:
    letter = replace(LETTER, headers=[], value=None, by_reference="value", attempts=2)

    assert lines(letter, was_replayed=True) == block(
        """
        logins.dlq/1/17  2025-03-01T00:00:05Z  late
          detail    told
          origin    logins/1/7  2025-03-01T00:00:00Z
          attempts  2, replayed since
          key       ada
          value     too large for a letter: it stays in the original record
        """
    )


def test_times_that_no_calendar_knows_are_numbers() -> None:
    letter = replace(LETTER, origin=Origin("logins", 1, 7, 2**62), written_ms=-5)

    assert "  origin    logins/1/7  4611686018427387904 ms" in lines(letter)
    assert "logins.dlq/1/17  -5 ms  late" in lines(letter)


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_printed(text: str) -> None:
    assert escape_unprintable(text).isprintable()


def test_values_are_text_where_they_can_be() -> None:
    assert printable_bytes(b"\x1b[31mred\n") == "\\x1b[31mred\\n"
    assert printable_bytes(b"\xff\x00") == "(base64) /wA="
    assert (printable_bytes(None), printable_bytes(b"")) == ("(null)", "(empty)")
    assert printable_bytes(b"x" * 2_000) == "x" * 2_000
    assert printable_bytes(b"x" * 2_001) == "x" * 2_000 + " … (2,001 bytes in all)"


@given(st.none() | st.binary(), st.none() | st.binary(), st.lists(st.tuples(st.text(), st.none() | st.binary())))
def test_programs_get_every_byte(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    letter = replace(LETTER, key=key, value=value, headers=headers)

    told = msgspec.json.decode(msgspec.json.encode(letter_document(letter, was_replayed=False)))

    decode = msgspec.json.Decoder(bytes | None).decode
    as_bytes = [decode(json.dumps(text).encode()) for text in (told["key_base64"], told["value_base64"])]
    assert as_bytes == [key, value]
    assert [(one["name"], decode(json.dumps(one["value_base64"]).encode())) for one in told["headers"]] == headers


COUNTS = [
    Count(
        "logins",
        "late",
        letters=1_204,
        replayed=1_200,
        refused_again=4,
        oldest_ms=1_740_787_200_123,
        newest_ms=1_740_787_205_000,
    ),
    Count("surveys", "[red]", letters=1, by_reference=1, oldest_ms=1_740_787_200_000, newest_ms=1_740_787_200_000),
]


def test_counts_for_people() -> None:
    assert printed(counts_table(COUNTS)) == block(
        """
        topic    reason  letters  replayed  refused again  by reference  oldest                newest
        logins   late      1,204     1,200              4             0  2025-03-01T00:00:00Z  2025-03-01T00:00:05Z
        surveys  [red]         1         0              0             1  2025-03-01T00:00:00Z  2025-03-01T00:00:00Z
        """
    )


def test_counts_for_programs() -> None:
    document = counts_document(COUNTS)

    assert document["letters"] == 1_205
    assert document["counts"][0] == {
        "topic": "logins",
        "reason": "late",
        "letters": 1_204,
        "replayed": 1_200,
        "again": 4,
        "by_reference": 0,
        "oldest": "2025-03-01T00:00:00.123Z",
        "newest": "2025-03-01T00:00:05Z",
    }


def outcomes(**by_outcome: int) -> OutcomeCounts:
    told = OutcomeCounts()
    for name, count in by_outcome.items():
        for _ in range(count):
            told.add(LETTER, Outcome[name])
    return told


def run(told: OutcomeCounts, *, sends: bool = True) -> Run:
    return Run(
        settings=load(None, {}),
        selection=LetterFilter(("logins",)),
        attempts=3,
        sends=sends,
        outcomes=told,
        progress=lambda title, total: nullcontext(lambda done: None),
        on_late=lambda: None,
    )


def test_a_run_is_summed_up_in_a_line() -> None:
    assert summary(run(outcomes(REPLAYED=1)), 1.25) == "1 record replayed in 1.2 s, 1 of them late"
    assert summary(run(OutcomeCounts()), 0.5) == "0 records replayed in 0.5 s"
    assert summary(run(OutcomeCounts(), sends=False), 0.5) == "would replay 0 records"
    left = outcomes(
        REPLAYED=2, ALREADY_REPLAYED=3, MAX_ATTEMPTS_REACHED=1, RECORD_DELETED=1, TOO_LARGE=1, REFUSED=1, NO_ORIGIN=1
    )
    assert summary(run(left), 1).partition("; ")[2] == (
        "left alone: 3 replayed before, 1 replayed as often as allowed (--max-attempts 3), "
        "1 kept by reference whose record is gone, 1 larger than max_message_bytes (1,000,000), "
        "1 refused by the broker, 1 without an origin"
    )


def test_a_run_that_was_stopped_says_so() -> None:
    stopped = run(outcomes(REPLAYED=2))
    stopped.stopping.set()

    assert summary(stopped, 1).startswith("stopped: 2 records replayed")
    assert summary(stopped, 1).endswith("; the next run goes on from there")


def test_what_would_be_sent_is_told_by_topic_and_reason() -> None:
    told = outcomes(REPLAYED=2, ALREADY_REPLAYED=1)
    told.add(replace(LETTER, topic="surveys", reason="bad_time"), Outcome.REPLAYED)

    assert printed(outcomes_table(told)) == block(
        """
        topic    reason    to replay  replayed before
        logins   late              2                1
        surveys  bad_time          1                0
        """
    )
