"""Programs that the tests of this folder need: found on this machine, or the test is skipped; in CI it fails."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from tests.missing import missing

REPOSITORY = Path(__file__).parent.parent.parent
DEPLOY = REPOSITORY / "deploy"


def tool(name: str, *, of: str) -> str:
    """The path of a program, of this virtual environment first. `of` says what to install where there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        return unavailable(f"no `{name}` here: install {of}")
    return found


def unavailable(what: str) -> NoReturn:
    """Skip the test, or fail it where everything must be there."""
    missing(what)


def there(path: Path) -> Path:
    """A file or folder of the repository that other parts of it must have brought."""
    assert path.exists(), f"{path.relative_to(REPOSITORY)} is not there"
    return path
