"""Whether the numbers at the end of a soak are right: all of them, counted anew from what the windows can reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from stream.core.rejections import Reason
from stream.core.samples import Sample
from tests.integration.deployment import Deployment, Program
from tests.soak.population import mark_of
from tests.soak.sending import Sending

_Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Compared(NamedTuple):
    """How many messages were refused as late, how many numbers there are, and each that differs, in words."""

    late: int
    compared: int
    differences: list[str]


def compared(deployment: Deployment, sending: Sending, server: Program) -> Compared:
    """Compare what the server tells with a recount of what was sent, less what was refused as late."""
    inputs = deployment.settings.input_topics.values()
    letters = deployment.stored(deployment.settings.dead_letter_topic(name) for name in inputs)
    late = [
        mark_of(letter.key, letter.value, letter.headers)
        for letter in letters
        if letter.headers["reason"] == Reason.LATE.value.encode()
    ]
    recount = sending.recount(deployment.settings.rules, late=late)
    expected = _recounted([*recount.live, *(sample for _, samples in recount.closed[-1:] for sample in samples)])
    api = server.api()
    told = _told([*api["live"], *(sample for day in api["closed"][-1:] for sample in day["samples"])])
    return Compared(
        len(late),
        len(expected),
        [
            f"{name} {dict(labels)}: recounted {expected.get((name, labels))}, told {told.get((name, labels))}"
            for name, labels in sorted({*expected, *told})
            if not _are_same(expected.get((name, labels)), told.get((name, labels)))
        ],
    )


def _are_same(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= 1e-9


def _recounted(samples: Iterable[Sample]) -> _Numbers:
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def _told(samples: Iterable[dict[str, Any]]) -> _Numbers:
    return {(sample["name"], tuple(sorted(sample["labels"].items()))): sample["value"] for sample in samples}
