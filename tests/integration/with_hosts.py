"""`engagement` with a hosts file of its own, and with name servers that take their time.

python -m tests.integration.with_hosts run

The file that TEST_HOSTS names lies over /etc/hosts for this process alone, in a mount namespace of its own. With
TEST_LOOK_UP_SECONDS each look-up of a name takes so long, as where the first of two name servers is gone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from typing import Any, Final

_CLONE_NEWNS: Final = 0x0002_0000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x4_0000


def take_hosts_from(path: str) -> None:
    """Let this process read another hosts file. Raises OSError where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    call("unshare", _CLONE_NEWNS)
    call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    call("mount", path.encode(), b"/etc/hosts", None, _MS_BIND, None)


def may_have_hosts() -> bool:
    """Whether processes of this user may have a hosts file of their own, which needs CAP_SYS_ADMIN."""
    child = os.fork()
    if not child:
        try:
            take_hosts_from("/etc/hosts")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _look_up_slowly(seconds: float) -> None:
    look_up: Any = socket.getaddrinfo

    def slowly(host: Any, port: Any, *args: Any, flags: int = 0, **named: Any) -> Any:
        if not flags & socket.AI_NUMERICHOST:
            time.sleep(seconds)
        return look_up(host, port, *args, flags=flags, **named)

    socket.getaddrinfo = slowly


def main() -> None:
    """Run `engagement` with the arguments of this program."""
    take_hosts_from(os.environ["TEST_HOSTS"])
    _look_up_slowly(float(os.environ.get("TEST_LOOK_UP_SECONDS", "0")))
    from stream.cli import program

    sys.argv[0] = "engagement"
    program()


if __name__ == "__main__":
    main()
