"""Leases: the sole right to a name in a folder that several machines share, also where files cannot be locked.

A lease is a file FOLDER/NAME.N that its holder has created with O_EXCL, which every file system decides for all
machines at once. While it holds the lease, the holder changes the file every `BEAT` seconds; a released lease is
removed. A process may take over from a holder that has ended, by creating the file with the next number:

- A holder on the same machine has ended if its process has; that is known at once.
- A holder on another machine has ended if its file has not changed for `LEASE` seconds. These are measured by the
  monotonic clock of the process that waits, from look to look, so that no clock of any machine is compared with
  another one and none that jumps matters.

Beside `harness.locks.identity`, only the standard library is imported here.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.locks.identity import has_ended, is_neighbour, this_process

BEAT, LEASE = 10.0, 90.0
"""Seconds between two changes of a lease's file, and those without a change after which another machine takes over."""
HEAD = 4096
"""Bytes of a lease's file that may hold its facts."""


@dataclass
class Lease:
    """A lease that this process holds.

    Parameters
    ----------
    path
        Its file.
    lost
        Whether another process has taken over, after this one had stood still for longer than `LEASE`.
    """

    path: Path
    lost: bool = False

    def tell(self, **facts: Any) -> None:
        """Add facts to the file for other processes, which is a sign of life too."""
        with suppress(OSError):
            self._append(json.dumps(facts) + "\n")

    def check(self) -> bool:
        """Return whether this process still holds the lease."""
        if not self.lost:
            numbers, mine = _numbers(self.path.parent, self.path.stem), _number(self.path)
            self.lost = mine not in numbers or max(numbers) > mine
        return not self.lost

    def beat(self) -> None:
        """Change the file, unless the lease is lost."""
        if self.check():
            try:
                self._append("\n")
            except OSError:
                # The disk may be full; the time of the last change needs no room.
                with suppress(OSError):
                    os.utime(self.path)

    def _append(self, text: str) -> None:
        # Without O_CREAT: a file that was removed stays removed.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


_leases: dict[int, Lease] = {}
_guard = threading.Lock()
_beating: list[threading.Thread] = []


def acquire(folder: Path, name: str, facts: Mapping[str, Any], locked: bool = False) -> Lease | None:
    """Return a lease on a name; None where another process holds it.

    Parameters
    ----------
    folder
        The folder that all processes share.
    name
        The name, a component of a path.
    facts
        Facts about the holder for others.
    locked
        Whether this process also holds a file lock on the name. On the same machine nobody else holds it then.

    Raises
    ------
    OSError
        The folder is missing, or cannot be written into.
    """
    before = _numbers(folder, name)
    if before and not _ended(folder / f"{name}.{max(before)}", locked):
        return None
    path = folder / f"{name}.{max(before, default=0) + 1}"
    me = {**this_process(), "since": time.time(), "locked": locked, "token": uuid.uuid4().hex}
    if not _create(path, json.dumps({**me, **facts}) + "\n"):
        return None
    lease = Lease(path)
    # Another process may have taken this lease, released it and left its numbers to be used again since the first look.
    if set(_numbers(folder, name)) - set(before) != {_number(path)}:
        path.unlink(missing_ok=True)
        return None
    _keep_alive(lease)
    return lease


def release(lease: Lease) -> None:
    """Give a lease back. If it is lost, the files of the present holder stay."""
    with _guard:
        _leases.pop(id(lease), None)
    folder, name, mine = lease.path.parent, lease.path.stem, _number(lease.path)
    for number in _numbers(folder, name) if lease.check() else [mine]:
        if number <= mine:
            (folder / f"{name}.{number}").unlink(missing_ok=True)


def holders(folder: Path) -> dict[str, tuple[dict[str, Any], float]]:
    """Return, by name, the facts of the present holders, and the seconds since their last sign of life.

    The seconds are those of the folder's file system, where this process can write into it.
    """
    newest: dict[str, int] = {}
    with suppress(FileNotFoundError):
        for file in os.listdir(folder):
            name, _, number = file.rpartition(".")
            if name and not name.startswith(".") and number.isdecimal():
                newest[name] = max(newest.get(name, 0), int(number))
    found = {}
    now = _now(folder) if newest else 0.0
    for name, last in sorted(newest.items()):
        path = folder / f"{name}.{last}"
        with suppress(OSError):
            said, changed = read(path), path.stat().st_mtime
            if said and not has_ended(said, locked=False):
                found[name] = (said, max(0.0, now - changed))
    return found


def read(path: Path) -> dict[str, Any]:
    """Return the facts in the file of a lease, with the last ones that its holder has told; {} where there are none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(HEAD)
        size = os.fstat(file.fileno()).st_size
        if size > HEAD:
            file.seek(max(HEAD, size - HEAD))
            text = text.partition(b"\n")[0] + b"\n" + file.read(HEAD)
    facts: dict[str, Any] = {}
    for line in text.splitlines():
        # The first and the last line may be incomplete.
        with suppress(ValueError):
            told = json.loads(line)
            facts |= told if isinstance(told, dict) else {}
    return facts


def _create(path: Path, text: str) -> bool:
    """Create the file of a lease; return False where another process has just created it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _numbers(folder: Path, name: str) -> list[int]:
    """Return the numbers of the files of a name's leases: that of the present holder, and those of former ones."""
    start = f"{name}."
    found = (file.removeprefix(start) for file in os.listdir(folder) if file.startswith(start))
    return [int(number) for number in found if number.isdecimal()]


@dataclass
class _Look:
    """What was last seen of a lease's file, and for how long it has not changed."""

    state: tuple[Any, ...]
    when: float
    idle: float = 0.0


_looks: dict[Path, _Look] = {}


def _ended(path: Path, locked: bool) -> bool:
    """Return whether the holder of a lease has ended, or has given no sign of life for `LEASE` seconds."""
    try:
        said, status = read(path), path.stat()
    except FileNotFoundError:
        # It has just been released; the next attempt finds out.
        return False
    if said and has_ended(said, locked):
        return True
    if said and is_neighbour(said):
        return False
    now, state = time.monotonic(), (said.get("token"), status.st_ino, status.st_size, status.st_mtime_ns)
    known = _looks.get(path)
    if known is None or known.state != state:
        _looks[path] = _Look(state, now)
        return False
    # A process that was stopped for long has seen nothing meanwhile.
    known.idle += min(now - known.when, BEAT)
    known.when = now
    if known.idle < LEASE:
        return False
    del _looks[path]
    return True


def _now(folder: Path) -> float:
    """Return the time by the clock of a folder's file system, or of this machine where it cannot be written into."""
    probe = folder / f".{uuid.uuid4().hex}.time"
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        return time.time()
    return now


def _keep_alive(lease: Lease) -> None:
    """Let the thread of this process give signs of life for a lease; it ends when no lease is left."""
    with _guard:
        _leases[id(lease)] = lease
        if not _beating or not _beating[0].is_alive():
            _beating[:] = [threading.Thread(target=_beat, daemon=True)]
            _beating[0].start()


def _beat() -> None:
    while True:
        time.sleep(BEAT)
        with _guard:
            leases = list(_leases.values())
            if not leases:
                _beating.clear()
                return
        for lease in leases:
            lease.beat()


def _forget() -> None:
    """Forget, in the child of a fork, the leases of its parent."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    _leases.clear()
    _beating.clear()


os.register_at_fork(after_in_child=_forget)
