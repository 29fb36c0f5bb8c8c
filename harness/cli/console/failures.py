"""What the command line says of an error of the operating system: the file, the reason, and what helps."""

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


def told(error: OSError) -> str:
    """Return an error in one line: its file, the reason, and the variable or option that names another place."""
    words = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"cannot write the output: {words}"
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"{path}: {words}; {_help(Path(path), error.errno)}"


def mistyped(error: typer.TyperException) -> str:
    """Return what is wrong with what was typed, in one line, with the value where a number was expected."""
    words = error.format_message().rstrip(".")
    said = getattr(error.__cause__, "errors", None)
    if said is not None:
        words = words.partition(", unable to parse")[0]
        words = f"{words}; given: {shown(said()[0]['input'])}"
    return f"{words} (horizon --help shows what there is)"


def _help(path: Path, number: int | None) -> str:
    places = {
        "HORIZON_CACHE": _place(cache_folder),
        "HF_HUB_CACHE": _place(hub_cache),
        "TMPDIR": Path(tempfile.gettempdir()),
    }
    for variable, place in places.items():
        inside = place and _inside(path, place)
        # Others have their files in the folder for temporary ones, too.
        ours = variable != "TMPDIR" or (inside and inside.parts[:1] and inside.parts[0].startswith("horizon-"))
        if place and inside and ours and not _typed(path, place):
            return f"{variable} names another place for it"
    if number == errno.ENOSPC:
        return "make room there, or give --out another place"
    if number == errno.ENOENT:
        return "give a path that is there"
    return "give a path that this user can use, with --out for what is written"


def _inside(path: Path, place: Path) -> Path | None:
    """The way from a place to a path in it."""
    whole, start = path.absolute(), place.absolute()
    return whole.relative_to(start) if whole.is_relative_to(start) else None


def _typed(path: Path, place: Path) -> bool:
    """Whether the path lies where this command was told to write or read, and that within the place."""
    words = [word.partition("=")[2] if word.startswith("-") else word for word in sys.argv[1:]]
    return any(word and _inside(path, Path(word)) and _inside(Path(word), place) for word in words)


def _place(find: Callable[[], Path]) -> Path | None:
    """A cache; None for a user without a home folder."""
    try:
        return find()
    except HorizonError:
        return None
