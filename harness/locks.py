"""Locks on files, which go with the process that holds them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import StoreError

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""What the system answers where no file can be made."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What a file system without locks answers."""


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file while the block runs.

    Parameters
    ----------
    wait: for another process that holds it; without, such a lock is left to it.

    Returns
    -------
    whether the lock is held.

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
    """Make a lock's file: where none can be made, filelock says that another process has it, or waits for ever."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
    except OSError as error:
        # The rest is left to filelock, which says it.
        if error.errno in READ_ONLY:
            raise StoreError(
                f"{path.parent}: cannot be written by this user ({error.strerror}); give a folder that can"
            ) from None
