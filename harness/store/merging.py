"""Merging of the folders of one campaign from several machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import StoreError, shown
from harness.files import digest
from harness.films.view_files import View, unite, views
from harness.store.cells import FILES, Stored
from harness.store.manifest import check_same
from harness.store.store import MANIFEST, Store

PATIENCE = 60.0
"""Longest time in seconds to wait for a process that has claimed a cell in the target."""


class Merged(NamedTuple):
    """The result of `merge`: the number of cells copied, and a message for each item that could not be kept."""

    cells: int
    left: list[str]


def merge(target: Path, sources: Sequence[Path]) -> Merged:
    """Copy the finished cells of several folders of one campaign, with their views, into one folder.

    The result does not depend on the order of the folders. Of two equal cells, the one in the target or with more parts
    of views is kept. A cell that is `ok` replaces one that is not.

    Parameters
    ----------
    target
        The folder that receives all cells; it may hold cells of the same campaign already.
    sources
        The folders that are read.

    Raises
    ------
    StoreError
        Two folders are of different campaigns, a cell that is `ok` in both has different samples, a file of a cell was
        changed after the cell was finished, or something cannot be read. Nothing has been copied in these cases. Also
        for an error of writing, which leaves the cells that were copied.
    """
    stores = [Store(source) for source in sources]
    manifests = [store.manifest() for store in stores]
    for store, manifest in zip(stores, manifests, strict=True):
        check_same(store.folder, manifest["asked"], manifests[0]["asked"])
    into = Store(target)
    known = [into] if (target / MANIFEST).exists() else []
    seen = {store.folder: list(views(store.folder)) for store in known + stores}
    chosen: dict[str, Stored] = {}
    for cell in (cell for store in known + stores for cell in store.cells()):
        other = chosen.setdefault(cell.id, cell)
        if other.status == cell.status == "ok":
            _check_equal(other, cell)
        chosen[cell.id] = max(other, cell, key=lambda each: _precedence(each, target, seen))
    # Read everything now, so that an unreadable file ends the merge before anything is copied.
    for cell in chosen.values():
        cell.samples(), cell.pictures(), cell.files()
    came = [cell for cell in chosen.values() if cell.folder.parent.parent != target]
    left = [each for cell in came for each in _check_files(cell)]
    try:
        into.join(manifests)
        brought = 0
        for cell in came:
            there, trouble = _bring(into, cell)
            brought += there is cell
            left += trouble
            # Views are kept only for the films that are now in the target.
            if there is None:
                del chosen[cell.id]
            else:
                chosen[cell.id] = there
        kept = []
        for folder, viewer, view in ((folder, *each) for folder, found in seen.items() for each in found):
            if _is_of(view, chosen):
                kept.append((viewer, view))
            else:
                left.append(f"{viewer}: the view of {view.film} in {folder}, because the film there is another file")
        return Merged(brought, left + unite(target, kept))
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"{error.filename or target}: {error.strerror or error}; make room there, or give another folder, and run "
            "the same command again, which keeps the cells already copied"
        ) from None


def _check_files(cell: Stored) -> list[str]:
    """Compare the files of a cell with their recorded checksums; return a message for each file without one.

    Raises StoreError for a file that was changed or removed later: else `Store.finish` would record the checksum of
    the changed file as that of the measured one.
    """
    listed = cell.about.get("files", {})
    for name, known in listed.items():
        path = cell.folder / FILES / name
        wrong = "was removed" if not path.is_file() else "" if digest(path) == known else "was changed"
        if wrong:
            raise StoreError(
                f"{path}: it {wrong} after its cell was finished; restore it, or move {cell.folder} out of the "
                "campaign's folder and run the same command again"
            )
    there = sorted((cell.folder / FILES).iterdir()) if (cell.folder / FILES).is_dir() else []
    return [f"{shown(str(path), 200)}: not a file of the finished cell" for path in there if path.name not in listed]


def _bring(into: Store, cell: Stored) -> tuple[Stored | None, list[str]]:
    """Copy a cell into the target, unless another process finishes it there meanwhile.

    Return the cell that is now in the target, and a message for each item that could not be kept.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        with into.claim(cell.id, {"cell": cell.id}) as mine:
            if mine:
                there = into.find(cell.id)
                if there is not None and there.status == "ok":
                    same = cell.status != "ok" or there.samples() == cell.samples()
                    return there, [] if same else [
                        f"{cell.folder}: another process finished this cell meanwhile with different samples"
                    ]
                files = {file: cell.folder / FILES / file for file in cell.about.get("files", {})}
                into.finish(cell.id, cell.about, cell.samples(), cell.pictures(), files)
                return cell, []
        if time.monotonic() > deadline:
            return into.find(cell.id), [f"{cell.folder}: another process is running this cell in {into.folder}"]
        time.sleep(0.1)


def _check_equal(one: Stored, other: Stored) -> None:
    """Raise StoreError for two finished cells of one id with different samples."""
    if one.samples() == other.samples():
        return
    if "machine" in other.about:
        raise StoreError(
            f"cell {one.id} was measured both in {one.folder} and in {other.folder}, and costs from two measurements "
            "cannot be combined; move one of the two away"
        )
    raise StoreError(
        f"cell {one.id} has different samples in {one.folder} and {other.folder}; move the wrong cell away"
    )


def _precedence(cell: Stored, target: Path, seen: Mapping[Path, Sequence[tuple[str, View]]]) -> tuple[Any, ...]:
    """Return the sort key of cells of one id: the greatest one is kept, whatever the order of the folders."""
    home = cell.folder.parent.parent
    numbers = sum(len(view.parts) for _, view in seen[home] if _is_of(view, {cell.id: cell}))
    return cell.status == "ok", home == target, numbers, cell.about["attempt"]


def _is_of(view: View, cells: Mapping[str, Stored]) -> bool:
    """Return whether a view is of the present version of a file of one of these cells."""
    cell = cells.get(view.film.rpartition("-")[0])
    return cell is not None and view.sha256 in cell.about.get("files", {}).values()
