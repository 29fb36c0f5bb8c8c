"""The list of a campaign's cells with expected time and disk space, for `horizon run --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli.console.pace import span
from harness.cli.console.terminal import aside, console, progress_over, line, table
from harness.errors import CampaignError, HorizonError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from harness.backbone.presets import Backbone
    from harness.campaign.campaign import Campaign
    from harness.campaign.expansion import Cell
    from harness.engines.inline import Look

DEVICE_COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of devices for which the hours of a campaign are planned."""


def list_cells(looks: Sequence[Look], stage: Backbone) -> None:
    """Print every cell with its state, expected time and disk space; only a few chunks are run, to measure them."""
    from harness.engines.estimate import estimate
    from harness.provenance.staleness import summary

    sheet = table("cell", "strategy", "suite", "scenario", "rollouts", "latent frames", "about", title="what would run")
    total, disk = 0.0, 0
    # One estimate serves all repeats, which differ in their seed only.
    known: dict[tuple[str, str, str, int], tuple[float, int]] = {}
    due = {_kind(look.cell): look.cell for look in looks if look.due and not look.cell.skip}
    with progress_over([" ".join(map(str, kind)) for kind in due], "timing a few chunks of") as kinds:
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


def plan_campaign(asked: Campaign, why: HorizonError, gpu: str | None, measured: Path | None) -> None:
    """Print the expected cells, time, memory and disk space of a campaign on GPUs that are not here, one or several.

    Parameters
    ----------
    asked
        The campaign.
    why
        The reason why it cannot run here.
    gpu
        Name of the GPU; None for an H100.
    measured
        Folder of an earlier run on that GPU, whose times a chunk correct the plan's; None for the usual factor.
    """
    from harness.campaign.expansion import cells
    from harness.campaign.on_paper import USUAL, measured_factor, needs, paper, plans, seconds_of
    from harness.engines.sharing.order import finish, longest_first
    from harness.plan.device import DEVICES
    from harness.store.store import Store

    device = DEVICES.get(gpu or "H100")
    if device is None:
        raise CampaignError(f"--gpu {gpu}: unknown{did_you_mean(str(gpu), DEVICES)}; known: {', '.join(DEVICES)}")
    stage = paper(asked)
    planned = cells(asked, stage)
    arms = {cell.arm.label: cell.arm for cell in planned}
    frames: dict[str, int] = {}
    for cell in planned:
        if not cell.skip:
            frames[cell.arm.label] = max(frames.get(cell.arm.label, 0), cell.task.frames)
    with progress_over(list(arms), "planning") as names:
        made = {label: one for (label, one), _ in zip(plans([*arms.values()], stage, frames), names, strict=True)}
    factor, count = measured_factor(Store(measured), device, made.get) if measured else (USUAL, 0)
    found = needs(planned, made, stage, device, factor)
    sheet = table("strategy", "suite", "cells", "time", "device (GB)", "host (GB)", "disk (GB)", title="on paper")
    for each in found:
        sizes = (f"{size / 1e9:,.1f}" for size in (each.peak_bytes, each.archive_bytes, each.disk_bytes))
        sheet.add_row(each.arm, each.suite, f"{each.cells:,}", span(each.seconds), *sizes)
    console.print(sheet)
    aside.print(line(f"planned with shapes only, since it cannot run here: {why}"), soft_wrap=True)
    source = (
        f"as {count} cells in {measured} took" if count else "the usual factor; --measured FOLDER gives a better one"
    )
    console.print(line(f"time on one {device.name}: the roofline's time times {factor:.2f} ({source})"), soft_wrap=True)
    total, disk = sum(each.seconds for each in found), sum(each.disk_bytes for each in found)
    console.print(line(f"{sum(each.cells for each in found):,} cells, {span(total)}, {disk / 1e9:,.1f} GB on disk"))
    lengths = [seconds_of(cell, made[cell.arm.label], device, factor) for cell in longest_first(planned)]
    times = (f"{number}: {span(finish(lengths, number))}" for number in DEVICE_COUNTS)
    console.print(line(f"on several devices, {', '.join(times)}"), soft_wrap=True)
    most = max((each.peak_bytes for each in found), default=0)
    if most > device.memory:
        console.print(
            line(f"an {device.name} has {device.memory / 1e9:.0f} GB, too few for {most / 1e9:.0f} GB", "red")
        )


def _kind(cell: Cell) -> tuple[str, str, str, int]:
    return cell.arm.label, cell.suite.name, cell.task.scenario, cell.task.frames


def plan_in_words(looks: Sequence[Look]) -> list[str]:
    """Return lines about the cells before a run: "12 kept, 3 stale: strategies/memrope changed"."""
    from harness.provenance.staleness import summary

    counts = Counter(look.state for look in looks)
    if counts["new"] != len(looks):
        reasons = summary([reason for look in looks if look.state == "stale" for reason in look.reasons])
        words = [
            f"{counts[state]} {state}{f': {reasons}' if state == 'stale' else ''}"
            for state in ("kept", "again", "new", "stale")
            if counts[state]
        ]
        old = [look for look in looks if look.state == "kept" and look.reasons]
        kept = [
            f"{len(old)} of the kept cells are stale: {summary([reason for look in old for reason in look.reasons])}"
        ]
        return [", ".join(words), *(kept if old else [])]
    return []
