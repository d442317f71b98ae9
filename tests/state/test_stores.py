"""The contract of a store, kept by every one of them."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core.partition.partition import Partition
from stream.core.rules import Rules
from stream.core.store import Items, Store, StoreFailed
from stream.core.time import HOUR_MS
from stream.settings import load
from stream.state.memory import MemoryStore
from stream.state.redis import Redis
from stream.state.rocksdb import RocksStore
from tests.native import READERS, Message

Open = Callable[[int], Store]

_DURABLE = [
    pytest.param("rocksdb"),
    pytest.param("redis_server", marks=pytest.mark.redis, id="redis"),
    pytest.param("redis_cluster", marks=pytest.mark.redis, id="cluster"),
    pytest.param("valkey_server", marks=pytest.mark.redis, id="valkey"),
]


@pytest.fixture
def opened() -> Iterator[list[Store]]:
    """The stores that are closed with the test."""
    stores: list[Store] = []
    yield stores
    for store in stores:
        store.close()


def _opener(request: pytest.FixtureRequest, opened: list[Store], tmp_path: Path, app_id: str) -> Open:
    if request.param == "memory":
        return lambda partition: MemoryStore()
    if request.param == "rocksdb":
        return lambda partition: RocksStore(tmp_path / f"partition-{partition}")
    url = request.getfixturevalue(request.param).url
    redis = Redis(load(None, {"ENGAGEMENT_STATE_URL": url, "ENGAGEMENT_APP_ID": app_id}))
    request.addfinalizer(redis.close)
    return redis.open_store


@pytest.fixture(params=[pytest.param("memory"), *_DURABLE])
def open_store(request: pytest.FixtureRequest, opened: list[Store], tmp_path: Path, app_id: str) -> Callable[[], Store]:
    """Opens a new, empty store at each call."""
    opener = _opener(request, opened, tmp_path, app_id)

    def open_one() -> Store:
        opened.append(opener(len(opened)))
        return opened[-1]

    return open_one


@pytest.fixture(params=_DURABLE)
def open_partition(request: pytest.FixtureRequest, opened: list[Store], tmp_path: Path, app_id: str) -> Open:
    """Opens the store of a partition, with what is in it."""
    return _opener(request, opened, tmp_path, app_id)


def _round(store: Store, prefix: bytes, *, count: int) -> list[tuple[bytes, bytes]]:
    """All that the parts of a round hold."""
    items, after = store.scan_some(prefix, after=b"", count=count)
    while after:
        more, after = store.scan_some(prefix, after=after, count=count)
        items += more
    return items


def test_an_empty_store_knows_no_key_and_no_offset(open_store: Callable[[], Store]) -> None:
    store = open_store()

    assert store.read([b"user/a", b"progress"]) == [None, None]
    assert store.offset() is None
    assert list(store.scan(b"")) == []
    assert store.scan_some(b"user/", after=b"", count=10) == ([], b"")


def test_a_delta_puts_and_removes_and_notes_its_offset(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"user/a", b"1"), (b"user/b", b"2")], offset=7)
    store.write([(b"user/a", None), (b"user/c", b""), (b"user/none", None)], offset=12)

    assert store.read([b"user/a", b"user/b", b"user/c"]) == [None, b"2", b""]
    assert store.offset() == 12


def test_whoever_is_erased_leaves_the_store_with_the_next_checkpoint(open_store: Callable[[], Store]) -> None:
    store, partition = open_store(), Partition(Rules(erases=True), salt=b"salt")

    def hear(topic: str, offset: int, **told: object) -> Items:
        told = {"user_id": "ada", "event_time": 500_000 * HOUR_MS + offset, **told}
        batch = partition.read(
            topic, [Message(json.dumps(told).encode(), key=b"r")], READERS[topic], not_after_ms=500_001 * HOUR_MS
        )
        stored: dict[bytes, bytes | None] = {}
        while keys := partition.keys_to_fetch(batch, stored):
            stored.update(zip(keys, store.read(keys), strict=True))
        assert partition.apply(batch, stored) == ([], [])
        delta = partition.collect_delta()
        store.write(delta, offset=offset)
        partition.forget_users(keep=0)
        return delta

    hear("logins", 1)
    hear("surveys", 2, response_id="r", kind="nps", score=9)
    assert store.read([b"user/ada"]) != [None]
    assert dict(hear("privacy", 3, type="erase"))[b"user/ada"] is None  # so it is in the changelog

    assert store.read([b"user/ada"]) == [None]
    assert {key for key, value in store.scan(b"") if b"ada" in key + value} == {b"named/r"}
    partition.sweep(list(store.scan(b"named/")))
    store.write(partition.collect_delta(), offset=4)
    assert [key for key, value in store.scan(b"") if b"ada" in key + value] == []


def test_values_come_in_the_order_of_the_keys_asked_for(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"user/a", b"1"), (b"days/a", b"2"), (b"progress", b"3")], offset=1)

    assert store.read([b"progress", b"user/a", b"none", b"days/a", b"user/a"]) == [b"3", b"1", None, b"2", b"1"]
    assert store.read([]) == []


def test_a_scan_gives_a_prefix_in_order_and_nothing_else(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"b/2", b"y"), (b"a/9", b"-"), (b"b/1", b"x"), (b"c/0", b"-"), (b"b", b"-")], offset=0)

    assert list(store.scan(b"b/")) == [(b"b/1", b"x"), (b"b/2", b"y")]
    assert list(store.scan(b"b")) == [(b"b", b"-"), (b"b/1", b"x"), (b"b/2", b"y")]
    assert list(store.scan(b"b/2")) == [(b"b/2", b"y")]


def test_a_prefix_is_no_pattern(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"u/*[a]?\\", b"1"), (b"u/xay", b"2"), (b"u/\xff\n", b"3")], offset=0)

    assert list(store.scan(b"u/*[a]?\\")) == [(b"u/*[a]?\\", b"1")]
    assert list(store.scan(b"u/\xff")) == [(b"u/\xff\n", b"3")]


def test_the_last_value_of_a_key_in_one_delta_counts(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"k", b"1"), (b"k", None), (b"k", b"2")], offset=0)

    assert store.read([b"k"]) == [b"2"]


def test_a_delta_may_hold_many_rows_and_long_ones(open_store: Callable[[], Store]) -> None:
    store = open_store()
    rows = {b"user/%d" % number: b"%d" % number * 100 for number in range(9_001)}
    store.write([*rows.items(), (b"progress", bytes(2_000_000))], offset=1)
    gone = [b"user/%d" % number for number in range(0, 9_001, 2)]
    store.write([(key, None) for key in gone], offset=2)

    assert store.read(gone) == [None] * len(gone)
    assert store.read(list(rows)[1::2]) == list(rows.values())[1::2]
    assert dict(store.scan(b"user/")) == {key: rows[key] for key in list(rows)[1::2]}
    assert store.read([b"progress"]) == [bytes(2_000_000)]


def test_a_round_of_parts_holds_every_item(open_store: Callable[[], Store]) -> None:
    store = open_store()
    rows = {b"user/%d" % number: b"%d" % number for number in range(2_500)}
    store.write([*rows.items(), (b"users", b"-"), (b"named/1", b"-"), (b"progress", b"-")], offset=1)
    items, after = store.scan_some(b"user/", after=b"", count=100)

    assert 50 <= len(items) <= 600  # Redis may give some more
    assert after
    assert dict(_round(store, b"user/", count=100)) == rows
    assert dict(_round(store, b"", count=100)) == dict(store.scan(b""))


def test_a_round_goes_on_over_removed_and_new_items(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"user/%04d" % number, b"") for number in range(2_000)], offset=1)
    items, after = store.scan_some(b"user/", after=b"", count=100)
    offset = 1
    while after:
        offset += 1
        removed = [(key, None) for key, _ in items[:50]]
        store.write([*removed, (b"user/new-%d" % offset, b"")], offset=offset)
        more, after = store.scan_some(b"user/", after=after, count=100)
        items += more

    stayed = {b"user/%04d" % number for number in range(2_000)} & {key for key, _ in store.scan(b"user/")}
    assert stayed <= {key for key, _ in items}


def test_the_same_write_may_be_repeated(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.write([(b"a", b"1"), (b"b", b"2")], offset=5)
    for _ in range(2):
        store.write([(b"a", None), (b"c", b"3")], offset=6)

    assert list(store.scan(b"")) == [(b"b", b"2"), (b"c", b"3")]
    assert store.offset() == 6


def test_a_cleared_store_is_an_empty_one(open_store: Callable[[], Store]) -> None:
    store, other = open_store(), open_store()
    for one in (store, other):
        one.write([(b"user/a", b"1"), (b"progress", b"2")], offset=7)
    store.clear()

    assert store.offset() is None
    assert store.read([b"user/a", b"progress"]) == [None, None]
    assert list(store.scan(b"")) == []
    assert len(list(other.scan(b""))) == 2
    store.write([(b"user/b", b"1")], offset=0)
    assert list(store.scan(b"")) == [(b"user/b", b"1")]


_keys = st.binary(min_size=1, max_size=3).filter(lambda key: key[0] != 0) | st.sampled_from(
    [b"progress", b"user/a", b"user/b", b"user/a/b", b"days/1", b"/", b"//", b"*", b"[a]", b"{x}"]
)
_deltas = st.lists(st.lists(st.tuples(_keys, st.none() | st.binary(max_size=5))), max_size=6)


@given(deltas=_deltas, prefix=st.binary(max_size=2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_deltas_leave_what_a_dict_would_hold(
    open_store: Callable[[], Store], deltas: list[list[tuple[bytes, bytes | None]]], prefix: bytes
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

    asked = {key for delta in deltas for key, _ in delta}
    assert dict(zip(asked, store.read(list(asked)), strict=True)) == {key: held.get(key) for key in asked}
    assert list(store.scan(b"")) == sorted(held.items())
    assert list(store.scan(prefix)) == sorted(item for item in held.items() if item[0].startswith(prefix))
    assert dict(_round(store, b"", count=1)) == held


def test_a_store_that_is_closed_and_opened_again_holds_the_same(open_partition: Open) -> None:
    store = open_partition(0)
    store.write([(b"user/a", b"1"), (b"progress", b"2")], offset=3)
    store.close()

    again = open_partition(0)

    assert (again.read([b"user/a"]), again.offset()) == ([b"1"], 3)
    again.write([(b"user/a", b"2")], offset=4)
    again.close()
    last = open_partition(0)
    assert (last.read([b"user/a"]), last.offset()) == ([b"2"], 4)
    last.close()


def test_partitions_hold_nothing_of_each_other(open_partition: Open) -> None:
    one, other = open_partition(1), open_partition(11)
    one.write([(b"user/a", b"1")], offset=3)

    assert other.offset() is None
    assert other.read([b"user/a"]) == [None]
    assert list(other.scan(b"")) == []
    one.close()
    other.close()


def test_stores_of_several_partitions_work_in_threads_side_by_side(open_partition: Open) -> None:
    def work(partition: int) -> list[tuple[bytes, bytes]]:
        store = open_partition(partition)
        for offset in range(30):
            rows = [(b"user/%d" % (offset * 50 + number), b"%d" % partition) for number in range(50)]
            store.write(rows, offset=offset)
            assert store.read([key for key, _ in rows]) == [b"%d" % partition] * 50
        found = list(store.scan(b""))
        store.close()
        return found

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(8)))

    for partition, rows in enumerate(found):
        assert rows == sorted((b"user/%d" % number, b"%d" % partition) for number in range(1_500))


def test_a_database_in_use_is_named_when_it_can_not_be_opened(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "p0")

    with pytest.raises(StoreFailed, match="p0"):
        RocksStore(tmp_path / "p0")

    store.close()
