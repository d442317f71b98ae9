"""The contract of a store, kept by every one of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core.store import Store, StoreBroken
from stream.state.memory import MemoryStore
from stream.state.rocksdb import RocksStore

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "rocksdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a new, empty store at each call."""
    opened: list[Store] = []

    def open_one() -> Store:
        store = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / f"partition-{len(opened)}")
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def test_an_empty_store_knows_no_key_and_no_offset(open_store: Open) -> None:
    store = open_store()

    assert store.read([b"user/a"]) == [None]
    assert store.offset() is None
    assert list(store.scan(b"")) == []


def test_a_delta_puts_and_removes_and_notes_its_offset(open_store: Open) -> None:
    store = open_store()
    store.write([(b"user/a", b"1"), (b"user/b", b"2")], offset=7)
    store.write([(b"user/a", None), (b"user/c", b""), (b"user/none", None)], offset=12)

    assert store.read([b"user/a"]) == [None]
    assert store.read([b"user/b", b"user/c"]) == [b"2", b""]
    assert store.offset() == 12


def test_a_scan_gives_a_prefix_in_order_and_nothing_else(open_store: Open) -> None:
    store = open_store()
    store.write([(b"b/2", b"y"), (b"a/9", b"-"), (b"b/1", b"x"), (b"c/0", b"-"), (b"b", b"-")], offset=0)

    assert list(store.scan(b"b/")) == [(b"b/1", b"x"), (b"b/2", b"y")]


def test_the_last_value_of_a_key_in_one_delta_counts(open_store: Open) -> None:
    store = open_store()
    store.write([(b"k", b"1"), (b"k", None), (b"k", b"2")], offset=0)

    assert store.read([b"k"]) == [b"2"]


_keys = st.binary(min_size=1, max_size=3).filter(lambda key: key[0] != 0)
_deltas = st.lists(st.lists(st.tuples(_keys, st.none() | st.binary(max_size=5))), max_size=6)


@given(deltas=_deltas)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_deltas_leave_what_a_dict_would_hold(
    open_store: Open, deltas: list[list[tuple[bytes, bytes | None]]]
) -> None:
    store = open_store()
    held: dict[bytes, bytes] = {}
    for offset, delta in enumerate(deltas):
        store.write(delta, offset=offset)
        for key, value in delta:
            if value is None:
                held.pop(key, None)
            else:
                held[key] = value

    assert store.read(list(held)) == list(held.values())
    assert [item for item in store.scan(b"") if item[0][0] != 0] == sorted(held.items())


def test_a_database_that_is_closed_and_opened_again_holds_the_same(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "p0")
    store.write([(b"user/a", b"1")], offset=3)
    store.close()

    again = RocksStore(tmp_path / "p0")

    assert (again.read([b"user/a"]), again.offset()) == ([b"1"], 3)
    again.close()


def test_a_database_in_use_is_named_when_it_can_not_be_opened(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "p0")

    with pytest.raises(StoreBroken, match="p0"):
        RocksStore(tmp_path / "p0")

    store.close()
