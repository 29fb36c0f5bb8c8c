"""Claims on the cells of a campaign's folder: one lock per cell, which is released when the holding process ends."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import own, read_json, write_text
from harness.locks import lock

ALONE = "alone"
"""Name of the one claim that covers all cells of a `CostSuite`, so that only one of them is measured at a time."""


@contextmanager
def claim(folder: Path, name: str, about: Mapping[str, Any]) -> Iterator[bool]:
    """Claim `name` for this process while the block runs; yield False where another process has claimed it.

    Parameters
    ----------
    folder
        The folder of locks and claims.
    name
        The id of a cell, or `ALONE`.
    about
        Facts that other processes can read meanwhile, besides the process, its host and the time of the claim.
    """
    with lock(own(folder, f"{name}.lock"), wait=False) as mine:
        if not mine:
            yield False
            return
        holder = folder / f"{name}.json"
        try:
            process = {"pid": os.getpid(), "host": platform.node(), "since": time.time()}
            write_text(holder, json.dumps({**process, **about}))
            yield True
        finally:
            holder.unlink(missing_ok=True)


def progress(folder: Path, name: str, done: int) -> None:
    """Record how many latent frames of the cell that this process has claimed are done."""
    holder = folder / f"{name}.json"
    if holder.exists():
        write_text(holder, json.dumps({**read_json(holder, ""), "done": done}))


def held(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the current claims by name: the process (pid, host), the time of the claim, and its further facts."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        # The file may have been removed meanwhile.
        with lock(own(folder, f"{path.stem}.lock"), wait=False) as free, suppress(StoreError):
            said = {} if free else read_json(path, "")
            if _is_claim(said):
                found[path.stem] = said
    return found


def _is_claim(said: Mapping[str, Any]) -> bool:
    """Return whether a file's contents are a claim; other files are ignored, because the lock alone decides."""
    numbers = [said.get("pid"), said.get("since"), said.get("done", 0), said.get("frames", 0)]
    texts = [said.get("host"), *(said.get(key, "") for key in ("cell", "arm", "suite"))]
    return all(type(number) in (int, float) for number in numbers) and all(isinstance(text, str) for text in texts)
