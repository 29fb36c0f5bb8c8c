"""The engine that runs cells one after the other in this process; any number of processes may share a campaign."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from harness.backbone.presets import Backbone
from harness.campaign.expansion import Cell
from harness.engines.cell_run import SAVE_EVERY, Flight, Progress, Report, describe
from harness.engines.isolated import Outcome, measured
from harness.engines.outcome import is_full, outcome_of
from harness.engines.sharing import devices
from harness.engines.sharing.agreement import measures_here
from harness.engines.survey import Look, survey
from harness.errors import StoreError
from harness.store.claims import alone
from harness.store.records import not_finite
from harness.store.store import Status, Store
from harness.suite import CostSuite

__all__ = ["Done", "Look", "attempt", "keep", "prepare", "run", "run_cell", "survey"]

POLL = 0.5
"""Seconds between checks of cells that another process has claimed."""


TAKEN_OVER = (
    "this process stood still for so long that another machine has taken over its cell; what it made of it is dropped"
)


Done = Callable[[Cell, Status, str, bool], None]
"""Called with a cell, its status and reason, and whether it was kept from before this run."""


def run(
    store: Store,
    backbone: Backbone,
    cells: Sequence[Cell],
    *,
    retry: Sequence[Status] = (),
    keep_stale: bool = False,
    timeout: float | None = None,
    save_every: float = SAVE_EVERY,
    lossless: bool = False,
    name: str | None = None,
    threads: int | None = None,
    report: Report = lambda progress: None,
    done: Done = lambda cell, status, reason, kept: None,
) -> None:
    """Run the cells that are missing or stale.

    If another process has claimed a cell, this process waits for it, and takes the cell over if that process dies.
    Cells of a `CostSuite` come last, after all other cells of all processes, and on each device one at a time.

    Parameters
    ----------
    store
        The campaign's folder.
    backbone
        The opened backbone.
    cells
        All cells, in the order in which they run.
    retry
        Statuses of finished cells that are run again, once.
    keep_stale
        Keep cells that were made by other code.
    timeout
        Seconds for each cell.
    save_every
        Seconds between saved states of a cell.
    lossless
        Also keep lossless videos.
    name
        Name of the run, if several processes share it; a cell that one of them has finished is not run again, and all
        cells of a `CostSuite` are measured by one kind of machine.
    threads
        CPU threads with which cells of a `CostSuite` are measured; None for those of this process.
    report
        Called after every chunk.
    done
        Called after every cell.
    """
    run_name = name or uuid.uuid4().hex
    due = {each.cell.id: each.attempt for each in survey(store, cells, retry, keep_stale, run_name) if each.due}
    prepare(backbone, (cell for cell in cells if cell.id in due))
    pending, later = ([cell for cell in cells if isinstance(cell.suite, CostSuite) == cost] for cost in (False, True))
    kept = {cell.id for cell in cells if cell.id not in due}

    def told(cell: Cell) -> bool:
        """Call `done` for a cell that is finished, by this process or another one; return whether it is."""
        found = store.find(cell.id)
        if found is None or found.about["attempt"] == due.get(cell.id):
            return False
        done(cell, found.status, found.about["reason"], cell.id in kept)
        return True

    asked = time.monotonic()
    while pending or later:
        if not pending:
            pending, later = later, []
            kind = measures_here(store, name, backbone) if name is not None else None
            if kind is not None:
                report(Progress(pending[0], 0, f"cells of cost suites are left to machines of one kind: {kind}"))
                return
        elsewhere: list[Cell] = []
        for cell in pending:
            if cell.id in due:
                mine = attempt(
                    store, backbone, cell, due[cell.id], timeout=timeout, save_every=save_every, lossless=lossless,
                    name=run_name, threads=threads, report=report,
                )  # fmt: skip
                if not mine:
                    elsewhere.append(cell)
                    continue
                del due[cell.id]
            told(cell)
            # So that the progress of this process is that of the whole campaign. Not after every cell: a worker that
            # passes over thousands of finished cells would ask again each time for those of all other workers.
            if time.monotonic() - asked >= POLL:
                elsewhere = [each for each in elsewhere if not told(each)]
                asked = time.monotonic()
        pending = elsewhere
        if pending:
            time.sleep(POLL)


def attempt(store: Store, backbone: Backbone, cell: Cell, before: str, **options: Any) -> bool:
    """Claim a cell and run it, unless another process has finished it since the survey.

    Parameters
    ----------
    store, backbone, cell
        The campaign's folder, the opened backbone and the cell.
    before
        Attempt of the cell that this one replaces; "" for none.
    **options
        Options of `run_cell`.

    Returns
    -------
    bool
        Whether the cell is done; False where another process has claimed it, or the device for measuring.
    """
    device = devices.key(backbone.model.device)
    with ExitStack() as stack:
        if not all(stack.enter_context(store.claim(*claim)) for claim in _claims(cell, device)):
            return False
        found = store.find(cell.id)
        if found is None or found.about["attempt"] == before:
            with _room(store):
                run_cell(store, backbone, cell, **options)
        return not store.lost(cell.id)


def prepare(backbone: Backbone, cells: Iterable[Cell]) -> None:
    """Encode the prompts of all cells at once: the text encoder may be larger than the model."""
    waiting = [cell for cell in cells if cell.skip is None]
    backbone.prepare(text for cell in waiting for row in cell.task.rows for _, text in row.script)


def _claims(cell: Cell, device: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what a process claims to run a cell: the cell, and before it the device where the cell is measured."""
    if isinstance(cell.suite, CostSuite):
        yield alone(device), {}
    about = {"cell": cell.id, "arm": cell.arm.label, "suite": cell.suite.name, "frames": cell.task.frames}
    yield cell.id, {**about, "code": "" if cell.code is None else cell.code.all.digest}


