"""Messages for errors of the operating system and of the command line: the file, the reason, and the remedy."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import typer

from harness.caches import cache_folder, hub_cache
from harness.errors import HorizonError, shown


def one_line(error: OSError) -> str:
    """Return an OSError as one line: its file, the reason, and the variable or option that names another place."""
    words = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"cannot write the output: {words}"
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"{path}: {words}; {_help(Path(path), error.errno)}"


def mistyped(error: typer.TyperException) -> str:
    """Return an error of the command line as one line, with the given value where a number was expected."""
    words = error.format_message().rstrip(".")
    said = getattr(error.__cause__, "errors", None)
    if said is not None:
        words = words.partition(", unable to parse")[0]
        words = f"{words}; given: {shown(said()[0]['input'])}"
    return f"{words} (horizon --help lists the commands and options)"


def _help(path: Path, number: int | None) -> str:
    places = {
        "HORIZON_CACHE": _place(cache_folder),
        "HF_HUB_CACHE": _place(hub_cache),
        "TMPDIR": Path(tempfile.gettempdir()),
    }
    for variable, place in places.items():
        inside = place and _inside(path, place)
        # The folder of temporary files also contains files of other programs.
        ours = variable != "TMPDIR" or (inside and inside.parts[:1] and inside.parts[0].startswith("horizon-"))
        if place and inside and ours and not _typed(path, place):
            return f"{variable} names another place for it"
    if number == errno.ENOSPC:
        return "make room there, or give --out another place"
    if number == errno.ENOENT:
        return "give a path that exists"
    return "give a path that this user can use, with --out for what is written"


def _inside(path: Path, place: Path) -> Path | None:
    """Return a path relative to a folder; None if it is not in the folder."""
    whole, start = path.absolute(), place.absolute()
    return whole.relative_to(start) if whole.is_relative_to(start) else None


def _typed(path: Path, place: Path) -> bool:
    """Return whether an argument of this command is a location within `place` that contains the path."""
    words = [word.partition("=")[2] if word.startswith("-") else word for word in sys.argv[1:]]
    return any(word and _inside(path, Path(word)) and _inside(Path(word), place) for word in words)


def _place(find: Callable[[], Path]) -> Path | None:
    """Return the folder of a cache; None for a user without a home folder."""
    try:
        return find()
    except HorizonError:
        return None
