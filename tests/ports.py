"""Ports for servers of tests: none that another process of this test run, or another run, may take meanwhile.

A server that is stopped and started again needs its port to be still free, and tests run side by side. So ports come
from below the range out of which Linux takes those of outgoing connections, and whoever got one keeps a socket of its
name, which the kernel removes when the process ends.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Final

_PORTS: Final = range(12_000, 32_000)  # Linux takes those of connections from 32768 on

_choice = random.SystemRandom()
_kept: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 where nobody listens, and which no other process is told as long as this one lives."""
    while True:
        port = _choice.choice(_PORTS)
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError), socket.socket() as listener:
            name.bind(f"\0engagement-test-port-{port}")
            listener.bind(("127.0.0.1", port))
            _kept.append(name)
            return port
        name.close()
