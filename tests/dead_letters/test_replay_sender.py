"""A letter is noted as replayed when Kafka has confirmed its record, and not before."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from stream.dead_letters import replay_sender
from stream.dead_letters.replay_log import ReplayLogEntry
from stream.dead_letters.replay_sender import KafkaSender, Outcome, OutcomeCounts, ReplayRecord
from stream.settings import load
from tests.dead_letters.test_reader import LETTER

LETTERS = [replace(LETTER, key=b"%d" % number) for number in range(4)]


class ReplayLog:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.pages: list[set[str]] = []

    async def write(self, notes: Mapping[str, ReplayLogEntry | None]) -> None:
        if notes:
            self.pages.append(set(notes))


class Producer:
    """Answers each record with what the test says, or confirms it."""

    def __init__(self, answers: Mapping[bytes, Exception]) -> None:
        self._answers = answers

    async def send(self, topic: str, value: bytes, key: bytes, **_: Any) -> "asyncio.Future[Any]":
        confirmed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if key in self._answers:
            confirmed.set_exception(self._answers[key])
        else:
            confirmed.set_result(None)
        return confirmed


async def deliver(outcomes: OutcomeCounts, notebook: ReplayLog, answers: Mapping[bytes, Exception]) -> None:
    """Send all letters."""
    held: Any = notebook
    delivery = KafkaSender(load(None, {}), held, outcomes)
    delivery._producer = Producer(answers)
    for letter in LETTERS:
        await delivery.send(ReplayRecord(letter, "logins", 0, letter.key, letter.value, [], None))
    await delivery.flush()


def delivered(outcomes: OutcomeCounts, answers: Mapping[bytes, Exception] = {}) -> list[set[str]]:
    """Send all letters; returns what was noted, a set for each time something was."""
    notebook = ReplayLog()
    asyncio.run(deliver(outcomes, notebook, answers))
    return notebook.pages


def identities(*numbers: int) -> set[str | None]:
    return {LETTERS[number].identity for number in numbers}


def test_what_has_arrived_is_counted_and_noted() -> None:
    outcomes = OutcomeCounts()

    assert delivered(outcomes) == [identities(0, 1, 2, 3)]
    assert outcomes.count(Outcome.REPLAYED) == 4


def test_what_the_broker_refuses_for_itself_is_counted_so_and_not_noted() -> None:
    outcomes = OutcomeCounts()

    assert delivered(outcomes, {b"2": MessageSizeTooLargeError()}) == [identities(0, 1, 3)]
    assert (outcomes.count(Outcome.REPLAYED), outcomes.count(Outcome.REFUSED)) == (3, 1)


def test_a_broker_that_is_lost_ends_the_run_when_what_has_arrived_is_noted() -> None:
    outcomes, notebook = OutcomeCounts(), ReplayLog()

    with pytest.raises(KafkaConnectionError):
        asyncio.run(deliver(outcomes, notebook, {b"1": KafkaConnectionError()}))

    assert notebook.pages == [identities(0, 2, 3)]
    assert outcomes.count(Outcome.REPLAYED) == 3


def test_notes_are_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_sender, "_MAX_UNLOGGED", 3)
    assert delivered(OutcomeCounts()) == [identities(0, 1, 2), identities(3)]

    monkeypatch.setattr(replay_sender, "_MAX_UNLOGGED", 100)
    monkeypatch.setattr(replay_sender, "_MAX_UNLOGGED_BYTES", 6)  # each has a byte of key and two of value
    assert delivered(OutcomeCounts()) == [identities(0, 1), identities(2, 3)]
