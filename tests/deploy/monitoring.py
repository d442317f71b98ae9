"""Debian's Prometheus and Alertmanager as processes, with the shipped files, and somebody who is told."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from stream.processes import command_that_dies_with_parent
from stream.simulate.embedded_broker import end_process_group
from tests.deploy.prometheus import PrometheusApi
from tests.deploy.promtool import tool
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

_POLL_SECONDS = 0.1


class Webhook:
    """Whoever is told of alerts: an address that keeps what is sent to it, by receiver."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def told(self, receiver: str, *, status: str = "firing") -> dict[str, dict[str, Any]]:
        """The newest alert of each name that a receiver was told, as long as its last status is this one."""
        newest = {
            alert["labels"]["alertname"]: alert
            for name, message in list(self.messages)
            for alert in message["alerts"]
            if name == receiver
        }
        return {name: alert for name, alert in newest.items() if alert["status"] == status}

    def times_told(self, receiver: str, alert: str) -> int:
        """How often a receiver was told that an alert fires."""
        return sum(
            told["labels"]["alertname"] == alert and told["status"] == "firing"
            for name, message in list(self.messages)
            for told in message["alerts"]
            if name == receiver
        )

    def ever_told(self) -> set[str]:
        """The names of all alerts that anybody was ever told."""
        return {alert["labels"]["alertname"] for _, message in list(self.messages) for alert in message["alerts"]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                messages.append((self.path.strip("/"), json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *told: object) -> None:
                """Say nothing."""

        return Handler


class _Process:
    """A program with a page that says when it is ready."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._command = [*command, f"--web.listen-address={self.address}"]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                command_that_dies_with_parent(self._command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self.wait_until(self._is_ready, "ready")

    def stop(self) -> None:
        """End it, started or not."""
        if self._process is not None:
            end_process_group(self._process, timeout_seconds=10.0)
            self._process = None

    def wait_until(self, holds: Callable[[], object], what: str, *, seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait for something to hold. Fails with the log."""
        deadline = time.monotonic() + seconds
        while not holds():
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            ended = self._process is None or self._process.poll() is not None
            assert not ended, f"{self._command[0]} ended before {what}:\n{tail}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{tail}"
            time.sleep(_POLL_SECONDS)

    def get(self, path: str, asked: Mapping[str, object] | None = None) -> Any:
        """What a page of the API tells."""
        query = f"?{urlencode(asked)}" if asked else ""
        with urllib.request.urlopen(f"http://{self.address}{path}{query}", timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)

    def post(self, path: str, content: object) -> None:
        """Send JSON to the API."""
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            data=json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            pass

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


class Alertmanager(_Process):
    """Alertmanager with a configuration of its own."""

    def __init__(self, config: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [f"--config.file={config}", f"--storage.path={folder}", "--cluster.listen-address="]
        super().__init__([tool("prometheus-alertmanager"), *arguments], log=folder / "alertmanager.log")

    def tell(self, *alerts: Mapping[str, str]) -> None:
        """Let alerts fire, given by their labels."""
        self.post("/api/v2/alerts", [{"labels": dict(labels)} for labels in alerts])

    def alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts that it knows of, by name."""
        return {alert["labels"]["alertname"]: alert for alert in self.get("/api/v2/alerts")}

    def held_back(self) -> set[str]:
        """The alerts that wait for another one."""
        return {name for name, alert in self.alerts().items() if alert["status"]["inhibitedBy"]}


class Prometheus(_Process, PrometheusApi):
    """Prometheus with a configuration and a memory of its own."""

    def __init__(self, config: Path, memory: Path) -> None:
        memory.mkdir(parents=True, exist_ok=True)
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={memory}", "--storage.tsdb.retention.time=90d"]
        super().__init__([tool("prometheus"), *arguments], log=memory.parent / "prometheus.log")

    def value(self, expr: str) -> float | None:
        """The value of an expression that has one, or none."""
        found = self.get("/api/v1/query", {"query": expr})["data"]["result"]
        assert len(found) < 2, f"{expr} has {len(found)} values: {found}"
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The alerts that fire, whether somebody is told or not."""
        return {
            alert["labels"]["alertname"]
            for alert in self.get("/api/v1/alerts")["data"]["alerts"]
            if alert["state"] == "firing"
        }
