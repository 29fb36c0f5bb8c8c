"""The folder of a campaign: whether it can be written, its file system, its locks and its room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.doctor.checks import Check
from harness.errors import HorizonError
from harness.locks import has_locks
from harness.locks.leases import LEASE
from harness.store.abilities import NETWORK, file_system

GROUP = "folder"
GB = 1e9
LEAST_BYTES = 2e9
"""Free bytes below which a note is due: a film of a minute at 480x832 takes about 30 MB, states more."""


@dataclass(frozen=True)
class FolderProbes:
    """What is asked about a folder.

    Parameters
    ----------
    locks
        Returns whether files can be locked there; raises OSError where none can be made.
    kind
        Returns the type of its file system.
    free
        Returns the free bytes of its file system.
    """

    locks: Callable[[Path], bool] = has_locks
    kind: Callable[[Path], str] = file_system
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free


def check_folder(folder: Path, probes: FolderProbes) -> Iterator[Check]:
    """Yield the checks of a folder, which may not exist yet; nothing is left in it or beside it."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        found = f"{there} is a file"
        yield Check(GROUP, "writable", "broken", found, "give --out a folder, or the name of a new one")
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".horizon-", dir=there) as own:
            locked = probes.locks(Path(own))
    except (OSError, HorizonError) as error:
        found = f"{there} cannot be written into: {' '.join(str(error).split())}"
        yield Check(GROUP, "writable", "broken", found, "give --out a folder that this user can write into")
        return
    yield Check(GROUP, "writable", "ok", str(folder) if there == folder.absolute() else f"{folder}, to be made")
    kind = probes.kind(there)
    shared = kind.startswith(NETWORK)
    about = "several machines may share it" if shared else "of this machine"
    yield Check(GROUP, "file system", "ok", f"{kind}, {about}", facts={"file_system": kind, "shared": shared})
    without = f"processes agree by files only, and a dead one's cell is taken over after {LEASE:.0f} s"
    advice = f"{without}; for many workers choose a folder on another file system, or accept that"
    found = "files can be locked" if locked else "files cannot be locked"
    yield Check(GROUP, "locks", "ok" if locked else "limited", found, "" if locked else advice)
    free = probes.free(there)
    small = free < LEAST_BYTES
    advice = "a campaign with films needs more room: free some, or give --out another disk" if small else ""
    yield Check(GROUP, "room", "limited" if small else "ok", f"{free / GB:,.1f} GB free", advice, {"free_bytes": free})
