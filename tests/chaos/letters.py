"""What became of every message that was produced: counted, or kept among the dead letters, and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict

from stream.core.offline import Offline
from tests.integration.deployment import Deployment, Load, StoredRecord, line_of
from tests.native import READERS

Place = tuple[str, int, int]


def refused_places(deployment: Deployment, produced: dict[Place, StoredRecord]) -> set[Place]:
    """Where the messages lie that nobody can use, judged one by one."""
    inputs = {name: topic for topic, name in deployment.settings.input_topics.items()}
    places: list[Place] = list(produced)
    lines = [line_of(inputs[place[0]], produced[place].value or b"") for place in places]
    offline = Offline(deployment.settings.rules, READERS)
    refused = {places[letter.number - 1] for letter in offline.apply(lines)}
    return refused | {place for place, line in zip(places, lines, strict=True) if not line.strip()}


def _missing(deployment: Deployment, produced: dict[Place, StoredRecord], load: Load) -> list[str]:
    """What was sent and is not in the inputs: why it should be, and where it lies in a transaction that aborted."""
    there = Counter(record.value for record in produced.values())
    begun: defaultdict[bytes | None, list[Place]] = defaultdict(list)
    for record in deployment.stored(deployment.settings.input_topics.values(), committed=False):
        if record.place not in produced:
            begun[record.value].append(record.place)
    found = []
    for number, event in enumerate(load.sent):
        there[event.value] -= 1
        if there[event.value] < 0:
            found.append(f"event {number} is missing: {load.why_sent(number)}; uncommitted at {begun[event.value]}")
    return found


def letter_differences(deployment: Deployment, *, sent: int, load: Load | None = None) -> list[str]:
    """Messages that are missing or too many, in the inputs and among the dead letters; one a line."""
    seconds = 60.0 + sent / 2_000
    produced = deployment.produced(at_least=sent, seconds=seconds)
    found = []
    if len(produced) != sent:
        found.append(f"inputs: {sent} events were sent, {len(produced)} are there")
        found += [] if load is None else _missing(deployment, produced, load)
    refused = refused_places(deployment, produced)
    letters = deployment.dead_letters(at_least=len(refused), seconds=seconds)
    kept = {letter.origin for letter in letters}
    found += [f"dead letters: {place} is missing: {produced[place].value!r}" for place in sorted(refused - kept)]
    found += [f"dead letters: {place} could be used: {produced[place].value!r}" for place in sorted(kept - refused)]
    return found
