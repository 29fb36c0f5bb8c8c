"""Places of the files of published backbones on this machine, and a cache of their digests."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from harness.backbone.checkpoints.naming import check_name
from harness.caches import cache_folder, hub_cache, with_home
from harness.errors import CheckpointError
from harness.files import digest, load_json, write_text

__all__ = ["WEIGHTS", "cache_folder", "hub_cache", "remembered_digest", "weights_folder"]

WEIGHTS = "HORIZON_WEIGHTS"


def weights_folder(given: str | Path | None) -> Path | None:
    """Return the requested folder of weights, or the one that the environment names. Raises CheckpointError where it
    does not exist."""
    chosen = given or os.environ.get(WEIGHTS)
    if not chosen:
        return None
    folder = with_home(str(chosen), WEIGHTS)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder of weights; give --weights (or {WEIGHTS}) a folder that exists"
        )
    return check_name(folder)


def remembered_digest(path: Path) -> str:
    """Return the SHA-256 of a file, cached with its size and the time of its last change."""
    stat, key = path.stat(), str(path.resolve())
    known_path = cache_folder() / "sums.json"
    try:
        known = load_json(known_path)
    except (OSError, ValueError):
        known = {}
    if not isinstance(known, dict):
        known = {}
    entry = known.get(key)
    if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
        return str(entry[2])
    found = digest(path)
    # Where the cache cannot be written, the next run only has to read the file again.
    with suppress(OSError):
        write_text(known_path, json.dumps({**known, key: [stat.st_size, stat.st_mtime_ns, found]}))
    return found
