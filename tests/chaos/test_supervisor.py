"""Who ends must say why."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.proxy import Network
from tests.chaos.run import kind_of
from tests.chaos.supervisor import Exit, Slot, reason_in

BROKE = '{"reason": "Fenced(\'silent for 7 s\')", "event": "stopped because a part broke", "level": "error"}'


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (f"consuming\n{BROKE}\n", "Fenced('silent for 7 s')"),
        ("engagement: cannot reach a Kafka broker at 127.0.0.1:1\n", "cannot reach a Kafka broker at 127.0.0.1:1"),
        (f"{BROKE}\nengagement: the last word\nand more\n", "the last word"),
        ("Traceback (most recent call last):\nValueError: no\n", ""),
        ("[1, 2]\n\n", ""),
        ("", ""),
    ],
)
def test_the_reason_is_what_the_log_says_last(log: str, reason: str) -> None:
    assert reason_in(log) == reason


@pytest.mark.parametrize(
    ("status", "asked", "reason"),
    [
        (-signal.SIGKILL, "killed", ""),
        (0, "asked", ""),
        (-signal.SIGTERM, "asked", ""),  # before it could listen
        (1, "asked", "Kafka is gone"),
        (1, "", "Kafka is gone"),
    ],
)
def test_an_end_that_anybody_understands(status: int, asked: str, reason: str) -> None:
    assert Exit("ada", status, asked, reason, "log").complaint is None


@pytest.mark.parametrize(
    ("status", "asked", "reason"),
    [
        (1, "", ""),  # a traceback
        (0, "", ""),  # nobody asked
        (2, "", "a setting is wrong"),
        (-signal.SIGSEGV, "", ""),
        (-signal.SIGKILL, "asked", ""),  # it did not end in time
        (-signal.SIGKILL, "", "out of memory"),
    ],
)
def test_an_end_that_nobody_understands(status: int, asked: str, reason: str) -> None:
    complaint = Exit("ada", status, asked, reason, "log").complaint

    assert complaint == f"ada ended with {status} and without a reason:\nlog"


def test_one_of_another_version_may_refuse_what_this_one_has_made() -> None:
    assert Exit("ada", 2, "", "unknown setting", "log", refused=True).complaint is None


def test_reasons_of_one_kind_differ_in_figures_and_places_only() -> None:
    assert kind_of("Fenced('nothing ran for 7.1 s')") == "Fenced"
    assert kind_of("cannot reach a Kafka broker at 127.0.0.1:9092: refused") == kind_of(
        "cannot reach a Kafka broker at 127.0.0.1:4711: refused"
    )


class Sleeper:
    """A process that has been asked to end and does not."""

    pid, port, status, log = 1, 0, None, ""

    def kill(self) -> None:
        self.status = -signal.SIGKILL

    def terminate(self) -> None: ...
    def freeze(self) -> None: ...
    def resume(self) -> None: ...


@pytest.mark.parametrize("thaws", [False, True])
def test_who_can_not_hear_that_it_is_to_end_is_not_blamed(monkeypatch: pytest.MonkeyPatch, thaws: bool) -> None:
    monkeypatch.setattr("tests.chaos.supervisor._GRACE_SECONDS", 0.0)
    deployment: Any = SimpleNamespace(code={}, piped=set(), start=lambda *_, **__: Sleeper())
    with Network() as network:
        slot = Slot(deployment, "worker", name="ada", kafka=network.proxy())
        sleeper = slot.freeze()
        slot.terminate()
        if thaws:
            slot.resume(sleeper)
        while (ended := slot.tend()) is None:
            time.sleep(0.01)

    assert (ended.complaint is None) != thaws
