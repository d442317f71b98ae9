"""How far a partition has read, what became of the events, and what its watermark and clock show."""

from collections.abc import Collection, Mapping

import msgspec

from stream.core.rejections import Reason

APPLIED, DUPLICATE, LATE, FUTURE, INVALID, BOT, REKEYED = OUTCOMES = (
    "applied",
    "duplicate",
    "late",
    "future",
    "invalid",
    "bot",
    "rekeyed",
)

# Of everything that a checkpoint writes. 1: rows were one value, before they had parts. 2: an id had one thing.
FORMAT = 3

PROGRESS = b"progress"

_OUTCOME_OF = {Reason.FUTURE: FUTURE, Reason.LATE: LATE}


class StateRefused(ValueError):
    """The stored state can't be gone on with. The text says why, and what decides it."""


class RulesChanged(StateRefused):
    """The stored state was booked under other rules. The text names the setting and both values."""


class FormatChanged(StateRefused):
    """The stored state was written by another version, whose format this one does not read."""


class Progress(msgspec.Struct):
    """How far a partition has read, and what became of the events. Part of each checkpoint."""

    offsets: dict[str, int] = {}  # by Kafka topic: the next offset to apply
    topic_ids: dict[str, str] = {}  # by Kafka topic: Kafka's id of it, where the broker tells
    newest_ms: dict[str, int] = {}  # by input: the newest event time applied
    watermark_ms: int = -1
    now_ms: int = -1
    first_ms: int | None = None  # the oldest event time applied
    outcomes: dict[str, dict[str, int]] = {}  # by input and outcome
    reasons: dict[str, dict[str, int]] = {}  # by input and reason of rejection
    users: int = 0
    counted_since_ms: int = 0  # wall clock of the reset after which all was counted again; 0 without one
    partitions: int = 0  # of each topic, when this was counted; 0 where nobody told
    days_since: dict[str, int] = {}  # by family: the first closed day that is kept for itself, once some are not
    rules: dict[str, str] = {}  # by setting: what the stored totals were booked under
    format: int = FORMAT

    def tick(self, clock_ms: int, *, behind: Collection[str], active: Collection[str]) -> None:
        """Move watermark and clock on, as `Partition.tick` says."""
        newest = self.newest_ms
        if behind or active:
            watermark_ms = min(newest.get(source, -1) for source in (*behind, *active))
        else:
            watermark_ms = max(newest.values(), default=-1)
        self.watermark_ms = max(self.watermark_ms, watermark_ms)
        self.now_ms = max(self.now_ms, min(self.watermark_ms, clock_ms) if behind else clock_ms)

    def count(self, source: str, fates: Mapping[str, int], refusals: Collection[Reason]) -> None:
        """Note what became of some events of an input."""
        outcomes = self.outcomes.setdefault(source, {})
        for fate, count in fates.items():
            if count:
                outcomes[fate] = outcomes.get(fate, 0) + count
        reasons = self.reasons.setdefault(source, {})
        for reason in refusals:
            reasons[reason.value] = reasons.get(reason.value, 0) + 1
            fate = _OUTCOME_OF.get(reason, INVALID)
            outcomes[fate] = outcomes.get(fate, 0) + 1


class _Written(msgspec.Struct):
    format: int = 1  # which told of none


def decode_progress(value: bytes, rules: Mapping[str, str]) -> Progress:
    """Progress as a checkpoint has written it.

    Raises FormatChanged for that of another version, RulesChanged where settings were others than `rules`.
    """
    written = msgspec.msgpack.decode(value, type=_Written).format
    if written != FORMAT:
        raise format_changed(written)
    progress = msgspec.msgpack.decode(value, type=Progress)
    for setting, now in rules.items():
        then = progress.rules.get(setting, now)
        if then != now:
            told = f"{setting} is {now}, the state was built with {then}"
            raise RulesChanged(f"{told}: set it back, or take a new app_id to build the state again from the topics")
    return progress


def format_changed(written: int) -> FormatChanged:
    """What is said of state in another format."""
    told = f"the state was written in format {written} by another version, this one has format {FORMAT}"
    return FormatChanged(
        f"{told}\n  to count again what the topics still hold: engagement state reset --partition N, for each of them;"
        " or take a new app_id"
    )
