"""deploy/requirements.lock: the version of everything that is installed, with hashes. `make lock` makes it anew.

pip takes no hashes from constraints, and a file for each purpose would tell most versions three times. So it is one
file in parts, and each part adds to those before it: who needs less stops reading earlier. `make mutants` installs all
of it, `make test` and CI what comes before `mutants`, `make demo` what comes before `dev`, the image `build` where it
is built and `run` where it runs. pip refuses a package that none of the parts names, so a file that is cut in a wrong
place installs nothing.

Markers tell what differs between versions of Python, from the oldest that pyproject.toml allows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import tomli

REPOSITORY: Final = Path(__file__).parent.parent
LOCK: Final = REPOSITORY / "deploy" / "requirements.lock"

# What each part adds, and the extra of pyproject.toml that it is for.
PARTS: Final = {
    "build": "what builds the package",
    "run": "what `engagement` runs with",
    "demo": "what `make demo` needs besides",
    "dev": "what tests and checks need besides",
    "mutants": "what `make mutants` needs besides",
}
_DEV: Final = ("--extra", "dev")
_EXTRAS: Final = {"run": (), "demo": ("--extra", "demo"), "dev": _DEV, "mutants": (*_DEV, "--extra", "mutants")}

_HEAD: Final = """\
# Every version that is installed, with hashes: made by `make lock`, see deploy/lock.py.
# A part adds to those before it. Each begins with a line of this kind: # -- name: what it is for
"""


def project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomli.loads((REPOSITORY / "pyproject.toml").read_text())


def entries(text: str) -> list[str]:
    """The requirements of a file, each with the lines of its hashes."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def parts(text: str) -> dict[str, list[str]]:
    """The requirements of each part of the lock, by its name."""
    _, *pieces = text.split("\n# -- ")
    return {piece.partition(":")[0]: entries(piece.partition("\n")[2]) for piece in pieces}


def resolve() -> str:
    """The text of the lock, by what the registry has today."""
    told = project()
    oldest = told["project"]["requires-python"].removeprefix(">=")
    pyproject = str(REPOSITORY / "pyproject.toml")
    with tempfile.TemporaryDirectory() as folder:
        build, chosen = Path(folder, "build.in"), Path(folder, "chosen.txt")
        build.write_text("\n".join(told["build-system"]["requires"]))
        # One choice for all parts: that which suits the largest.
        chosen.write_text(_compiled(oldest, [str(build), pyproject, *_EXTRAS["mutants"], "--no-generate-hashes"]))
        sources = {"build": [str(build)], **{name: [pyproject, *extra] for name, extra in _EXTRAS.items()}}
        text, known = _HEAD, set[str]()
        for name, purpose in PARTS.items():
            found = entries(_compiled(oldest, [*sources[name], "--generate-hashes", "--constraint", str(chosen)]))
            text += "".join([f"\n# -- {name}: {purpose}\n", *(f"{one}\n" for one in found if one not in known)])
            known.update(found)
    return text


def _compiled(oldest: str, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", oldest]
    command += ["--no-header", "--no-annotate", "--quiet", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603  # of words from here


if __name__ == "__main__":
    LOCK.write_text(resolve())
