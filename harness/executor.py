"""Runs the cells of a campaign, one after the other, in this process; any number of processes may share a campaign."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from harness.backbone.presets import Backbone
from harness.budget import FAR
from harness.campaign import Cell
from harness.errors import HorizonError, HorizonTooLongError
from harness.measuring import Outcome, measured
from harness.noise import PairedNoise
from harness.rollout import rollout
from harness.store import Status, Store
from harness.suite import CostSuite, Place, QualitySuite, Row
from harness.switches import SwitchMeter
from harness.workbench import watched

SAVE_EVERY = 10.0
"""Seconds of computing after which a cell's state is saved."""
LARGE, SAVING_SHARE = 1.0, 0.05
"""Seconds from which saving a state is no trifle, and the most of the time that is then spent on it."""
ALONE = "alone"
"""What a process claims to measure a cell of a `CostSuite`."""
START = 5.0
"""Seconds that a process needs before it can measure anything, about."""
POLL = 0.5
"""Seconds between looks at cells that another process has."""


@dataclass(frozen=True)
class Progress:
    """Where a cell is: latent frames that are done, of all its rollouts, in this process."""

    cell: Cell
    frames: int


Report = Callable[[Progress], None]


def run(
    store: Store,
    backbone: Backbone,
    cells: Sequence[Cell],
    *,
    retry: Sequence[Status] = (),
    timeout: float | None = None,
    save_every: float = SAVE_EVERY,
    lossless: bool = False,
    report: Report = lambda progress: None,
    done: Callable[[Cell, Status, str], None] = lambda cell, status, reason: None,
) -> None:
    """Run what is not there yet; cells that another process has are waited for, and taken over if it dies.

    Cells of a `CostSuite` come last and one at a time, also where several processes share the campaign: while one is
    measured nothing else of it runs.
    retry: statuses of finished cells that are run again. timeout: seconds a cell. done: told of every cell, also of
    those that were there or that another process ran. lossless: also keep videos without loss.
    """
    again = {cell.id for cell in cells if (found := store.find(cell.id)) and found.status in retry}
    waiting = [cell for cell in cells if cell.skip is None and (cell.id in again or store.find(cell.id) is None)]
    # Once for all of them: what encodes prompts may be larger than what draws.
    backbone.prepare(text for cell in waiting for row in cell.task.rows for _, text in row.script)
    pending, later = ([cell for cell in cells if isinstance(cell.suite, CostSuite) == cost] for cost in (False, True))
    while pending or later:
        if not pending:
            pending, later = later, []
        elsewhere = []
        for cell in pending:
            found = store.find(cell.id)
            if found is None or cell.id in again:
                with store.claim(ALONE if isinstance(cell.suite, CostSuite) else cell.id) as mine:
                    if not mine:
                        elsewhere.append(cell)
                        continue
                    # Another process may have finished it between the look and the claim.
                    if store.find(cell.id) is None or cell.id in again:
                        again.discard(cell.id)
                        run_cell(
                            store,
                            backbone,
                            cell,
                            timeout=timeout,
                            save_every=save_every,
                            lossless=lossless,
                            report=report,
                        )
                found = store.find(cell.id)
            if found is not None:
                done(cell, found.status, found.about["reason"])
        pending = elsewhere
        if pending:
            time.sleep(POLL)


