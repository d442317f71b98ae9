"""Who sends: the messages of a population at the pace of a clock that runs faster than the wall's."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from kafka import KafkaProducer

from stream.core.offline import Computed, Offline
from stream.core.rules import Rules
from stream.core.time import DAY_MS
from tests.native import READERS
from tests.soak.population import Message

_TICK_SECONDS: Final = 0.1
# A producer that was kept from running does not make up for more than this: it would be a burst, not a steady load.
_MADE_UP_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 10.0
# It waits for a worker that is behind by more than this. A load that no machine could bear would show nothing.
_MOST_BEHIND_SECONDS: Final = 2.0
# And for one whose partitions save less often than this: with each checkpoint some rows are looked at, and what is kept
# is bounded by how many days pass between two of them.
_LEAST_CHECKPOINTS_A_SECOND: Final = 0.5
# And for one that closes days later than this: what they are made of is kept until then.
_MOST_UNCLOSED_SECONDS: Final = 2.0


class Sending(threading.Thread):
    """Sends messages as their time comes, `pace` milliseconds of event time a second, until it is stopped.

    The clock stands still while a worker is far behind. `lag` returns by how many messages it is behind, `checkpoints`
    how often each partition has saved, and `closing_backlog` how many closed days wait to be computed. All were
    measured at most `sampled_every` seconds ago. Messages of the last `remembered_ms` are kept for a recount.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        topics: Mapping[str, str],
        client: Mapping[str, Any],
        *,
        start_ms: int,
        pace: float,
        remembered_ms: int,
        lag: Callable[[], float],
        checkpoints: Callable[[], float],
        closing_backlog: Callable[[], float],
        sampled_every: float,
    ) -> None:
        super().__init__(name="sending", daemon=True)
        self._messages = iter(messages)
        self._topics = topics
        self._producer = KafkaProducer(**client, compression_type="gzip", linger_ms=20)
        self._now_ms, self._pace, self._remembered_ms = float(start_ms), pace, remembered_ms
        self._lag, self._checkpoints, self._seconds = lag, checkpoints, 0.0
        self._closing_backlog, self._most_unclosed = closing_backlog, _MOST_UNCLOSED_SECONDS * pace / DAY_MS
        self._most_unsaved_seconds = 2 * sampled_every + 1 / _LEAST_CHECKPOINTS_A_SECOND
        self._enough = threading.Event()
        self._failure: BaseException | None = None
        self._recent: deque[Message] = deque()
        self.sent = 0
        self.too_late = 0  # on purpose

    @property
    def now_ms(self) -> int:
        """The moment up to which everything was sent."""
        return int(self._now_ms)

    def run(self) -> None:
        """Send until it is enough."""
        try:
            self._send()
        except Exception as error:  # noqa: BLE001  raised again where it is stopped
            self._failure = error

    def _send(self) -> None:
        waiting = next(self._messages)
        at = time.monotonic()
        while not self._enough.wait(_TICK_SECONDS):
            before, at = at, time.monotonic()
            if self._is_worker_behind():
                continue
            passed = min(at - before, _MADE_UP_SECONDS)
            self._seconds += passed
            self._now_ms += passed * self._pace
            while waiting.arrives_ms <= self._now_ms:
                self._send_one(waiting)
                waiting = next(self._messages)
            while self._recent and self._recent[0].arrives_ms < self._now_ms - self._remembered_ms:
                self._recent.popleft()

    def _is_worker_behind(self) -> bool:
        unsaved_seconds = self._seconds - self._checkpoints() / _LEAST_CHECKPOINTS_A_SECOND
        too_many = self._lag() * self._seconds > self.sent * _MOST_BEHIND_SECONDS
        too_many_days = self._closing_backlog() > self._most_unclosed
        return too_many or too_many_days or unsaved_seconds > self._most_unsaved_seconds

    def _send_one(self, message: Message) -> None:
        self._producer.send(
            self._topics[message.topic],
            key=message.key,
            value=message.value,
            headers=list(message.headers),
            # A null message has no time but the record's.
            timestamp_ms=message.arrives_ms if message.value is None else None,
        ).add_errback(self._note_failure)
        self.sent += 1
        self.too_late += message.is_too_late
        if message.event:
            self._recent.append(message)

    def _note_failure(self, error: BaseException) -> None:
        self._failure = error

    def check(self) -> None:
        """Raises what went wrong meanwhile."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Send no more; what was sent is delivered, unless Kafka is gone."""
        self._enough.set()
        self.join()
        self._producer.close(timeout=_CLOSE_SECONDS)

    def recount(self, rules: Rules, *, late: Iterable[bytes]) -> Computed:
        """The numbers of what is remembered, without what was refused as `late` (by mark): counted anew."""
        offline = Offline(rules, READERS)
        for _ in offline.apply(self._lines(Counter(late))):
            pass
        return offline.computed()

    def _lines(self, left_out: Counter[bytes]) -> Iterator[bytes]:
        for message in self._recent:
            if left_out[message.mark]:
                left_out[message.mark] -= 1
            else:
                yield b'{"topic":"%s",%s' % (message.topic.encode(), message.event[1:])
