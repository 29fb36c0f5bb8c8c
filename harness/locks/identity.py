"""What identifies a process among those of all machines, and whether another process has ended.

Only the standard library is imported here.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Return the facts that identify this process among those of all machines."""
    boot, space = _machine()
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "boot": boot, "space": space, "started": _started(pid)}


def is_neighbour(said: Mapping[str, Any]) -> bool:
    """Return whether the process with these facts runs, or ran, where this process can see it."""
    return (said.get("boot"), said.get("space")) == _machine()


def has_ended(said: Mapping[str, Any], locked: bool) -> bool:
    """Return whether a process is known to have ended, which is so only for processes of this machine.

    Parameters
    ----------
    said
        What it said of itself (`this_process`), and under "locked" whether it held a certain file lock.
    locked
        Whether this process holds that file lock now.
    """
    if is_neighbour(said):
        return bool(said.get("started") != _started(said.get("pid")))
    # In a container beside this one: the lock that it held is free, since this process holds it.
    return locked and bool(said.get("locked")) and said.get("boot") == _machine()[0]


@cache
def _machine() -> tuple[str, str]:
    """Return what identifies the running system, and the processes of it that this one can see."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return boot, os.readlink("/proc/self/ns/pid")
    except OSError:
        return f"{platform.node()}-{uuid.getnode()}", ""


def _started(pid: object) -> str:
    """Return when a process was started, in ticks since the system was; "" for one that has ended."""
    try:
        # The name of the program, in parentheses, may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _alive(pid)
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _alive(pid: object) -> str:
    """Return "alive" for a process of a system without /proc; "" for one that has ended."""
    if Path("/proc/self/stat").exists() or not isinstance(pid, int):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
