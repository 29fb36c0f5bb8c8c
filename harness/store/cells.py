"""The finished cells of a campaign's folder, as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError, shown
from harness.files import no_links, own
from harness.films.checks import is_component
from harness.store.pictures import check_pictures, read_pictures
from harness.store.records import Status, read_cell, read_record
from harness.suite import Sample

CELL, RECORD, PICTURES, FILES = "cell.json", "record.jsonl", "pictures.npz", "files"


@dataclass(frozen=True)
class Stored:
    """A finished cell: its id, the folder where it is, and the contents of its `cell.json`."""

    id: str
    place: str
    about: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        # Made where it is asked for: there may be 100,000 cells.
        return Path(self.place)

    @property
    def status(self) -> Status:
        return self.about["status"]

    def samples(self) -> list[Sample]:
        """Return its samples; there are none unless its status is ok."""
        return [Sample(*line) for line in self.lines()]

    def lines(self) -> list[list[Any]]:
        """Return its samples as plain lists: row, metric, latent frame, value."""
        return read_record(self.folder / RECORD, self.about)

    def files(self) -> list[Path]:
        """Return the files that its suite wrote, sorted by name. Raises StoreError for a link or a pipe."""
        folder = self.folder / FILES
        no_links(folder)
        return [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []

    def pictures(self) -> dict[str, np.ndarray]:
        """Return the pictures that were kept of it, by name; an empty dictionary where there are none."""
        path = own(self.folder, PICTURES)
        return read_pictures(path) if path.exists() else {}

    def check_pictures(self) -> None:
        """Raise StoreError where `pictures` would, by the headers of the arrays only."""
        path = own(self.folder, PICTURES)
        if path.exists():
            check_pictures(path)


def stored(root: str, name: str) -> Stored:
    """Return a finished cell. Raises StoreError for an invalid name, and where its `cell.json` is a link; other files
    are judged when they are read."""
    if not is_component(name):
        raise StoreError(f"{root}: {shown(name)} is not a name of a cell; move it out of the campaign's folder")
    place = f"{root}/{name}"
    return Stored(name, place, read_cell(f"{place}/{CELL}"))
