"""The images that docker-compose.yml asks for, built from Debian's packages and kept for the next run.

The base image of deploy/Dockerfile is Debian's Python, under the names that the file has. Another image has the
programs of all stand-ins. Both are built anew when their packages, or what says how packages are reached, change.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.compose import resolved
from tests.deploy.programs import kafka_files
from tests.deploy.tools import DEPLOY, REPOSITORY
from tests.integration.kafka_server import kafka_libs

OURS: Final = "docker.io/library/engagement-stream:local"
PROGRAMS: Final = "localhost/stand-ins"

_BASES: Final = ("docker.io/library/python:3.11-bookworm", "docker.io/library/python:3.11-slim-bookworm")
_SUITE: Final = "bookworm"
_OF_PYTHON: Final = ("ca-certificates", "python-is-python3", "python3", "python3-pip", "python3-venv")
_OF_STAND_INS: Final = ("openjdk-17-jre-headless", "prometheus", "prometheus-alertmanager", "redis-server", "wget")

# By image: what it starts with. Grafana is in no package. The image of Redis takes clients of other machines, which
# Debian's refuses without a password.
_STAND_INS: Final = {
    "apache/kafka": '["/etc/kafka/docker/run"]',
    "prom/prometheus": '["prometheus"]',
    "prom/alertmanager": '["prometheus-alertmanager"]',
    "redis": '["sh", "-c", "exec \\"$@\\" --protected-mode no", "redis"]',
}
_KAFKA_LIBS: Final = "/opt/kafka/libs"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What says how packages are reached, where a machine has it.
_GIVEN: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
_LEFT_OUT: Final = ("doc", "info", "locale")  # of /usr/share
# It takes a minute. When it takes this long, the packages can't be had.
_DOWNLOAD_SECONDS: Final = 900
_KEPT: Final = "168h"  # a week
_SHOWN: Final = 1_500


class NoImage(Exception):
    """An image can't be built, because what it is built from can't be had. The text says what."""


@dataclass(frozen=True, slots=True)
class Images:
    """The store of images."""

    store: Path
    environment: dict[str, str]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Build while nobody else builds into the store.

        At the beginning it removes the containers of builds that were killed, and what is older than a week: layers in
        no image, and images that are built for one version of what they are made of.
        """
        self.store.mkdir(parents=True, exist_ok=True)
        with Path(f"{self.store}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._run(["buildah", "rm", "--all"])
            self._run(["podman", "image", "prune", "--all", "--force", "--filter", f"until={_KEPT}"])
            yield

    def build_bases(self) -> None:
        """Build the images that others are built from, unless they are there. Raises NoImage."""
        with ThreadPoolExecutor() as pool:
            bases = pool.submit(self._build_base, _BASES, _OF_PYTHON)
            self._build_base((PROGRAMS,), _OF_STAND_INS)
            bases.result()

    def build_ours(self) -> None:
        """Build deploy/Dockerfile as it stands. Raises NoImage."""
        self._build_program(OURS, REPOSITORY)

    def build_of_commit(self, commit: str, folder: Path) -> str:
        """Build deploy/Dockerfile of a commit, unless its image is there; return the name. The folder is an empty one.

        Raises NoImage, also where the file of that commit is at fault.
        """
        name = f"{OURS.rpartition(':')[0]}:{commit}"
        if not self._exists(name):
            # With the modes of a checkout, or the layer with all packages would not be that of our own image.
            archive = ["git", "-C", str(REPOSITORY), "-c", "tar.umask=0022", "archive", commit]
            packed = subprocess.run(archive, check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
            try:
                self._build_program(name, folder)
            except AssertionError as error:
                raise NoImage(f"deploy/Dockerfile of {commit} can't be built: {str(error)[-_SHOWN:]}") from None
        return name

    def build_stand_ins(self, folder: Path) -> None:
        """Build an image for each service whose program Debian has. The folder is an empty one."""
        libs, files = kafka_libs(), kafka_files(_KAFKA_LIBS)
        programs = self._run(["podman", "image", "inspect", "--format={{.Id}}", PROGRAMS]).stdout
        for service in resolved()["services"].values():
            image = service["image"]
            entrypoint = _STAND_INS.get(image.rpartition(":")[0])
            if entrypoint is None:
                continue
            is_kafka = image.startswith("apache/kafka")
            copied = f"COPY libs {_KAFKA_LIBS}\nCOPY kafka /\n" if is_kafka else ""
            text = f"FROM {PROGRAMS}\n{copied}ENTRYPOINT {entrypoint}\n"
            content = (sorted(one.name for one in libs.iterdir()), files) if is_kafka else ()
            built = _named_by(text, content, programs)
            if not self._exists(built):
                context = folder / image.partition(":")[0]
                context.mkdir(parents=True)
                (context / "Containerfile").write_text(text)
                if is_kafka:
                    _put(libs, files, context)
                self._build(built, context / "Containerfile", context)
            self._done(["podman", "tag", built, f"docker.io/{image if '/' in image else f'library/{image}'}"])

    def _build_base(self, names: Sequence[str], packages: Sequence[str]) -> None:
        given = [Path(name) for name in _GIVEN if Path(name).exists()]
        hooks = [f"--customize-hook=mkdir -p $1{one.parent} && cp {one} $1{one.parent}" for one in given]
        # Debian's Python refuses pip for itself; the image that stands for it does not.
        hooks.append('--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED')
        # To leave them out by dpkg's path-exclude would start a Python for each package.
        hooks += [f'--customize-hook=rm -rf "$1"/usr/share/{folder}' for folder in _LEFT_OUT]
        options = ["--quiet", "--variant=apt", "--dpkgopt=force-unsafe-io", f"--include={','.join(packages)}", *hooks]
        built = _named_by(options, _SUITE, [one.read_bytes() for one in given])
        if not self._exists(built):
            self._import(["mmdebstrap", *options, _SUITE, "-"], built)
        for name in names:
            self._done(["podman", "tag", built, name])

    def _import(self, debian: Sequence[str], name: str) -> None:
        """Make an image of the archive that a command writes. Raises NoImage."""
        limited = ["timeout", str(_DOWNLOAD_SECONDS), *debian]
        imported = ["podman", "import", "--quiet", "--change", f"ENV PATH={_PATH}", "-", name]
        with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as building:
            taken = self._run(imported, stdin=building.stdout)
            assert building.stderr is not None
            said = building.stderr.read()
        if building.returncode or taken.returncode:
            statuses = f"{debian[0]} ended with status {building.returncode}, podman with {taken.returncode}"
            raise NoImage(f"no Debian {_SUITE} to build images from: {statuses}: {(said + taken.stderr)[-_SHOWN:]}")

    def _build_program(self, name: str, source: Path) -> None:
        try:
            self._build(name, source / DEPLOY.relative_to(REPOSITORY) / "Dockerfile", source)
        except AssertionError:
            reason = self._why_nothing_can_be_built()
            if reason is not None:
                raise NoImage(reason) from None
            raise

    def _exists(self, name: str) -> bool:
        return self._run(["podman", "image", "exists", name]).returncode == 0

    def _why_nothing_can_be_built(self) -> str | None:
        """What keeps every Dockerfile that installs a package of Python from being built here, or None."""
        container = self._run(["buildah", "from", "--pull-never", _BASES[0]]).stdout.strip()
        run = ["buildah", "run", "--network", "host", container]
        try:
            tried = self._run([*run, "true"])
            if tried.returncode:
                return f"this machine's kernel or sandbox lets no image be built: {tried.stderr.strip()[-_SHOWN:]}"
            tried = self._run([*run, "pip", "--timeout=20", "--retries=1", "download", "--dest=/tmp", "pip"])
            if tried.returncode:
                return f"no packages of Python: {tried.stderr.strip()[-_SHOWN:]}"
        finally:
            self._run(["buildah", "rm", container])
        return None

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
        # Temporary copies of layers, and what is downloaded for them, lie beside the store.
        temporary = Path(f"{self.store}.tmp")
        temporary.mkdir(exist_ok=True)
        variables = {
            **os.environ,
            **self.environment,
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": "overlay",
            "TMPDIR": str(temporary),
        }
        return subprocess.run(placed, stdin=stdin, env=variables, capture_output=True, text=True, check=False)  # type: ignore[call-overload,no-any-return]


def _named_by(*recipe: object) -> str:
    """A name that changes when what an image is built from changes."""
    return f"localhost/built:{hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}"


def _put(libs: Path, files: Mapping[str, str], folder: Path) -> None:
    """Put what the image of Kafka copies into a folder."""
    shutil.copytree(libs, folder / "libs")
    for path, text in files.items():
        file = folder / "kafka" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
