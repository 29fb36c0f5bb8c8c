"""Claims on the cells of a campaign's folder, which end with the process that holds them (`harness.locks.leases`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.files import own
from harness.locks import shared_lock
from harness.locks.leases import LEASE, Lease, holders

CLAIMS = "claims"
"""Name of the folder of claims within that of locks."""
_mine: dict[Path, Lease] = {}
"""The claims of this process, by folder and name."""


def alone(device: str) -> str:
    """Return the name of the claim on a device for measuring, where one cell of a `CostSuite` runs at a time.

    device: the device's name, which no other device of the machines that share a folder has.
    """
    return f"alone-{device}"


@contextmanager
def claim(folder: Path, name: str, about: Mapping[str, Any]) -> Iterator[bool]:
    """Claim `name` for this process while the block runs; yield False where another process has claimed it.

    Parameters
    ----------
    folder
        The folder of locks and claims.
    name
        The id of a cell, or the name that `alone` returns.
    about
        Facts that other processes can read meanwhile, besides the process, its host and the time of the claim.
    """
    with shared_lock(own(folder, f"{name}.lock"), own(folder, CLAIMS), name, about) as lease:
        if lease is None:
            yield False
            return
        _mine[folder / name] = lease
        try:
            yield True
        finally:
            del _mine[folder / name]


@contextmanager
def manifest_lock(folder: Path) -> Iterator[None]:
    """Hold the lock on a campaign's manifest, for processes of all machines, while the block runs."""
    with shared_lock(own(folder, "manifest.lock"), own(folder, CLAIMS), "manifest", {}, wait=True):
        yield


def progress(folder: Path, name: str, done: int) -> None:
    """Record how many latent frames of the cell that this process has claimed are done."""
    lease = _mine.get(folder / name)
    if lease is not None:
        lease.tell(done=done)


def lost(folder: Path, name: str) -> bool:
    """Return whether another process has taken over what this one had claimed, because it stood still for long."""
    lease = _mine.get(folder / name)
    return lease is not None and not lease.check()


def held(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the current claims by name: the process (pid, host), the time of the claim, and its further facts.

    Claims of other machines that have given no sign of life for long are left out.
    """
    found = holders(own(folder, CLAIMS))
    return {name: said for name, (said, silent) in found.items() if silent < LEASE and _is_claim(said)}


def _is_claim(said: Mapping[str, Any]) -> bool:
    """Return whether a file's contents are a claim; other files are ignored."""
    numbers = [said.get("pid"), said.get("since"), said.get("done", 0), said.get("frames", 0)]
    texts = [said.get("host"), *(said.get(key, "") for key in ("cell", "arm", "suite"))]
    return all(type(number) in (int, float) for number in numbers) and all(isinstance(text, str) for text in texts)