def run_cell(
    store: Store,
    backbone: Backbone,
    cell: Cell,
    *,
    timeout: float | None = None,
    save_every: float = SAVE_EVERY,
    lossless: bool = False,
    report: Report = lambda progress: None,
) -> None:
    """Run one cell to its end and put it into the store, whatever becomes of it."""
    if isinstance(cell.suite, CostSuite) and cell.skip is None:
        outcome = measured(cell, backbone, timeout)
        keep(store, backbone, cell, outcome)
        report(Progress(cell, cell.task.frames))
        return
    flight = _Flight(store, backbone, cell, save_every, report, lossless)
    status: Status = "skipped"
    reason = cell.skip or ""
    if cell.skip is None:
        try:
            status, reason = flight.fly(timeout)
        except (torch.OutOfMemoryError, MemoryError) as error:
            status, reason = "oom", _first_line(error)
        except HorizonTooLongError as error:
            status, reason = "oom", str(error)
        except HorizonError as error:
            status, reason = "failed", str(error)
        except RuntimeError as error:
            # torch has no class of its own for a CPU that is out of memory.
            status = "oom" if "not enough memory" in str(error) else "failed"
            reason = f"{type(error).__name__}: {_first_line(error)}"
        except Exception as error:
            status, reason = "failed", f"{type(error).__name__}: {_first_line(error)}"
    good = status == "ok"
    observer = flight.observer
    store.finish(
        cell.id,
        {**describe(cell, backbone), "status": status, "reason": reason, "cost": flight.cost() if good else {}},
        observer.samples() if good and observer else (),
        observer.pictures() if good and observer else {},
    )


def keep(store: Store, backbone: Backbone, cell: Cell, outcome: Outcome) -> None:
    """Put a cell of a `CostSuite` into the store, with what came of it."""
    about = {"status": outcome.status, "reason": outcome.reason, "cost": {}, "machine": outcome.machine}
    store.finish(cell.id, {**describe(cell, backbone), **about}, outcome.samples, {})


