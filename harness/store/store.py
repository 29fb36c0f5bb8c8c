"""What was measured: a campaign's folder, in which a cell is there whole or not at all.

manifest.json             what was asked for, in which runs, on what machines and by which code; written before the
                          first frame
cells/ID/cell.json        what the cell is, its status and reason, what it cost; digests of its code and environment
cells/ID/record.jsonl     its samples, one a line
cells/ID/pictures.npz     some of its pictures
cells/ID/files/           what its suite wrote while it ran: videos
flight/ID.lock, ID.pt     a cell under way: the process that has it holds the lock; where it goes on after a crash
flight/ID.json            who has it, since when, and how far it is
flight/ID.files/          what it has written so far
flight/ID.archive/        what its memory has put away, in pieces that its state names
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from harness.errors import StoreError, shown
from harness.files import copy, digest, naming, no_links, own, write_text
from harness.films.checks import is_component
from harness.locks import lock
from harness.store import records
from harness.store.archives import Pieces, remove, save, saved
from harness.store.claims import claim, held, progress
from harness.store.manifest import check_same, first, joined
from harness.store.pictures import check_pictures, read_pictures
from harness.store.records import read_cell, read_manifest, read_record
from harness.suite import Sample

Status = records.Status
MANIFEST, CELL, RECORD, PICTURES, FILES = "manifest.json", "cell.json", "record.jsonl", "pictures.npz", "files"
RESUMABLE = ("oom", "timeout", "failed")
"""Statuses of a cell that may do better another time, from where it was."""


@dataclass(frozen=True)
class Stored:
    """A finished cell: what `cell.json` says."""

    id: str
    folder: Path
    about: dict[str, Any]

    @property
    def status(self) -> Status:
        return self.about["status"]

    def samples(self) -> list[Sample]:
        """Its samples; none unless its status is ok."""
        return [Sample(*line) for line in self.lines()]

    def lines(self) -> list[list[Any]]:
        """The same as plain lists: row, metric, latent frame, value."""
        return read_record(self.folder / RECORD, self.about)

    def files(self) -> list[Path]:
        """What its suite wrote while it ran, by name. Raises StoreError for a link or a pipe: it leads elsewhere."""
        folder = self.folder / FILES
        no_links(folder)
        return [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []

    def pictures(self) -> dict[str, np.ndarray]:
        """Some of its pictures, by name; none where it has none."""
        path = self.folder / PICTURES
        return read_pictures(path) if os.path.lexists(path) else {}

    def check_pictures(self) -> None:
        """Raise StoreError where `pictures` would, as far as a glance tells."""
        path = self.folder / PICTURES
        if os.path.lexists(path):
            check_pictures(path)


class Store:
    """A campaign's folder. Raises StoreError for one that cannot be read, or that is another campaign's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = ""
        """Digest of the environment of this process, once a run has begun."""

    @property
    def flight(self) -> Path:
        """Where processes that share the campaign keep locks, and what is under way."""
        return self._path("flight")

    def begin(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest, or add a run to the one that is there; returns the one that holds.

        What decides the numbers of all cells alike (`SHARED`) must be the same; arms and cells may be added. Cells that
        are finished from now on are recorded as made in this run's environment.

        Parameters
        ----------
        manifest: `name`; `asked`, what was asked for; `environment` of this process; `codes`, the modules behind each
            digest of code; `when` the run began. Whatever else is in it is kept of the first run.
        """
        self._prepare()
        with lock(self._path("flight", "manifest.lock")):
            whole = first(manifest)
            (self.environment,) = whole["environments"]
            if self._path(MANIFEST).exists():
                known = self.manifest()
                check_same(self.folder, known["asked"], manifest["asked"])
                whole = joined(known, whole)
                if whole == known:
                    return known
            write_text(self._path(MANIFEST), json.dumps(whole, indent=1) + "\n")
        return whole

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Raise StoreError where `begin` would: the folder is another campaign's; nothing is written."""
        if self._path(MANIFEST).exists():
            check_same(self.folder, self.manifest()["asked"], manifest["asked"])

    def join(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Take the runs of other folders' manifests over, with their environments and codes."""
        self._prepare()
        with lock(self._path("flight", "manifest.lock")):
            known = [self.manifest()] if self._path(MANIFEST).exists() else []
            whole: dict[str, Any] = reduce(joined, [dict(each) for each in (*known, *manifests)])
            write_text(self._path(MANIFEST), json.dumps(whole, indent=1) + "\n")

    def manifest(self) -> dict[str, Any]:
        """The manifest of a folder. Raises StoreError where there is none, or one of another format."""
        return read_manifest(self._path(MANIFEST))

    def codes(self) -> dict[str, dict[str, str]]:
        """The modules behind each digest of code; none before a run has begun."""
        return self.manifest()["codes"] if self._path(MANIFEST).exists() else {}

    def find(self, cell: str) -> Stored | None:
        """A finished cell, or None."""
        folder = self._path("cells", cell)
        return _stored(folder) if os.path.lexists(folder) else None

    def cells(self) -> Iterator[Stored]:
        """All finished cells, by id."""
        root = self._path("cells")
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not folder.name.startswith("."):
                yield _stored(folder)

    def claim(self, cell: str, about: Mapping[str, Any] | None = None) -> AbstractContextManager[bool]:
        """Have a cell for oneself; False where another process has it. A dead process has nothing."""
        return claim(self.flight, cell, about or {})

    def progress(self, cell: str, done: int) -> None:
        """Say how many latent frames of a cell that this process has are done."""
        progress(self.flight, cell, done)

    def held(self) -> dict[str, dict[str, Any]]:
        """What is claimed now, by name: who has it (pid, host), since when, and what it says of itself."""
        return held(self.flight)

    def save(
        self,
        cell: str,
        state: Mapping[str, Any],
        archive: Mapping[str, Tensor] | None = None,
        pieces: Sequence[tuple[str, int]] = (),
    ) -> Pieces:
        """Keep where a cell under way goes on after a crash, as `archives.save` does."""
        return save(self._path("flight", f"{cell}.pt"), state, archive or {}, pieces)

    def saved(self, cell: str) -> dict[str, Any] | None:
        """Where a cell goes on, or None; what cannot be read is as good as none, since it can be computed again."""
        return saved(self._path("flight", f"{cell}.pt"))

    def workspace(self, cell: str) -> Path:
        """Where a cell under way writes its files; not made here."""
        return self._path("flight", f"{cell}.files")

    def finish(
        self,
        cell: str,
        about: Mapping[str, Any],
        samples: Iterable[Sample],
        pictures: Mapping[str, np.ndarray],
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """Put a cell into the folder with the files of its workspace, all of it at once; one that is there (and failed)
        is replaced. files: of a cell that was finished elsewhere, by name; they are copied."""
        final, beside = self._path("cells", cell), self._path("cells", f".{cell}.{os.getpid()}")
        for left in self._path("cells").glob(f".{cell}.*"):
            # Of processes that were killed: whoever finishes a cell holds its lock, so nobody is writing there.
            shutil.rmtree(left, ignore_errors=True)
        beside.mkdir()
        try:
            self._fill(beside, cell, about, samples, pictures, files)
        except OSError:
            # A disk that is full has no room for half a cell.
            shutil.rmtree(beside, ignore_errors=True)
            raise
        self.discard(cell)
        beside.rename(final)
        if about["status"] in RESUMABLE:
            # Run again, it goes on from its last state.
            return
        remove(self._path("flight", f"{cell}.pt"))
        shutil.rmtree(self.workspace(cell), ignore_errors=True)

    def _fill(
        self,
        beside: Path,
        cell: str,
        about: Mapping[str, Any],
        samples: Iterable[Sample],
        pictures: Mapping[str, np.ndarray],
        files: Mapping[str, Path] | None,
    ) -> None:
        """Write a cell beside its place. An error of the system names the file as it will be called."""
        final, workspace = self._path("cells", cell), self.workspace(cell)
        record = "".join(json.dumps(sample) + "\n" for sample in samples).encode()
        with naming(final / RECORD):
            (beside / RECORD).write_bytes(record)
        if pictures:
            arrays: dict[str, Any] = dict(pictures)
            with naming(final / PICTURES):
                np.savez_compressed(beside / PICTURES, **arrays)
        for name, path in (files or {}).items():
            with naming(final / FILES / name):
                copy(path, beside / FILES / name)
        if files is None and workspace.is_dir():
            # Linked, not moved: a process that dies before the next rename must find everything where it was. Parts of
            # files are kept only of a cell that has nothing better.
            parts = shutil.ignore_patterns("*.part.*") if about["status"] == "ok" else None
            shutil.copytree(workspace, beside / FILES, ignore=parts, copy_function=_link)
        sums = {path.name: digest(path) for path in sorted((beside / FILES).glob("*"))}
        told = {"record_sha256": hashlib.sha256(record).hexdigest(), **({"files": sums} if sums else {})}
        made = {"environment": self.environment, "attempt": uuid.uuid4().hex, **about, **told}
        with naming(final / CELL):
            (beside / CELL).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def discard(self, cell: str) -> None:
        """Remove a finished cell."""
        old = self._path("cells", f".{cell}.{os.getpid()}.old")
        if os.path.lexists(self._path("cells", cell)):
            self._path("cells", cell).rename(old)
            if old.is_symlink():
                old.unlink()
            else:
                shutil.rmtree(old)

    def _prepare(self) -> None:
        """Make the folders that are written into. Raises StoreError where that cannot be, or would be elsewhere."""
        own(self.folder, "cells")
        no_links(self.flight)
        try:
            self.flight.mkdir(parents=True, exist_ok=True)
            self._path("cells").mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write to {self.folder}: {error.strerror}; give --out another place") from None

    def _path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)


def _stored(folder: Path) -> Stored:
    """A finished cell. Raises StoreError for one by the name of none, and for links: they lead elsewhere."""
    if not is_component(folder.name):
        raise StoreError(
            f"{folder.parent}: {shown(folder.name)} is no name of a cell; move it out of the campaign's folder"
        )
    for name in ("", CELL, RECORD, PICTURES):
        own(folder.parent, *filter(None, (folder.name, name)))
    return Stored(folder.name, folder, read_cell(folder / CELL))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Not every file system has links.
        shutil.copy2(source, target)
