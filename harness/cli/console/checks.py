"""Checks of options and arguments before anything is imported or written; most are callbacks of their options."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from harness.errors import CampaignError, shown
from harness.limits import LARGEST_SEED, LONGEST, MOST_SEEDS, MOST_THREADS, MOST_WORKERS

NAMED = ("describe", "sample", "train", "verify")
"""Commands whose first argument is a name or a prompt; they refuse an empty one themselves."""


def above_zero(value: float | None) -> float | None:
    """Return a number; raise BadParameter unless it is finite and above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is not a finite number above 0.")
    return value


def not_negative(value: float | None) -> float | None:
    """Return a number; raise BadParameter unless it is finite and at least 0."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value:g} is not a finite number of at least 0.")
    return value


def length(value: float | None) -> float | None:
    """Return the seconds of a video; raise BadParameter unless they are above 0 and at most `LONGEST`."""
    if value is not None and not 0 < value <= LONGEST:
        raise typer.BadParameter(f"{value:g} is not a number of seconds above 0 and up to {LONGEST:,.0f} (31 days).")
    return value


def seed(value: int | None) -> int | None:
    """Return a seed; raise BadParameter unless it is from 0 to `LARGEST_SEED`."""
    return _between(value, 0, LARGEST_SEED)


def seeds(value: int | None) -> int | None:
    """Return a number of seeds; raise BadParameter unless it is from 1 to `MOST_SEEDS`."""
    return _between(value, 1, MOST_SEEDS)


def threads(value: int | None) -> int | None:
    """Return a number of threads; raise BadParameter unless it is from 1 to `MOST_THREADS`."""
    return _between(value, 1, MOST_THREADS)


def workers(value: int | None) -> int | None:
    """Return a number of processes; raise BadParameter unless it is from 1 to `MOST_WORKERS`."""
    return _between(value, 1, MOST_WORKERS)


def workers_or_auto(value: str | None) -> str | None:
    """Return a number of workers as text, or "auto"; raise BadParameter for anything else."""
    if value is not None and value != "auto":
        if not (value.isascii() and value.removeprefix("-").isdecimal()):
            raise typer.BadParameter(f"{shown(value)} is neither 'auto' nor a number; allowed: 1 to {MOST_WORKERS}.")
        _between(int(value[:20]), 1, MOST_WORKERS)
    return value


def _between(value: int | None, least: int, most: int) -> int | None:
    if value is not None and not least <= value <= most:
        raise typer.BadParameter(f"{shown(value)} is not in the range; allowed: {least} to {most}.")
    return value


def file(path: Path | None) -> Path | None:
    """Return the path of an output file; raise CampaignError, before anything is computed, if it cannot be written."""
    if path is None:
        return None
    if path.is_dir():
        raise CampaignError(f"--out {path}: a folder is there; give the name of a file")
    return _writable(path, path.parent)


def folder(path: Path | None) -> Path | None:
    """Return the path of an output folder; raise CampaignError if it cannot be written into."""
    return None if path is None else _writable(path, path)


def film(path: Path) -> Path:
    """Return the path of a video; raise CampaignError if it or the filmstrip beside it cannot be written."""
    file(path)
    if path.suffix == ".mp4":
        file(path.with_suffix(".png"))
    return path


def _writable(path: Path, folder: Path) -> Path:
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path("."))
    if not there.is_dir():
        raise CampaignError(f"cannot write {path}: {there} is not a folder; give --out another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CampaignError(f"cannot write {path}: {there} is read-only for this user; give --out another place")
    return path


def typed(text: str) -> str:
    """Return a text as typed in UTF-8, also under a locale whose encoding could not decode it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    return text


def no_empty_words(words: Sequence[str]) -> None:
    """Raise CampaignError for an empty argument; an empty path would mean the current folder."""
    named = words[:1] and words[0] in NAMED
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if option.startswith("--") and equals and not value:
            raise CampaignError(f"{option} is empty; give it a value, or leave it out")
        if not word and not (named and before == words[0]):
            what = before if before.startswith("--") and "=" not in before else "an argument"
            raise CampaignError(f"{what} is empty; give it a value, or leave it out")
