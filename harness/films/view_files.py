"""Views of a campaign's films, as viewers write them: FOLDER/views/VIEWER/ID.json, one file per film."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import StoreError, shown
from harness.files import own, write_text
from harness.films.checks import FORMAT, document, is_component, reason, text, whole_number
from harness.films.contract import Film

VIEWS = "views"
OF_FILM = "film"
"""Key of the per-film part of a protocol; films can be compared if their protocols differ in this part only."""


@dataclass(frozen=True)
class Part:
    """The result of one metric: (at_frame, value) pairs, or in `skipped` why there are none and the remedy."""

    samples: tuple[tuple[int, float | None], ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class View:
    """The results of a viewer for one film.

    Parameters
    ----------
    film
        Id of the film.
    sha256
        SHA-256 of its file.
    parts
        Results by metric.
    protocol
        For each metric, everything that could change a number: models, sampling, versions.
    """

    film: str
    sha256: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)


def view_path(folder: Path, viewer: str, film: str) -> Path:
    """Return the path of a view. Raises StoreError where a part of the path is a link."""
    return own(folder, VIEWS, viewer) / f"{film}.json"


def read_view(path: Path) -> View:
    """Return the view in a file. Raises StoreError for a file that is damaged or not a view."""
    remedy = "move it away, and let the viewer look again"
    found = document(path, remedy)
    try:
        film = text(found["film"], "film")
        if film != path.stem:
            raise ValueError(f"it is about the film {film!r}, but its file name is that of another film")
        parts = {name: _part(name, part) for name, part in found["parts"].items()}
        protocol: dict[str, Any] = {name: dict(found["protocol"][name]) for name in parts}
        return View(film, text(found["sha256"], "sha256"), parts, protocol)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StoreError(f"{path}: not a view ({reason(error)}); {remedy}") from None


def _part(name: str, told: Mapping[str, Any]) -> Part:
    samples = tuple((whole_number(at, f"{name}: latent frame"), _value(name, value)) for at, value in told["samples"])
    if len({at for at, _ in samples}) != len(samples):
        raise ValueError(f"{name}: two values at one latent frame")
    return Part(samples, text(told["skipped"], f"{name}: skipped"))


def _value(name: str, value: Any) -> float | None:
    if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
        raise ValueError(f"{name}: {value!r:.60} is not a finite number")
    return None if value is None else float(value)


def seen(folder: Path, viewer: str, film: Film) -> View:
    """Return a viewer's view of the present file of a film; an empty view if there is none or it is of another file."""
    path = view_path(folder, viewer, film.id)
    known = read_view(path) if path.exists() else View(film.id, film.sha256)
    return known if known.sha256 == film.sha256 else View(film.id, film.sha256)


def add(folder: Path, viewer: str, view: View, metric: str, part: Part, protocol: Mapping[str, Any]) -> View:
    """Add a metric with its protocol to a view and write it, with the metrics that other processes added meanwhile.

    Return the written view.
    """
    path = view_path(folder, viewer, view.film)
    with _alone(path):
        there = read_view(path) if path.exists() else view
        base = there if there.sha256 == view.sha256 else view
        whole = replace(base, parts={**base.parts, metric: part}, protocol={**base.protocol, metric: dict(protocol)})
        _write(path, whole)
    return whole


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock on a view while it is read, changed and written.

    The system releases the lock when the process ends. Its file stays, because other processes may wait for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = own(path.parent, f".{path.stem}.lock")
    held = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                f"{path.parent}: its file system refuses locks ({error.strerror}); give a folder on a local disk, or "
                "mount it with locks"
            ) from None
        yield
    finally:
        os.close(held)


def unite(target: Path, seen: Iterable[tuple[str, View]]) -> list[str]:
    """Write views from several folders into one folder.

    The result does not depend on the order of the views. Of two different values of one metric, one is kept.

    Parameters
    ----------
    target
        The campaign's folder that receives the views.
    seen
        Pairs of a viewer and a view.

    Returns
    -------
    list of str
        A message for each value that was not kept.
    """
    whole: dict[tuple[str, str], View] = {}
    left: list[str] = []
    for viewer, view in seen:
        known = whole.setdefault((viewer, view.film), replace(view, parts={}, protocol={}))
        whole[viewer, view.film], lost = _both(viewer, known, view)
        left += lost
    for (viewer, film), found in whole.items():
        path = view_path(target, viewer, film)
        with _alone(path):
            # Other processes may have added metrics since it was read.
            there = read_view(path) if path.exists() else found
            united, lost = _both(viewer, there, found) if there.sha256 == found.sha256 else (found, [])
            left += [each for each in lost if each not in left]
            _write(path, united)
    return left


def _both(viewer: str, known: View, view: View) -> tuple[View, list[str]]:
    """Return the union of two views of one film, and a message for each value that was not kept."""
    parts, protocol = dict(known.parts), dict(known.protocol)
    left = []
    for metric in view.parts:
        if metric in parts:
            both = [_rank(each, metric) for each in (known, view)]
            if both[0] != both[1] and both[0][0] and both[1][0]:
                left.append(f"{viewer}: one of two differing values of {metric} in {view.film}")
            if both[0] >= both[1]:
                continue
        parts[metric], protocol[metric] = view.parts[metric], view.protocol[metric]
    return replace(known, parts=parts, protocol=protocol), left


def _rank(view: View, metric: str) -> tuple[bool, str]:
    """Return the sort key of views for one metric: the greatest is kept; measured parts are above skipped ones."""
    part = view.parts[metric]
    return not part.skipped, json.dumps([view.protocol[metric], part.samples, part.skipped], sort_keys=True)


def _write(path: Path, view: View) -> None:
    write_text(path, json.dumps({"format": FORMAT, **asdict(view)}, indent=1) + "\n")


def due(view: View, metric: str, protocol: Mapping[str, Any]) -> bool:
    """Return whether a metric must be computed: it is missing, was skipped, or has another protocol."""
    part = view.parts.get(metric)
    return part is None or bool(part.skipped) or view.protocol.get(metric) != json.loads(json.dumps(dict(protocol)))


def views(folder: Path) -> Iterator[tuple[str, View]]:
    """Yield all views of a campaign, each with the name of its viewer."""
    root = folder / VIEWS
    for viewer in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
        if not is_component(viewer.name):
            raise StoreError(f"{root}: {shown(viewer.name)} is not a name of a viewer; move it out of the folder")
        for path in sorted(viewer.glob("*.json")):
            if not path.name.startswith("."):
                yield viewer.name, read_view(path)


def manner(view: View, metric: str) -> dict[str, Any]:
    """Return the protocol of a metric without its per-film part."""
    return {key: value for key, value in view.protocol.get(metric, {}).items() if key != OF_FILM}
