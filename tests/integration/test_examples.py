"""The examples of stream/FORMATS.md for producers send what a worker counts: each is run against a real broker.

That in Go takes most of a minute of CPU to compile, so the usual run only checks that it is the one that was run last.
`make test-examples` runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from kafka import KafkaConsumer, TopicPartition

from stream.core.events import Event
from stream.export.contract import json_schemas
from stream.kafka.topics import TopicSpec, create_topics
from stream.partitioning import partition_of
from tests.documents import FORMATS
from tests.integration.kafka_server import RunningKafka, kafka_libs
from tests.maven import CACHE
from tests.missing import missing, unreachable
from tests.native import READERS, Message
from tests.timeouts import TIMEOUT_SECONDS

PARTITIONS: Final = 5

# What an example needs, in the versions that it was tried with.
_NPM: Final = ("kafkajs@2.2.4", "typescript@5.9.3", "@types/node@20.19.25")
_GO: Final = "github.com/twmb/franz-go@v1.22.3"

# Of the example in Go and its library, when `make test-examples` had last sent its event to a real broker.
_GO_WAS_RUN: Final = "6fb530c9e2eb1e7d23be69cfdbadcb1d5a27a423d0ceff261e00b684c4581be5"


def example(language: str) -> str:
    """The example of the page in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", FORMATS.read_text(), re.DOTALL)
    return str(found)


def run(*command: str, folder: Path, seconds: float | None = TIMEOUT_SECONDS, **variables: str) -> None:
    """Run a program in a folder. Fails with what it printed, or after so many seconds."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}\n{done.stderr}"


def program(name: str, of: str) -> str:
    """The path of a program; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        missing(f"`{name}` ({of})")
    return found


def send_in_python(code: str, folder: Path) -> None:
    (folder / "send.py").write_text(code)
    run(sys.executable, "send.py", folder=folder)


def send_in_typescript(code: str, folder: Path) -> None:
    node, npm = program("node", "Debian's package nodejs"), program("npm", "Debian's package npm")
    (folder / "send.ts").write_text(code)
    (folder / "package.json").write_text("{}")
    try:
        run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", *_NPM, folder=folder)
    except AssertionError as error:
        unreachable(f"packages of npm: {str(error).strip().splitlines()[0]}")
    compiler = (
        "node_modules/typescript/bin/tsc",
        "--strict",
        "--skipLibCheck",
        "--esModuleInterop",
        "--target",
        "es2022",
    )
    run(node, *compiler, "--module", "commonjs", "--moduleResolution", "node", "send.ts", folder=folder)
    run(node, "send.js", folder=folder, KAFKAJS_NO_PARTITIONER_WARNING="1")


def send_in_java(code: str, folder: Path) -> None:
    java = program("java", "Java 17")
    (folder / "Send.java").write_text(code)
    run(java, "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_libs()}/*", "Send.java", folder=folder)


def send_in_go(code: str, folder: Path) -> None:
    go = program("go", "Go 1.26 or newer, which franz-go asks for; Debian 12 and 13 have an older one")
    (folder / "main.go").write_text(code)
    # What was compiled once is not compiled again by the next run.
    built: dict[str, Any] = {
        "GOCACHE": str(CACHE / "go"),
        "GOFLAGS": "-mod=mod -p=1",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    run(go, "mod", "init", "example", folder=folder, **built)
    run(go, "get", _GO, folder=folder, **built)
    run(go, "build", "-o", "send", ".", folder=folder, seconds=None, **built)
    run("./send", folder=folder)


SENDERS: Final = {
    "python": send_in_python,
    "typescript": send_in_typescript,
    "java": send_in_java,
    "go": send_in_go,
}


def test_the_example_in_go_is_the_one_that_was_run_last() -> None:
    digest = hashlib.sha256(f"{_GO}\n{example('go')}".encode()).hexdigest()

    assert digest == _GO_WAS_RUN, "if `make test-examples` can run it, enter this digest as _GO_WAS_RUN"


@pytest.mark.parametrize("language", ["python", "typescript", "java", pytest.param("go", marks=pytest.mark.compiled)])
def test_an_example_sends_what_counts_to_the_partition_of_its_user(
    language: str, kafka: RunningKafka, unique: Callable[[str], str], tmp_path: Path
) -> None:
    code, topics = example(language), {}
    for name in ("sessions", "logins", "surveys"):
        if f'"{name}"' in code:
            topics[name] = unique(name)
            code = code.replace(f'"{name}"', f'"{topics[name]}"')
    assert "localhost:9092" in code
    specs = [TopicSpec(topic, PARTITIONS) for topic in topics.values()]
    create_topics(specs, client_options={"bootstrap_servers": kafka.address}, replication=1)
    began_ms = time.time_ns() // 1_000_000

    SENDERS[language](code.replace("localhost:9092", kafka.address), tmp_path)

    place = partition_of(b"ada", PARTITIONS)
    for name, topic in topics.items():
        (record,) = records_of(topic, kafka)
        jsonschema.validate(json.loads(record.value), json_schemas()[name])
        event = READERS[name](Message(record.value, key=record.key))
        assert (record.key, record.partition) == (b"ada", place)
        assert isinstance(event, Event)
        assert event.user == "ada"
        assert began_ms - 1 <= event.at_ms <= time.time_ns() // 1_000_000


def records_of(topic: str, kafka: RunningKafka) -> list[Any]:
    """All records of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.address, enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    left = sum(consumer.end_offsets(places).values())
    found: list[Any] = []
    while len(found) < left:
        found += [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
    consumer.close()
    return found
