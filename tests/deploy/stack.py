"""Runs services of docker-compose.yml as the file says, in a machine of its own: `python -m tests.deploy.stack SPEC`.

Taken from the file: commands, variables, folders, ports, names of hosts, the order of starting with its conditions,
health checks, and how long each may take to stop. Not there: images, limits and read-only file systems; and the health
checks are asked every second, however seldom the file does, for a test should not wait.

SPEC is a JSON file: `services` as Compose resolves them, `names` of those to run, and `kafka_libs`. What
happened goes to standard output, as JSON.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any

from tests.deploy.facts import facts
from tests.deploy.programs import Program, as_container, mount_in, program_of, variables
from tests.timeouts import TIMEOUT_SECONDS

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SHOWN_LINES = 40


class Service:
    """One container, as a process."""

    def __init__(self, name: str, told: dict[str, Any], program: Program, logs: Path) -> None:
        self.name, self.told, self.program = name, told, program
        self.log = logs / f"{name}.log"
        self.healthy_after: float | None = None
        self.stopped_after: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._sink: IO[bytes] | None = None
        self._variables = variables(program, told.get("environment"))

    def start(self) -> None:
        for volume in self.told.get("volumes", []):
            source = volume["source"] if volume["type"] == "bind" else None
            mount_in(source, volume["target"], owner=self.program.uid)
        self._sink = self.log.open("wb")
        self.process = subprocess.Popen(
            as_container(self.program, self.told["command"] or []),
            env=self._variables,
            cwd=self.program.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._sink,
            stderr=self._sink,
            start_new_session=True,
        )

    def wait_until(self, condition: str) -> None:
        """Wait for a condition of `depends_on`."""
        assert self.process is not None, f"{self.name} was not started"
        if condition == "service_completed_successfully":
            assert self.process.wait(TIMEOUT_SECONDS) == 0, f"{self.name} ended with {self.process.returncode}"
        elif condition == "service_healthy":
            self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        started = time.monotonic()
        while self.healthy_after is None:
            assert self.process is not None, f"{self.name} was not started"
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}"
            passed = time.monotonic() - started
            told = self.check()
            if told is None:
                self.healthy_after = round(passed, 1)
                return
            assert passed < TIMEOUT_SECONDS, f"{self.name} is not healthy: {told}"
            time.sleep(1)

    def lasting_fault(self) -> str | None:
        """What the health check finds wrong again and again, or None as soon as it finds nothing."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (told := self.check()) is not None and time.monotonic() < deadline:
            time.sleep(1)
        return told

    def check(self) -> str | None:
        """Run the health check once; returns what is wrong, or None."""
        kind, *command = self.told["healthcheck"]["test"]
        assert kind == "CMD"
        bare = Program(uid=self.program.uid)
        try:
            done = subprocess.run(
                as_container(bare, command),
                env=self._variables,
                cwd=self.program.folder,
                timeout=TIMEOUT_SECONDS,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "the check did not end"
        return None if done.returncode == 0 else f"{done.returncode}: {done.stdout}{done.stderr}"

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self.process.poll() if self.process is not None else None

    @property
    def has_check(self) -> bool:
        return not self.told.get("healthcheck", {"disable": True}).get("disable", False)

    def peak_mib(self) -> float | None:
        """The most memory it has had, of the process itself."""
        with contextlib.suppress(OSError, AssertionError):
            assert self.process is not None
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
            return round(int(found[1]) / 1024, 1) if found else None
        return None

    def stop(self) -> None:
        """Ask it to end, and wait for as long as the file allows."""
        assert self.process is not None
        if self.process.poll() is None:
            started = time.monotonic()
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(float(self.told.get("stop_grace_period", "10s").rstrip("s")))
                self.stopped_after = round(time.monotonic() - started, 1)

    def report(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "healthy_after": self.healthy_after,
            "stopped_after": self.stopped_after,
            "log": self.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:] if self.log.exists() else [],
        }


def start_all(spec: dict[str, Any], logs: Path, running: dict[str, Service]) -> None:
    """Start the services in the order that their conditions ask for, and wait until all are healthy."""
    waiting = {name: spec["services"][name] for name in spec["names"]}
    while waiting:
        for name, told in list(waiting.items()):
            needs = {on: how["condition"] for on, how in told.get("depends_on", {}).items() if on in spec["names"]}
            if all(on in running for on in needs):
                for on, condition in needs.items():
                    running[on].wait_until(condition)
                program = program_of(told["image"], kafka_libs=spec["kafka_libs"])
                running[name] = Service(name, told, program, logs)
                running[name].start()
                del waiting[name]
    for service in running.values():
        if service.has_check:
            service.wait_until_healthy()


def network_up(names: list[str]) -> None:
    """All containers share the loopback device, where each name has an address of its own.

    So a program that listens on 127.0.0.1 only is reached by itself and by no other, as in a container.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", asked)[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
    addresses = "".join(f"127.0.0.{number} {name}\n" for number, name in enumerate(names, start=2))
    Path("/etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{addresses}")


def main(spec_file: str) -> None:
    """Start, ask, stop; write down what happened, also when it went wrong."""
    spec = json.loads(Path(spec_file).read_text())
    logs = Path("/var/log/stack")
    logs.mkdir()
    network_up(spec["names"])
    running: dict[str, Service] = {}
    report: dict[str, Any] = {"failure": None, "facts": {}}
    try:
        start_all(spec, logs, running)
        services = list(running.values())
        report["facts"] = facts({service.name: service.log for service in services})
        ended = [service.name for service in services if service.has_check and service.status is not None]
        assert not ended, f"ended by themselves: {ended}"
        report["peak_mib"] = {service.name: service.peak_mib() for service in services}
        report["unhealthy"] = {service.name: service.lasting_fault() for service in services if service.has_check}
    except Exception:  # noqa: BLE001  whatever it is, the test tells it
        report["failure"] = traceback.format_exc()
    for service in reversed(running.values()):
        service.stop()
    report["services"] = {service.name: service.report() for service in running.values()}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
