"""Looks at the board once a second: adds a point to the history, and sends to the listeners what has changed.

A listener first gets all numbers (event `numbers`), and then only the samples that differ (event `changes`): new
values, and those that are gone because they are undefined now. Of closed days it gets only the information that they
have changed, and of the numbers by segment only those that the page shows, because there are more of them than of all
others. If nothing changes for a while, the event `beat` shows that the server is still there.
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
from stream.export.readiness import board_status

_BEAT_SECONDS = 5.0
_EVERY_SECONDS = 1.0
# Not sent, because it grows every second for each partition. A listener can calculate it from its own clock.
_EXCLUDED_METRIC = "engagement_snapshot_age_seconds"

_SHOWN_BY_SEGMENT = frozenset({"engagement_segment_active_users"})

_encode = msgspec.json.Encoder().encode

Samples = Mapping[Key, dict[str, Any]]


class PageUpdates:
    """Watches a board, keeps the history, and sends changes. `run` calls `update` once a second."""

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
        self._max_silent_updates = max(1, round(beat_seconds / every_seconds))
        self._silent_updates = 0
        self._last_state = PageState()
        self.listeners = Listeners() if listeners is None else listeners
        self.history = History(board.rules)

    async def run(self) -> None:
        """Update until cancelled."""
        while True:
            self.update()
            await asyncio.sleep(self._every_seconds)

    def update(self) -> None:
        """Add a point to the history, and send what has changed since the last update."""
        self.history.update(self._board)
        if not len(self.listeners):
            return
        before, self._last_state = self._last_state, PageState.of(self._board)
        self._silent_updates += 1
        if self._last_state != before:
            self._silent_updates = 0
            self.listeners.send(server_sent_event("changes", self._last_state.changes_since(before)))
        elif self._silent_updates >= self._max_silent_updates:
            self._silent_updates = 0
            self.listeners.send(server_sent_event("beat", {}))

    def whole(self) -> bytes:
        """All numbers, which a new listener needs before the next changes."""
        if len(self.listeners) <= 1:  # nothing was sent for a while, because there was no listener
            self._last_state = PageState.of(self._board)
        return server_sent_event("numbers", self._last_state.whole())


class PageState(msgspec.Struct, frozen=True):
    """Everything that the page shows, at one update."""

    board_status: dict[str, Any] = {}
    live: dict[Key, dict[str, Any]] = {}
    health: dict[Key, dict[str, Any]] = {}
    days: int = 0  # counts the changes of closed days

    @classmethod
    def of(cls, board: Board) -> "PageState":
        """The current state of a board."""
        health = [sample for sample in board.health() if sample.name != _EXCLUDED_METRIC]
        live = [one for one in board.live() if one.name in _SHOWN_BY_SEGMENT or not is_by_segment(one.name)]
        return cls(board_status(board), _by_key(live), _by_key(health), board.closed_days.changes)

    def whole(self) -> dict[str, Any]:
        """All numbers, as they are sent to a new listener."""
        return {**self.board_status, "live": list(self.live.values()), "health": list(self.health.values())}

    def changes_since(self, before: "PageState") -> dict[str, Any]:
        """Only the samples that differ from those before."""
        gone = [*_gone(before.live, self.live), *_gone(before.health, self.health)]
        return {
            **self.board_status,
            "live": _changed(before.live, self.live),
            "health": _changed(before.health, self.health),
            "gone": gone,
            "days_changed": self.days != before.days,
        }


def server_sent_event(event: str, content: Mapping[str, Any]) -> bytes:
    """A server-sent event. Its data is one line, because the encoded JSON has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), _encode(content))


def _by_key(samples: Iterable[Sample]) -> dict[Key, dict[str, Any]]:
    documents = with_sample_sizes(list(samples))
    return {key_of(document["name"], document["labels"]): document for document in documents}


def _changed(before: Samples, now: Samples) -> list[dict[str, Any]]:
    return [document for key, document in now.items() if before.get(key) != document]


def _gone(before: Samples, now: Samples) -> list[dict[str, Any]]:
    return [{"name": name, "labels": dict(labels)} for name, labels in before if (name, labels) not in now]
