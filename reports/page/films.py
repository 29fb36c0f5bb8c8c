"""Films of the page: small ones inside of it while there is room, others beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.files import copy as copy_file
from harness.films.small import NAME
from harness.store.cells import Stored
from reports.arms import cells_of
from reports.pool import Snapshot
from reports.sheets.columns import Shown

INLINE = 2_000_000
"""Bytes of small films inside of a page."""


def films(
    stores: Sequence[Snapshot], shown: Shown, place: Path, inline: int = INLINE, copy: bool = False
) -> dict[str, Any]:
    """Return the films of a report's cells by "CELL:ROW": a data address, or the address of a file beside the page.

    Films of scenarios that the suites declare for filmstrips come first.

    Parameters
    ----------
    place
        The page's folder.
    inline
        Bytes of small films that become part of the page.
    copy
        Whether the others are copied into the folder `films` of the page's folder.
    """
    found: dict[str, Any] = {}
    left = inline
    declared = [(suite, name) for suite, each in shown.displays.items() for name in each.filmstrips]
    for cell in _in_order((cell for store in stores for cell in cells_of(store)), declared):
        for row, path in _films(cell):
            small = path.name == NAME.format(row=row)
            size = path.stat().st_size
            if small and size <= left:
                left -= size
                found[f"{cell.id}:{row}"] = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
            else:
                beside = place / "films" / f"{cell.id}-{path.name}" if copy else path
                if copy:
                    copy_file(path, beside)
                found[f"{cell.id}:{row}"] = quote(Path(os.path.relpath(beside, place)).as_posix())
    return found


def _in_order(cells: Iterable[Stored], declared: Sequence[tuple[str, str]]) -> list[Stored]:
    places = {each: number for number, each in enumerate(declared)}
    done = [cell for cell in cells if cell.status == "ok"]
    return sorted(done, key=lambda cell: places.get((cell.about["suite"], cell.about["task"]["scenario"]), len(places)))


def _films(cell: Stored) -> Iterator[tuple[int, Path]]:
    """Yield the rows of a cell that were filmed, with a film that browsers play."""
    sums = cell.about.get("files", {})
    there = {path.name: path for path in cell.files() if path.name in sums} if sums else {}
    for row in range(len(cell.about["task"]["rows"])):
        path = there.get(NAME.format(row=row)) or there.get(f"{row}.mp4")
        if path is not None:
            yield row, path
