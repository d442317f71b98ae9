"""Notice that a topic was deleted, or created again, or that a right was taken away, while a program runs.

Kafka's clients know a topic by its name alone. When it is deleted and created again, they go on at the offset that they
had in the old one: beyond the end of the new one, or behind records that they have never seen. Kafka gives each topic
an id, which tells the two apart. Neither aiokafka nor Faust asks for it, so this is done here, on a connection of its
own. It is also asked there which of the rights that the program needs it has.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from kafka.errors import KafkaError

from stream.kafka.access import missing_rights
from stream.kafka.rights import Right
from stream.kafka.topics import admin_client, ids_of
from stream.settings import Unavailable

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0
# A broker that has just started does not know its topics yet, so a topic counts as missing after this many looks.
_MISSING_LOOKS = 4


class TopicWatch:
    """Calls `on_ids` again and again with the id of each topic: None if it is missing, and not if it is unknown.

    It is called in the event loop in which `start` was called.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        client_options: Mapping[str, object],
        on_ids: Callable[[Mapping[str, str | None]], None],
        rights: Sequence[Right] = (),
        on_missing_rights: Callable[[list[Right]], None] = lambda missing: None,
    ) -> None:
        """`on_missing_rights` is called in the same way, with those of the `rights` that are missing."""
        self._topics = list(topics)
        self._client_options = client_options
        self._on_ids = on_ids
        self._rights, self._on_missing_rights = rights, on_missing_rights
        self._missing_looks = dict.fromkeys(topics, 0)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start to look, in a thread, which nobody has to wait for: Kafka may not answer."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name="topic watch", daemon=True).start()

    def stop(self) -> None:
        """Stop to look."""
        self._stopped.set()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                with admin_client(self._client_options) as admin:
                    self._look_again_and_again(admin, loop)
            except (Unavailable, KafkaError) as error:  # noqa: PERF203  Kafka is away, which others notice and report
                log.debug("the ids of topics can't be asked for", reason=str(error))
            except Exception as error:  # noqa: BLE001  a thread that ends would notice nothing any more
                log.warning("the ids of topics can't be asked for, trying again", reason=repr(error))

    def _look_again_and_again(self, admin: Any, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            found = self._with_missing(ids_of(admin, self._topics))
            missing = missing_rights(admin, self._rights)
            if self._stopped.is_set():
                return
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._on_ids, found)
                loop.call_soon_threadsafe(self._on_missing_rights, missing)
            if self._stopped.wait(_LOOK_SECONDS):
                return

    def _with_missing(self, found: Mapping[str, str]) -> dict[str, str | None]:
        """Add the topics that were missing for long enough, and leave out those whose id the broker does not tell."""
        for topic in self._topics:
            self._missing_looks[topic] = 0 if topic in found else self._missing_looks[topic] + 1
        missing = [topic for topic, looks in self._missing_looks.items() if looks >= _MISSING_LOOKS]
        return {**{topic: id_ for topic, id_ in found.items() if id_}, **dict.fromkeys(missing)}
