"""Where this user's caches are. Only the standard library is imported here.

`huggingface_hub.constants` says where its cache is, too, but that package comes with the extra `models` only, and a
user who has not installed it must be told which files are missing; viewers run in environments of their own. Both must
say the same: tests/test_caches.py compares them.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import CheckpointError


def cache_folder() -> Path:
    """Where Horizon keeps what it can compute again: HORIZON_CACHE, or `horizon` in the user's cache."""
    given = os.environ.get("HORIZON_CACHE")
    return Path(given) if given else _user_cache("HORIZON_CACHE") / "horizon"


def hub_cache() -> Path:
    """The folder in which Hugging Face's libraries keep what they have fetched."""
    # The second is the older name of the first, which the libraries still read.
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return _with_variables(given, "HF_HUB_CACHE")
    home = os.environ.get("HF_HOME")
    return (_with_variables(home, "HF_HOME") if home else _user_cache("HF_HUB_CACHE") / "huggingface") / "hub"


def forbids_downloads() -> str:
    """The name of the variable that forbids Hugging Face's libraries to download; empty where none does."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if value := os.environ.get(name):
            return name if value.upper() in ("1", "ON", "YES", "TRUE") else ""
    return ""


def with_home(path: str, variable: str) -> Path:
    """A path whose `~` is the user's home folder. Raises CheckpointError, naming `variable`, for a user without one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise CheckpointError(
            f"{path}: this user has no home folder (no entry in the system's list of users); set {variable} to a "
            "folder, or HOME"
        ) from None


def _user_cache(variable: str) -> Path:
    return with_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache", variable)


def _with_variables(path: str, variable: str) -> Path:
    return Path(os.path.expandvars(with_home(path, variable)))
