"""Whether the numbers can be trusted now, as one word and with the reasons.

live         every partition has reported lately and has read all records
starting     some partition has never reported, so no number is shown yet
rebalancing  partitions are taken over again and again among the same workers, so that little is read
recovering   the state of some partition is being restored
behind       a backlog is being read, and the numbers are those of its time; or an open transaction blocks a partition;
             or a topic was created again, and is not read before somebody decides what becomes of it; or messages wait
             for the schema registry; or Kafka does not let this server read the reports
ahead        the clock of some partition has gone by a wrong time, and stands still until that time comes
stale        the owner of some partition does not report, has left, or can't continue, so its events are missing
mismatch     the reports of workers do not fit this server, or one another, so no number is shown
"""

from typing import Any

from stream.core import zones
from stream.core.families.registry import windows
from stream.core.time import date_of, iso
from stream.export.board import Board
from stream.inputs.registry import NATIVE, kinds
from stream.settings import Settings

_RECOVERY = ("engagement_recovery_rows_remaining", "engagement_recovery_remaining_seconds")


def state_of(board: Board) -> str:
    """The word for the state of the stream. It is `live` exactly if the board is ready."""
    if not board.unready():
        return "live"
    if board.disagreements():
        return "mismatch"
    if board.frequent_takeovers():
        return "rebalancing"
    if any(sample.name in _RECOVERY for sample in board.health()):
        return "recovering"
    if len(board.reports) < board.settings.topics.partitions:
        return "starting"
    if board.merged.now_ms >= 0 and not board.live():
        return "mismatch"
    if board.stale() or any(report.away for report in board.reports):
        return "stale"
    return "ahead" if board.is_ahead() else "behind"


def board_status(board: Board) -> dict[str, Any]:
    """What all numbers of a board have in common: their time, whether they can be trusted, and their windows.

    `first_day` is the first day with events. A closed window that begins before it is incomplete.
    No event can change the days up to `final_through` any more; since `whole_since` it is known who is new. `kinds` are
    the kinds of events that the inputs may have. `feature_weights` are those of the product adoption score, and
    `contact_hours` when waits of customers count; None: always.
    """
    merged, settings = board.merged, board.settings
    first_ms = merged.first_ms
    closed = board.closed()
    return {
        "at": iso(merged.now_ms) if merged.now_ms >= 0 else None,
        "state": state_of(board),
        "ready": not board.unready(),
        "unready": board.unready(),
        "notes": board.notes(),
        "first_day": None if first_ms is None else date_of(board.rules.days.day_of(first_ms)).isoformat(),
        "last_closed_day": date_of(closed[-1][0]).isoformat() if closed else None,
        "final_through": None if merged.final_through is None else date_of(merged.final_through).isoformat(),
        "whole_since": None if first_ms is None else date_of(board.rules.whole_since(first_ms)).isoformat(),
        "timezone": settings.timezone,
        "zone_database": zones.EDITION,
        "windows": {of_family.name: settings.windows_of(of_family) for of_family in windows()},
        "kinds": _kinds_read(settings),
        "feature_weights": dict(board.rules.features),
        "contact_hours": None if board.rules.contact_hours is None else str(board.rules.contact_hours),
    }


def _kinds_read(settings: Settings) -> list[str]:
    """The kinds of native messages among the inputs; a message of another format may be an event of any kind."""
    inputs = settings.named_inputs.values()
    if any(one.format != NATIVE for one in inputs):
        return list(kinds())
    return [kind for kind in kinds() if any(one.kind == kind for one in inputs)]
