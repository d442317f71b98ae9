"""The pages of a worker, and the readiness check of a container."""

from __future__ import annotations

import asyncio

import pytest

from stream.export.probes import Probes, ask
from tests.ports import free_port


def asked(reasons: list[str], notes: tuple[str, ...] = ()) -> tuple[bool, str]:
    """What `ask` hears from the pages of a worker that is unready for these reasons, and has these notes."""

    async def serve() -> tuple[bool, str]:
        probes = Probes("127.0.0.1", 0, unready=lambda: reasons, notes=lambda: list(notes))
        await probes.start()
        try:
            return await asyncio.to_thread(ask, "127.0.0.1", probes.port)
        finally:
            await probes.stop()

    return asyncio.run(serve())


def test_ready_is_a_yes() -> None:
    assert asked([]) == (True, "ok")


def test_unready_is_a_no_with_every_reason() -> None:
    assert asked(["no partitions are assigned yet", "and more"]) == (False, "no partitions are assigned yet\nand more")


def test_what_people_should_know_besides_leaves_a_worker_ready() -> None:
    note = "the clock of this worker is 50 min ahead of the brokers' time, by which numbers go"

    assert asked([], (note,)) == (True, f"ok\n{note}")
    assert asked(["no partitions are assigned yet"], (note,)) == (False, f"no partitions are assigned yet\n{note}")


def test_where_it_listens_on_every_address_it_is_asked_on_this_machine() -> None:
    async def serve() -> tuple[bool, str]:
        probes = Probes("127.0.0.1", 0, unready=list)
        await probes.start()
        try:
            return await asyncio.to_thread(ask, "0.0.0.0", probes.port)
        finally:
            await probes.stop()

    assert asyncio.run(serve()) == (True, "ok")


def test_the_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")

    assert asked([]) == (True, "ok")


def test_nobody_there_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="refused"):
        ask("127.0.0.1", free_port())