def estimate(cell: Cell, backbone: Backbone, chunks: int = 6) -> tuple[float, int]:
    """Seconds and bytes on disk that a cell is about to take, from a few chunks of it."""
    task = cell.task
    if isinstance(cell.suite, CostSuite):
        few = replace(task, frames=2 * chunks * backbone.chunk, rows=tuple(_first_scene(row) for row in task.rows))
        began = time.monotonic()
        cell.suite.measure(backbone, cell.arm.strategy, few, time.time())
        seconds = (time.monotonic() - began) * task.frames / few.frames
        return START + seconds, 60 * 3 * task.frames // backbone.chunk + 5_000
    short = replace(cell, task=replace(task, frames=min(task.frames, task.given + chunks * backbone.chunk)))
    rows = tuple(_first_scene(row) for row in short.task.rows)
    flight = _Flight(None, backbone, replace(short, task=replace(short.task, rows=rows)), float("inf"), lambda _: None)
    flight.fly(None)
    left = (task.frames - task.given) / backbone.chunk
    done = len(flight.chunk_seconds)
    written = sum(path.stat().st_size for path in flight.place.folder.rglob("*.*") if ".part." not in path.name)
    flight.aside.cleanup()
    record = 60 * len(cell.suite.metrics) * len(task.rows) * (20 + task.frames // 240) + 200_000
    return sum(flight.spent.values()) / done * left, int(record + written / done * left)


def _first_scene(row: Row) -> Row:
    return replace(row, script=row.script[:1])


def describe(cell: Cell, backbone: Backbone) -> dict[str, Any]:
    """What `cell.json` says of a cell, apart from how it went."""
    return {
        "backbone": backbone.name,
        "strategy": cell.arm.name,
        "knobs": cell.arm.strategy.knobs(),
        "weights": None if cell.arm.weights is None else asdict(cell.arm.weights),
        "suite": cell.suite.name,
        "suite_version": cell.suite.version,
        "skipped_metrics": dict(cell.suite.skipped()),
        "seconds_per_latent_frame": 1 / backbone.latents_per_second,
        "pictures_per_second": backbone.codec.frames_per_second if backbone.codec else None,
        "pictures_per_latent": backbone.pictures_per_latent,
        "task": asdict(cell.task),
    }


class _Flight:
    """One cell under way."""

    def __init__(
        self,
        store: Store | None,
        backbone: Backbone,
        cell: Cell,
        save_every: float,
        report: Report,
        lossless: bool = False,
    ) -> None:
        self.store, self.backbone, self.cell, self.lossless = store, backbone, cell, lossless
        self.save_every, self.report = save_every, report
        self.observer: Any = None
        self.chunk_seconds: list[float] = []
        self.switches: list[dict[str, float]] = []
        self.spent = {"rollout": 0.0, "suite": 0.0, "saving": 0.0}

    def fly(self, timeout: float | None) -> tuple[Status, str]:
        backbone, task, suite = self.backbone, self.cell.task, self.cell.suite
        assert backbone.text is not None
        assert isinstance(suite, QualitySuite)
        self.place = self._place()
        self.observer = suite.observer(backbone, task, self.place)
        latents = suite.given(backbone, task)
        initial = None if task.forced else latents
        saved = self.store.saved(self.cell.id) if self.store else None
        if saved is not None:
            self.observer.load_state_dict(saved["observer"])
            self.chunk_seconds, self.spent = list(saved["chunk_seconds"]), dict(saved["spent"])
            self.switches = list(saved["switches"])
        elif initial is not None:
            self.observer.see(initial, 0)
        texts = [[text for _, text in row.script] for row in task.rows]
        scenes = range(1, len(texts[0]))
        starts = [start for start, _ in task.rows[0].script]
        spoken = [[row[scene] for row in texts] for scene in range(len(texts[0]))]
        strategy = self.cell.arm.strategy
        if scenes:
            strategy = watched(strategy, partial(SwitchMeter, notes=self.switches))
        chunks = rollout(
            backbone,
            strategy,
            prompts=backbone.text(spoken[0]),
            latent_frames=task.frames,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(row.seed, row.script[0][1]) for row in task.rows]),
            switches=[
                (starts[scene], backbone.text(spoken[scene]), task.boundaries[scene], spoken[scene]) for scene in scenes
            ],
            initial=initial,
            forced=latents if task.forced else None,
            texts=spoken[0],
            encode=backbone.text,
            resume=None if saved is None else saved["rollout"],
        )
        del saved
        began = mark = saved_at = time.monotonic()
        saving = 0.0
        while True:
            chunk = next(chunks, None)
            now = time.monotonic()
            if chunk is None:
                return "ok", ""
            self.chunk_seconds.append(now - mark)
            self.spent["rollout"] += now - mark
            if not bool(chunk.latents.isfinite().all()):
                return "nan", f"latents are not finite from latent frame {chunk.start} on"
            self.observer.see(chunk.latents, chunk.start)
            self.report(Progress(self.cell, chunk.latents.shape[1] * len(task.rows)))
            seen = time.monotonic()
            self.spent["suite"] += seen - now
            if timeout is not None and seen - began > timeout:
                return "timeout", f"longer than {timeout:g} s; {chunk.start} of {task.frames} latent frames were done"
            if seen - saved_at >= max(self.save_every, saving / SAVING_SHARE if saving > LARGE else 0):
                self._save(chunk.state())
                saved_at = time.monotonic()
                saving = saved_at - seen
            mark = time.monotonic()
            self.spent["saving"] += mark - seen

    def _place(self) -> Place:
        """Where the suite writes its files; without a store, a folder that goes with this flight."""
        arm = self.cell.arm
        about = {"strategy": arm.name, "knobs": arm.strategy.knobs(), "cell": self.cell.id}
        if self.store is None:
            self.aside = TemporaryDirectory(prefix="horizon-")
            return Place(Path(self.aside.name), about)
        return Place(self.store.workspace(self.cell.id), {"campaign": self.store.folder.name, **about}, self.lossless)

    def _save(self, state: dict[str, Any]) -> None:
        assert self.store is not None
        self.store.save(
            self.cell.id,
            {
                "rollout": state,
                "observer": self.observer.state_dict(),
                "chunk_seconds": self.chunk_seconds,
                "switches": self.switches,
                "spent": self.spent,
            },
        )

    def cost(self) -> dict[str, Any]:
        """What the cell cost: times as they came, without the care that a benchmark takes; bytes on paper."""
        strategy = self.cell.arm.strategy
        spec = strategy.adapt(self.backbone).memory_spec()
        frames = FAR if strategy.bounded else self.cell.task.frames
        return {
            "chunk_ms": 1000 * median(self.chunk_seconds),
            "switches": self.switches,
            "cache_bytes": strategy.footprint(spec, frames),
            "seconds": self.spent,
        }


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
