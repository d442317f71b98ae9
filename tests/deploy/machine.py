"""A machine of its own for a test: this one's programs, but a network, a file system and processes that end with it.

What a container engine would do, less the images: Linux namespaces, and over the file system of this machine a layer
in memory. Programs inside may listen on any port, write anywhere and be told other names of hosts; nothing of it is
seen outside, and all is gone when the command has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stream.processes import command_that_dies_with_parent
from tests.timeouts import TIMEOUT_SECONDS

# `$1` is the folder for the layer, the rest is the command. Other file systems of this machine stay visible.
_ENTER = r"""
set -eu
layer=$1; shift
mount -t tmpfs none "$layer"
mkdir "$layer/up" "$layer/work" "$layer/root"
others=$(awk '{print $5}' /proc/self/mountinfo | grep -vx / | grep -vF "$layer" | sort)
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/up,workdir=$layer/work" "$layer/root"
for place in $others; do
    if [ "$place" != /proc ] && [ -e "$layer/root$place" ]; then
        mount --bind "$place" "$layer/root$place" 2>/dev/null || true
    fi
done
mount -t proc proc "$layer/root/proc"
exec chroot "$layer/root" "$@"
"""


_UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")


def why_not() -> str | None:
    """What keeps this machine from having one of its own inside, or None."""
    missing = [name for name in ("unshare", "chroot", "mount", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} here (Debian: util-linux and coreutils)"
    if os.geteuid() != 0:
        # In a user's own namespace the kernel lays no layer over a file system that has others mounted in it.
        return "only root may put a layer over the file system"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


def run_inside(command: Sequence[str], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a machine of its own, by its absolute path. `folder` is an empty one for the layer."""
    return subprocess.run(
        command_that_dies_with_parent([*_UNSHARE, "sh", "-c", _ENTER, "enter", str(folder), *command]),
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * TIMEOUT_SECONDS,
    )
