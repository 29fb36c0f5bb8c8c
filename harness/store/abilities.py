"""What the file system of a campaign's folder can do for processes that share the folder."""

from __future__ import annotations

from pathlib import Path

import psutil

from harness.errors import StoreError
from harness.locks import has_locks
from harness.locks.leases import LEASE

NETWORK = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "9p", "afs", "fuse", "orangefs", "panfs", "wekafs")
"""Beginnings of the names of file systems that several machines share, or may share."""


def file_system(folder: Path) -> str:
    """Return the type of the file system of a folder, "ext4" for instance; "unknown" where the system does not say."""
    place = folder.resolve()
    best, kind = -1, "unknown"
    for mount in psutil.disk_partitions(all=True):
        point = Path(mount.mountpoint)
        if place.is_relative_to(point) and len(point.parts) > best:
            best, kind = len(point.parts), mount.fstype or "unknown"
    return kind


def abilities(folder: Path, flight: Path) -> str:
    """Return a line about how processes share a campaign's folder.

    Parameters
    ----------
    folder, flight
        The folder, and the folder of its locks.
    """
    kind = file_system(folder)
    try:
        locks = "locks of files" if has_locks(flight) else "no locks of files"
    except StoreError:
        return f"{folder} is on {kind}, and cannot be written into from here"
    far = "several machines may share it" if kind.startswith(NETWORK) else "a file system of this machine"
    return (
        f"{folder} is on {kind} ({far}; {locks}): the cell of a process that dies is taken over at once by another one "
        f"of the same machine, and after {LEASE:.0f} s by one of another machine"
    )
