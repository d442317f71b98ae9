"""`python -m tests.containers.send ADDRESS USERS`: send many users to a Kafka, and print how many events they had."""

import sys

import msgspec

from stream.settings import Settings
from stream.settings.model import Kafka
from tests.bench.load import many_users, now_ms, preload

if __name__ == "__main__":
    address, users = sys.argv[1:]
    settings = msgspec.structs.replace(Settings(), kafka=Kafka(servers=address))
    print(preload(settings, many_users(end_ms=now_ms(), users=int(users))).events)  # noqa: T201
