"""What is installed is all that is needed: nothing of a wheel is found in the repository only."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from stream.export.assets import page_assets
from tests.documents import REPOSITORY

_BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"


def test_a_wheel_holds_every_module_and_the_whole_live_page(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "stream", tmp_path / "stream", ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run([sys.executable, "-c", _BUILD], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    page = {path.removeprefix("/page/") if path != "/" else "index.html" for path in page_assets()}
    assert {f"stream/export/page/{name}" for name in page} <= held
    assert {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "stream").rglob("*.py")} <= held
