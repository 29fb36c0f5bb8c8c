"""The interface between a campaign and viewers of its films, which consists of files only.

FOLDER/films.json            the list of films, written by `horizon films FOLDER`
FOLDER/views/VIEWER/ID.json  the `View` of a viewer on film ID; written atomically after each metric, so that a stopped
                             viewer can continue, and several viewers can share the list

Only the standard library is imported here, because viewers run in their own environments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.files import digest, write_text
from harness.films.checks import FILMS, FORMAT, document, is_component, rate, reason, text, whole_number


@dataclass(frozen=True)
class Span:
    """A span of a video: pixel frames `start` to `end` - 1. at_frame: latent frames up to its end."""

    start: int
    end: int
    at_frame: int


@dataclass(frozen=True)
class Act:
    """A scene of a video: a span as in `Span`, its prompt, and the boundary at its beginning."""

    start: int
    end: int
    at_frame: int
    prompt: str
    boundary: str


@dataclass(frozen=True)
class Film:
    """One finished video.

    Parameters
    ----------
    id
        Its name, unique in the campaign.
    path
        Its file, the lossless one where there are two.
    sha256
        SHA-256 of the file.
    suite, scenario
        Suite and scenario of its cell.
    frames
        Its pixel frames.
    rate
        Pixel frames per second.
    reference
        Number of pixel frames at the beginning with which later frames are compared.
    windows
        Spans for curves over time, from the beginning on.
    acts
        Its scenes.
    vbench
        The prompt of VBench of which its prompt is an extension; "" where there is none.
    chunk, first
        Pixel frames that were made together, and those of the first chunk; 0 where that is not known.
    """

    id: str
    path: Path
    sha256: str
    suite: str
    scenario: str
    frames: int
    rate: float
    reference: int
    windows: tuple[Span, ...]
    acts: tuple[Act, ...]
    vbench: str = ""
    chunk: int = 0
    first: int = 0


def write_films(folder: Path, films: Sequence[Film]) -> Path:
    """Write the list of films into a folder, with paths relative to the folder; return the path of the list."""
    listed = [{**asdict(film), "path": str(film.path.relative_to(folder))} for film in films]
    write_text(folder / FILMS, json.dumps({"format": FORMAT, "films": listed}, indent=1) + "\n")
    return folder / FILMS


def read_films(path: Path) -> list[Film]:
    """Return the films in a list. Raises StoreError for a file that is missing or is not a list of films."""
    remedy = "write it anew: horizon films FOLDER"
    found = document(path, remedy)
    try:
        return [_film(path.parent, each) for each in found["films"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: not a list of films ({reason(error)}); {remedy}") from None


def _film(folder: Path, told: Mapping[str, Any]) -> Film:
    """Return a film in the form of `write_films`. Raises ValueError, KeyError or TypeError for other contents."""
    name, path = text(told["id"], "id"), text(told["path"], "path")
    if not is_component(name):
        raise ValueError(f"the id {name!r} is not a name of a file")
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        raise ValueError(f"the path of {name} leads out of the folder")
    acts = tuple(
        Act(*_stretch(act), text(act["prompt"], "prompt"), text(act["boundary"], "boundary")) for act in told["acts"]
    )
    return Film(
        id=name,
        path=folder / path,
        sha256=text(told["sha256"], "sha256"),
        suite=text(told["suite"], "suite"),
        scenario=text(told["scenario"], "scenario"),
        frames=whole_number(told["frames"], "frames"),
        rate=rate(told["rate"]),
        reference=whole_number(told["reference"], "reference"),
        windows=tuple(Span(*_stretch(span)) for span in told["windows"]),
        acts=acts,
        vbench=text(told.get("vbench", ""), "vbench"),
        chunk=whole_number(told.get("chunk", 0), "chunk"),
        first=whole_number(told.get("first", 0), "first"),
    )


def _stretch(told: Mapping[str, Any]) -> tuple[int, int, int]:
    start, end, at_frame = (whole_number(told[key], key) for key in ("start", "end", "at_frame"))
    return start, end, at_frame


def shard(films: Sequence[Film], which: str) -> list[Film]:
    """Return the films of part K of N, where `which` is `K/N` with K from 1.

    The part of a film depends on its id only, so that it stays the same while the list grows.

    Raises StoreError for a text of another form.
    """
    number, slash, count = which.partition("/")
    digits = number.isdecimal() and count.isdecimal() and len(which) <= 20
    if not (slash and digits and 1 <= int(number) <= int(count)):
        raise StoreError(f"--shard {which[:20]}: write K/N, one of N parts, for instance 1/4")
    return [
        film for film in films if int(hashlib.sha256(film.id.encode()).hexdigest(), 16) % int(count) == int(number) - 1
    ]


def check_file(film: Film) -> None:
    """Raise StoreError for a film whose file is gone, or was changed after its cell was finished."""
    try:
        found = digest(film.path)
    except OSError as error:
        raise StoreError(f"{film.path}: cannot be read ({error.strerror})") from None
    if found != film.sha256:
        raise StoreError(
            f"{film.path}: it was changed after its cell was finished; restore it, or move "
            f"{film.path.parent.parent} out of the campaign's folder and run the same command again"
        )
