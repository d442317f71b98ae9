"""Can the numbers be trusted now, in one word and in sentences.

live         every partition has reported lately and has read all there is
starting     some partition has never reported: no number is shown yet
rebalancing  partitions change hands again and again among the same workers, so that little is read
recovering   some partition's state is being read back
behind       a backlog is being read, the numbers are those of its clock; or an open transaction holds a partition back
stale        some partition's owner is silent, has left or can't go on: what its users do is missing
mismatch     what workers report does not fit this server, or together: no number is shown
"""

from typing import Any

from stream.core.families.registry import windows
from stream.core.time import date_of, iso
from stream.export.board import Board

_RECOVERY = ("engagement_recovery_rows_remaining", "engagement_recovery_remaining_seconds")


def state_of(board: Board) -> str:
    """The word for the state of the stream; `live` exactly when the board is ready."""
    if not board.unready():
        return "live"
    if board.disagreements():
        return "mismatch"
    if board.again_and_again():
        return "rebalancing"
    if any(sample.name in _RECOVERY for sample in board.health()):
        return "recovering"
    if len(board.reports) < board.settings.topics.partitions:
        return "starting"
    if board.merged.now_ms >= 0 and not board.live():
        return "mismatch"
    return "stale" if board.stale() or any(report.away for report in board.reports) else "behind"


def standing(board: Board) -> dict[str, Any]:
    """What all numbers of a board have in common: their time, their trust, and how they are cut.

    `first_day` is the first day of which something is known: a closed window that reaches back before it is not whole.
    No event can change the days up to `final_through` any more; since `whole_since` it is known who is new.
    """
    merged, settings = board.merged, board.settings
    first_ms = merged.first_ms
    closed = board.closed()
    return {
        "at": iso(merged.now_ms) if merged.now_ms >= 0 else None,
        "state": state_of(board),
        "ready": not board.unready(),
        "unready": board.unready(),
        "first_day": None if first_ms is None else date_of(board.rules.days.day_of(first_ms)).isoformat(),
        "last_closed_day": date_of(closed[-1][0]).isoformat() if closed else None,
        "final_through": None if merged.final_through is None else date_of(merged.final_through).isoformat(),
        "whole_since": None if first_ms is None else date_of(board.rules.whole_since(first_ms)).isoformat(),
        "timezone": settings.timezone,
        "windows": {told.name: settings.windows_of(told) for told in windows()},
    }
