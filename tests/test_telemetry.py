"""Logs that stay readable, and histograms that add."""

import io
import json
import logging
from urllib.parse import quote

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from stream.settings import Log
from stream.telemetry import RepeatFilter, Timings, configure_logging, mask_secrets


@pytest.fixture
def logs() -> io.StringIO:
    """What is logged as JSON."""
    out = io.StringIO()
    configure_logging(Log(format="json"), stream=out)
    return out


def test_every_log_is_one_json_object_a_line(logs: io.StringIO) -> None:
    structlog.get_logger("stream.x").info("taken over", partitions=[0, 1])
    logging.getLogger("aiokafka.conn").warning("connection to %s lost", "broker")

    first, second = (msgspec.json.decode(line) for line in logs.getvalue().splitlines())
    assert (first["event"], first["partitions"], first["level"]) == ("taken over", [0, 1], "info")
    assert (second["event"], second["logger"]) == ("connection to broker lost", "aiokafka.conn")


@pytest.mark.parametrize("library", ["faust.app", "httpx", "httpx2"])  # httpx logs each request to a registry
def test_libraries_are_heard_from_warnings_on(logs: io.StringIO, library: str) -> None:
    logging.getLogger(library).info("chatter")
    logging.getLogger(library).warning("trouble")

    assert [msgspec.json.decode(line)["event"] for line in logs.getvalue().splitlines()] == ["trouble"]


def test_what_a_library_repeats_is_told_again_after_a_while() -> None:
    now = [0.0]
    seldom = RepeatFilter(seconds=30, now=lambda: now[0])
    told = ("unable to connect", None, None)
    ours, theirs = (logging.LogRecord(name, logging.ERROR, "", 0, *told) for name in ("stream.a", "aiokafka"))

    assert [seldom.filter(theirs), seldom.filter(theirs)] == [True, False]
    assert [seldom.filter(ours), seldom.filter(ours)] == [True, True]
    now[0] = 30.0
    assert seldom.filter(theirs) is True


_timings = st.builds(Timings, st.lists(st.integers(0, 9), max_size=4).map(tuple), st.integers(0, 9).map(float))


@given(_timings, _timings, _timings)
def test_timings_add_in_any_order(a: Timings, b: Timings, c: Timings) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert sum((a + b).counts) == sum(a.counts) + sum(b.counts)


@pytest.mark.parametrize("secret", ["s3cret", "pä\"ss\\w'ord", "a/b c%d+e"])
def test_a_secret_is_not_shown_however_it_is_written(secret: str) -> None:
    masked = mask_secrets([secret, "", "abc"])
    written = [
        secret,
        repr({"password": secret}),
        repr(b"\0user\0" + secret.encode()),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        json.dumps(repr(secret.encode())),
        f"redis://:{quote(secret)}@host",
    ]

    assert [masked(text).count("********") for text in written] == [1] * len(written)
    assert masked("abc is too short to be looked for") == "abc is too short to be looked for"


def test_what_a_library_logs_has_no_secret(logs: io.StringIO) -> None:
    configure_logging(Log(format="json", level="debug"), secrets=["s3cret"], stream=logs)
    logging.getLogger("aiokafka.conn").debug("Request: %s", b"\0user\0s3cret")
    try:
        raise ValueError("s3cret is wrong")
    except ValueError:
        structlog.get_logger("stream.x").exception("refused", password="s3cret")

    first, second = (msgspec.json.decode(line) for line in logs.getvalue().splitlines())
    assert first["event"].endswith("********'")
    assert second["password"] == "********"
    assert "s3cret" not in logs.getvalue()


def test_whoever_debugs_sees_every_line(logs: io.StringIO) -> None:
    for level, lines in (("warning", 1), ("debug", 3)):
        logs.truncate(logs.seek(0))
        configure_logging(Log(format="json", level=level), stream=logs)  # type: ignore[arg-type]
        for number in range(3):
            logging.getLogger("aiokafka.conn").warning("try %d", number)

        assert len(logs.getvalue().splitlines()) == lines
