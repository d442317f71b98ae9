"""A real Prometheus over blocks that were back-filled: what Grafana would ask, it answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from stream.core.time import HOUR_MS
from tests.ports import free_port
from tests.timeouts import TIMEOUT_SECONDS

# promtool reads a file once for each block that it makes of it, so a file is one block. The hours of a block are two
# times a power of three, and it begins with a multiple of them.
_BLOCK_HOURS = 54


class PrometheusUnavailable(Exception):
    """The programs are not on this machine."""


class BadQuery(Exception):
    """Prometheus refuses an expression; the text holds both."""


class PrometheusApi:
    """What a Prometheus answers at its address, host and port."""

    address: str

    def at(self, expression: str, *, seconds: float) -> list[dict[str, Any]]:
        """The series of an expression at one moment: each with `metric` and `value`."""
        return list(self._get("query", {"query": expression, "time": seconds})["result"])

    def over(self, expression: str, *, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression over a time: each with `metric` and `values`."""
        asked = {"query": expression, "start": start, "end": end, "step": step}
        return list(self._get("query_range", asked)["result"])

    def label_values(self, selector: str, label: str, *, start: float, end: float) -> list[str]:
        """The values of a label of the selected series."""
        return list(self._get(f"label/{label}/values", {"match[]": selector, "start": start, "end": end}))

    def _get(self, what: str, asked: dict[str, Any]) -> Any:
        try:
            with urlopen(f"http://{self.address}/api/v1/{what}?{urlencode(asked)}", timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise BadQuery(f"{json.load(error)['error']}: {asked}") from None


class BackfilledPrometheus(PrometheusApi):
    """Prometheus with the samples it was given and no others. Ends with `close`."""

    def __init__(self, folder: Path, samples: Iterable[tuple[int, str]]) -> None:
        missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
        if missing:
            raise PrometheusUnavailable(f"no {' and no '.join(missing)} here (Debian: apt-get install prometheus)")
        self._blocks = folder / "blocks"
        for block, scrapes in groupby(samples, lambda scrape: scrape[0] // (_BLOCK_HOURS * HOUR_MS)):
            self._backfill(folder / f"{block}.om", scrapes)
        self._log = (folder / "log").open("w")
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / "prometheus.yml"
        config.write_text("{}\n")
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={self._blocks}"]
        arguments += [f"--web.listen-address={self.address}", "--storage.tsdb.retention.time=100y"]
        self._process = subprocess.Popen(["prometheus", *arguments], stdout=self._log, stderr=self._log)
        self._wait(folder / "log")

    def _backfill(self, file: Path, scrapes: Iterable[tuple[int, str]]) -> None:
        file.write_text("".join(text for _, text in scrapes) + "# EOF\n")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        command += [f"--max-block-duration={_BLOCK_HOURS}h", str(file), str(self._blocks)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")

    def _wait(self, log: Path) -> None:
        until = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                with urlopen(f"http://{self.address}/-/ready", timeout=1):
                    return
            except (URLError, OSError):
                if self._process.poll() is not None or time.monotonic() > until:
                    self.close()
                    raise RuntimeError(f"prometheus does not start: {log.read_text()[-2_000:]}") from None
            time.sleep(0.1)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
