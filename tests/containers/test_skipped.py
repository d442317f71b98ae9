"""Where no container can be run, the tests of containers are skipped, and the end of the run says why."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.containers import engine
from tests.deploy.tools import REPOSITORY

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights that can be taken away")


@as_root
def test_who_lacks_packages_is_given_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    reason = engine.why_not()

    assert reason is not None
    assert {"podman", "buildah", "crun", "mmdebstrap"} <= set(re.findall(r"\w+", reason))


@as_root
@pytest.mark.slow
def test_where_the_kernel_refuses_them_all_are_skipped_with_its_reason() -> None:
    """As in a container that may make no namespaces. The run succeeds, also where all programs must be there."""
    if reason := engine.why_not():
        pytest.skip(f"they are refused here for another reason: {reason}")
    setpriv = shutil.which("setpriv")
    assert setpriv is not None  # of util-linux, as unshare is
    run = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "-m", "containers", "tests/containers"]
    done = subprocess.run(
        [setpriv, "--bounding-set=-sys_admin", *run],
        cwd=REPOSITORY,
        env={**os.environ, "ENGAGEMENT_TEST_REQUIRE_KAFKA": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (skipped,) = re.findall(r"= (\d+) skipped, \d+ deselected in ", done.stdout)
    refused = "this machine's kernel or sandbox lets no container run: unshare: unshare failed: Operation not permitted"
    assert f"{skipped} of the tests: {refused}" in done.stdout
