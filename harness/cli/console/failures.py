"""What the command line says of an error of the operating system: the file, the reason, and what helps."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def told(error: OSError) -> str:
    """Return an error in one line: its file, the reason, and the variable or option that names another place."""
    words = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"cannot write the output: {words}"
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"{path}: {words}; {_help(Path(path), error.errno)}"


def _help(path: Path, number: int | None) -> str:
    places = {"HORIZON_CACHE": _cache(), "HF_HUB_CACHE": _hub_cache(), "TMPDIR": tempfile.gettempdir()}
    for variable, place in places.items():
        if place and path.absolute().is_relative_to(Path(place).absolute()):
            return f"{variable} names another place for it"
    if number == errno.ENOSPC:
        return "make room there, or give --out another place"
    if number == errno.ENOENT:
        return "give a path that is there"
    return "give a path that this user can use, with --out for what is written"


def _cache() -> str:
    given = os.environ.get("HORIZON_CACHE")
    if given:
        return given
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "horizon")


def _hub_cache() -> str:
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HF_HOME")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return given or os.path.join(base, "huggingface")
