"""Parts of the oracle's memories: chunks, slots and views, and the contents of a slot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .dit import FrameKV


@dataclass(frozen=True)
class Chunk:
    """Latent frames generated together; `switch` is the kind of prompt switch right before them, if any."""

    start: int
    frames: int
    switch: str | None = None

    @property
    def ids(self) -> list[int]:
        """Latent frame numbers of the chunk."""
        return list(range(self.start, self.start + self.frames))


@dataclass(frozen=True)
class FrameSlot:
    """A latent frame as committed (generation 0) or as replayed at the g-th prompt switch (generation g)."""

    frame: int
    generation: int = 0


@dataclass(frozen=True)
class MemorySlot:
    """One memory stream: the groups of frames evicted so far, oldest first, and how they are folded together.

    `adaptive_alpha` makes alpha depend on the token (short stream only).
    """

    groups: tuple[tuple[int, ...], ...]
    alpha: float
    per_position: bool
    adaptive_alpha: bool
    from_zeros: bool


@dataclass(frozen=True)
class AbsorbingSlot:
    """A sink frame, and the frames that it absorbed since, oldest first; alpha is what it keeps of itself each time."""

    frame: int
    absorbed: tuple[int, ...]
    alpha: float


Slot = FrameSlot | MemorySlot | AbsorbingSlot
LayerStore = Mapping[FrameSlot, FrameKV]


@dataclass(frozen=True)
class View:
    """Context slots in order, the temporal position of each, and the positions of the current frames."""

    slots: list[Slot]
    positions: list[int]
    current_positions: list[int]


@dataclass(frozen=True)
class Replay:
    """One bidirectional commit pass over clean latent frames, made at a prompt switch."""

    frames: list[int]
    generation: int
    view: View


def slot_kv(slot: Slot, store: LayerStore, blank: Tensor) -> FrameKV:
    """Un-rotated keys and values of a slot in one layer; blank is a zero frame [N, heads, head_dim]."""
    if isinstance(slot, FrameSlot):
        return store[slot]
    memory_k, memory_v = (absorbing_frame if isinstance(slot, AbsorbingSlot) else memory_frame)(slot, store, blank)
    return memory_k.to(blank.dtype), memory_v.to(blank.dtype)


def absorbing_frame(slot: AbsorbingSlot, store: LayerStore, blank: Tensor) -> FrameKV:
    """K and V, each [N, heads, head_dim] float64, of a sink frame after all that it absorbed."""
    keys, values = (x.double() for x in store[FrameSlot(slot.frame)])
    for frame in slot.absorbed:
        leaving_k, leaving_v = store[FrameSlot(frame)]
        keys = slot.alpha * keys + (1 - slot.alpha) * leaving_k.double()
        values = slot.alpha * values + (1 - slot.alpha) * leaving_v.double()
    return keys, values


def memory_frame(slot: MemorySlot, store: LayerStore, blank: Tensor) -> FrameKV:
    """Fold the evicted groups of a stream into one frame of K and V, each [N, heads, head_dim] float64."""
    memory_k, memory_v = blank.double(), blank.double()
    for number, group in enumerate(slot.groups):
        pooled_k = pooled([store[FrameSlot(frame)][0] for frame in group], slot.per_position)
        pooled_v = pooled([store[FrameSlot(frame)][1] for frame in group], slot.per_position)
        if number == 0 and not slot.from_zeros:
            memory_k, memory_v = pooled_k, pooled_v
            continue
        alpha = torch.full((blank.shape[0], 1, 1), slot.alpha, dtype=torch.float64)
        if slot.adaptive_alpha:
            alpha = token_alpha(slot.alpha, pooled_k, memory_k)
        memory_k = alpha * pooled_k + (1 - alpha) * memory_k
        memory_v = alpha * pooled_v + (1 - alpha) * memory_v
    return memory_k, memory_v


def pooled(frames: Sequence[Tensor], per_position: bool) -> Tensor:
    """Mean over evicted frames [N, heads, head_dim] each, and over their tokens too unless per position."""
    mean = torch.stack([frame.double() for frame in frames]).mean(dim=0)
    if per_position:
        return mean
    return mean.mean(dim=0, keepdim=True).expand_as(mean)


def token_alpha(alpha: float, pooled_k: Tensor, memory_k: Tensor) -> Tensor:
    """Adaptive alpha [N, 1, 1]: 0.1 alpha where the short keys barely moved, 5 alpha where most (spec 4)."""
    distance = torch.linalg.vector_norm(pooled_k - memory_k, dim=-1).mean(dim=-1)
    motion = distance / (distance.max() + 1e-8)
    alphas: Tensor = 0.1 * alpha + motion * (5 * alpha - 0.1 * alpha)
    return alphas.view(-1, 1, 1)
