"""The directory of a worker's state, which is checked before anything else is done.

What is wrong with it is then told in one line, with the setting, the path, its owner and whoever runs the worker, and
not when the first partition is opened. A directory belongs to one worker: it holds a lock in it for as long as it runs,
so that a second worker is refused at its start, and not when the first partition moves to it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from stream.core.store import Store, StoreFailed
from stream.settings import Settings, SettingsError
from stream.state.rocksdb import RocksMemory, RocksStore

_LOCK = "worker.lock"

# An empty RocksDB reserves so much for its list of files; a disk with less room is full.
_ROOM_BYTES = 4 * 1024 * 1024

# Errors that do not end by themselves: the directory or the user of the process has to be changed.
_MISTAKES = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StateDirectory:
    """The stores of a worker in the directory that `state.url` names, one for each partition."""

    def __init__(self, settings: Settings) -> None:
        place = settings.state.url.partition("://")[2]
        self._directory = Path(place).absolute() / settings.app_id
        self._memory = RocksMemory.divide(settings.state.rocksdb_memory_bytes, stores=settings.topics.partitions)
        self._lock: int | None = None

    def check(self) -> None:
        """Create the directory if it is not there, take it for this worker, and check that it can be written.

        Raises SettingsError if it can never be used like this, and StoreFailed if it is full or another worker has it.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._refuse("create", error)
        if self._lock is None:
            self._lock = self._locked()
        try:
            with tempfile.TemporaryFile(dir=self._directory) as probe:
                probe.write(bytes(_ROOM_BYTES))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            self._refuse("write to", error)
        # What another user has left behind, such as root in a first try.
        partitions = [*self._directory.glob("partition-*")]
        for path in (self._directory, *partitions, *self._directory.glob("partition-*/LOCK")):
            if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                self._refuse("use", PermissionError(errno.EACCES, os.strerror(errno.EACCES)), path)
        for path in partitions:
            if not path.is_dir():
                self._refuse("use", NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path)

    def open_store(self, partition: int) -> Store:
        """Open the store of a partition. Raises StoreFailed."""
        return RocksStore(self._directory / f"partition-{partition}", memory=self._memory)

    def close(self) -> None:
        """Leave the directory to another worker."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int:
        """Take the lock, which the kernel releases when the process ends, and note who has it."""
        file = self._directory / _LOCK
        try:
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._refuse("write to", error, file if error.errno == errno.EACCES and file.exists() else None)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 200).decode(errors="replace").strip()
            os.close(lock)
            raise StoreFailed(
                f"state.url: another worker has {str(self._directory)!r}: {holder or 'it does not say which'}; each"
                f" worker needs a directory of its own ({_owner(self._directory)})"
            ) from None
        except OSError as error:  # some network file systems have no locks
            os.close(lock)
            self._refuse("lock", error, file)
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on host {socket.gethostname()!r}\n".encode(), 0)
        except OSError as error:
            os.close(lock)
            self._refuse("write to", error)
        return lock

    def _refuse(self, action: str, error: OSError, path: Path | None = None) -> NoReturn:
        """Raise what a directory that can't be used means, with all that is needed to mend it."""
        path = path or self._directory
        known = [_owner(_nearest(path))]
        if error.errno in _FULL:
            with suppress(OSError):
                usage = shutil.disk_usage(_nearest(path))
                known.insert(0, f"{usage.free / 2**20:,.1f} of {usage.total / 2**20:,.1f} MiB are free")
        text = f"state.url: can't {action} {str(path)!r}: {error.strerror} ({'; '.join(known)})"
        if error.errno in _MISTAKES:
            raise SettingsError(text) from error
        raise StoreFailed(text) from error


def _nearest(path: Path) -> Path:
    """Return the path, or the part of it that is there."""
    for place in (path, *path.parents):
        with suppress(OSError):
            place.lstat()
            return place
    return path


def _owner(path: Path) -> str:
    """Return to whom a path belongs, and as whom this process runs."""
    me = f"this worker runs as {_user(os.geteuid())}"
    try:
        found = path.stat()
    except OSError:
        return me
    kind = "" if stat.S_ISDIR(found.st_mode) else ", which is no directory,"
    return f"{str(path)!r}{kind} belongs to {_user(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):o}; {me}"


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:  # in containers it often has no name
        return f"uid {uid}"
