"""What a memory holds and shows, of all heads or by groups of heads, looked at in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.memory import Context, Entries, GroupedContext, HeadGroup, Memory
from harness.memory.terms import DTYPES


class Place(NamedTuple):
    """Where entries of one frame are held."""

    frame: int
    part: int = -1
    """Which element of `Memory.held_by_heads`; -1 for frames with all heads."""


def held_in(memory: Memory, layer: int) -> Mapping[Place, Entries]:
    """Return all frames that a layer holds, those of some heads among them."""
    found = {Place(frame): entries for frame, entries in memory.held(layer).items()}
    for number, part in enumerate(memory.held_by_heads(layer)):
        found |= {Place(frame, number): entries for frame, entries in part.frames.items()}
    return found


def all_held(memory: Memory, layers: int) -> Iterator[tuple[int, tuple[Place, Entries]]]:
    """Return every layer's frames, each with the number of the layer."""
    return ((layer, item) for layer in range(layers) for item in held_in(memory, layer).items())


def takes_nan(x: Tensor) -> bool:
    """Return whether a stored tensor consists of numbers to compute with, not of the codes of packed ones."""
    return x.dtype in DTYPES.values()


def whole_frames(memory: Memory, layer: int, rows: int = 1) -> set[int]:
    """Return the frames that a layer holds for every head of every row."""
    found = set(memory.held(layer))
    by_frame: dict[int, set[int]] = {}
    for part in memory.held_by_heads(layer):
        for frame in part.frames:
            by_frame.setdefault(frame, set()).update(part.heads.numbers)
            if len(by_frame[frame]) == part.heads.of * rows:
                found.add(frame)
    return found


def pieces_of(context: Context | GroupedContext) -> Sequence[Context | HeadGroup]:
    """Return what a context shows: itself, or its groups."""
    return context.groups if isinstance(context, GroupedContext) else (context,)


def heads_with_nan(context: GroupedContext) -> set[int]:
    """Return the numbers of the heads that are shown NaN."""
    found = set()
    for group in context.groups:
        tensors = [x.flatten(1) for slot in group.slots for x in slot.tensors]
        if tensors:
            seen = torch.cat(tensors, 1).isnan().any(1).tolist()
            found |= {number for number, bad in zip(group.heads.numbers, seen, strict=True) if bad}
    return found


def times_of(piece: Context | HeadGroup) -> Tensor:
    """Return the temporal ids of what a piece shows, in one dimension."""
    times = torch.as_tensor(piece.positions)
    return (times[..., 0] if times.ndim == 3 else times).flatten()
