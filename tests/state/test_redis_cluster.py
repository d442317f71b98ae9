"""State in a Redis Cluster: the keys of a partition stay together, wherever they lie."""

from __future__ import annotations

from contextlib import suppress

import pytest

from stream.core.store import PartitionTakenOver, StoreFailed, StoreUnavailable
from stream.state.redis import RedisStore
from tests.state.conftest import RunRedis
from tests.state.proxy import Proxy
from tests.state.redis_server import RedisServer
from tests.state.redis_stores import DURABLE, ROWS, stores


@pytest.fixture
def two_nodes(run_redis: RunRedis) -> tuple[RedisServer, RedisServer]:
    """A cluster of two nodes, each with half of the slots."""
    nodes = run_redis(cluster=True, slots=range(8_192)), run_redis(cluster=True, slots=range(8_192, 16_384))
    nodes[0].meet(nodes[1])
    for node in nodes:
        node.wait_until("cluster_state:ok")
    return nodes


def test_partitions_of_a_deployment_lie_on_all_nodes_each_on_one(
    two_nodes: tuple[RedisServer, RedisServer],
) -> None:
    deployment = stores(two_nodes[0])
    deployment.check()
    opened = [deployment.open_store(partition) for partition in range(8)]
    for partition, store in enumerate(opened):
        store.write([*ROWS, (b"progress", b"%d" % partition), (b"days/1", b"page")], offset=partition)

    assert [store.offset() for store in (stores(two_nodes[1]).open_store(partition) for partition in range(8))] == [
        *range(8)
    ]
    with pytest.raises(PartitionTakenOver):
        opened[0].read([b"user/1"])
    per_node = [_partitions(node) for node in two_nodes]
    assert all(per_node)
    assert per_node[0].isdisjoint(per_node[1])


def _partitions(node: RedisServer) -> set[bytes]:
    return {key.partition(b":")[0] for key in node.ask("KEYS", "*")}


def test_a_cleared_partition_leaves_the_others_on_every_node(two_nodes: tuple[RedisServer, RedisServer]) -> None:
    opened = [stores(two_nodes[0]).open_store(partition) for partition in range(8)]
    for store in opened:
        store.write(ROWS, offset=1)
    for store in opened[::2]:
        store.clear()

    assert [store.offset() for store in opened] == [None, 1] * 4
    assert [len(list(store.scan(b""))) for store in opened] == [0, 100] * 4


def test_a_partition_may_move_to_another_node_while_it_is_worked_on(two_nodes: tuple[RedisServer, RedisServer]) -> None:
    store = stores(two_nodes[0]).open_store(3)
    store.write(ROWS, offset=1)
    slot = two_nodes[0].ask("CLUSTER", "KEYSLOT", "{engagement/3}")
    source, target = two_nodes if slot < 8_192 else two_nodes[::-1]
    names = {node: node.ask("CLUSTER", "MYID") for node in two_nodes}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    source.ask("MIGRATE", "127.0.0.1", target.port, "{engagement/3}:meta", 0, 5_000)

    with pytest.raises(StoreUnavailable):  # half of its keys are here, half there
        store.write([(b"user/1", b"new")], offset=2)
    source.ask("MIGRATE", "127.0.0.1", target.port, "{engagement/3}:state/user", 0, 5_000)
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    _again(store)

    assert store.read([b"user/1", b"user/2"]) == [b"new", b"row 2"]
    assert _partitions(source) == set()


def _again(store: RedisStore) -> None:
    """Repeat the write until the cluster has settled, as a worker does."""
    while store.offset() != 2:
        with suppress(StoreUnavailable):
            store.write([(b"user/1", b"new")], offset=2)


def test_a_cluster_that_lacks_slots_is_away(run_redis: RunRedis) -> None:
    server = run_redis(cluster=True)
    store = stores(server).open_store(3)
    server.ask("CLUSTER", "DELSLOTSRANGE", 0, 16_383)

    with pytest.raises(StoreUnavailable, match="slots are not covered"):
        stores(server).check()
    with pytest.raises(StoreUnavailable):
        store.read([b"user/1"])
    server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    server.wait_until("cluster_state:ok")
    stores(server).check()
    assert store.read([b"user/1"]) == [None]


def test_a_cluster_that_stops_is_away_and_goes_on_with_all_it_saved(run_redis: RunRedis) -> None:
    server = run_redis(cluster=True, options=DURABLE)
    store = stores(server).open_store(3)
    store.write(ROWS, offset=1)
    server.stop()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Connection refused"):
            store.read([b"user/1"])
    server.start()
    assert store.read([b"user/1"]) == [b"row 1"]


def test_a_cluster_whose_nodes_all_moved_is_found_again_at_the_address_that_was_given(run_redis: RunRedis) -> None:
    server = run_redis(cluster=True, options=DURABLE)
    with Proxy(server.port) as proxy:
        store = stores(f"redis+cluster://127.0.0.1:{proxy.port}").open_store(3)
        store.write(ROWS, offset=1)
        server.move()
        with pytest.raises(StoreUnavailable):
            store.read([b"user/1"])
        server.start()
        proxy.lead_to(server.port)

        assert store.read([b"user/1"]) == [b"row 1"]


def test_a_url_that_takes_a_cluster_for_a_server_or_a_server_for_a_cluster_is_refused(
    redis_server: RedisServer, redis_cluster: RedisServer
) -> None:
    with pytest.raises(
        StoreFailed, match=r"is a node of a Redis Cluster: state\.url must begin with redis\+cluster://"
    ):
        stores(f"redis://127.0.0.1:{redis_cluster.port}").check()
    with pytest.raises(StoreFailed, match="Cluster mode is not enabled on this node") as refused:
        stores(f"redis+cluster://127.0.0.1:{redis_server.port}").check()
    assert not isinstance(refused.value, StoreUnavailable)
