"""Once a second a look at the board: a point for the history, and for those who listen what changed.

A listener first hears all numbers (`numbers`), then only the samples that differ (`changes`): new values, and what is
gone because it is undefined now. Closed days are not told, only that they are others now; and of the numbers by segment
those alone that the page shows, for all of them are more than all other numbers. When nothing differs for a while a
`beat` says that the server is there.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from stream.core.metrics import is_by_segment
from stream.core.samples import Sample
from stream.export.board import Board
from stream.export.documents import with_sample_sizes
from stream.export.history import History, Key, key_of
from stream.export.listeners import Listeners
from stream.export.readiness import standing

_BEAT_SECONDS = 5.0
_EVERY_SECONDS = 1.0
# It grows by itself, every second, for each partition: who listens has a clock.
_UNTOLD = "engagement_snapshot_age_seconds"

_SHOWN_BY_SEGMENT = frozenset({"engagement_segment_active_users"})

_encode = msgspec.json.Encoder().encode

Samples = Mapping[Key, dict[str, Any]]


class PageUpdates:
    """Watches a board, remembers, and tells. `look` is one beat; `run` makes one a second."""

    def __init__(
        self,
        board: Board,
        *,
        listeners: Listeners | None = None,
        every_seconds: float = _EVERY_SECONDS,
        beat_seconds: float = _BEAT_SECONDS,
    ) -> None:
        self._board = board
        self._every_seconds = every_seconds
        self._most_silent_looks = max(1, round(beat_seconds / every_seconds))
        self._silent_looks = 0
        self._told = Told()
        self.listeners = Listeners() if listeners is None else listeners
        self.history = History(board.rules)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self._every_seconds)

    def look(self) -> None:
        """Take a point, and tell what changed since the last look."""
        self.history.look(self._board)
        if not len(self.listeners):
            return
        before, self._told = self._told, Told.of(self._board)
        self._silent_looks += 1
        if self._told != before:
            self._silent_looks = 0
            self.listeners.tell(framed("changes", self._told.since(before)))
        elif self._silent_looks >= self._most_silent_looks:
            self._silent_looks = 0
            self.listeners.tell(framed("beat", {}))

    def whole(self) -> bytes:
        """All numbers, as somebody who has just begun to listen needs them before the next changes."""
        if len(self.listeners) <= 1:  # nobody has been told for a while
            self._told = Told.of(self._board)
        return framed("numbers", self._told.whole())


class Told(msgspec.Struct, frozen=True):
    """What was told at one look."""

    standing: dict[str, Any] = {}
    live: dict[Key, dict[str, Any]] = {}
    health: dict[Key, dict[str, Any]] = {}
    days: int = 0  # counts the changes of closed days

    @classmethod
    def of(cls, board: Board) -> "Told":
        """What there is to tell of a board now."""
        health = [sample for sample in board.health() if sample.name != _UNTOLD]
        live = [one for one in board.live() if one.name in _SHOWN_BY_SEGMENT or not is_by_segment(one.name)]
        return cls(standing(board), _by_key(live), _by_key(health), board.closed_days.changes)

    def whole(self) -> dict[str, Any]:
        """Everything."""
        return {**self.standing, "live": list(self.live.values()), "health": list(self.health.values())}

    def since(self, before: "Told") -> dict[str, Any]:
        """Only the samples that are not as they were."""
        gone = [*_gone(before.live, self.live), *_gone(before.health, self.health)]
        return {
            **self.standing,
            "live": _changed(before.live, self.live),
            "health": _changed(before.health, self.health),
            "gone": gone,
            "days_changed": self.days != before.days,
        }


def framed(event: str, content: Mapping[str, Any]) -> bytes:
    """A server-sent event. JSON holds no line break, so the data is one line."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), _encode(content))


def _by_key(samples: Iterable[Sample]) -> dict[Key, dict[str, Any]]:
    documents = with_sample_sizes(list(samples))
    return {key_of(document["name"], document["labels"]): document for document in documents}


def _changed(before: Samples, now: Samples) -> list[dict[str, Any]]:
    return [document for key, document in now.items() if before.get(key) != document]


def _gone(before: Samples, now: Samples) -> list[dict[str, Any]]:
    return [{"name": name, "labels": dict(labels)} for name, labels in before if (name, labels) not in now]
