"""What became of every message that was produced: counted, or kept among the dead letters, and nothing else."""

from __future__ import annotations

from stream.core.offline import Offline
from tests.integration.deployment import Deployment, StoredRecord, line_of
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


def letter_differences(deployment: Deployment, *, sent: int) -> list[str]:
    """Messages that are missing or too many, in the inputs and among the dead letters; one a line."""
    seconds = 60.0 + sent / 2_000
    produced = deployment.produced(at_least=sent, seconds=seconds)
    found = [] if len(produced) == sent else [f"inputs: {sent} events were sent, {len(produced)} are there"]
    refused = refused_places(deployment, produced)
    letters = deployment.dead_letters(at_least=len(refused), seconds=seconds)
    kept = {letter.origin for letter in letters}
    found += [f"dead letters: {place} is missing: {produced[place].value!r}" for place in sorted(refused - kept)]
    found += [f"dead letters: {place} could be used: {produced[place].value!r}" for place in sorted(kept - refused)]
    return found
