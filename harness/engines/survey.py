"""What a run does with each cell of a campaign: whether it is new, kept, stale, or repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.campaign.expansion import Cell
from harness.provenance.staleness import Codes, stale
from harness.store.cells import Stored
from harness.store.store import Status, Store


@dataclass(frozen=True)
class Look:
    """The decision about a cell before a run.

    Parameters
    ----------
    cell
        The cell.
    state
        "new", "kept", "stale" (made by other code) or "again" (repeated because of its status).
    attempt
        Attempt of the finished cell; "" where there is none.
    reasons
        Why it is stale, also for a stale cell that is kept.
    """

    cell: Cell
    state: Literal["new", "kept", "stale", "again"]
    attempt: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def due(self) -> bool:
        """Whether the cell is run."""
        return self.state != "kept"


def survey(
    store: Store, cells: Sequence[Cell], retry: Sequence[Status] = (), keep_stale: bool = False, name: str = ""
) -> list[Look]:
    """Return what `run` would do with each cell, for the same arguments; nothing is run."""
    codes = store.codes()
    return [_look(store.find(cell.id), cell, codes, retry, keep_stale, name) for cell in cells]


def _look(found: Stored | None, cell: Cell, codes: Codes, retry: Sequence[Status], keep_stale: bool, name: str) -> Look:
    if found is None:
        return Look(cell, "new")
    attempt, about = found.about["attempt"], found.about
    if name and about.get("run") == name:
        # Another process of this run has just finished it.
        return Look(cell, "kept", attempt)
    reasons = tuple(stale(about, codes, cell.arm.strategy, cell.code))
    if found.status in retry:
        return Look(cell, "again", attempt, reasons)
    return Look(cell, "stale" if reasons and not keep_stale else "kept", attempt, reasons)
