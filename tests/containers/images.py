"""The images that docker-compose.yml asks for, built from Debian's packages and kept for the next run.

The base image of deploy/Dockerfile is Debian's Python under the names that the file asks for. One more image has the
programs of the stand-ins. Both are made anew when what they are made of changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.compose import resolved
from tests.deploy.programs import kafka_files
from tests.deploy.tools import DEPLOY, REPOSITORY
from tests.integration.kafka_server import kafka_libs

OURS: Final = "docker.io/library/engagement-stream:local"
BEFORE: Final = "docker.io/library/engagement-stream:before"

_BASES: Final = ("docker.io/library/python:3.11-bookworm", "docker.io/library/python:3.11-slim-bookworm")
_PROGRAMS: Final = "localhost/stand-ins"
_SUITE: Final = "bookworm"
_OF_PYTHON: Final = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
_OF_STAND_INS: Final = ("openjdk-17-jre-headless", "prometheus", "prometheus-alertmanager", "redis-server", "wget")

# By image: what it starts with. Grafana is in no package.
_STAND_INS: Final = {
    "apache/kafka": '["/etc/kafka/docker/run"]',
    "prom/prometheus": '["prometheus"]',
    "prom/alertmanager": '["prometheus-alertmanager"]',
    "redis": "[]",
}
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN: Final = 1_500


class NoImage(Exception):
    """An image can't be built, because what it is built from is not to be had. The text says what."""


@dataclass(frozen=True, slots=True)
class Images:
    """The store of images."""

    store: Path
    environment: dict[str, str]

    def build_bases(self) -> None:
        """Make what other images are built from, as far as it is not there. Raises NoImage."""
        failed: list[NoImage] = []

        def make(names: Sequence[str], packages: Sequence[str]) -> None:
            try:
                self._build_base(names, packages)
            except NoImage as error:
                failed.append(error)

        both = [
            threading.Thread(target=make, args=(_BASES, _OF_PYTHON)),
            threading.Thread(target=make, args=((_PROGRAMS,), _OF_STAND_INS)),
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()
        if failed:
            raise failed[0]

    def _build_base(self, names: Sequence[str], packages: Sequence[str]) -> None:
        recipe = hashlib.sha256(repr((names, packages, Path(__file__).read_bytes())).encode()).hexdigest()[:16]
        made = f"localhost/made:{recipe}"
        if self._run(["podman", "image", "exists", made]).returncode:
            # What this machine reaches packages by is needed in the image too.
            given = [
                Path(name) for name in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf") if Path(name).exists()
            ]
            hooks = [f"--customize-hook=mkdir -p $1{one.parent} && cp {one} $1{one.parent}" for one in given]
            # Debian's Python refuses pip for itself; the image that stands for it does not.
            hooks.append('--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED')
            debian = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}", *hooks, _SUITE, "-"]
            imported = ["podman", "import", "--quiet", "--change", f"ENV PATH={_PATH}", "-", made]
            with subprocess.Popen(debian, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as making:
                taken = self._run(imported, stdin=making.stdout)
                assert making.stderr is not None
                why = making.stderr.read()
            if making.returncode or taken.returncode:
                raise NoImage(f"no Debian {_SUITE} with {packages[0]}: {(why or taken.stderr).strip()[-_SHOWN:]}")
        for name in names:
            self._done(["podman", "tag", made, name])

    def build_stand_ins(self, folder: Path) -> None:
        """Build an image for each service whose program Debian has. `folder` is an empty one."""
        libs = "/opt/kafka/libs"
        shutil.copytree(kafka_libs(), folder / "libs")
        for path, text in kafka_files(libs).items():
            file = folder / "kafka" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        for service in resolved()["services"].values():
            image = service["image"]
            entrypoint = _STAND_INS.get(image.rpartition(":")[0])
            if entrypoint is None:
                continue
            copied = f"COPY libs {libs}\nCOPY kafka /\n" if image.startswith("apache/kafka") else ""
            (folder / "Containerfile").write_text(f"FROM {_PROGRAMS}\n{copied}ENTRYPOINT {entrypoint}\n")
            name = image if "/" in image else f"library/{image}"
            self._build(f"docker.io/{name}", folder / "Containerfile", folder)

    def build_ours(self, name: str = OURS, *, source: Path = REPOSITORY) -> None:
        """Build deploy/Dockerfile as it stands. Raises NoImage where no package of Python can be had."""
        try:
            self._build(name, source / DEPLOY.relative_to(REPOSITORY) / "Dockerfile", source)
        except AssertionError:
            if not self._has_python_packages():
                raise NoImage("no packages of Python: `pip download` fails in the base image too") from None
            raise

    def _has_python_packages(self) -> bool:
        container = self._run(["buildah", "from", "--pull-never", _BASES[0]]).stdout.strip()
        asked = self._run(["buildah", "run", "--network", "host", container, "pip", "download", "--dest=/tmp", "pip"])
        self._run(["buildah", "rm", container])
        return asked.returncode == 0

    def _build(self, name: str, file: Path, context: Path) -> None:
        ignored = Path(f"{file}.dockerignore")
        options = ["--quiet", "--layers", "--format", "docker", "--pull-never", "--network", "host"]
        options += ["--ignorefile", str(ignored)] if ignored.exists() else []
        self._done(["buildah", "bud", *options, "--file", str(file), "--tag", name, str(context)])

    def _done(self, command: Sequence[str]) -> None:
        done = self._run(command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    def _run(self, command: Sequence[str], *, stdin: object = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        program, *rest = command
        placed = [program, "--root", str(self.store), "--runroot", f"{self.store}.run", *rest]
        variables = {**os.environ, **self.environment, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
        return subprocess.run(placed, stdin=stdin, env=variables, capture_output=True, text=True, check=False)  # type: ignore[call-overload,no-any-return]
