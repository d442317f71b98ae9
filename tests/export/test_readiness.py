"""The word for the state of the stream, and what all numbers have in common."""

import msgspec

from stream.core.families.activity.calendar import ACTIVE_USERS
from stream.export.board import Board
from stream.export.readiness import board_status, state_of
from stream.telemetry import OpenTransaction, Unowned
from tests.core.live import with_sums
from tests.export.boards import NOW, board, change_hands, moment


def mismatched() -> Board:
    shown = board()
    shown.put(msgspec.structs.replace(shown.reports[0], settings={"timezone": "Asia/Tokyo"}))
    return shown


def test_the_word_says_what_keeps_the_numbers_from_being_trusted() -> None:
    assert state_of(board()) == "live"
    assert state_of(board(partitions=())) == "starting"
    assert state_of(board(partitions=(0,))) == "starting"
    assert state_of(board(behind=("sessions",))) == "behind"
    assert state_of(board(now="2026-03-10T12:00:15Z")) == "live"
    assert state_of(board(now="2026-03-10T12:00:16Z")) == "stale"
    assert state_of(mismatched()) == "mismatch"


def test_who_still_sends_what_the_numbers_are_to_hold_says_so() -> None:
    shown = board()
    shown.preparing = "the demo is loading its history"

    assert shown.unready() == ["the demo is loading its history"]
    assert state_of(shown) == "behind"


def test_it_is_live_exactly_when_the_board_is_ready() -> None:
    for shown in (board(), board(partitions=(0,)), board(behind=("logins",)), mismatched()):
        assert (state_of(shown) == "live") is not bool(shown.unready())


def test_a_partition_whose_state_is_read_back_is_recovering() -> None:
    shown = board()
    shown.put(Unowned(1, "worker-2", moment(NOW), "worker-2 reads its state back", rows_left=9))

    assert state_of(shown) == "recovering"


def test_a_partition_that_an_open_transaction_holds_back_is_behind() -> None:
    shown = board()
    held_back = {"logins": OpenTransaction(seconds=12, records=3)}
    shown.put(msgspec.structs.replace(shown.reports[1], open_transactions=held_back))

    assert state_of(shown) == "behind"


def test_partitions_that_change_hands_again_and_again_are_rebalancing_whatever_else_that_brings() -> None:
    shown = board(behind=("logins",))
    change_hands(shown, times=6)

    assert state_of(shown) == "rebalancing"
    shown.put(Unowned(1, "worker-1", moment(NOW), "worker-1 reads its state back", rows_left=9, started_ms=1))
    assert state_of(shown) == "rebalancing"


def test_a_partition_that_nobody_owns_or_whose_store_is_away_is_stale() -> None:
    left, away = board(), board()
    left.put(Unowned(1, "worker-1", moment(NOW), "worker-1 has stopped"))
    away.put(msgspec.structs.replace(away.reports[0], away="redis at redis://r: connection refused"))

    assert state_of(left) == "stale"
    assert state_of(away) == "stale"


def test_sums_that_can_not_be_are_a_mismatch() -> None:
    shown = board()
    told = shown.reports[0]
    live = told.snapshot.families["activity"].live
    impossible = {**live, 1_440: {**live[1_440], ACTIVE_USERS: 99}}
    snapshot = with_sums(told.snapshot, "activity", live=impossible)
    shown.put(msgspec.structs.replace(told, snapshot=snapshot))

    assert shown.unready() != []
    assert state_of(shown) == "mismatch"


def test_numbers_come_with_their_time_their_trust_and_their_cut() -> None:
    told = board_status(board())

    assert told["at"] == "2026-03-10T12:00:00Z"
    assert (told["state"], told["ready"], told["unready"]) == ("live", True, [])
    assert (told["first_day"], told["last_closed_day"]) == ("2026-03-08", "2026-03-09")
    assert told["timezone"] == "UTC"
    assert told["windows"]["surveys"] == ("1d", "7d", "28d", "30d", "90d")


def test_before_every_partition_has_reported_no_day_is_closed() -> None:
    told = board_status(board(partitions=(0,)))

    assert told["last_closed_day"] is None
    assert told["ready"] is False
    assert board_status(board(partitions=()))["at"] is None
