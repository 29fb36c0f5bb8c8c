"""From a campaign's folder to the list of its films, and from what viewers saw back to samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.errors import StoreError
from harness.files import load_json
from harness.films.contract import Act, Film, Span, write_films
from harness.films.view_files import VIEWS, View, manner, views
from harness.rollout.task_rollout import cues_of
from harness.store.store import Store, Stored
from harness.suite import Sample

FEW = 3
"""Films that are named of those in which a metric was not seen."""
WINDOWS = "windows.json"
"""Beside a cell's films: the latent frames at which the windows end of which curves are made."""


def list_films(store: Store) -> tuple[Path, list[Film]]:
    """Write the list of all films of finished cells; returns where, and what is in it. Raises StoreError where there is
    none."""
    found = [film for cell in store.cells() if cell.status == "ok" for film in _films(cell)]
    if not found:
        raise StoreError(
            f"{store.folder}: no finished film in it; films are made by the suites drift, interactive and vbench_long "
            "on backbones other than pocket: horizon run --backbone self-forcing"
        )
    return write_films(store.folder, found), found


def seen_in(store: Store) -> dict[str, list[Sample]]:
    """What viewers saw, as samples by cell; views of files that are no longer there as they were are left out.

    Raises StoreError for films that were looked at in different ways: such numbers do not go together.
    """
    if not (store.folder / VIEWS).is_dir():
        return {}
    sums = {film.id: (film.sha256, cell.id, row) for cell in store.cells() for row, film in enumerate(_films(cell))}
    found: dict[str, list[Sample]] = {}
    protocols: dict[tuple[str, str], tuple[str, object]] = {}
    for viewer, view in views(store.folder):
        sha256, cell, row = sums.get(view.film, ("", "", 0))
        if view.sha256 != sha256:
            continue
        for metric, part in view.parts.items():
            if part.skipped:
                continue
            _same(protocols, (viewer, metric), view)
            found.setdefault(cell, []).extend(Sample(row, metric, at, value) for at, value in part.samples)
    return found


def remedies(store: Store) -> Mapping[str, str]:
    """What viewers could not see, and why: the remedies by the metrics that they are for; of a metric that was seen in
    other films, with the films in which it was not."""
    if not (store.folder / VIEWS).is_dir():
        return {}
    parts = [(metric, view.film, part) for _, view in views(store.folder) for metric, part in view.parts.items()]
    seen = {metric for metric, _, part in parts if not part.skipped}
    metrics: dict[str, dict[str, None]] = {}
    partly: dict[tuple[str, str], list[str]] = {}
    for metric, film, part in parts:
        if metric not in seen:
            metrics.setdefault(part.skipped, {})[metric] = None
        elif part.skipped:
            partly.setdefault((metric, part.skipped), []).append(film)
    whole = {", ".join(names): remedy for remedy, names in metrics.items()}
    return whole | {f"{metric} of {_few(films)}": remedy for (metric, remedy), films in partly.items()}


def _few(films: list[str]) -> str:
    more = [f"{len(films) - FEW} more"] if len(films) > FEW else []
    return ", ".join([*films[:FEW], *more])


def protocols(store: Store) -> dict[str, dict[str, object]]:
    """How each viewer looked, by metric."""
    found: dict[str, dict[str, object]] = {}
    if (store.folder / VIEWS).is_dir():
        for viewer, view in views(store.folder):
            seen = [metric for metric, part in view.parts.items() if not part.skipped]
            found.setdefault(viewer, {}).update({metric: manner(view, metric) for metric in seen})
    return found


def _same(known: dict[tuple[str, str], tuple[str, object]], key: tuple[str, str], view: View) -> None:
    how = manner(view, key[1])
    other, before = known.setdefault(key, (view.film, how))
    if how != before:
        raise StoreError(
            f"{VIEWS}/{key[0]}: {key[1]} was looked at in one way in {other} and in another in {view.film}; such "
            f"numbers do not go together: move {VIEWS}/{key[0]} away and look again"
        )


def _films(cell: Stored) -> list[Film]:
    """The films of a cell, one a row of its task; the lossless one where there are two."""
    task, rate, sums = cell.about["task"], cell.about.get("pictures_per_second"), cell.about.get("files", {})
    files = {path.name: path for path in cell.files() if path.name in sums}
    found = []
    for number, row in enumerate(task["rows"]):
        path = files.get(f"{number}.mkv") or files.get(f"{number}.mp4")
        if path is None or rate is None or WINDOWS not in files:
            continue
        ends, pixel = _ends(files[WINDOWS], path), partial(_pixel, per_latent=cell.about["pictures_per_latent"])
        script, boundaries = row["script"], task.get("boundaries", ["smooth"])
        if len(boundaries) != len(script):
            raise StoreError(
                f"{cell.folder}: {len(script)} scenes and {len(boundaries)} boundaries; move it out of the "
                "campaign's folder and run the same command again"
            )
        cues = cues_of(script, boundaries)
        stops = [*(cue.start for cue in cues[1:]), task["frames"]]
        windows = tuple(Span(pixel(a), pixel(b), b) for a, b in zip([0, *ends[:-1]], ends, strict=True))
        acts = tuple(
            Act(pixel(cue.start), pixel(stop), stop, cue.text, cue.boundary)
            for cue, stop in zip(cues, stops, strict=True)
        )
        found.append(
            Film(
                id=f"{cell.id}-{number}",
                path=path,
                sha256=sums[path.name],
                suite=cell.about["suite"],
                scenario=task["scenario"],
                frames=pixel(task["frames"]),
                rate=rate,
                reference=windows[0].end,
                windows=windows,
                acts=acts,
                vbench=row.get("vbench", ""),
            )
        )
    return found


def _ends(path: Path, film: Path) -> list[int]:
    """The latent frames at which windows end, as the suite that filmed said."""
    try:
        ends = load_json(path)
        if not isinstance(ends, list) or not ends or any(type(end) is not int or end < 1 for end in ends):
            raise ValueError("they are no list of latent frames")
        if ends != sorted(set(ends)):
            raise ValueError("they do not rise")
        return ends
    except (OSError, ValueError) as error:
        cell = path.parent.parent
        raise StoreError(
            f"{path}: not the windows of {film.name} ({getattr(error, 'strerror', None) or error}); move {cell} out of "
            "the campaign's folder and run the same command again"
        ) from None


def _pixel(latent: int, per_latent: int) -> int:
    """The pixel frame with which a latent frame begins: 0, 1, 5, 9, ... for Wan."""
    return max(0, per_latent * (latent - 1) + 1)
