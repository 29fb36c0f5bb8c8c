"""Locations of this user's caches. Only the standard library is imported here.

`huggingface_hub.constants` defines the location of its cache too, but that package is installed with the extra `models`
only. A user without it must still be told which files are missing, and viewers run in their own environments. The test
tests/test_caches.py checks that both definitions agree.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import CheckpointError


def cache_folder() -> Path:
    """Return the folder of results that Horizon can recompute: HORIZON_CACHE, or `horizon` in the user's cache."""
    given = os.environ.get("HORIZON_CACHE")
    return Path(given) if given else _user_cache("HORIZON_CACHE") / "horizon"


def hub_cache() -> Path:
    """Return the folder in which Hugging Face's libraries keep downloaded files."""
    # HUGGINGFACE_HUB_CACHE is the older name, which the libraries still read.
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if given:
        return _with_variables(given, "HF_HUB_CACHE")
    home = os.environ.get("HF_HOME")
    return (_with_variables(home, "HF_HOME") if home else _user_cache("HF_HUB_CACHE") / "huggingface") / "hub"


def forbids_downloads() -> str:
    """Return the name of the variable that forbids Hugging Face's libraries to download; "" where none does."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if value := os.environ.get(name):
            return name if value.upper() in ("1", "ON", "YES", "TRUE") else ""
    return ""


def with_home(path: str, variable: str) -> Path:
    """Return a path with `~` replaced by the home folder.

    Raises CheckpointError, which names `variable`, for a user without a home folder.
    """
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
