"""The driver of a Ray cluster: it gives cells to workers, and gives those of workers that die to others."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backbone.presets import Backbone
from harness.campaign.campaign import Campaign
from harness.campaign.expansion import Cell
from harness.engines.cell_run import describe
from harness.engines.inline import Done
from harness.engines.ray.actor import Job, Worker
from harness.engines.ray.cluster import connected, size
from harness.engines.sharing.agreement import MOVE, code_digest
from harness.engines.survey import Look
from harness.errors import CampaignError
from harness.files import own, write_text
from harness.store.cells import FILES, Stored
from harness.store.manifest import first
from harness.store.store import Store
from harness.suite import CostSuite

DEATHS = 5
"""Workers that may die on one cell until it counts as failed."""
POLL, AGAIN = 1.0, 0.5
"""Most seconds between two checks of the workers, and seconds until a cell that another process has is tried again."""


@dataclass
class Slot:
    """A worker on one device. ref: reference of the awaited answer; None while it is idle."""

    actor: Any
    ref: Any
    about: dict[str, Any] | None = None
    cell: Cell | None = None


class Driver:
    """Gives the cells of a campaign to workers.

    Parameters
    ----------
    ray
        The module, connected to a cluster.
    store
        The campaign's folder, which has begun.
    backbone
        The opened backbone, for what is stored of a cell whose workers die.
    job
        The job of the workers.
    told
        The manifest of this run.
    workers
        Number of workers.
    done, tell
        Called with every finished cell, and with lines about workers that die.
    """

    def __init__(
        self,
        ray: Any,
        store: Store,
        backbone: Backbone,
        job: Job,
        told: Mapping[str, Any],
        workers: int,
        done: Done,
        tell: Callable[[str], None],
    ) -> None:
        self.ray, self.store, self.backbone, self.job, self.told = ray, store, backbone, job, told
        self.done, self.tell = done, tell
        gpu = str(job.campaign["device"]).startswith("cuda")
        needs = {"num_gpus": 1} if gpu else {"num_cpus": job.threads}
        # A worker that dies is replaced by a new one, which may be on another node.
        self.make = ray.remote(Worker).options(max_restarts=0, **needs)
        self.slots = [self._new() for _ in range(workers)]
        self.deaths: Counter[str] = Counter()
        self.later: list[tuple[float, Cell]] = []
        self.dead: list[str] = []

    def _new(self) -> Slot:
        actor = self.make.remote(self.job)
        return Slot(actor, actor.about.remote())

    def run(self, cells: Sequence[Cell]) -> None:
        """Run cells to their end: first those of quality suites, then those of cost suites, on one kind of machine."""
        for cost in (False, True):
            self.waiting = deque(cell for cell in cells if isinstance(cell.suite, CostSuite) == cost)
            self.cost = cost
            self.kind: dict[str, str] | None = None
            while self.waiting or self.later or any(slot.cell for slot in self.slots):
                self._assign()
                self._await()

    def _assign(self) -> None:
        """Give waiting cells to workers that are free."""
        now = time.monotonic()
        self.waiting.extendleft(cell for when, cell in self.later if when <= now)
        self.later = [each for each in self.later if each[0] > now]
        for slot in self.slots:
            if self.waiting and slot.about is not None and slot.cell is None and self._may(slot):
                slot.cell = self.waiting.popleft()
                slot.ref = slot.actor.run.remote(slot.cell.id)

    def _may(self, slot: Slot) -> bool:
        """Return whether a worker may take the next cell: a device measures one at a time, and all are of one kind."""
        if not self.cost:
            return True
        assert slot.about is not None
        if self.kind is None:
            kinds = Counter(json.dumps(each.about["kind"], sort_keys=True) for each in self.slots if each.about)
            self.kind = json.loads(max(sorted(kinds), key=kinds.__getitem__))
        measuring = {each.about["device"] for each in self.slots if each.about and each.cell}
        return slot.about["kind"] == self.kind and slot.about["device"] not in measuring

    def _await(self) -> None:
        """Wait for the next answer of a worker, and take it."""
        awaited = {slot.ref: slot for slot in self.slots if slot.ref is not None}
        ready, _ = self.ray.wait(list(awaited), num_returns=1, timeout=POLL) if awaited else ([], [])
        if not awaited:
            time.sleep(AGAIN)
        for ref in ready:
            slot = awaited[ref]
            try:
                answer = self.ray.get(ref)
                if slot.cell is not None:
                    self._take(slot.cell, answer)
            except (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError) as error:
                self._died(slot, str(error))
                continue
            slot.ref = None
            if slot.cell is None:
                self._welcome(slot, answer)
            slot.cell = None

    def _welcome(self, slot: Slot, about: dict[str, Any]) -> None:
        """Let a worker that has started take cells. Raises CampaignError if it has other code than the driver."""
        if about["code"] != self.job.code:
            commit = ((about["environment"].get("code") or {}).get("commit") or "unknown")[:12]
            raise CampaignError(
                f"{about['environment'].get('machine')}, a node of this cluster, has other code (commit {commit}) than "
                f"the driver: {MOVE}"
            )
        if not about["shared"]:
            self.store.join([first({**self.told, "environment": about["environment"]})])
        slot.about = about

    def _take(self, cell: Cell, answer: Mapping[str, Any]) -> None:
        """Take the answer to a cell: it is done, or another process has it."""
        if answer["state"] == "elsewhere":
            found = self.store.find(cell.id)
            if found is None or found.about["attempt"] == self.job.due[cell.id]:
                self.later.append((time.monotonic() + AGAIN, cell))
                return
        elif "about" in answer:
            self._bring(cell, answer)
        self._told(cell)

    def _told(self, cell: Cell) -> None:
        found = self.store.find(cell.id)
        if found is not None:
            self.done(cell, found.status, found.about["reason"], False)

    def _bring(self, cell: Cell, answer: Mapping[str, Any]) -> None:
        """Store a cell whose files have come by the object store, piece by piece."""
        folder = own(self.store.flight, f"{cell.id}.came")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            for name, pieces in answer["files"].items():
                path = own(folder, *Path(name).parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    for piece in pieces:
                        file.write(self.ray.get(piece))
            came = Stored(cell.id, str(folder), dict(answer["about"]))
            files = {file: folder / FILES / file for file in came.about.get("files", {})}
            with self.store.claim(cell.id) as mine:
                if mine:
                    self.store.finish(cell.id, came.about, came.samples(), came.pictures(), files)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _died(self, slot: Slot, error: str) -> None:
        """Put a new worker in the place of one that has died, and its cell in front of the others."""
        place = self.slots.index(slot)
        host = (slot.about or {}).get("environment", {}).get("machine", "a node that it had not reached")
        last = (error.strip().splitlines() or ["no message"])[-1].strip()
        name = f"worker {place + 1} of {len(self.slots)}"
        self.dead.append(name)
        self.tell(f"{name} on {host} died: {last}")
        self.slots[place] = self._new()
        if slot.cell is None:
            if self.dead.count(name) > DEATHS and slot.about is None:
                raise CampaignError(f"{name} cannot start: {last}")
            return
        self.deaths[slot.cell.id] += 1
        if self.deaths[slot.cell.id] < DEATHS:
            self.waiting.appendleft(slot.cell)
            return
        reason = f"its worker died {DEATHS} times: {last}"
        about: dict[str, Any] = {"status": "failed", "reason": reason, "cost": {}, "run": self.job.name}
        self.store.finish(slot.cell.id, {**describe(slot.cell, self.backbone), **about}, (), {})
        self._told(slot.cell)


def run_on_ray(
    address: str | None,
    asked: Campaign,
    threads: int,
    store: Store,
    backbone: Backbone,
    looks: Sequence[Look],
    told: Mapping[str, Any],
    name: str,
    options: Mapping[str, Any],
    done: Done,
    tell: Callable[[str], None],
) -> list[str]:
    """Run the cells of a campaign on a cluster of Ray, and return the names of the workers that died.

    Parameters
    ----------
    address
        Address of the cluster; None for one on this machine.
    asked
        The campaign.
    threads
        CPU threads of each worker, which takes as many cores where there are no GPUs.
    store, backbone
        The campaign's folder, which has begun, and the opened backbone.
    looks
        All cells, in their order, with what is done with each.
    told
        The manifest of this run.
    name
        Name of the run.
    options
        Options of `harness.engines.inline.run_cell`: timeout, save_every and lossless.
    done, tell
        Called with every cell, and with lines about workers that die.
    """
    for look in looks:
        found = None if look.due else store.find(look.cell.id)
        if found is not None:
            done(look.cell, found.status, found.about["reason"], True)
    due = [look.cell for look in looks if look.due]
    token = uuid.uuid4().hex
    mark = own(store.flight, f"{name}.ray")
    job = Job(
        asked.model_dump(), str(store.folder.resolve()), token, name, code_digest([look.cell for look in looks]),
        threads, {look.cell.id: look.attempt for look in looks if look.due}, dict(options),
    )  # fmt: skip
    with connected(address) as ray:
        count = size(ray.cluster_resources(), asked.device, asked.workers, threads)
        write_text(mark, token)
        try:
            driver = Driver(ray, store, backbone, job, told, min(count, max(len(due), 1)), done, tell)
            driver.run(due)
        finally:
            mark.unlink(missing_ok=True)
    return driver.dead
