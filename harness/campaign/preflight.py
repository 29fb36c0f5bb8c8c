"""The check before a run whether the rollouts of a campaign fit into the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import psutil
import torch

from harness import registry
from harness.backbone.presets import Backbone
from harness.campaign.expansion import Cell
from harness.errors import HorizonError
from harness.plan.planning import plan
from harness.rollout.request import GB, laid_out_bytes, most_bytes
from harness.suite import CostSuite

META, HOST = torch.device("meta"), torch.device("cpu")
ROOMY = 4.0
"""If the device's free memory is more than this multiple of weights, cache and contexts, the passes are not planned."""


def free_bytes(device: torch.device) -> int:
    """Return the free bytes of a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def warnings(
    cells: Sequence[Cell], backbone: Backbone, free: Callable[[torch.device], int] = free_bytes
) -> Iterator[str]:
    """Yield a line for each arm whose prompt switches are not the published ones, and one for each whose largest
    rollout is expected to run out of memory, with its needs and a remedy.

    The bytes of a chunk's passes come from a plan (`harness.plan`), which is made only if the rest leaves little room.

    Parameters
    ----------
    cells
        The planned cells.
    backbone
        The opened backbone.
    free
        Returns the free bytes of a device.
    """
    switching = {cell.arm.label: cell.arm.strategy for cell in cells if cell.skip is None and _switches(cell)}
    yield from (f"{label}: {strategy.switch_note}" for label, strategy in switching.items() if strategy.switch_note)
    device = backbone.model.device
    weights = sum(x.nbytes for x in backbone.model.parameters())
    largest: dict[str, Cell] = {}
    decoding: dict[int, int] = {}
    for cell in cells:
        if cell.skip is None and not isinstance(cell.suite, CostSuite):
            known = largest.get(cell.arm.label)
            if known is None or _size(cell) > _size(known):
                largest[cell.arm.label] = cell
    for label, cell in largest.items():
        rows, frames, strategy = len(cell.task.rows), cell.task.frames, cell.arm.strategy
        spec = strategy.adapt(backbone).memory_spec(rows)
        capacity = strategy.open(replace(spec, device=META)).capacity
        parts = {
            "cache": most_bytes(strategy, spec, frames, capacity),
            "contexts": laid_out_bytes(spec, frames, capacity),
        }
        archived = strategy.archive_bytes(spec, frames)
        if archived > free(HOST):
            yield (
                f"{label} is expected to run out of memory: it archives {archived / GB:.1f} GB in the host's memory, "
                f"which has {free(HOST) / GB:.1f} GB left; a shorter video or fewer rows a batch help"
            )
            continue
        if archived and device.type != "cuda":
            # The host's memory is the device's.
            parts["archive"] = archived
        if ROOMY * (weights + sum(parts.values())) < free(device):
            continue
        paper = registry.open_backbone(replace(backbone.request(), device="meta"))
        try:
            parts["passes"] = rows * plan(strategy, paper, backbone.latent_size, frames).activation_bytes
        except HorizonError:
            # There is no plan for a rollout of a single chunk, which is small.
            continue
        if backbone.codec is not None:
            if rows not in decoding:
                decoding[rows] = backbone.codec.footprint(rows, backbone.latent_size)
            parts["decoding"] = decoding[rows]
        needed = sum(parts.values())
        if needed > free(device):
            told = ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items())
            yield (
                f"{label} is expected to run out of memory: beside the weights it needs {needed / GB:.1f} GB ({told}), "
                f"and {device} has {free(device) / GB:.1f} GB left; a smaller --size, --tiling, "
                "--offload or --decoder light helps, or a strategy that keeps less"
            )


def _switches(cell: Cell) -> bool:
    return any(len(row.script) > 1 for row in cell.task.rows)


def _size(cell: Cell) -> int:
    return len(cell.task.rows) * cell.task.frames
