"""What a campaign would run, and what it would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.console.terminal import console, table

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.engines.inline import Look


def list_cells(looks: Sequence[Look], stage: Backbone) -> None:
    """Print every cell with what would be done with it, its time and its disk; nothing is run but a few chunks."""
    from harness.engines.estimate import estimate
    from harness.provenance.staleness import summary

    sheet = table("cell", "strategy", "suite", "scenario", "rollouts", "latent frames", "about", title="what would run")
    total, disk = 0.0, 0
    # Repeats differ in their seed only.
    known: dict[tuple[str, str, str, int], tuple[float, int]] = {}
    for look in looks:
        cell = look.cell
        kind, runs = (cell.arm.label, cell.suite.name, cell.task.scenario, cell.task.frames), look.due and not cell.skip
        if runs and kind not in known:
            known[kind] = estimate(cell, stage)
        seconds, size = known[kind] if runs else (0.0, 0)
        total, disk = total + seconds, disk + size
        takes = f"{seconds:.0f} s, {size / 1e6:.1f} MB"
        why = f" ({summary(look.reasons)})" if look.reasons else ""
        state = "" if look.state == "new" else f"{look.state}{why}; "
        what = "skipped" if cell.skip else f"kept{', stale' * bool(why)}{why}" if not look.due else f"{state}{takes}"
        task = cell.task
        sheet.add_row(
            cell.id[:8], cell.arm.label, cell.suite.name, task.scenario, str(len(task.rows)), f"{task.frames:,}", what
        )
    console.print(sheet)
    console.print(f"{len(looks)} cells, about {total / 60:.1f} minutes and {disk / 1e6:.0f} MB from here on")
