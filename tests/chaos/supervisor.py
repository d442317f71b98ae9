"""Whoever ends is started again, as systemd and Kubernetes do; and must have said why it ended.

A slot is what stays of a program when its process is gone: a name, a disk, a way to Kafka.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.disk import Disk
from tests.chaos.proxy import TcpProxy
from tests.faked_clock import FakedClock
from tests.integration.deployment import Deployment, Program
from tests.integration.versions import is_refusal
from tests.ports import free_port

_RESTART_SECONDS = 0.5
# Kubernetes gives a pod 30 s between asking and killing.
_GRACE_SECONDS = 120.0

_KILLED, _ASKED = "killed", "asked"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, and why by its own words."""

    name: str
    status: int
    asked: str
    reason: str
    log: str
    refused: bool = False  # it was of another version, which can't use what this one has made

    @property
    def complaint(self) -> str | None:
        """What is wrong with this end; None for one that anybody understands."""
        if self.asked == _KILLED or self.refused:
            return None
        if self.asked == _ASKED and self.status in (0, -signal.SIGTERM):
            return None
        if self.status == 1 and self.reason:
            return None
        return f"{self.name} ended with {self.status} and without a reason:\n{self.log}"


class Slot:
    """One program of a deployment, alive whenever it can be."""

    def __init__(
        self,
        deployment: Deployment,
        command: str,
        *,
        name: str,
        kafka: TcpProxy,
        state_url: str = "",
        instance_id: str = "",
        disk: Disk | None = None,
        others: tuple[TcpProxy, ...] = (),
    ) -> None:
        """`others` are its further connections, such as that to Redis."""
        self.name, self.kafka, self.disk, self.others = name, kafka, disk, others
        self._deployment, self._command = deployment, command
        self._settings = {"ENGAGEMENT_KAFKA_SERVERS": kafka.address, "ENGAGEMENT_KAFKA_INSTANCE_ID": instance_id}
        if state_url:
            self._settings["ENGAGEMENT_STATE_URL"] = state_url
        self._asked = ""
        self._asked_at = 0.0
        self._ended_at: float | None = None
        self._frozen: Program | None = None
        self._stays_down = False
        self._state_url, self._instance_id = state_url, instance_id
        if disk is not None and disk.needs_pipe:
            deployment.piped.add(name)
        self._is_of_another_version = False
        self.exits: list[Exit] = []
        self.programs: list[Program] = []
        self._takeovers_before = 0  # by processes that have ended
        self._start()

    @property
    def program(self) -> Program:
        """The process that runs now, or ran last."""
        return self.programs[-1]

    @property
    def client(self) -> str:
        """By what its member id in the consumer group begins."""
        return self._instance_id or f"{socket.gethostname()}-{self.program.pid}"

    @property
    def takeovers(self) -> int:
        """How often its processes have taken partitions over."""
        return self._takeovers_before + self.program.takeovers

    @property
    def settings_of_a_stranger(self) -> dict[str, str]:
        """What lets another worker find what this one has saved for others, but nothing that was its own."""
        return {} if self.disk is not None else {"ENGAGEMENT_STATE_URL": self._state_url}

    def tend(self) -> Exit | None:
        """Start it again when it has ended; end it when it does not do so itself. Returns its end, once."""
        if self.program.status is None:
            if self._asked == _ASKED and time.monotonic() - self._asked_at > _GRACE_SECONDS:
                if self._frozen is self.program:  # it could not hear what it was asked
                    self._asked = _KILLED
                self.program.kill()
            return None
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
            self.exits.append(self._exit())
            return self.exits[-1]
        if now - self._ended_at > _RESTART_SECONDS and not self._stays_down:
            self._start()
        return None

    def _start(self) -> None:
        if self.programs:
            self._takeovers_before += self.program.takeovers
        self._is_of_another_version = self.name in self._deployment.code
        # A server answers there with its numbers, a worker with whether it is ready.
        port = free_port()
        ports = {name: str(port) for name in ("ENGAGEMENT_SERVER_PORT", "ENGAGEMENT_WORKER_PORT")}
        program = self._deployment.start(self._command, name=self.name, **self._settings, **ports)
        program.port = port
        self.programs.append(program)
        self._asked, self._ended_at = "", None
        if self.disk is not None:
            self.disk.watch(program)

    def _exit(self) -> Exit:
        program, status = self.program, self.program.status
        assert status is not None
        log = program.log
        reason = reason_in(log)
        refused = self._is_of_another_version and is_refusal(status, reason)
        return Exit(self.name, status, self._asked, reason, "\n".join(log.splitlines()[-25:]), refused)

    # -- what befalls it -------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it as a power cut does; it comes back."""
        self._note(_KILLED)
        self.program.kill()

    def terminate(self) -> None:
        """Ask it to end; it comes back."""
        self._note(_ASKED)
        self.program.terminate()

    def freeze(self) -> Program:
        """Let it stand still; returns what stands still."""
        self.program.freeze()
        self._frozen = self.program
        return self.program

    def resume(self, frozen: Program) -> None:
        """Let it go on, if it is still there. What it was asked for meanwhile, it hears now."""
        frozen.resume()
        self._frozen = None
        self._asked_at = time.monotonic()

    def run_version(self, code: Path | None) -> None:
        """Run the code that lies there, or else ours, from the next start on; ask it to end."""
        if code is None:
            self._deployment.code.pop(self.name, None)
        else:
            self._deployment.code[self.name] = code
        self.terminate()

    def have_clock(self, clock: FakedClock | None) -> None:
        """Have this clock, or that of this machine, from the next start on; with a clock of its own it starts anew."""
        if clock is None:
            self._deployment.clocks.pop(self.name, None)
        else:
            self._deployment.clocks[self.name] = clock
            self.terminate()

    def shut_down(self) -> int:
        """Ask it to end and do not start it again; returns its status. Fails when it does not end in time."""
        self._stays_down = True
        self.terminate()
        status = self.program.wait_for_exit()
        self.tend()
        return status

    def _note(self, asked: str) -> None:
        # Who has ended by itself already is not excused by what is asked of it afterwards.
        if self.program.status is None:
            self._asked, self._asked_at = asked, time.monotonic()


_OF_THE_COMMAND = re.compile(r"^engagement: (.+)$", re.MULTILINE)


def reason_in(log: str) -> str:
    """Why a process says that it ended; empty when it does not say."""
    for line in reversed(log.splitlines()):
        found = _OF_THE_COMMAND.match(line)
        if found is not None:
            return found[1]
        told = _event(line)
        if told.get("event") == "stopped because a part broke":
            return str(told.get("reason", ""))
    return ""


class Takeover(NamedTuple):
    """A worker has opened the state of some partitions, so many seconds after it was given them."""

    timestamp: str
    name: str
    partitions: list[int]
    seconds: float


def takeovers(slots: list[Slot]) -> list[Takeover]:
    """All of these programs, in order of time, as their logs tell."""
    lines = (
        (slot.name, _event(line)) for slot in slots for program in slot.programs for line in program.log.splitlines()
    )
    return sorted(
        Takeover(told["timestamp"], name, told["partitions"], told["seconds"])
        for name, told in lines
        if told.get("event") == "partitions taken over"
    )


def _event(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def wait_until(holds: Callable[[], bool], slots: list[Slot], *, seconds: float) -> bool:
    """Wait for something while the slots are tended; returns whether it came."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        for slot in slots:
            slot.tend()
        time.sleep(0.1)
    return True
