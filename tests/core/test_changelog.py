"""Only the runs of the owner of the partition count in a changelog, whatever a late worker appends."""

from collections.abc import Mapping
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from stream.core.changelog import SEAL, Replay, Seal, encode_seal


class Entry(NamedTuple):
    """A record of a log."""

    offset: int
    key: bytes | None
    value: bytes | None


class Log:
    """A changelog in a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, epoch: int, writer: str, *, whole_from: int = 0, **rows: str | None) -> None:
        """Append a run of rows."""
        self.append_run(Seal(epoch, writer, len(rows) + 1, 0, whole_from), rows)

    def append_run(self, seal: Seal, rows: Mapping[str, str | None]) -> None:
        for key, value in rows.items():
            self._put(key.encode(), None if value is None else value.encode())
        self._put(SEAL, encode_seal(seal))

    def _put(self, key: bytes, value: bytes | None) -> None:
        self.entries.append(Entry(len(self.entries), key, value))

    def compacted(self, *, upto: int) -> list[Entry]:
        """What compaction leaves when it has come to an offset: of each key the last record."""
        last = {entry.key: entry.offset for entry in self.entries if entry.offset < upto}
        return [entry for entry in self.entries if entry.offset >= upto or last[entry.key] == entry.offset]


def rows_of(entries: list[Entry], replay: Replay | None = None, *, at_a_time: int = 1_000) -> dict[str, str]:
    """The rows that a reader ends with, without the seal."""
    replay = Replay() if replay is None else replay
    rows: dict[bytes, bytes] = {}
    for first in range(0, len(entries), at_a_time):
        counted = replay.read(entries[first : first + at_a_time])
        if counted is None:
            continue
        if counted.replaces_all:
            rows.clear()
        for key, value in counted.items:
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
    return {key.decode(): value.decode() for key, value in rows.items() if key != SEAL}


def test_runs_are_taken_in_order_and_none_before_its_seal() -> None:
    log = Log()
    log.append(1, "ann", a="1", b="1")
    log.append(1, "ann", a="2", b=None)
    replay = Replay()

    assert replay.read(log.entries[:2]) is None
    counted = replay.read(log.entries[2:5])
    assert counted is not None
    assert counted.items[:2] == [(b"a", b"1"), (b"b", b"1")]
    assert counted.offset == 2
    assert rows_of(log.entries) == {"a": "2"}


def test_what_is_appended_after_a_takeover_by_who_lost_the_partition_does_not_count() -> None:
    log = Log()
    log.append(1, "ann", a="1", b="1")
    log.append(2, "bob", a="2")
    log.append(1, "ann", a="wrong", b="wrong", c="wrong")
    replay = Replay()

    assert rows_of(log.entries, replay) == {"a": "2", "b": "1"}
    assert replay.overwritten == {b"a", b"b", b"c", SEAL}


def test_of_two_takeovers_of_one_epoch_the_first_counts() -> None:
    log = Log()
    log.append(2, "bob")
    log.append(2, "ann", a="wrong")
    log.append(2, "bob", a="1")

    assert rows_of(log.entries) == {"a": "1"}


def test_what_was_written_over_again_needs_no_mending() -> None:
    log = Log()
    log.append(2, "bob", a="2", b="1")
    log.append(1, "ann", a="wrong", b="wrong")
    log.append(2, "bob", a="3")
    replay = Replay()
    rows_of(log.entries, replay)

    assert replay.overwritten == {b"b"}


def test_a_log_that_begins_anew_forgets_what_lay_before() -> None:
    log = Log()
    log.append(1, "ann", a="1", b="1")
    log.append(2, "ops", whole_from=3, c="1")
    log.append(3, "bob", whole_from=3, d="1")

    assert rows_of(log.entries) == {"c": "1", "d": "1"}
    assert rows_of(log.entries, at_a_time=1) == {"c": "1", "d": "1"}
    # Compaction may have removed the seal of the reset already, and rows before it not yet.
    assert rows_of([entry for entry in log.entries if entry.offset not in (2, 4)]) == {"c": "1", "d": "1"}


def test_one_that_has_followed_up_to_a_place_goes_on_from_there() -> None:
    log = Log()
    log.append(1, "ann", a="1")
    log.append(2, "bob", b="1")
    log.append(1, "ann", a="wrong")
    seal = Seal(2, "bob", 2, 0)

    assert rows_of(log.entries[2:], Replay(seal)) == {"b": "1"}


def test_records_without_a_key_are_left_out() -> None:
    log = Log()
    log.entries.append(Entry(0, None, b"?"))
    log.append(1, "ann", a="1")

    assert rows_of(log.entries) == {"a": "1"}


_runs = st.lists(
    st.tuples(
        st.sampled_from(["own", "late", "takeover"]), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))
    ),
    max_size=12,
)


@given(runs=_runs, upto=st.integers(0, 60), at_a_time=st.integers(1, 9))
def test_a_reader_ends_with_what_the_owners_wrote_whatever_late_workers_append(
    runs: list[tuple[str, dict[str, int]]], upto: int, at_a_time: int
) -> None:
    log, epoch, wanted, mended_upto = Log(), 1, {}, 0
    log.append(1, "owner-1")
    for kind, told in runs:
        rows: dict[str, str | None] = {key: str(value) for key, value in told.items()}
        if kind == "late":
            log.append_run(Seal(epoch - 1, f"owner-{epoch - 1}", len(rows) + 1, 0), dict.fromkeys(rows, "wrong"))
            continue
        epoch += kind == "takeover"
        wanted.update(rows)
        # An owner notices it with its next run, and writes the keys of the late run again.
        touched = Replay()
        rows_of(log.entries, touched)
        mended = {key.decode(): wanted.get(key.decode()) for key in touched.overwritten if key != SEAL}
        run: dict[str, str | None] = {**mended, **rows}
        log.append_run(Seal(epoch, f"owner-{epoch}", len(run) + 1, 0), run)
        mended_upto = len(log.entries)

    assert rows_of(log.entries, at_a_time=at_a_time) == wanted
    assert rows_of(log.compacted(upto=min(upto, mended_upto)), at_a_time=at_a_time) == wanted
