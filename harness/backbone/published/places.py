"""Where files of published backbones lie on this machine, and their remembered digests."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from harness.backbone.checkpoints.naming import check_name
from harness.errors import CheckpointError
from harness.files import digest, load_json, write_text

WEIGHTS = "HORIZON_WEIGHTS"


def cache_folder() -> Path:
    """Where Horizon keeps what it can compute again: HORIZON_CACHE, or `horizon` in the user's cache."""
    given = os.environ.get("HORIZON_CACHE")
    return Path(given) if given else _user_cache("HORIZON_CACHE") / "horizon"


def weights_folder(given: str | Path | None) -> Path | None:
    """The folder of weights that was asked for, or that the environment names. Raises CheckpointError where there is
    none."""
    chosen = given or os.environ.get(WEIGHTS)
    if not chosen:
        return None
    folder = _expanded(str(chosen), WEIGHTS)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder of weights; give --weights (or {WEIGHTS}) a folder that is there"
        )
    return check_name(folder)


def hub_cache() -> Path:
    """The folder in which Hugging Face's libraries keep what they have fetched."""
    # Not from huggingface_hub itself: a machine without it must be told what is missing, and it takes half a second.
    given, home = os.environ.get("HF_HUB_CACHE"), os.environ.get("HF_HOME")
    if given:
        return _expanded(given, "HF_HUB_CACHE")
    return (_expanded(home, "HF_HOME") if home else _user_cache("HF_HUB_CACHE") / "huggingface") / "hub"


def _user_cache(variable: str) -> Path:
    """The folder of the user's caches. Raises CheckpointError, naming `variable`, for a user without a home folder."""
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", variable)


def _expanded(path: str, variable: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CheckpointError(
            f"{path}: this user has no home folder (no entry in the system's list of users); set {variable} to a "
            "folder, or HOME"
        ) from None


def remembered_digest(path: Path) -> str:
    """SHA-256 of a file, remembered with its size and the time of its last change."""
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
    # Where it cannot be written nothing is lost but time: the next run reads the file again.
    with suppress(OSError):
        write_text(known_path, json.dumps({**known, key: [stat.st_size, stat.st_mtime_ns, found]}))
    return found