@contextmanager
def _room(store: Store) -> Iterator[None]:
    """Raise StoreError where the disk is full: that is no failure of the cell, and the next one would have no room."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise StoreError(
            f"{error.filename or store.folder}: {error.strerror}; make room there and run the same command again, "
            "which keeps what is finished"
        ) from None


def run_cell(
    store: Store,
    backbone: Backbone,
    cell: Cell,
    *,
    timeout: float | None = None,
    save_every: float = SAVE_EVERY,
    lossless: bool = False,
    name: str = "",
    threads: int | None = None,
    report: Report = lambda progress: None,
) -> None:
    """Run one cell and store it, also if it fails. Parameters are as in `run`.

    Raises OSError where the disk is full; the cell is then not stored.
    """
    began = time.monotonic()
    if isinstance(cell.suite, CostSuite) and cell.skip is None:
        device = devices.key(backbone.model.device)
        with _threads(threads):
            outcome = measured(cell, backbone, timeout, store.flight / alone(device))
        keep(store, backbone, cell, outcome, name, time.monotonic() - began)
        report(Progress(cell, cell.task.frames))
        return
    flight = Flight(store, backbone, cell, save_every, report, lossless)
    status: Status = "skipped"
    reason = cell.skip or ""
    if cell.skip is None:
        try:
            status, reason = flight.fly(timeout)
        except Exception as error:
            if is_full(error):
                raise
            status, reason = outcome_of(error)
    observer = flight.observer
    samples = observer.samples() if status == "ok" and observer else []
    wrong = not_finite(samples)
    if wrong is not None:
        status, reason = "nan", wrong
    good = status == "ok"
    about: dict[str, Any] = {"status": status, "reason": reason, "cost": flight.cost() if good else {}, "run": name}
    about["seconds"] = round(time.monotonic() - began, 3)
    if flight.began_in:
        about["began_in"] = flight.began_in
    if store.lost(cell.id):
        report(Progress(cell, 0, TAKEN_OVER))
        return
    store.finish(
        cell.id,
        {**describe(cell, backbone), **about},
        samples if good else (),
        observer.pictures() if good and observer else {},
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Set the number of CPU threads of this process while the block runs; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep(
    store: Store, backbone: Backbone, cell: Cell, outcome: Outcome, name: str = "", seconds: float | None = None
) -> None:
    """Store a cell of a `CostSuite` with its outcome.

    Parameters
    ----------
    store, backbone, cell
        The campaign's folder, the opened backbone and the cell.
    outcome
        The result of the measurement.
    name
        Name of the run.
    seconds
        Seconds that the cell took; None where they were not measured.
    """
    wrong = not_finite(outcome.samples)
    if wrong is not None:
        outcome = outcome._replace(status="nan", reason=wrong, samples=[])
    about = {
        "status": outcome.status,
        "reason": outcome.reason,
        "cost": {},
        "machine": outcome.machine,
        "run": name,
        "seconds": None if seconds is None else round(seconds, 3),
    }
    store.finish(cell.id, {**describe(cell, backbone), **about}, outcome.samples, {})
