"""File locks, which the system releases when the process that holds them ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StoreError

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""Error numbers of the system where no file can be made."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Error numbers of a file system without locks."""


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file while the block runs.

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
        The file system has no locks, as some network file systems, or the file cannot be made there.
    """
    _make(path)
    held = FileLock(path, timeout=-1 if wait else 0)
    try:
        held.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        raise StoreError(
            f"{path.parent}: its file system refuses locks ({getattr(error, 'strerror', None) or error}); give a "
            "folder on a local disk, or mount it with locks (NFS: without nolock, with lockd running)"
        ) from None
    try:
        yield True
    finally:
        held.release()


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
