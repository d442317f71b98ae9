"""Say as what the messages of inputs with the format `auto` are recognised.

When a worker starts, it looks at the newest messages of these topics, so that whoever has set it up sees at once
whether they are understood. If nothing is there yet, it says so, and the format is logged with the first message. Each
format of an input is logged once. This only informs: what a message is, is decided anew for each one.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog

from stream.agents.task_state import in_thread
from stream.core.rejections import Rejected
from stream.inputs.registry import AUTO, CLOUDEVENTS
from stream.kafka.newest_records import newest_records
from stream.settings import JsonOf, Settings, Unavailable

log = structlog.get_logger(__name__)

# How many of the newest messages of a topic are looked at. A format that is rarer is logged when it comes.
_MESSAGES = 100


class RecognisedFormats:
    """The formats as which messages of each input were recognised."""

    def __init__(self, settings: Settings, decoders: Mapping[str, JsonOf]) -> None:
        """`decoders` decode the messages of inputs that are not JSON."""
        self._settings = settings
        self._decoders = decoders
        self._logged: set[tuple[str, str]] = set()

    def recognised(self, name: str, format_: str) -> None:
        """Log a format of an input, once."""
        if (name, format_) not in self._logged:
            self._logged.add((name, format_))
            log.info("the format of messages was recognised", input=name, format=format_)

    async def look(self) -> None:
        """Look at the newest messages of each input whose format is to be recognised."""
        for name, input_ in self._settings.named_inputs.items():
            if input_.format != AUTO and not (input_.format == CLOUDEVENTS and input_.inside == AUTO):
                continue
            try:
                if input_.encoding == "registry":  # their schemas are not known yet
                    log.info("the format is recognised with the first message", input=name, topic=input_.topic)
                else:
                    await self._look_at(name, input_.topic)
            except Unavailable as error:
                log.info("the newest messages can't be looked at: formats are logged as they come", why=str(error))

    async def _look_at(self, name: str, topic: str) -> None:
        # In a loop of its own, because some of these requests wait without letting others go on.
        records, _ = await in_thread(lambda: asyncio.run(newest_records(self._settings, topic, limit=_MESSAGES)))
        if not records:
            log.info("no message yet: the format is recognised with the first one", input=name, topic=topic)
            return
        read = self._settings.readers_telling(self.recognised, self._decoders)[name]
        refused: Counter[str] = Counter()
        for record in records:
            try:
                read(record)
            except Rejected as rejection:  # noqa: PERF203  some messages are bad, and the others are looked at
                refused[str(rejection)] += 1
        if refused:
            (why, _), *_ = refused.most_common(1)
            counts = {"messages": len(records), "refused": refused.total()}
            log.warning("some of the newest messages can't be used", input=name, topic=topic, why=why, **counts)
