"""Which prompt belongs to which film: by name, by order, by a table, or by VBench's way of naming films."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import PromptError, shown
from harness.files import read_bytes
from harness.films.reader import natural
from harness.rollout.script import check_text

KEYS = ("file", "prompt", "seed", "scenes", "vbench")
"""Columns of a table of films."""
_NUMBERED = re.compile(r"(?P<prompt>.+)-(?P<number>\d{1,4})")
LONG = 40
"""Letters of a name that may be the beginning of a prompt; shorter ones must be all of it."""


@dataclass(frozen=True)
class FilmPrompt:
    """The prompt of a film, or its script of several scenes, with its seed and VBench's prompt for it, if known."""

    text: str
    seed: int | None = None
    vbench: str = ""


def prompts_of(films: Sequence[Path], prompts: Path | None) -> list[FilmPrompt]:
    """Return the prompt of each film.

    Parameters
    ----------
    films
        The files.
    prompts
        A table with a column `file` (CSV, JSON, JSON lines), or prompts one a line or record, which belong to films by
        name, else by order; None: films are named by their prompts, as VBench names them (`a fox-0.mp4`), or as they
        are.

    Raises
    ------
    PromptError
        For films without a prompt, and for a file of prompts that cannot be read.
    """
    if prompts is None:
        return [FilmPrompt(_named(film)) for film in films]
    rows = _rows(prompts)
    if any("file" in row for row in rows):
        return _by_table(films, rows, prompts)
    found = [_film_prompt(row, f"{prompts}: record {number}") for number, row in enumerate(rows, 1)]
    names = {film: [each for each in found if _alike(_named(film), each.text)] for film in films}
    if all(len(set(found)) == 1 for found in names.values()):
        return [names[film][0] for film in films]
    if len(found) != len(films):
        raise PromptError(
            f"{prompts}: {len(found)} prompts for {len(films)} films, whose names do not say which is whose; give a "
            "CSV with the columns file,prompt"
        )
    places = {film: place for place, film in enumerate(sorted(films, key=natural))}
    return [found[places[film]] for film in films]


def _named(film: Path) -> str:
    """Return the prompt that the name of a film is, without the number of a sample."""
    name = film.name if film.is_dir() else film.stem
    found = _NUMBERED.fullmatch(name)
    return found["prompt"] if found else name


def _alike(name: str, prompt: str) -> bool:
    """Return whether a name is a prompt, whatever marks a file system made of others."""
    one, other = (re.sub(r"\W+", " ", text.replace("_", " ")).strip().casefold() for text in (name, prompt))
    return bool(one) and (one == other or (len(one) >= LONG and other.startswith(one)))


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        if path.suffix == ".csv":
            rows: list[Any] = list(csv.DictReader(io.StringIO(text)))
        elif path.suffix == ".json":
            rows = json.loads(text)
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = [line for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as error:
        raise PromptError(f"{path}: cannot be read ({error})") from None
    if not isinstance(rows, list) or not rows:
        raise PromptError(f"{path}: holds no prompts")
    found = [{"prompt": row} if isinstance(row, str) else row for row in rows]
    for number, row in enumerate(found, 1):
        if not isinstance(row, Mapping):
            raise PromptError(f"{path}: record {number} is {shown(row)}, not a text or a record")
        unknown = [key for key in row if key not in KEYS]
        if unknown:
            raise PromptError(f"{path}: record {number}: unknown key {unknown[0]!r}; allowed: {', '.join(KEYS)}")
    return found


def _by_table(films: Sequence[Path], rows: Sequence[Mapping[str, Any]], path: Path) -> list[FilmPrompt]:
    known: dict[str, FilmPrompt] = {}
    for number, row in enumerate(rows, 1):
        name = str(row.get("file") or "").strip()
        if not name:
            raise PromptError(f"{path}: record {number} names no file")
        if Path(name).name in known:
            raise PromptError(f"{path}: {Path(name).name} is there twice")
        known[Path(name).name] = _film_prompt(row, f"{path}: {name}")
    missing = [film.name for film in films if film.name not in known]
    if missing:
        raise PromptError(
            f"{path}: has no row for {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        )
    return [known[film.name] for film in films]


def _film_prompt(row: Mapping[str, Any], where: str) -> FilmPrompt:
    prompt, scenes, seed = (row.get(key) or "" for key in ("prompt", "scenes", "seed"))
    if isinstance(scenes, list):
        scenes = " | ".join(map(str, scenes))
    text = str(scenes or prompt).strip()
    if not text:
        raise PromptError(f"{where}: has neither a prompt nor scenes")
    try:
        check_text(text)
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from None
    digits = str(seed).strip()
    if digits and not digits.isdecimal():
        raise PromptError(f"{where}: the seed {shown(seed)} is not a whole number")
    return FilmPrompt(text, int(digits) if digits else None, str(row.get("vbench") or "").strip())
