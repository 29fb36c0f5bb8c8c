"""The dense layout, and laid-out contexts with room at the end that every pass of a chunk overwrites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbone.kernels.attention import Attention
from harness.backbone.rope import rotate, token_radians, token_rotation
from harness.memory.entries import Entries, Layout, at_least_float32
from harness.memory.heads import Heads
from harness.memory.packed import PackedEntries

Slot = tuple[Tensor, ...] | PackedEntries
"""Frames that are laid out: the tensors of exact entries, or packed entries, which laying out unpacks."""


class DenseLayout(Layout):
    """Key and value of every head, keys un-rotated: 2 * heads * channels scalars a token a layer."""

    axes = ("channel", "token")

    def __init__(self, heads: int, channels: int) -> None:
        self.shapes = ((heads, channels), (heads, channels))

    def ready(self, tokens: tuple[Tensor, ...], rotation: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
        keys, values = tokens
        keys = rotate(keys, rotation)
        if weights is None:
            return keys, values
        scale = weights[:, :, None, None].to(keys.dtype)
        return keys * scale, values * scale

    def keys(self, entries: Entries) -> Tensor:
        return entries.tensors[0]

    def one_head(self) -> tuple[int, Layout]:
        heads, channels = self.shapes[0]
        return heads, DenseLayout(1, channels)

    def rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        wide = at_least_float32(x.dtype)
        return rotate(x.to(wide), token_rotation(positions, token_radians(x.shape[-1], positions.device), wide))


@dataclass(frozen=True)
class LaidOut:
    """One layer's context in the form that attention reads, and the rotation of the chunk's own tokens.

    `tensors` are [B, N + room, ...]: the context, then room for the chunk's own tokens. Without room (gradients, or a
    replay longer than the buffers) the chunk's tokens are concatenated instead.
    """

    tensors: tuple[Tensor, ...]
    rotation: Tensor
    room: bool

    def extend(self, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the context followed by the chunk's own tokens [B, n, ...]."""
        if not self.room:
            return tuple(torch.cat(pair, 1) for pair in zip(self.tensors, own, strict=True))
        for whole, part in zip(self.tensors, own, strict=True):
            whole[:, whole.shape[1] - part.shape[1] :].copy_(part)
        return self.tensors


@dataclass(frozen=True)
class LaidOutByHeads:
    """One layer's contexts of groups of heads, each in the form that attention reads, as batches of single heads."""

    groups: tuple[tuple[Heads, LaidOut], ...]
    rotation: Tensor

    def attend(self, attention: Attention, query: Tensor, own: tuple[Tensor, ...]) -> Tensor:
        """Return what all heads read, [B, n, heads, channels], a group at a time.

        query: [B, n, heads, channels], rotated. own: the chunk's own tokens [B, n, heads, ...] as attention reads them.
        """
        out = torch.empty_like(query)
        for heads, laid_out in self.groups:
            keys, values = laid_out.extend(tuple(heads.taken(x) for x in own))
            heads.put(attention(heads.taken(query), keys, values), out)
        return out


def room(layout: Layout, batch: int, tokens: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return uninitialised buffers [batch, tokens, ...] for one laid-out context and a chunk."""
    return tuple(torch.empty(batch, tokens, *shape, dtype=dtype, device=device) for shape in layout.shapes)


def part(buffers: tuple[Tensor, ...], layout: Layout, rows: int, tokens: int, first: int) -> tuple[Tensor, ...]:
    """Return room for `rows` of `tokens` of a layout in larger buffers, behind `first` of its tokens."""
    sizes = [torch.Size(shape) for shape in layout.shapes]
    return tuple(
        buffer.view(-1).narrow(0, first * size.numel(), rows * tokens * size.numel()).view(rows, tokens, *size)
        for buffer, size in zip(buffers, sizes, strict=True)
    )


def gather(slots: Sequence[Slot]) -> tuple[Tensor, ...]:
    """Return slots of [B, frames, S, ...] as one sequence of tokens, [B, N, ...]."""
    if not all(isinstance(slot, tuple) for slot in slots):
        # Put together while they are packed, so that they are unpacked at once.
        whole = Entries.cat([Entries(*slot) if isinstance(slot, tuple) else slot for slot in slots])
        return tuple(x.flatten(1, 2) for x in whole.tensors)
    return tuple(torch.cat(parts, 1).flatten(1, 2) for parts in zip(*slots, strict=True))


def fill(
    layout: Layout,
    buffers: tuple[Tensor, ...],
    slots: Sequence[Slot],
    rotation: Tensor,
    weights: Tensor | None,
) -> None:
    """Lay slots out at the beginning of the buffers."""
    for buffer, part in zip(buffers, layout.ready(gather(slots), rotation, weights), strict=True):
        buffer[:, : part.shape[1]].copy_(part)
