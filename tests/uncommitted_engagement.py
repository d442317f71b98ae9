"""`engagement` as it was before inputs were read committed: `python -m tests.uncommitted_engagement` in its place."""

from typing import Any

from stream.agents import transport

_create = transport._ConsumerThread._create_worker_consumer


def _reads_all(self: Any, to: Any) -> Any:
    consumer = _create(self, to)
    consumer._isolation_level = "read_uncommitted"
    return consumer


if __name__ == "__main__":
    transport._ConsumerThread._create_worker_consumer = _reads_all  # type: ignore[assignment,method-assign]
    from stream.cli import program

    program()
