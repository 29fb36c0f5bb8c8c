"""The list of a campaign's films for viewers, and the conversion of views to samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.errors import StoreError
from harness.files import load_json
from harness.films.contract import Act, Film, Span, write_films
from harness.films.view_files import VIEWS, View, manner, views
from harness.rollout.task_rollout import cues_of
from harness.store.cells import Stored
from harness.store.store import Store
from harness.suite import Sample

FEW = 3
"""Most films to name among those that lack a metric."""
SUFFIXES = (".mkv", ".mp4", ".webm", ".mov")
"""Kinds of films; of two of one rollout the lossless one counts."""
WINDOWS = "windows.json"
"""Name of a file beside a cell's films: the latent frames at which the windows of curves end."""


def list_films(store: Store) -> tuple[Path, list[Film]]:
    """Write the list of all films of finished cells; return its path and the films.

    Raises StoreError where there is no film.
    """
    found = [film for cell in store.cells() if cell.status == "ok" for film in _films(cell)]
    if not found:
        raise StoreError(
            f"{store.folder}: no finished film in it; the suites drift, interactive and vbench_long make films, on "
            "backbones other than pocket: horizon run --backbone self-forcing"
        )
    return write_films(store.folder, found), found


def seen_in(store: Store) -> dict[str, list[Sample]]:
    """Return the results of viewers as samples, by id of the cell; views of files that have changed are omitted.

    Raises StoreError for films with different protocols of one metric, whose numbers cannot be combined.
    """
    if not (store.folder / VIEWS).is_dir():
        return {}
    cells = list(store.cells())
    sums = {film.id: (film.sha256, cell.id, row) for cell in cells for row, film in enumerate(_films(cell))}
    elsewhere = {cell.id for cell in cells if cell.about.get("imported")}
    found: dict[str, list[Sample]] = {}
    protocols: dict[tuple[str, str], tuple[str, object]] = {}
    for viewer, view in views(store.folder):
        sha256, cell, row = sums.get(view.film, ("", "", 0))
        if view.sha256 != sha256:
            continue
        for metric, part in view.parts.items():
            if part.skipped:
                continue
            _same(protocols, (viewer, metric), view, cell in elsewhere)
            found.setdefault(cell, []).extend(Sample(row, metric, at, value) for at, value in part.samples)
    return found


def remedies(store: Store) -> Mapping[str, str]:
    """Return the remedies for metrics that viewers skipped, by the names of the metrics.

    For a metric that only some films lack, the key also contains these films.
    """
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
    """Return the protocol of each viewer and metric, without the parts that depend on the film."""
    found: dict[str, dict[str, object]] = {}
    if (store.folder / VIEWS).is_dir():
        for viewer, view in views(store.folder):
            seen = [metric for metric, part in view.parts.items() if not part.skipped]
            found.setdefault(viewer, {}).update({metric: manner(view, metric) for metric in seen})
    return found


def _same(known: dict[tuple[str, str], tuple[str, object]], key: tuple[str, str], view: View, elsewhere: bool) -> None:
    """Raise StoreError for a view with another protocol than those before it.

    With or without loss: one campaign has one kind of films. Films made elsewhere are of any kind, and beside others.
    """
    how = manner(view, key[1])
    kind = how.pop("read from", None)
    checked = [(key, how)] if elsewhere else [(key, how), ((key[0], f"{key[1]}, kind of file"), {"kind": kind})]
    for name, each in checked:
        _equal(known, name, each, key, view)


def _equal(
    known: dict[tuple[str, str], tuple[str, object]],
    name: tuple[str, str],
    how: object,
    key: tuple[str, str],
    view: View,
) -> None:
    other, before = known.setdefault(name, (view.film, how))
    if how != before:
        raise StoreError(
            f"{VIEWS}/{key[0]}: {key[1]} has different protocols in {other} and {view.film}, and such numbers cannot "
            f"be combined; move {VIEWS}/{key[0]} away and run the viewer again"
        )


def _films(cell: Stored) -> list[Film]:
    """Return the films of a cell, one for each row of its task; the lossless one where there are two."""
    task, rate, sums = cell.about["task"], cell.about.get("pictures_per_second"), cell.about.get("files", {})
    files = {path.name: path for path in cell.files() if path.name in sums}
    found = []
    for number, row in enumerate(task["rows"]):
        path = next((files[name] for suffix in SUFFIXES if (name := f"{number}{suffix}") in files), None)
        if path is None or rate is None or WINDOWS not in files:
            continue
        ends, pixel = _ends(files[WINDOWS], path), partial(_pixel, per_latent=cell.about["pictures_per_latent"])
        elsewhere = cell.about.get("imported")
        if elsewhere:
            pixel = partial(_by_time, frames=task["frames"], pictures=elsewhere["pictures"])
        script, boundaries = row["script"], task.get("boundaries", ["smooth"])
        if len(boundaries) != len(script):
            raise StoreError(
                f"{cell.folder}: {len(script)} scenes and {len(boundaries)} boundaries; move it out of the "
                "campaign's folder and run the same command again"
            )
        cues = cues_of(script, boundaries)
        stops = [*(cue.start for cue in cues[1:]), task["frames"]]
        # Cells that were made before chunks were recorded lack them.
        first, chunk = cell.about.get("chunk") or (0, 0)
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
                chunk=chunk if elsewhere else pixel(first + chunk) - pixel(first) if chunk else 0,
                first=first if elsewhere else pixel(first),
            )
        )
    return found


def _ends(path: Path, film: Path) -> list[int]:
    """Return the latent frames at which windows end, from the suite's file."""
    try:
        ends = load_json(path)
        if not isinstance(ends, list) or not ends or any(type(end) is not int or end < 1 for end in ends):
            raise ValueError("they are not a list of latent frames")
        if ends != sorted(set(ends)):
            raise ValueError("they do not increase")
        return ends
    except (OSError, ValueError) as error:
        cell = path.parent.parent
        raise StoreError(
            f"{path}: not the windows of {film.name} ({getattr(error, 'strerror', None) or error}); move {cell} out of "
            "the campaign's folder and run the same command again"
        ) from None


def _by_time(latent: int, frames: int, pictures: int) -> int:
    """Return the first picture of a latent frame of a film made elsewhere, which has `pictures` in `frames` of them."""
    return min(pictures, round(latent * pictures / frames))


def _pixel(latent: int, per_latent: int) -> int:
    """Return the first pixel frame of a latent frame: 0, 1, 5, 9, ... for Wan."""
    return max(0, per_latent * (latent - 1) + 1)
