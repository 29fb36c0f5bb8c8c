"""Locks of files: the system's, which end with the process that holds them, and leases beside them."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import StoreError
from harness.locks.leases import Lease, acquire, release

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""Error numbers of the system where no file can be made."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers of a file system without locks."""


POLL = 0.1
"""Seconds between two attempts to get a lock that another process holds."""


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the system's lock on a file while the block runs; a lease where the file system has no locks.

    Parameters
    ----------
    path
        The file that is locked; it is made if it is missing, and stays.
    wait
        Wait while another process holds the lock; otherwise yield False in that case.

    Yields
    ------
    bool
        Whether this process holds the lock.

    Raises
    ------
    StoreError
        The file cannot be made there.
    """
    _make(path)
    while True:
        with _locked(path) as locked, _lease(path.parent, path.name, {}, locked, always=False) as lease:
            mine = lease is not None or bool(locked)
            if mine or not wait:
                yield mine
                return
        time.sleep(POLL)


@contextmanager
def shared_lock(
    path: Path, leases: Path, name: str, facts: Mapping[str, Any], *, wait: bool = False
) -> Iterator[Lease | None]:
    """Hold the system's lock on a file and a lease, which counts also where other machines do not see that lock.

    Parameters
    ----------
    path
        The file that is locked.
    leases, name
        The folder of the lease, which is made if it is missing, and its name.
    facts
        Facts about the holder for others.
    wait
        Wait while another process holds either of them; otherwise yield None in that case.

    Yields
    ------
    Lease
        The lease; None where another process holds it or the lock.
    """
    _make(path)
    # Asked first: making a folder that is there is slow on some file systems.
    if not leases.is_dir():
        leases.mkdir(parents=True, exist_ok=True)
    while True:
        with _locked(path) as locked, _lease(leases, name, facts, locked, always=True) as lease:
            if lease is not None or not wait:
                yield lease
                return
        time.sleep(POLL)


@contextmanager
def _lease(
    folder: Path, name: str, facts: Mapping[str, Any], locked: bool | None, always: bool
) -> Iterator[Lease | None]:
    """Hold a lease, if the system's lock is held or there are none; `always`: also beside the lock."""
    wanted = locked is None or (locked and always)
    lease = acquire(folder, name, facts, bool(locked)) if wanted else None
    try:
        yield lease
    finally:
        if lease is not None:
            release(lease)


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Hold the system's lock on a file; yield False where another process has it, None where there are no locks."""
    held = FileLock(path, timeout=0)
    try:
        held.acquire()
    except Timeout:
        yield False
        return
    except NotImplementedError:
        yield None
        return
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        yield None
        return
    try:
        yield True
    finally:
        held.release()


def has_locks(folder: Path) -> bool:
    """Return whether the file system of a folder locks files, at least for processes of one machine."""
    path = folder / "probe.lock"
    _make(path)
    with _locked(path) as locked:
        return locked is not None


def _make(path: Path) -> None:
    """Make a lock's file. Raises StoreError where that is impossible.

    In that case, filelock would report that another process holds the lock, or wait for ever.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
    except OSError as error:
        # filelock reports all other errors.
        if error.errno in READ_ONLY:
            raise StoreError(
                f"{path.parent}: this user cannot write there ({error.strerror}); give a folder that is writable"
            ) from None
