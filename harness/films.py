"""The contract between a campaign and those who look at its films: files, and nothing else.

FOLDER/films.json            what there is to look at: `horizon films FOLDER` writes it
FOLDER/views/VIEWER/ID.json  what a viewer saw in video ID: `View`; written whole, one part a metric, so that a viewer
                             that was stopped goes on where it was, and several share the list

Only the standard library is imported here: viewers run in environments of their own.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError, shown
from harness.files import own, read_json, write_text

FORMAT = 1
FILMS, VIEWS = "films.json", "views"
LARGEST = 2**53
"""Whole numbers up to here are the same in every reader of JSON."""
OF_FILM = "film"
"""What of a protocol is of one film alone: numbers of films that differ in nothing else go together."""


@dataclass(frozen=True)
class Span:
    """A stretch of a video: pixel frames from `start` to before `end`. at_frame: latent frames until its end."""

    start: int
    end: int
    at_frame: int


@dataclass(frozen=True)
class Act:
    """A scene of a video: its pixel frames, its prompt, how it is entered, and the latent frame at its end."""

    start: int
    end: int
    at_frame: int
    prompt: str
    boundary: str


@dataclass(frozen=True)
class Film:
    """One finished video. id: names it among all; path: its file, the lossless one where there are two.

    sha256: of the file. rate: pixel frames a second. reference: pixel frames of the beginning that later ones are
    compared with. windows: the stretches of which curves are made, the beginning first. acts: its scenes. vbench: the
    prompt of VBench that its prompt is an extension of; "" for none.
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


@dataclass(frozen=True)
class Part:
    """What came of one metric: (at_frame, value) pairs, or why there are none and what to do about it."""

    samples: tuple[tuple[int, float | None], ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class View:
    """What a viewer saw in one video. protocol: how it looked, by metric: models, sampling, versions; whatever could
    change a number."""

    film: str
    sha256: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)


def write_films(folder: Path, films: Sequence[Film]) -> Path:
    """Write what there is to look at, paths relative to the folder."""
    listed = [{**asdict(film), "path": str(film.path.relative_to(folder))} for film in films]
    write_text(folder / FILMS, json.dumps({"format": FORMAT, "films": listed}, indent=1) + "\n")
    return folder / FILMS


