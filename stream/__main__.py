"""The command `engagement`, with what must be done before anything else is imported."""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. This is the console script `engagement`.

    The first process of a container gets only signals for which it has a handler. Imports take seconds on a busy
    machine; asked to end meanwhile, it would go on, and be killed at the end of its grace. So it has a handler from
    here on. Commands that end in another way replace it.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from stream.cli import program

    program()


if __name__ == "__main__":
    main()
