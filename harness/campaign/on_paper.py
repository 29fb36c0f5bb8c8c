"""What a campaign takes on devices that are not here: cells, hours, memory and disk, without weights or data.

The time of a chunk is the least one by the plan's roofline (`harness.plan`) times a factor, which finished cells of an
earlier run on the same device say, and which is `USUAL` where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from harness import registry
from harness.backbone.presets import Backbone
from harness.campaign.campaign import Campaign
from harness.campaign.expansion import Arm, Cell
from harness.errors import HorizonError
from harness.plan.device import Device
from harness.plan.planning import Plan, plan
from harness.store.store import Store
from harness.suite import CostSuite

USUAL = 2.0
"""Multiple of the roofline's time that a chunk takes where nothing was measured: kernels reach 40 to 80 % of it."""
START = 60.0
"""Seconds until a process of a `CostSuite` has loaded its model and can measure."""
SAMPLE, PICTURES = 60, 200_000
"""Bytes of a sample in a record, and of the pictures that are kept of a cell."""
FILM = 0.03
"""Bytes of a pixel of a film, by the size of films of the published backbones."""


@dataclass(frozen=True)
class Need:
    """What the cells of one arm under one suite take.

    Parameters
    ----------
    arm, suite
        Their names.
    cells, seconds
        Number of cells that run, and their time on one device.
    peak_bytes, archive_bytes
        Most bytes on the device for one rollout, without text encoder and decoder, and most in the host's memory.
    disk_bytes
        Bytes on disk.
    """

    arm: str
    suite: str
    cells: int
    seconds: float
    peak_bytes: int
    archive_bytes: int
    disk_bytes: int


def paper(campaign: Campaign) -> Backbone:
    """Return the campaign's backbone with shapes only. No weights are read."""
    request = campaign.model_copy(update={"device": "cpu"}).backbone_request()
    return registry.open_backbone(replace(request, device="meta"))


def plans(arms: Sequence[Arm], backbone: Backbone, frames: Mapping[str, int]) -> Iterator[tuple[str, Plan | None]]:
    """Yield the plan of each arm by its label; None for an arm without one. frames: by label, of its longest video."""
    for arm in arms:
        longest = max(frames.get(arm.label, 0), 2 * backbone.chunk)
        try:
            yield arm.label, plan(arm.strategy, backbone, backbone.latent_size, longest)
        except HorizonError:
            yield arm.label, None


def seconds_of(cell: Cell, made: Plan | None, device: Device, factor: float) -> float:
    """Return the expected seconds of a cell on a device; 0 for a cell that is not run."""
    if cell.skip or made is None:
        return 0.0
    chunks = max(cell.task.frames - cell.task.given, 0) / made.chunk
    seconds = len(cell.task.rows) * chunks * made.bound(device).chunk_seconds * factor
    return seconds + (START if isinstance(cell.suite, CostSuite) else 0.0)


def disk_of(cell: Cell, backbone: Backbone) -> int:
    """Return the approximate bytes of a cell on disk, its films included."""
    if cell.skip:
        return 0
    frames, rows = cell.task.frames, len(cell.task.rows)
    record = SAMPLE * rows * len(cell.suite.metrics) * (20 + frames // 240) + PICTURES
    if isinstance(cell.suite, CostSuite):
        return SAMPLE * 3 * frames
    # A backbone with a world of its own is read by a probe; the videos of all others are filmed.
    height, width = (side * backbone.stride for side in backbone.latent_size)
    films = 0 if backbone.world is not None else FILM * height * width * backbone.pixel_frames(frames) * rows
    return int(record + films)


def needs(
    cells: Sequence[Cell], made: Mapping[str, Plan | None], backbone: Backbone, device: Device, factor: float
) -> list[Need]:
    """Return what the cells take, by arm and suite, in their order."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if not cell.skip:
            groups.setdefault((cell.arm.label, cell.suite.name), []).append(cell)
    return [
        Need(
            arm, suite, len(group), sum(seconds_of(cell, made[arm], device, factor) for cell in group),
            0 if (of := made[arm]) is None else of.peak_bytes, 0 if of is None else of.archive_bytes,
            sum(disk_of(cell, backbone) for cell in group),
        )
        for (arm, suite), group in groups.items()
    ]  # fmt: skip


def measured_factor(store: Store, device: Device, planned: Callable[[str], Plan | None]) -> tuple[float, int]:
    """Return the factor that the finished cells of a folder say, and how many do; `USUAL` and 0 where none does.

    Parameters
    ----------
    store
        A folder of a campaign of the same backbone.
    device
        The device; cells of other devices are left out.
    planned
        Returns the plan of an arm by its label; None for an arm that has none.
    """
    environments = store.manifest()["environments"]
    found = []
    for cell in store.cells():
        about = cell.about
        gpu = environments.get(about["environment"], {}).get("gpu") or ""
        if about["status"] != "ok" or not about["cost"] or device.name not in gpu:
            continue
        made = planned(about["arm"])
        if made is not None:
            bound = made.bound(device).chunk_seconds * len(about["task"]["rows"])
            found.append(about["cost"]["chunk_ms"] / 1000 / bound)
    return (median(found), len(found)) if found else (USUAL, 0)
