"""Logging is of a whole process, and here that is of all tests: whoever configures it puts it back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logging_put_back() -> Iterator[None]:
    """Undo at the end what was configured meanwhile."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        if structlog.is_configured():
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.reset_defaults()
