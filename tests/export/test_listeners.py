"""A message goes to many listeners, none of whom delays the others."""

import asyncio

import pytest

from stream.export.listeners import Listener, Listeners, TooManyListeners


async def all_of(listener: Listener) -> list[bytes]:
    return [message async for message in listener]


def test_each_listener_hears_each_message_in_order_and_then_the_end() -> None:
    async def heard() -> list[list[bytes]]:
        listeners = Listeners()
        with listeners.listening(disconnect=lambda: None) as one, listeners.listening(disconnect=lambda: None) as other:
            for message in (b"a", b"b"):
                listeners.send(message)
            listeners.close()
            return [await all_of(one), await all_of(other)]

    assert asyncio.run(heard()) == [[b"a", b"b"], [b"a", b"b"]]


def test_who_is_one_too_many_is_refused_until_somebody_leaves() -> None:
    listeners = Listeners(most=1)
    with listeners.listening(disconnect=lambda: None):
        with pytest.raises(TooManyListeners, match="1 listen already"), listeners.listening(disconnect=lambda: None):
            pass
        assert len(listeners) == 1

    with listeners.listening(disconnect=lambda: None):
        assert len(listeners) == 1


def test_who_is_as_far_behind_as_may_be_stays_and_who_is_further_is_let_go() -> None:
    disconnect = []
    listeners = Listeners(backlog=2)
    with listeners.listening(disconnect=lambda: disconnect.append("slow")):
        listeners.send(b"a")
        listeners.send(b"b")
        assert (disconnect, len(listeners)) == ([], 1)

        listeners.send(b"c")
        assert (disconnect, len(listeners)) == (["slow"], 0)


def test_a_slow_listener_takes_nothing_from_a_quick_one() -> None:
    async def heard() -> list[bytes]:
        listeners = Listeners(backlog=1)
        got = []
        with listeners.listening(disconnect=lambda: None), listeners.listening(disconnect=lambda: None) as quick:
            messages = quick.__aiter__()
            for number in range(5):
                listeners.send(b"%d" % number)
                got.append(await messages.__anext__())
        return got

    assert asyncio.run(heard()) == [b"0", b"1", b"2", b"3", b"4"]


def test_after_the_end_nobody_listens() -> None:
    listeners = Listeners()
    listeners.close()

    with pytest.raises(TooManyListeners), listeners.listening(disconnect=lambda: None):
        pass
