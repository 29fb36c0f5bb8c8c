"""The status of a campaign: cells by state, the processes at work, and the expected time of the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import StoreError
from harness.provenance.staleness import Today
from harness.store.cells import Stored
from harness.store.sample_lines import uncollected
from harness.store.store import MANIFEST, Store

WAITING, RUNNING, STALE = "waiting", "running", "stale"
ORDER = ("ok", STALE, RUNNING, WAITING, "skipped", "failed", "oom", "nan", "timeout")
"""Order of the states in reports: those above, and the statuses of finished cells."""

NEEDED = {"cell", "arm", "suite", "frames"}
"""Keys of a claim on a cell."""


@dataclass(frozen=True)
class Held:
    """A cell under way.

    Parameters
    ----------
    cell, arm, suite
        Its id, arm and suite.
    pid, host
        The process that runs it.
    seconds
        Seconds since that process claimed it.
    done, frames
        Finished latent frames, and latent frames in all.
    """

    cell: str
    arm: str
    suite: str
    pid: int
    host: str
    seconds: float
    done: int
    frames: int


@dataclass(frozen=True)
class Status:
    """The status of a campaign.

    Parameters
    ----------
    counts
        Number of cells by state.
    stale
        Number of stale cells by reason.
    troubles
        Number of cells that ended without numbers, by (status, reason).
    held
        Cells under way.
    seconds_left
        Expected seconds until all cells are done; None while no cell has been finished or no process is at work.
    machines
        Number of finished cells by the machine that has run them.
    frames
        Finished latent frames of all rollouts, those of cells under way included.
    """

    counts: Mapping[str, int]
    stale: Mapping[str, int]
    troubles: Mapping[tuple[str, str], int]
    held: list[Held]
    seconds_left: float | None
    machines: Mapping[str, int] = field(default_factory=dict)
    frames: int = 0

    @property
    def over(self) -> bool:
        """Whether no cell is left to run."""
        return not {RUNNING, WAITING, STALE} & set(self.counts)


Known = dict[str, tuple[int, Stored]]
"""The finished cells that a look has read, by id, with the number of the folder that each was read from."""


def status(store: Store, now: float | None = None, known: Known | None = None) -> Status:
    """Return the status of a campaign. Raises StoreError for a folder without a campaign.

    Parameters
    ----------
    store
        The campaign's folder.
    now
        The present time as of `time.time`, by default the clock's.
    known
        The cells that earlier looks have read, which are not read again; it is updated.
    """
    manifest = store.manifest()
    today, plan = Today(manifest["codes"]), manifest["plan"]
    unplanned = [cell for cell in manifest["asked"]["cells"] if cell not in plan]
    if unplanned:
        raise StoreError(
            f"{store.folder / MANIFEST}: damaged ({len(unplanned)} of its cells have no plan); run the same command "
            "again, which writes it"
        )
    held = [_held(claim, now or time.time()) for claim in store.held().values() if claim.keys() >= NEEDED]
    at_work = {each.cell: each for each in held}
    counts: Counter[str] = Counter()
    why: Counter[str] = Counter()
    troubles: Counter[tuple[str, str]] = Counter()
    spent: dict[tuple[str, ...], list[float]] = {}
    left = []
    found = _finished(store, {} if known is None else known)
    machines: Counter[str] = Counter()
    frames = 0
    for cell in manifest["asked"]["cells"]:
        about = found[cell].about if cell in found else None
        old = today.stale(about) if about else []
        state = RUNNING if cell in at_work else WAITING if about is None else STALE if old else about["status"]
        counts[state] += 1
        why.update(old)
        if about and state not in (RUNNING, STALE):
            machines[str(manifest["environments"].get(about["environment"], {}).get("machine", "unknown"))] += 1
            frames += _work(plan[cell]) if about["status"] == "ok" else 0
        elif cell in at_work:
            frames += at_work[cell].done * plan[cell][4]
        if about and about["status"] == "ok" and about.get("seconds"):
            for kind in _kinds(plan[cell]):
                total = spent.setdefault(kind, [0.0, 0.0])
                total[0] += about["seconds"]
                total[1] += _work(plan[cell])
        if state in (RUNNING, WAITING, STALE):
            left.append(cell)
        elif about and about["status"] not in ("ok", "skipped"):
            troubles[about["status"], about["reason"]] += 1
    seconds = None
    if held and spent:
        seconds = sum(_seconds(plan[cell], spent, at_work.get(cell)) for cell in left) / len(held)
    counted = {state: counts[state] for state in ORDER if counts[state]}
    return Status(counted, dict(why), dict(troubles), held, seconds, dict(machines), frames)


def _finished(store: Store, known: Known) -> dict[str, Stored]:
    """Return all finished cells, of which only those are read that are not known yet, or have been made again."""
    there = store.numbers()
    for cell in [cell for cell in known if cell not in there]:
        del known[cell]
    with uncollected():
        for cell, number in there.items():
            if cell not in known or known[cell][0] != number:
                stored = store.find(cell)
                if stored is not None:
                    known[cell] = (number, stored)
    return {cell: known[cell][1] for cell in there if cell in known}


def _kinds(planned: list[Any]) -> list[tuple[str, ...]]:
    """Return the groups of cells with similar times, the most similar first: arm and suite, suite, all cells."""
    arm, suite = planned[:2]
    return [(arm, suite), (suite,), ()]


def _work(planned: list[Any]) -> int:
    frames, rows = planned[3:]
    return int(frames * rows)


def _seconds(planned: list[Any], spent: Mapping[tuple[str, ...], list[float]], held: Held | None) -> float:
    seconds, work = next(spent[kind] for kind in _kinds(planned) if kind in spent)
    done = held.done / held.frames if held and held.frames else 0
    return seconds / work * _work(planned) * (1 - done)


def _held(claim: Mapping[str, Any], now: float) -> Held:
    return Held(
        cell=claim["cell"], arm=claim["arm"], suite=claim["suite"], pid=claim["pid"], host=claim["host"],
        seconds=max(0.0, now - claim["since"]), done=claim.get("done", 0), frames=claim["frames"],
    )  # fmt: skip
