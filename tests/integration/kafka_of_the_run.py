"""One Kafka for all processes of a test run: six of them at rest would take most of a core.

Whoever wants it first starts it and tells the others by a file where it is; it is ended by the same process, when all
others are done with it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.integration.kafka_server import RunningKafka
from tests.ports import free_port

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class KafkaOfAll:
    """A Kafka that other processes use too: nobody may stop it."""

    address: str
    behind_proxies: list[str]

    def stop(self) -> None:
        """Refused."""
        raise AssertionError("other tests use this Kafka: take `own_kafka` to stop one")

    kill = restart = discard = stop


class _Place(msgspec.Struct):
    """Where it is."""

    address: str
    proxied: list[tuple[int, str]]  # ports of proxies, and what each must connect to


@contextmanager
def kafka_of_the_run(
    start: Callable[..., RunningKafka], folder: Path, *, processes: int, number: int, proxies: int
) -> Iterator[tuple[KafkaOfAll, list[int]]]:
    """The Kafka of `processes` that share a folder, for the one with this number, and the ports of its proxies."""
    place_file, users = folder / "kafka.json", folder / "kafka-users"
    started: RunningKafka | None = None
    with (folder / "kafka.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        users.mkdir(exist_ok=True)
        if not place_file.exists():
            ports = [free_port() for _ in range(processes * proxies)]
            started = start(proxy_ports=ports)
            place = _Place(started.address, list(zip(ports, started.behind_proxies, strict=True)))
            place_file.write_bytes(msgspec.json.encode(place))
        place = msgspec.json.decode(place_file.read_bytes(), type=_Place)
        user = users / str(os.getpid())
        user.touch()
    its = place.proxied[number * proxies : (number + 1) * proxies]
    try:
        yield KafkaOfAll(place.address, [target for _, target in its]), [port for port, _ in its]
    finally:
        user.unlink()
        if started is not None:
            while _are_alive(users.iterdir()):
                time.sleep(_LOOK_SECONDS)
            place_file.unlink()
            started.discard()


def _are_alive(users: Iterator[Path] | Sequence[Path]) -> bool:
    return any(Path("/proc", user.name).exists() for user in users)
