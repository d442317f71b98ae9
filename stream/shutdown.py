"""End a process within a time limit, whatever still runs in it.

A process that is asked to stop has some seconds before systemd, Docker or Kubernetes kills it. In this time it says
goodbye to Kafka, which may not answer. Then aiokafka ignores that it is cancelled, and Python waits at exit for every
thread that still runs. So a timer ends the process.
"""

import logging
import os
import sys
import threading
import time
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)


def exit_after(seconds: float, status: int) -> None:
    """End the process with this exit status after `seconds`, unless it has ended before."""

    def end() -> None:
        time.sleep(seconds)
        running = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
        log.warning("ended without waiting for what still runs", seconds=seconds, threads=running)
        _flush()
        os._exit(status)

    threading.Thread(target=end, name="deadline", daemon=True).start()


def silence_logging() -> None:
    """Stop all logging. A thread that still runs could otherwise hold the output stream while Python ends."""
    logging.disable(logging.CRITICAL)
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader of the stream has closed it
            stream.flush()
