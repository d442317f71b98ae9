"""The end of a process that nothing can put off.

Whoever is asked to stop has some seconds; then systemd, Docker or Kubernetes kill it. Within these it says goodbye to
Kafka, which may be away: aiokafka swallows being cancelled while it waits, and Python waits at its exit for each thread
that still runs.
"""

import logging
import os
import sys
import threading
import time
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)


def end_within(seconds: float, status: int) -> None:
    """End the process with this status after so long, unless it has ended by then, whatever still runs in it."""

    def end() -> None:
        time.sleep(seconds)
        running = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
        log.warning("ended without waiting for what still runs", seconds=seconds, threads=running)
        _flush()
        os._exit(status)

    threading.Thread(target=end, name="deadline", daemon=True).start()


def be_silent() -> None:
    """Let no thread log any more: one that is left behind must not hold the output while Python ends."""
    logging.disable(logging.CRITICAL)
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
