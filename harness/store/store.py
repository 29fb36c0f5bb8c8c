"""A campaign's folder, in which each finished cell appears atomically.

manifest.json             the request, its runs, their environments and the code; written before the first frame
cells/ID/cell.json        the cell's task, status, reason and cost; digests of its code and environment
cells/ID/record.jsonl     its samples, one per line
cells/ID/pictures.npz     some of its pictures
cells/ID/files/           files that its suite wrote while it ran: videos
flight/ID.lock            lock of a cell under way, held by the process that runs it
flight/claims/ID.N        the process that runs the cell, since when, and its progress; gone when it is finished
flight/ID.pt              state from which a cell under way continues after a crash
flight/ID.files/          files that the cell has written so far; ID.new/ and ID.old/ while it is stored or replaced
flight/ID.archive/        the archive of its memory, in pieces that its state names
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from harness.errors import StoreError
from harness.files import copy, digest, naming, no_links, own, write_text
from harness.store import records
from harness.store.archives import Pieces, remove, save, saved
from harness.store.cells import CELL, FILES, PICTURES, RECORD, Stored, stored
from harness.store.claims import claim, held, lost, manifest_lock, progress
from harness.store.manifest import check_same, first, joined
from harness.store.records import read_manifest
from harness.suite import Sample

Status = records.Status
MANIFEST = "manifest.json"
RESUMABLE = ("oom", "timeout", "failed")
"""Statuses of a cell that may succeed when it is run again, from its last saved state."""


class Store:
    """A campaign's folder. Methods raise StoreError if it cannot be read or belongs to another campaign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = ""
        """Digest of the environment of this process; "" before a run has begun."""

    @property
    def flight(self) -> Path:
        """The folder of locks and of cells under way, for all processes that share the campaign."""
        return self._path("flight")

    def begin(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest, or add a run to the present one; return the resulting manifest.

        Values that determine the numbers of all cells (`SHARED`) must be the same; arms and cells may be added. Cells
        finished from now on are recorded with this run's environment.

        Parameters
        ----------
        manifest
            `name`; `asked`, the request; `environment` of this process; `codes`, the modules of each digest of code;
            `when` the run began. Other keys are kept as the first run gave them.
        """
        self._prepare()
        with manifest_lock(self.flight):
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
        """Raise StoreError, as `begin` would, if the folder belongs to another campaign; nothing is written."""
        if self._path(MANIFEST).exists():
            check_same(self.folder, self.manifest()["asked"], manifest["asked"])

    def join(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Add the runs of other folders' manifests, with their environments and codes, to this folder's manifest."""
        self._prepare()
        with manifest_lock(self.flight):
            known = [self.manifest()] if self._path(MANIFEST).exists() else []
            whole: dict[str, Any] = reduce(joined, [dict(each) for each in (*known, *manifests)])
            write_text(self._path(MANIFEST), json.dumps(whole, indent=1) + "\n")

    def manifest(self) -> dict[str, Any]:
        """Return the manifest. Raises StoreError if it is missing, damaged or of another format."""
        return read_manifest(self._path(MANIFEST))

    def codes(self) -> dict[str, dict[str, str]]:
        """Return the modules of each digest of code; an empty dictionary before a run has begun."""
        return self.manifest()["codes"] if self._path(MANIFEST).exists() else {}

    def find(self, cell: str) -> Stored | None:
        """Return a finished cell, or None where there is none with this id."""
        root = f"{self.folder}/cells"
        try:
            linked = stat.S_ISLNK(os.lstat(f"{root}/{cell}").st_mode)
        except (OSError, ValueError):
            return None
        if linked:
            own(Path(root), cell)
        return stored(root, cell)

    def cells(self) -> Iterator[Stored]:
        """Yield all finished cells in order of their ids."""
        for name in self.numbers():
            yield stored(f"{self.folder}/cells", name)

    def numbers(self) -> dict[str, int]:
        """Return the finished cells in order of their ids, each with a number that changes when it is made again.

        Raises StoreError for a link.
        """
        root = self._path("cells")
        if not root.is_dir():
            return {}
        found = {}
        with os.scandir(root) as entries:
            for each in entries:
                if not each.name.startswith("."):
                    if each.is_symlink():
                        own(root, each.name)
                    found[each.name] = each.inode()
        return dict(sorted(found.items()))

    def claim(self, cell: str, about: Mapping[str, Any] | None = None) -> AbstractContextManager[bool]:
        """Claim a cell while the block runs; False where another process has it. The claim of a dead process ends."""
        return claim(self.flight, cell, about or {})

    def progress(self, cell: str, done: int) -> None:
        """Record how many latent frames are done of a cell that this process has claimed."""
        progress(self.flight, cell, done)

    def lost(self, cell: str) -> bool:
        """Return whether another process has taken over a cell that this process had claimed."""
        return lost(self.flight, cell)

    def held(self) -> dict[str, dict[str, Any]]:
        """Return the current claims by name: the process (pid, host), the time of the claim, and its further facts."""
        return held(self.flight)

    def save(
        self,
        cell: str,
        state: Mapping[str, Any],
        archive: Mapping[str, Tensor] | None = None,
        pieces: Sequence[tuple[str, int]] = (),
    ) -> Pieces:
        """Save the state from which a cell continues after a crash, as `archives.save` does."""
        return save(self._path("flight", f"{cell}.pt"), state, archive or {}, pieces)

    def saved(self, cell: str) -> dict[str, Any] | None:
        """Return the saved state of a cell; None if it is missing or unreadable, so that the cell starts again."""
        return saved(self._path("flight", f"{cell}.pt"))

    def workspace(self, cell: str) -> Path:
        """Return the folder into which a cell under way writes its files; it is not made here."""
        return self._path("flight", f"{cell}.files")

    def finish(
        self,
        cell: str,
        about: Mapping[str, Any],
        samples: Iterable[Sample],
        pictures: Mapping[str, np.ndarray],
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """Store a finished cell with the files of its workspace, atomically; an earlier version of it is replaced.

        files: files by name, of a cell that was finished in another folder; they are copied in place of the workspace.
        """
        final, making = self._path("cells", cell), self._path("flight", f"{cell}.new")
        # Left by a killed process; this one holds the cell's lock. All cells are not listed: there may be very many.
        shutil.rmtree(making, ignore_errors=True)
        (beside := making / uuid.uuid4().hex).mkdir(parents=True)
        try:
            self._fill(beside, cell, about, samples, pictures, files)
        except OSError:
            # Free the room of the incomplete cell; the disk may be full.
            shutil.rmtree(making, ignore_errors=True)
            raise
        self.discard(cell)
        beside.rename(final)
        shutil.rmtree(making, ignore_errors=True)
        if about["status"] in RESUMABLE:
            # A later run continues it from the saved state, which therefore stays.
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
        """Write a cell into a temporary folder. An OSError names the file at its final place."""
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
            # Linked, not moved: if this process dies before the rename, the workspace must still be complete. Pieces of
            # videos are kept only for a cell that is not ok, which may have no whole video.
            parts = shutil.ignore_patterns("*.part.*") if about["status"] == "ok" else None
            shutil.copytree(workspace, beside / FILES, ignore=parts, copy_function=_link)
        sums = {path.name: digest(path) for path in sorted((beside / FILES).glob("*"))}
        told = {"record_sha256": hashlib.sha256(record).hexdigest(), **({"files": sums} if sums else {})}
        made = {"environment": self.environment, "attempt": uuid.uuid4().hex, **about, **told}
        with naming(final / CELL):
            (beside / CELL).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def discard(self, cell: str) -> None:
        """Remove a finished cell."""
        there, old = self._path("cells", cell), self._path("flight", f"{cell}.old")
        if os.path.lexists(there):
            shutil.rmtree(old, ignore_errors=True)
            there.rename(old)
            (os.unlink if old.is_symlink() else shutil.rmtree)(old)

    def _prepare(self) -> None:
        """Make the folders for writing. Raises StoreError where that is impossible, or where one of them is a link."""
        own(self.folder, "cells")
        no_links(self.flight)
        try:
            self.flight.mkdir(parents=True, exist_ok=True)
            self._path("cells").mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write to {self.folder}: {error.strerror}; give --out another place") from None
        for place in (self.flight, self._path("cells")):
            if not os.access(place, os.W_OK | os.X_OK):
                raise StoreError(f"cannot write to {place} from here; all machines of a run must be able to")

    def _path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Some file systems have no links.
        shutil.copy2(source, target)
