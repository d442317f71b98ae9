"""The numbers of a few events, for tests that compare them with examples worked out by hand."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from stream.core.events import Event, MultipleEvents
from stream.core.offline import Computed, Offline
from stream.core.rejections import Reason, Rejected
from stream.core.rules import Rules
from stream.core.samples import Sample
from tests.core.live import line
from tests.native import READERS, Message

Fields = Mapping[str, Any]


def live_numbers(*events: Fields, at_ms: int, rules: Rules | None = None, window: str = "7d") -> dict[str, float]:
    """The live numbers of one window, and those without a window, by name and their other labels."""
    return _named(_computed(events, at_ms, rules).live, window)


def closed_numbers(
    *events: Fields, at_ms: int, rules: Rules | None = None, window: str = "7d"
) -> list[dict[str, float]]:
    """The same of the last closed days, in order."""
    return [_named(samples, window) for _, samples in _computed(events, at_ms, rules).closed]


def _computed(events: tuple[Fields, ...], at_ms: int, rules: Rules | None) -> Computed:
    offline = Offline(rules or Rules(), READERS, at_ms=at_ms)
    assert not list(offline.apply(map(line, events)))
    return offline.computed(days=7)


def _named(samples: list[Sample], window: str) -> dict[str, float]:
    return {
        " ".join((name.removeprefix("engagement_"), *(labels[label] for label in labels if label != "window"))): value
        for name, labels, value in samples
        if labels.get("window", window) == window
    }


def decoded(kind: str, message: Fields) -> Event | MultipleEvents:
    """The event of a message."""
    return READERS[kind](Message(msgspec.json.encode(message)))


def refusal(kind: str, message: Fields) -> tuple[Reason, str]:
    """Why a message is refused."""
    with pytest.raises(Rejected) as raised:
        decoded(kind, message)
    return raised.value.reason, str(raised.value)
