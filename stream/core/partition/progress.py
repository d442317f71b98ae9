"""How far a partition has read, the outcomes of its events, and its watermark and clock."""

from collections.abc import Collection, Mapping

import msgspec

from stream.core.rejections import LeftOut, Reason

APPLIED, DUPLICATE, LATE, FUTURE, INVALID, BOT, REKEYED, ERASED = OUTCOMES = (
    "applied",
    "duplicate",
    "late",
    "future",
    "invalid",
    "bot",
    "rekeyed",
    "erased",
)

# The format of everything that a checkpoint writes. In format 1 rows were one value and had no parts. In format 2 not
# everything was booked by local day. In format 3 sessions, answers and closed days were not counted by segment. In
# format 4 an id had only one session with a summary, and one response. In format 5 the first days of users were rounded
# otherwise. Format 7 has accounts and orders, format 8 reviews, features, social networks, conversations and health.
# Versions with an older format would drop these; only what has them is written in it, so such a version goes on with a
# state without them.
FORMAT = 8
OLDEST_FORMAT = 6  # which is read too, and written as long as no family needs a later one

PROGRESS = b"progress"

_OUTCOME_OF = {Reason.FUTURE: FUTURE, Reason.LATE: LATE}


class StateRefused(ValueError):
    """The stored state can't be used. The text says why, and what can be done about it."""


class RulesChanged(StateRefused):
    """The stored state was counted with other settings. The text names the setting and both values."""


class FormatChanged(StateRefused):
    """The stored state was written by another version, whose format this version can't read."""


class Progress(msgspec.Struct):
    """How far a partition has read, and the outcomes of its events. Each checkpoint stores it."""

    offsets: dict[str, int] = {}  # by Kafka topic: the next offset to apply
    topic_ids: dict[str, str] = {}  # by Kafka topic: the id that Kafka has given to it, if the broker has such ids
    newest_ms: dict[str, int] = {}  # by input: the newest event time applied
    watermark_ms: int = -1
    now_ms: int = -1
    first_ms: int | None = None  # the oldest event time applied
    outcomes: dict[str, dict[str, int]] = {}  # by input and outcome
    reasons: dict[str, dict[str, int]] = {}  # by input and reason of rejection
    users: int = 0
    counted_since_ms: int = 0  # wall clock of the last reset, after which everything was counted again; 0 if none
    partitions: int = 0  # the number of partitions of each topic when this was counted; 0 if unknown
    days_since: dict[str, int] = {}  # by family: the first local day whose page is kept, if some are not
    closed_since: int | None = None  # the first closed day that is kept
    closed_through: int | None = None  # the last day that was closed here
    stale_from: int | None = None  # the closed days from this one on may have other numbers now
    looking_at: int | None = None  # the first of them that has still to be calculated, once that has begun
    days_end: int = 0  # the offset in the days topic after the last day that was sent
    tells_all_days: bool = False  # whether the days topic has lost days, and not all of them were sent again
    corrections: int = 0  # how often late events have changed a closed day
    values_beyond: int = 0  # how often a value of a segment was booked as `other`, because there was no room for it
    quiet_since_ms: int = -1  # the clock when the last record was read, or was still to be read
    rules: dict[str, str] = {}  # by setting: the value with which the stored totals were counted
    zone_database: str = ""  # by which rules of the time zone days were told apart (`zones.rules_of`); empty if unknown
    format: int = OLDEST_FORMAT
    left_out: dict[str, dict[str, int]] = {}  # by input and word: what messages told and no family hears
    derived_by: dict[str, int] = {}  # by family: the settings from which follows what is booked of all users
    scores_told: int | None = None  # the newest closed day of which the scores of all users were told
    privacy_requests: dict[str, int] = {}  # by what people asked for: how many requests were fulfilled

    def tick(
        self, clock_ms: int, *, behind: Collection[str], active: Collection[str], idle_after_ms: int | None = None
    ) -> None:
        """Move the watermark and the clock forward; see `Partition.tick`."""
        newest = self.newest_ms
        if behind or active:
            watermark_ms = min(newest.get(source, -1) for source in (*behind, *active))
            self.quiet_since_ms = clock_ms
        else:
            watermark_ms = max(newest.values(), default=-1)
            self.quiet_since_ms = min(self.quiet_since_ms, clock_ms) if self.quiet_since_ms >= 0 else clock_ms
            is_idle = idle_after_ms is not None and clock_ms - self.quiet_since_ms >= idle_after_ms
            if is_idle and watermark_ms >= 0:
                watermark_ms = max(watermark_ms, clock_ms)
        self.watermark_ms = max(self.watermark_ms, watermark_ms)
        self.now_ms = max(self.now_ms, min(self.watermark_ms, clock_ms) if behind else clock_ms)

    def count(self, source: str, outcome_counts: Mapping[str, int], refusals: Collection[Reason]) -> None:
        """Count the outcomes of some events of an input."""
        outcomes = self.outcomes.setdefault(source, {})
        for outcome, count in outcome_counts.items():
            if count:
                outcomes[outcome] = outcomes.get(outcome, 0) + count
        reasons = self.reasons.setdefault(source, {})
        for reason in refusals:
            reasons[reason.value] = reasons.get(reason.value, 0) + 1
            outcome = _OUTCOME_OF.get(reason, INVALID)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def count_left_out(self, source: str, words: Collection[LeftOut]) -> None:
        """Note what messages of an input told and no family hears."""
        counts = self.left_out.setdefault(source, {})
        for word in words:
            counts[word.value] = counts.get(word.value, 0) + 1


class _FormatOnly(msgspec.Struct):
    format: int = 1  # in format 1 this field did not exist


def decode_progress(value: bytes, rules: Mapping[str, str]) -> Progress:
    """Decode the progress that a checkpoint has written.

    Raises FormatChanged if another version has written it, RulesChanged if the settings differ from `rules`.
    """
    written = msgspec.msgpack.decode(value, type=_FormatOnly).format
    if not OLDEST_FORMAT <= written <= FORMAT:
        raise format_changed(written)
    progress = msgspec.msgpack.decode(value, type=Progress)
    for setting, now in rules.items():
        then = progress.rules.get(setting, now)
        if then != now:
            detail = f"{setting} is {now}, the state was built with {then}"
            raise RulesChanged(f"{detail}: set it back, or take a new app_id to build the state again from the topics")
    return progress


def format_changed(written: int) -> FormatChanged:
    """The error for state in another format."""
    detail = f"the state was written in format {written} by another version, this one has format {FORMAT}"
    return FormatChanged(
        f"{detail}\n  to count again what the topics still hold: engagement state reset --partition N, for each of them"
        "; or take a new app_id"
    )
