"""The expected time and disk space of a cell, from a few chunks of it."""

from __future__ import annotations

import time
from dataclasses import replace

from harness.backbone.presets import Backbone
from harness.campaign.expansion import Cell
from harness.engines.cell_run import Flight
from harness.suite import CostSuite, Row

START = 5.0
"""Approximate seconds that a process needs before it can measure."""


def estimate(cell: Cell, backbone: Backbone, chunks: int = 6) -> tuple[float, int]:
    """Return the expected seconds and bytes on disk of a cell.

    Parameters
    ----------
    cell
        The cell.
    backbone
        The opened backbone.
    chunks
        Chunks that are run for the estimate; for a cost suite twice as many.
    """
    task = cell.task
    if isinstance(cell.suite, CostSuite):
        few = replace(
            task,
            frames=2 * chunks * backbone.chunk,
            rows=tuple(_first_scene(row) for row in task.rows),
            boundaries=task.boundaries[:1],
        )
        began = time.monotonic()
        cell.suite.measure(backbone, cell.arm.strategy, few, time.time())
        seconds = (time.monotonic() - began) * task.frames / few.frames
        return START + seconds, 60 * 3 * task.frames // backbone.chunk + 5_000
    frames = min(task.frames, task.given + chunks * backbone.chunk)
    rows, entered = tuple(_first_scene(row) for row in task.rows), task.boundaries[:1]
    short = replace(cell, task=replace(task, frames=frames, rows=rows, boundaries=entered))
    flight = Flight(None, backbone, short, float("inf"), lambda _: None)
    flight.fly(None)
    left = (task.frames - task.given) / backbone.chunk
    done = len(flight.chunk_seconds)
    written = sum(path.stat().st_size for path in flight.place.folder.rglob("*.*") if ".part." not in path.name)
    flight.aside.cleanup()
    record = 60 * len(cell.suite.metrics) * len(task.rows) * (20 + task.frames // 240) + 200_000
    return sum(flight.spent.values()) / done * left, int(record + written / done * left)


def _first_scene(row: Row) -> Row:
    return replace(row, script=row.script[:1])
