"""The list of a campaign's cells with expected time and disk space, for `horizon run --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.console.terminal import console, each_told, table

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.campaign.expansion import Cell
    from harness.engines.inline import Look


def list_cells(looks: Sequence[Look], stage: Backbone) -> None:
    """Print every cell with its state, expected time and disk space; only a few chunks are run, to measure them."""
    from harness.engines.estimate import estimate
    from harness.provenance.staleness import summary

    sheet = table("cell", "strategy", "suite", "scenario", "rollouts", "latent frames", "about", title="what would run")
    total, disk = 0.0, 0
    # One estimate serves all repeats, which differ in their seed only.
    known: dict[tuple[str, str, str, int], tuple[float, int]] = {}
    due = {_kind(look.cell): look.cell for look in looks if look.due and not look.cell.skip}
    with each_told([" ".join(map(str, kind)) for kind in due], "timing a few chunks of") as kinds:
        for kind, _ in zip(due, kinds, strict=True):
            known[kind] = estimate(due[kind], stage)
    for look in looks:
        cell = look.cell
        kind, runs = _kind(cell), look.due and not cell.skip
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


def _kind(cell: Cell) -> tuple[str, str, str, int]:
    return cell.arm.label, cell.suite.name, cell.task.scenario, cell.task.frames
