"""The seam between a backbone and a memory: remember, recall, forget.

A `Strategy` is a frozen record of knobs. It opens one `Memory` for one rollout. Before a chunk is denoised every layer
*recalls* a `Context`, the past that this chunk may attend to; the commit pass, the clean one after the denoising
passes, gives every layer's new `Entries` to *remember*; a prompt switch lets the memory *forget*.

Shapes: B batch rows, S tokens of a latent frame; entries are [B, frames, S, ...], un-rotated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from harness.errors import DtypeError, SwitchError
from harness.memory.entries import Entries, Layout

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
"""What backbones compute in and memories hold, by name."""
Boundary = Literal["smooth", "hardcut", "recall"]
"""The kind of scene boundary that is entered at a prompt switch."""


class At(NamedTuple):
    """Where in the rollout a verb is called."""

    start: int
    """Absolute id of the first latent frame of this forward pass."""
    frames: int
    """Latent frames in this forward pass: a chunk, or more in a replay."""
    pass_index: int
    """0 for a chunk's first pass."""
    commit: bool
    """Whether this is the clean pass, whose entries are remembered."""


@dataclass(frozen=True)
class MemorySpec:
    """What a memory is opened for."""

    layers: int
    layout: Layout
    frame_tokens: int
    chunk: int
    batch: int = 1
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    grid: tuple[int, int] | None = None
    """Rows and columns of a frame's tokens, for memories that give single tokens places of their own."""
    module: nn.Module | None = None
    """What the strategy added to the backbone for its memory, if anything."""
    trained_frames: int | None = None
    """Latent frames of the longest context that the backbone was trained with; None where that is not known."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES.values():
            raise DtypeError(f"a memory cannot hold {self.dtype}; allowed: {', '.join(DTYPES)}")

    def bytes(self, tokens: int, dtype: torch.dtype | None = None) -> int:
        """Bytes of `tokens` cached tokens of every row in all layers."""
        return self.layers * self.batch * tokens * self.layout.scalars * (dtype or self.dtype).itemsize


@dataclass(frozen=True)
class Context:
    """The past that one layer's chunk may attend to.

    The order of the slots is free: attention does not depend on it. Nothing here is ever written to.
    """

    slots: tuple[Entries, ...]
    """Whole frames, by reference."""
    positions: Sequence[float] | Tensor
    """One temporal id a frame, in slot order; or (time, row, column) a token, [B, N, 3]."""
    start: int | Tensor
    """Temporal id of the chunk's own first frame, for its queries and keys in all its passes; or one a row, [B]."""
    weights: Tensor | None = None
    """Scale of every entry in this use, key and value alike, [B, N]."""

    @property
    def frames(self) -> int:
        return sum(slot.frames for slot in self.slots)


@dataclass(frozen=True)
class PromptSwitch:
    """What a memory is told before the first chunk of a new prompt, with that prompt already active."""

    start: int
    """Absolute id of the chunk's first frame: the number of frames so far."""
    kind: Boundary
    old_prompts: Tensor
    """Embeddings [B, L, text_dim] of the scene that ends."""
    new_prompts: Tensor
    latents: Tensor
    """The last `Memory.lookback` clean latents (fewer near the start), [B, frames, C, H, W]."""
    replay: Callable[..., None]
    """`replay(latents, start, chunk=None)`: commit passes over clean latents, through recall and remember; one long
    bidirectional pass, or block-causal ones of `chunk` frames."""
    old_texts: Sequence[str] | None = None
    new_texts: Sequence[str] | None = None
    script: Sequence[Sequence[str]] | None = None
    """The texts of all scenes of the rollout, a list a scene, those to come included; None where one has no texts."""
    encode: Callable[[Sequence[str]], Tensor] | None = None
    """Strings to embeddings, for strategies that match scenes by their words."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Boundary):
            raise SwitchError(f"unknown kind of prompt switch {self.kind!r}; allowed: {', '.join(get_args(Boundary))}")


class Memory(ABC):
    """What the layers may still see of the past, for one rollout."""

    lookback: int = 0
    """Clean latents that `forget` wants to see, in frames."""
    capacity: int | None
    """Frames of a full context; contexts hold fewer at first. None where it grows with the video."""

    @abstractmethod
    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        """What this chunk may attend to in `layer`.

        Called in the first pass of a chunk of whatever kind, and in passes for which `stale` is true. May change the
        memory only in pass 0 or a stale pass. `query` is the un-rotated query [B, N, heads, channels] for strategies
        that declare `reads_query`, else None.
        """

    @abstractmethod
    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        """Take in a commit pass: `entries` are on loan, so copy what is kept; evict what the next chunk cannot see."""

    def forget(self, switch: PromptSwitch) -> None:
        """React to a prompt switch; the default keeps everything. Host synchronisation is allowed here only."""
        return

    def stale(self, pass_index: int) -> bool:
        """Whether a later pass of the chunk must recall again."""
        return False

    @abstractmethod
    def held(self, layer: int) -> Mapping[int, Entries]:
        """The frames that are kept as they were, by absolute frame id, by reference."""

    @abstractmethod
    def stored(self) -> Iterable[Tensor]:
        """Every tensor that this memory keeps alive."""

    def nbytes(self) -> int:
        """Bytes of the distinct storages behind `stored`; a view counts with all of what it pins."""
        storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in self.stored()}
        return sum(storages.values())

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on at a chunk boundary, as nested dicts and lists of tensors and numbers."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; tensors are taken over by reference."""
