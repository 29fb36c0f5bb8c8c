"""Who has what of a campaign's folder: a lock a cell, which goes with the process that holds it."""

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
"""What a process claims to measure a cell of a `CostSuite`."""


@contextmanager
def claim(folder: Path, name: str, about: Mapping[str, Any]) -> Iterator[bool]:
    """Have `name` for oneself; False where another process has it.

    about: what others may read of it meanwhile, beside who has it and since when.
    """
    with lock(own(folder, f"{name}.lock"), wait=False) as mine:
        if not mine:
            yield False
            return
        holder = folder / f"{name}.json"
        try:
            who = {"pid": os.getpid(), "host": platform.node(), "since": time.time()}
            write_text(holder, json.dumps({**who, **about}))
            yield True
        finally:
            holder.unlink(missing_ok=True)


def progress(folder: Path, name: str, done: int) -> None:
    """Say how many latent frames are done of what this process has."""
    holder = folder / f"{name}.json"
    if holder.exists():
        write_text(holder, json.dumps({**read_json(holder, ""), "done": done}))


def held(folder: Path) -> dict[str, dict[str, Any]]:
    """What is claimed now, by name: who has it (pid, host), since when, and what it says of itself."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        # The file may be gone by now.
        with lock(own(folder, f"{path.stem}.lock"), wait=False) as free, suppress(StoreError):
            said = {} if free else read_json(path, "")
            if _is_claim(said):
                found[path.stem] = said
    return found


def _is_claim(said: Mapping[str, Any]) -> bool:
    """Return whether a file says who has what; anything else lies there by mistake, and the lock alone counts."""
    numbers = [said.get("pid"), said.get("since"), said.get("done", 0), said.get("frames", 0)]
    texts = [said.get("host"), *(said.get(key, "") for key in ("cell", "arm", "suite"))]
    return all(type(number) in (int, float) for number in numbers) and all(isinstance(text, str) for text in texts)
