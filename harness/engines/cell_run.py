"""The run of one cell of a quality suite: its rollout, its observer, saved states, and resumption after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from harness.backbone.presets import Backbone
from harness.campaign.expansion import Cell
from harness.films.small import SmallFilm
from harness.memory.budget import full_bytes
from harness.memory.knobs import changed_fields, knobs_in_full
from harness.rollout import Chunk
from harness.rollout.state import ARCHIVE
from harness.rollout.task_rollout import rollout_of
from harness.store.archives import Pieces
from harness.store.store import Status, Store
from harness.suite import Place, QualitySuite

SAVE_EVERY = 10.0
"""Seconds of computing after which a cell's state is saved."""
LARGE, SAVING_SHARE = 1.0, 0.05
"""Seconds above which saving a state takes long, and the largest share of the time that is then spent on it."""


@dataclass(frozen=True)
class Progress:
    """The progress of a cell.

    frames: latent frames of all its rollouts since the last report. trouble: a warning for the user, or "".
    """

    cell: Cell
    frames: int
    trouble: str = ""


Report = Callable[[Progress], None]


class Flight:
    """The run of one cell."""

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
        self.began_in: list[str] = []  # all environments, in order, of a cell that was resumed in another one
        self.spent = {"rollout": 0.0, "suite": 0.0, "saving": 0.0}
        self.pieces: Pieces = []  # pieces of the memory's archive on disk
        self.film: SmallFilm | None = None

    def fly(self, timeout: float | None) -> tuple[Status, str]:
        """Roll the cell out to its end. Return its status, and the reason where that is not "ok"."""
        chunks = self._started()
        began = mark = saved_at = time.monotonic()
        saving = 0.0
        while True:
            chunk = next(chunks, None)
            now = time.monotonic()
            if chunk is None:
                if self.film is not None:
                    self.film.write(self.place.folder)
                return "ok", ""
            self.chunk_seconds.append(now - mark)
            self.spent["rollout"] += now - mark
            if not bool(chunk.latents.isfinite().all()):
                return "nan", f"latents are not finite from latent frame {chunk.start} on"
            self._see(chunk)
            seen = time.monotonic()
            self.spent["suite"] += seen - now
            if timeout is not None and seen - began > timeout:
                done = f"{chunk.start} of {self.cell.task.frames} latent frames were done"
                return "timeout", f"longer than {timeout:g} s; {done}"
            if seen - saved_at >= max(self.save_every, saving / SAVING_SHARE if saving > LARGE else 0):
                self._keep(chunk)
                saved_at = time.monotonic()
                saving = saved_at - seen
            mark = time.monotonic()
            self.spent["saving"] += mark - seen

    def _started(self) -> Iterator[Chunk]:
        """Open the observer, load the saved state if there is one, and return the remaining chunks."""
        backbone, task, suite = self.backbone, self.cell.task, self.cell.suite
        assert isinstance(suite, QualitySuite)
        self.place = self._place()
        self.observer = suite.observer(backbone, task, self.place)
        latents = suite.given(backbone, task)
        self._begin_film()
        saved = self._saved()
        if saved is not None:
            self.observer.load_state_dict(saved["observer"])
            # States of older versions contain no small film, and a film without its beginning is not kept.
            if self.film is not None and "film" in saved:
                self.film.load_state_dict(saved["film"])
            else:
                self.film = None
            self.chunk_seconds, self.spent = list(saved["chunk_seconds"]), dict(saved["spent"])
            self.switches, self.pieces = list(saved["switches"]), list(saved["pieces"])
        elif latents is not None and not task.forced:
            self.observer.see(latents, 0)
            if self.film is not None:
                self.film.see(latents)
        return rollout_of(
            backbone,
            self.cell.arm.strategy,
            task,
            given=latents,
            resume=None if saved is None else saved["rollout"],
            switches=self.switches,
        )

    def _see(self, chunk: Chunk) -> None:
        """Pass a chunk to the observer, and report the progress."""
        self.observer.see(chunk.latents, chunk.start)
        if self.film is not None:
            self.film.see(chunk.latents)
        self.report(Progress(self.cell, chunk.latents.shape[1] * len(self.cell.task.rows)))

    def _begin_film(self) -> None:
        """Begin a small film where the world is known: suites keep few pictures there, as they measure attributes."""
        codec, task = self.backbone.codec, self.cell.task
        if self.store is not None and self.backbone.world is not None and codec is not None and not task.forced:
            pictures = self.backbone.pixel_frames(task.frames)
            self.film = SmallFilm(codec.decoder(), pictures, codec.frames_per_second)

    def _place(self) -> Place:
        """Return the place of the suite's files; without a store, a folder that is deleted with this object."""
        arm = self.cell.arm
        about = {"strategy": arm.name, "knobs": arm.strategy.knobs(), "cell": self.cell.id}
        if self.store is None:
            self.aside = TemporaryDirectory(prefix="horizon-")
            return Place(Path(self.aside.name), about)
        return Place(self.store.workspace(self.cell.id), about, self.lossless)

    def _saved(self) -> dict[str, Any] | None:
        """Return the saved state; None if there is none, or if other code made it, since one rollout has one code."""
        saved = self.store.saved(self.cell.id) if self.store else None
        if saved is None or saved.get("code") != self._code():
            return None
        saved["rollout"][ARCHIVE] = saved.pop("archive")
        here = self.store.environment if self.store else ""
        self.began_in = list(dict.fromkeys([*saved["environments"], here]))
        if self.began_in == [here]:
            self.began_in = []
        return saved

    def _code(self) -> str:
        return "" if self.cell.code is None else self.cell.code.all.digest

    def _keep(self, chunk: Chunk) -> None:
        """Save the state after a chunk; where the disk is full, report it and continue without saved states."""
        assert self.store is not None
        if self.store.lost(self.cell.id):
            # The process that has taken over saves its own state.
            return
        try:
            self._save(self.store, chunk.state())
            self.store.progress(self.cell.id, chunk.start + chunk.latents.shape[1])
        except OSError as error:
            trouble = (
                f"states of unfinished cells cannot be saved in {self.store.flight} ({error.strerror}); the run "
                "continues without them"
            )
            self.report(Progress(self.cell, 0, trouble))

    def _save(self, store: Store, state: dict[str, Any]) -> None:
        archive = state.pop(ARCHIVE)
        self.pieces = store.save(
            self.cell.id,
            {
                "code": self._code(),
                "environments": self.began_in or [store.environment],
                "rollout": state,
                "observer": self.observer.state_dict(),
                **({} if self.film is None else {"film": self.film.state_dict()}),
                "chunk_seconds": self.chunk_seconds,
                "switches": self.switches,
                "spent": self.spent,
            },
            archive,
            self.pieces,
        )

    def cost(self) -> dict[str, Any]:
        """Return the cost of the cell: times that were not measured in isolation, and planned bytes."""
        strategy = self.cell.arm.strategy
        spec = strategy.adapt(self.backbone).memory_spec()
        held = full_bytes(strategy, spec) if strategy.bounded else strategy.footprint(spec, self.cell.task.frames)
        return {
            "chunk_ms": 1000 * median(self.chunk_seconds),
            "switches": self.switches,
            "cache_bytes": held,
            "archive_bytes": strategy.archive_bytes(spec, self.cell.task.frames),
            "seconds": self.spent,
        }


def describe(cell: Cell, backbone: Backbone) -> dict[str, Any]:
    """Return the entries of `cell.json` that do not depend on the result."""
    return {
        "backbone": backbone.name,
        "strategy": cell.arm.name,
        "arm": cell.arm.label,
        "knobs": cell.arm.strategy.knobs(),
        "knobs_set": changed_fields(cell.arm.strategy),
        "knobs_in_full": knobs_in_full(cell.arm.strategy),
        "code": None if cell.code is None else cell.code.record(),
        "weights": None if cell.arm.weights is None else asdict(cell.arm.weights),
        "suite": cell.suite.name,
        "suite_version": cell.suite.version,
        "skipped_metrics": dict(cell.suite.skipped()),
        "seconds_per_latent_frame": 1 / backbone.latents_per_second,
        "pictures_per_second": backbone.codec.frames_per_second if backbone.codec else None,
        "pictures_per_latent": backbone.pictures_per_latent,
        "chunk": [1 if backbone.independent_first_frame else backbone.chunk, backbone.chunk],
        "task": asdict(cell.task),
    }
