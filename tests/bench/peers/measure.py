"""Runs a peer as a process and measures it from outside: events a second, CPU an event, and memory."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from stream.processes import command_that_dies_with_parent
from tests.bench.figures import steady_rate
from tests.bench.processes import Samples

_END_TIMEOUT_SECONDS = 20.0
_LOG_TAIL = 2_000


class PeerFailed(Exception):
    """A peer has ended, or was ended after the timeout, without telling its numbers; the text is the end of its log."""


class Measured(NamedTuple):
    """One round of a peer, and the numbers that it told."""

    events_a_second: float
    cpu_us_an_event: float
    peak_mib: float
    numbers: Mapping[str, Any]


class Told(NamedTuple):
    """What a peer has said: how many events it had counted at which moments, and its numbers."""

    course: list[tuple[float, float]]
    numbers: Mapping[str, Any] | None


def told_by(lines: Sequence[str]) -> Told:
    """Read what a peer has printed; what else a library prints is passed over."""
    course, found = [], None
    for line in lines:
        if line.startswith("counted "):
            _, moment, count = line.split()
            course.append((float(moment), float(count)))
        elif line.startswith("{"):
            found = json.loads(line)
    return Told(course, found)


def measured(command: Sequence[str], events: int, log: Path, *, timeout_seconds: float) -> Measured:
    """Run a peer until it has told its numbers. What it says on standard error goes to `log`. Raises PeerFailed."""
    with log.open("ab") as sink:
        peer = subprocess.Popen(command_that_dies_with_parent(command), stdout=subprocess.PIPE, stderr=sink, text=True)
    assert peer.stdout is not None
    too_long = threading.Timer(timeout_seconds, peer.kill)
    too_long.start()
    lines = []
    try:
        with Samples(peer.pid) as samples:
            for line in peer.stdout:
                lines.append(line)
                if line.startswith("{"):
                    break
        told = told_by(lines)
        if told.numbers is None:
            raise PeerFailed(log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "it said nothing")
    finally:
        too_long.cancel()
        _end(peer)
    ended_at, _ = told.course[-1]
    rate, cpu_us = steady_rate(told.course, events, samples.cpu)
    peak_mib = max(peak for at, _, peak in samples.taken if at <= ended_at)
    return Measured(rate, cpu_us, peak_mib, told.numbers)


def _end(peer: subprocess.Popen[str]) -> None:
    assert peer.stdout is not None
    with suppress(subprocess.TimeoutExpired):
        peer.wait(_END_TIMEOUT_SECONDS / 2)  # it ends by itself
    peer.terminate()
    try:
        peer.wait(_END_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        peer.kill()
        peer.wait()
    peer.stdout.close()