def read_films(path: Path) -> list[Film]:
    """What there is to look at. Raises StoreError for a file that is missing or no such list."""
    remedy = "write it anew: horizon films FOLDER"
    found = _json(path, remedy)
    try:
        return [_film(path.parent, each) for each in found["films"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: not a list of films ({_words(error)}); {remedy}") from None


def _film(folder: Path, told: Mapping[str, Any]) -> Film:
    """A film as `write_films` writes it. Raises ValueError, KeyError or TypeError for anything else."""
    name, path = _text(told["id"], "id"), _text(told["path"], "path")
    if not is_component(name):
        raise ValueError(f"the id {name!r} is no name of a file")
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        raise ValueError(f"the path of {name} leads out of the folder")
    acts = tuple(
        Act(*_stretch(act), _text(act["prompt"], "prompt"), _text(act["boundary"], "boundary")) for act in told["acts"]
    )
    return Film(
        id=name,
        path=folder / path,
        sha256=_text(told["sha256"], "sha256"),
        suite=_text(told["suite"], "suite"),
        scenario=_text(told["scenario"], "scenario"),
        frames=_count(told["frames"], "frames"),
        rate=_rate(told["rate"]),
        reference=_count(told["reference"], "reference"),
        windows=tuple(Span(*_stretch(span)) for span in told["windows"]),
        acts=acts,
        vbench=_text(told.get("vbench", ""), "vbench"),
    )


def _stretch(told: Mapping[str, Any]) -> tuple[int, int, int]:
    start, end, at_frame = (_count(told[key], key) for key in ("start", "end", "at_frame"))
    return start, end, at_frame


def shard(films: Sequence[Film], which: str) -> list[Film]:
    """The films of part K of N, from `K/N` (K from 1): by their ids, so that a list may grow meanwhile.

    Raises StoreError for words that are not that.
    """
    number, slash, count = which.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise StoreError(f"--shard {which}: write K/N, one of N parts, for instance 1/4")
    return [
        film for film in films if int(hashlib.sha256(film.id.encode()).hexdigest(), 16) % int(count) == int(number) - 1
    ]


def view_path(folder: Path, viewer: str, film: str) -> Path:
    """Where a viewer writes what it saw. Raises StoreError where that is another folder's place."""
    return own(folder, VIEWS, viewer) / f"{film}.json"


def read_view(path: Path) -> View:
    """What a viewer saw. Raises StoreError for a file that is damaged or not a view."""
    remedy = "move it away, and let the viewer look again"
    found = _json(path, remedy)
    try:
        film = _text(found["film"], "film")
        if film != path.stem:
            raise ValueError(f"it is about the film {film!r}, not about the one that its name says")
        parts = {name: _part(name, part) for name, part in found["parts"].items()}
        protocol: dict[str, Any] = {name: dict(found["protocol"][name]) for name in parts}
        return View(film, _text(found["sha256"], "sha256"), parts, protocol)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StoreError(f"{path}: not a view ({_words(error)}); {remedy}") from None


def _part(name: str, told: Mapping[str, Any]) -> Part:
    samples = tuple((_count(at, f"{name}: latent frame"), _value(name, value)) for at, value in told["samples"])
    if len({at for at, _ in samples}) != len(samples):
        raise ValueError(f"{name}: two values at one latent frame")
    return Part(samples, _text(told["skipped"], f"{name}: skipped"))


def _value(name: str, value: Any) -> float | None:
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise ValueError(f"{name}: {value!r:.60} is no finite number")
    return None if value is None else float(value)


def _count(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{what} is no whole number from 0 to {LARGEST}")
    return value


def _rate(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError("rate is no number above 0")
    return float(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is no text")
    return value


def _words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def is_component(name: str) -> bool:
    """Return whether a name from a file is one component of a path, which leads nowhere else."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=,+ -]*", name) is not None


def seen(folder: Path, viewer: str, film: Film) -> View:
    """What a viewer saw of this very file so far; nothing where it has not looked yet, or at another file."""
    path = view_path(folder, viewer, film.id)
    known = read_view(path) if path.exists() else View(film.id, film.sha256)
    return known if known.sha256 == film.sha256 else View(film.id, film.sha256)


def add(folder: Path, viewer: str, view: View, metric: str, part: Part, protocol: Mapping[str, Any]) -> View:
    """Add a metric to a view, with how it was looked at, and write it, with what others added meanwhile."""
    path = view_path(folder, viewer, view.film)
    there = read_view(path) if path.exists() else view
    base = there if there.sha256 == view.sha256 else view
    whole = replace(base, parts={**base.parts, metric: part}, protocol={**base.protocol, metric: dict(protocol)})
    _write(path, whole)
    return whole


def unite(target: Path, seen: Iterable[tuple[str, View]]) -> list[str]:
    """Write what viewers saw of the same files in several folders into one folder, the same in any order of folders.

    Of two values of one metric that differ, one is kept.

    Returns
    -------
    what was not kept, a text each.
    """
    whole: dict[tuple[str, str], View] = {}
    left = []
    for viewer, view in seen:
        known = whole.setdefault((viewer, view.film), replace(view, parts={}, protocol={}))
        parts, protocol = dict(known.parts), dict(known.protocol)
        for metric in view.parts:
            if metric in parts:
                both = [_rank(each, metric) for each in (known, view)]
                if both[0] != both[1] and both[0][0] and both[1][0]:
                    left.append(f"{viewer}: one of two differing values of {metric} in {view.film}")
                if both[0] >= both[1]:
                    continue
            parts[metric], protocol[metric] = view.parts[metric], view.protocol[metric]
        whole[viewer, view.film] = replace(known, parts=parts, protocol=protocol)
    for (viewer, film), view in whole.items():
        _write(view_path(target, viewer, film), view)
    return left


def _rank(view: View, metric: str) -> tuple[bool, str]:
    """Orders what views say of one metric: whatever was seen stands above what was skipped."""
    part = view.parts[metric]
    return not part.skipped, json.dumps([view.protocol[metric], part.samples, part.skipped], sort_keys=True)


def _write(path: Path, view: View) -> None:
    write_text(path, json.dumps({"format": FORMAT, **asdict(view)}, indent=1) + "\n")


def due(view: View, metric: str, protocol: Mapping[str, Any]) -> bool:
    """Whether a metric is still to be looked at: not there, skipped before, or looked at in another way."""
    part = view.parts.get(metric)
    return part is None or bool(part.skipped) or view.protocol.get(metric) != json.loads(json.dumps(dict(protocol)))


def views(folder: Path) -> Iterator[tuple[str, View]]:
    """All views of a campaign, each with its viewer."""
    root = folder / VIEWS
    for viewer in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
        if not is_component(viewer.name):
            raise StoreError(f"{root}: {shown(viewer.name)} is no name of a viewer; move it out of the folder")
        for path in sorted(viewer.glob("*.json")):
            if not path.name.startswith("."):
                yield viewer.name, read_view(path)


def manner(view: View, metric: str) -> dict[str, Any]:
    """How a metric was looked at, whichever film it was."""
    return {key: value for key, value in view.protocol.get(metric, {}).items() if key != OF_FILM}


def digest(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _json(path: Path, remedy: str) -> dict[str, Any]:
    found = read_json(path, remedy)
    if found.get("format") != FORMAT:
        raise StoreError(f"{path}: not of format {FORMAT}; {remedy}")
    return found
