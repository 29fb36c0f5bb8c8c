"""What MemFlow chooses frames by: mean keys, turned by their frame ids, against a prompt or a query."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import At, Entries, MemorySpec, at_least_float32


@cache
def _rope(channels: int, grid: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Rope:
    return Rope(head_radians(channels), grid, dtype, device)


def rope_of(spec: MemorySpec) -> Rope:
    """Return the rotations of a head, the same object for all rollouts alike."""
    assert spec.grid is not None
    return _rope(spec.layout.shapes[0][-1], spec.grid, at_least_float32(spec.dtype), spec.device)


def mean_keys(spec: MemorySpec, entries: Entries, ids: Tensor) -> Tensor:
    """Return the mean turned key of frames with `ids` [B, frames]: [B, frames, heads, channels]."""
    keys = spec.layout.keys(entries)
    turned = rotate(keys.flatten(1, 2), rope_of(spec).frames(ids)).unflatten(1, keys.shape[1:3])
    return turned.to(at_least_float32(keys.dtype)).mean(2)


def mean_query(spec: MemorySpec, query: Tensor, at: At) -> Tensor:
    """Return the mean turned query of a pass, of un-rotated queries [B, N, heads, channels]: [B, heads, channels]."""
    rotation = rope_of(spec).frames(torch.arange(at.start, at.start + at.frames, device=query.device))
    return rotate(query, rotation).to(at_least_float32(query.dtype)).mean(1)


def fitting_heads(spec: MemorySpec, entries: Entries, ids: Tensor, asked: Tensor) -> Tensor:
    """Return how well frames fit what is asked for, [B, heads, channels], by head: [B, frames, heads]."""
    return (mean_keys(spec, entries, ids) * asked[:, None]).sum(-1) * asked.shape[-1] ** -0.5


def fitting(spec: MemorySpec, entries: Entries, ids: Tensor, asked: Tensor) -> Tensor:
    """Return the same as a mean over heads, [B, frames]."""
    return fitting_heads(spec, entries, ids, asked).mean(-1)


def taken(x: Tensor, frames: Tensor) -> Tensor:
    """Return frames [B, n] of a tensor [B, frames, ...], chosen by row."""
    return x.gather(1, frames.view(*frames.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))


def activated(spec: MemorySpec, entries: Entries, ids: Tensor, active: Tensor) -> Entries:
    """Return the frames of each head, [B, n, heads], in slots that all heads share.

    Their ids differ, so keys are turned by time already, and stand at time 0.
    """
    keys, values = entries.tensors
    time = torch.stack((ids, torch.zeros_like(ids), torch.zeros_like(ids)), -1)
    keys = rotate(keys.flatten(2, 3), rope_of(spec).tokens(time)).unflatten(2, keys.shape[2:4])
    index = active[:, :, None, :, None].expand(-1, -1, keys.shape[2], -1, keys.shape[4])
    return Entries(keys.gather(1, index), values.gather(1, index))
