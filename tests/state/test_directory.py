"""A directory that can't hold a worker's state is told at its start: setting, path, owner, and who runs the worker."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream.cli import main
from stream.core.store import StoreFailed
from stream.settings import SettingsError, load
from stream.state.directory import StateDirectory
from tests.chaos.disk import MountedDisk, new_disk
from tests.missing import missing

_NOBODY = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="engagement-directory-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def disk(place: Path) -> Iterator[MountedDisk]:
    """A small file system of its own."""
    mounted = new_disk(place / "disk")
    if not isinstance(mounted, MountedDisk):
        missing("no file system can be mounted here: it takes root, and a container that allows it")
    assert isinstance(mounted, MountedDisk)
    yield mounted
    mounted.close()


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who is not root, whoever runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def directory(place: Path) -> StateDirectory:
    """That of a worker whose `state.url` names the place."""
    return StateDirectory(load(None, {"ENGAGEMENT_STATE_URL": f"rocksdb://{place}"}))


def mistake(place: Path) -> str:
    """What an operator who is not root is told of a place."""
    with without_rights(), pytest.raises(SettingsError) as refused:
        directory(place).check()
    return str(refused.value)


def worker(place: Path) -> Result:
    """The command. It looks at the directory first: no Kafka is there to be asked."""
    return CliRunner().invoke(
        main, ["worker", "--kafka", "127.0.0.1:1"], env={"ENGAGEMENT_STATE_URL": f"rocksdb://{place}"}
    )


def user(uid: int) -> str:
    """How a user is called in the messages."""
    return rf"[\w.-]+ \(uid {uid}\)|uid {uid}"


# -- whose it is -----------------------------------------------------------------------------------------------------


def test_a_directory_is_created_and_its_stores_can_be_used(place: Path) -> None:
    own = directory(place / "new" / "state")
    own.check()
    own.check()  # it is ours already
    store = own.open_store(3)
    store.write([(b"user/1", b"row")], offset=1)
    store.close()
    own.close()

    again = directory(place / "new" / "state")
    again.check()
    assert again.open_store(3).read([b"user/1"]) == [b"row"]


def test_a_directory_belongs_to_one_worker_until_it_leaves_it(place: Path) -> None:
    first, second = directory(place), directory(place)
    first.check()

    with pytest.raises(StoreFailed) as refused:
        second.check()
    told = str(refused.value)
    assert told.startswith(f"state.url: another worker has '{place}/engagement': process {os.getpid()} on host '")
    assert "each worker needs a directory of its own" in told
    assert re.search(rf"'{place}/engagement' belongs to ({user(os.geteuid())}), mode ", told)
    first.close()
    second.check()
    second.close()
    # Other deployments may lie beside it.
    StateDirectory(load(None, {"ENGAGEMENT_STATE_URL": f"rocksdb://{place}", "ENGAGEMENT_APP_ID": "other"})).check()


def test_a_file_system_without_locks_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)

    with pytest.raises(StoreFailed, match=r"state\.url: can't lock '.*worker\.lock': No locks available \("):
        directory(place).check()


def test_a_worker_that_was_killed_holds_its_directory_no_longer(place: Path) -> None:
    program = (
        "import sys; from stream.settings import load; from stream.state.directory import StateDirectory;"
        " held = StateDirectory(load(None, {'ENGAGEMENT_STATE_URL': f'rocksdb://{sys.argv[1]}'})); held.check();"
        " print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"

    with pytest.raises(StoreFailed, match=f"process {process.pid} on host"):
        directory(place).check()
    process.kill()
    process.communicate()
    directory(place).check()


# -- who may write there ---------------------------------------------------------------------------------------------


def test_a_directory_of_somebody_else_is_named_with_its_owner_and_who_runs_the_worker(place: Path) -> None:
    place.chmod(0o555)
    me = user(_NOBODY if os.geteuid() == 0 else os.geteuid())

    told = mistake(place / "state")

    pattern = (
        rf"state\.url: can't create '{place}/state/engagement': Permission denied"
        rf" \('{place}' belongs to ({user(os.geteuid())}), mode 555; this worker runs as ({me})\)"
    )
    assert re.fullmatch(pattern, told), told


@pytest.mark.parametrize("closed", ["engagement", "engagement/partition-3", "engagement/partition-3/LOCK"])
def test_what_another_user_has_left_in_the_directory_is_named(place: Path, closed: str) -> None:
    own = directory(place)
    own.check()
    own.open_store(3).close()
    own.close()
    for path in (place / "engagement").glob("**/*"):
        path.chmod(0o777)
    (place / "engagement").chmod(0o777)
    with without_rights():
        usable = directory(place)
        usable.check()
        usable.close()
    (place / closed).chmod(0o555)

    told = mistake(place)

    assert f"'{place}/{closed}'" in told
    assert ": Permission denied (" in told
    assert f"'{place}/{closed}'" in told.partition(": Permission denied (")[2] or closed == "engagement"
    (place / closed).chmod(0o777)


def test_a_file_in_the_way_is_named(place: Path) -> None:
    (place / "file").write_text("")

    for inside in ("file", "file/deeper"):
        told = mistake(place / inside)
        assert told.startswith(f"state.url: can't create '{place}/{inside}/engagement': Not a directory")
        assert f"'{place}/file', which is no directory, belongs to" in told


def test_a_file_in_the_place_of_a_partition_is_named(place: Path) -> None:
    (place / "engagement").mkdir(mode=0o777)
    (place / "engagement" / "partition-1").write_text("")

    with pytest.raises(SettingsError, match=rf"can't use '{place}/engagement/partition-1': Not a directory"):
        directory(place).check()


# -- whether there is room -------------------------------------------------------------------------------------------


def test_a_file_system_that_is_mounted_read_only_is_told(disk: MountedDisk) -> None:
    (disk.folder / "used").mkdir()
    used = directory(disk.folder / "used")
    used.check()
    used.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)

    for action, path in (("write to", disk.folder / "used"), ("create", disk.folder / "new")):
        with pytest.raises(SettingsError) as refused:
            directory(path).check()
        told = str(refused.value)
        assert told.startswith(f"state.url: can't {action} '{path}/engagement': Read-only file system (")


def test_a_disk_without_room_is_told_with_how_much_there_is_and_works_when_there_is_some(disk: MountedDisk) -> None:
    disk.fill()
    with pytest.raises(StoreFailed) as refused:
        directory(disk.folder).check()

    told = str(refused.value)
    assert told.startswith(f"state.url: can't write to '{disk.folder}/engagement': No space left on device (")
    assert "(0.0 of 64.0 MiB are free; " in told
    disk.free()
    directory(disk.folder).check()


# -- what the command says -------------------------------------------------------------------------------------------


def test_a_worker_says_so_in_one_line_before_it_looks_for_kafka(place: Path) -> None:
    (place / "file").write_text("")
    never = worker(place / "file")
    holder = directory(place)
    holder.check()
    not_now = worker(place)
    holder.close()
    ready = worker(place)

    # 2: it can never start like this. 1: it may be started again.
    assert (never.exit_code, not_now.exit_code, ready.exit_code) == (2, 1, 1)
    assert never.stderr.startswith("engagement: state.url: can't create ")
    assert not_now.stderr.startswith("engagement: state.url: another worker has ")
    assert ready.stderr.startswith("engagement: cannot reach a Kafka broker at 127.0.0.1:1")
    assert [len(result.stderr.splitlines()) for result in (never, not_now, ready)] == [1, 1, 1]
