"""The worker of a Ray cluster: it holds one device, opens the backbone once, and runs cell after cell."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIECE = 64 * 2**20
"""Bytes of a file that travel as one object."""


@dataclass(frozen=True)
class Job:
    """The job of every worker of a run.

    Parameters
    ----------
    campaign
        The campaign as plain data.
    folder, token
        The campaign's folder at the driver, and what is written in its file `flight/NAME.ray`: a worker that reads the
        same there shares the folder.
    name
        Name of the run.
    code
        Digest of the code of all cells (`harness.engines.sharing.agreement.code_digest`).
    threads
        CPU threads of a worker.
    due
        For the id of each cell that is run, the attempt that it replaces; "" for none.
    options
        Further options of `harness.engines.inline.attempt`.
    """

    campaign: dict[str, Any]
    folder: str
    token: str
    name: str
    code: str
    threads: int
    due: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)


class Worker:
    """Runs cells on one device; made an actor by the driver."""

    def __init__(self, job: Job) -> None:
        import torch

        from harness.campaign.campaign import make_campaign
        from harness.campaign.expansion import cells, manifest
        from harness.engines.inline import prepare
        from harness.engines.sharing.agreement import code_digest
        from harness.store.store import Store

        torch.set_num_threads(job.threads)
        self.job = job
        asked = make_campaign(job.campaign)
        self.backbone = asked.stage()
        planned = cells(asked, self.backbone)
        self.cells = {cell.id: cell for cell in planned}
        self.code = code_digest(planned)
        self.told = manifest(asked, self.backbone, planned, Path(job.folder).name)
        self.shared = self._sees_folder()
        if self.code != job.code:
            # The driver refuses this worker, which therefore must not write anything.
            return
        if self.shared:
            self.store = Store(Path(job.folder))
        else:
            self.aside = tempfile.TemporaryDirectory(prefix="horizon-ray-")
            self.store = Store(Path(self.aside.name, "campaign"))
        self.store.begin(self.told)
        prepare(self.backbone, (self.cells[cell] for cell in job.due if cell in self.cells))

    def _sees_folder(self) -> bool:
        try:
            return Path(self.job.folder, "flight", f"{self.job.name}.ray").read_text(encoding="utf-8") == self.job.token
        except OSError:
            return False

    def about(self) -> dict[str, Any]:
        """Return what the driver must know of this worker: its device and kind of machine, its code and environment."""
        from harness.engines.sharing import devices
        from harness.engines.sharing.agreement import kind_of

        return {
            "device": devices.key(self.backbone.model.device),
            "kind": kind_of(self.backbone),
            "code": self.code,
            "shared": self.shared,
            "environment": self.told["environment"],
            "pid": os.getpid(),
        }

    def run(self, cell: str) -> dict[str, Any]:
        """Run a cell.

        Returns
        -------
        dict
            `state`: "done", or "elsewhere" where another process has claimed it. Without a shared folder also `about`
            and `files`: the contents of `cell.json`, and the other files of the finished cell, in pieces, by path.
        """
        from harness.engines.inline import attempt

        done = attempt(
            self.store, self.backbone, self.cells[cell], self.job.due[cell], name=self.job.name, **self.job.options
        )
        if not done:
            return {"state": "elsewhere"}
        if self.shared:
            return {"state": "done"}
        found = self.store.find(cell)
        assert found is not None
        files = {str(path.relative_to(found.folder)): _pieces(path) for path in _files(found.folder)}
        self.store.discard(cell)
        return {"state": "done", "about": found.about, "files": files}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "cell.json")


def _pieces(path: Path) -> list[Any]:
    """Put a file into the object store in pieces, and return their references."""
    import ray

    found = []
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.append(ray.put(piece))
    return found
