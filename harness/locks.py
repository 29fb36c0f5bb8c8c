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
from harness.leases import Lease, acquire, release

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""Error numbers of the system where no file can be made."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers of a file system without locks."""


POLL = 0.1
"""Seconds between two attempts to get a lock that another process holds."""


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file while the block runs: the system's, where the file system has locks, and a lease.

    The system's lock is free as soon as its holder ends. The lease also counts where locks are refused, or are not seen
    by other machines (`harness.leases`).

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
    while True:
        with leased(path, path.name, {}) as lease:
            if lease is not None or not wait:
                yield lease is not None
                return
        time.sleep(POLL)


@contextmanager
def leased(path: Path, name: str, facts: Mapping[str, Any]) -> Iterator[Lease | None]:
    """Hold the system's lock on a file, and the lease on a name in its folder, while the block runs.

    Parameters
    ----------
    path
        The file that is locked.
    name
        The name of the lease.
    facts
        Facts about the holder for others.

    Yields
    ------
    Lease
        The lease; None where another process holds it or the lock.
    """
    _make(path)
    with _locked(path) as locked:
        lease = None if locked is False else acquire(path.parent, name, facts, bool(locked))
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
