"""What backbone, strategy and memory tell each other: where in a rollout, for what, which past, which prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from harness.errors import DtypeError, SwitchError
from harness.memory.entries import Entries, Layout
from harness.memory.packed import Packing, Store, packed

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
    """Where in the rollout a verb is called.

    Parameters
    ----------
    start
        Absolute id of the first latent frame of this forward pass.
    frames
        Latent frames in this forward pass: a chunk, or more in a replay.
    pass_index
        0 for the first pass of a chunk.
    commit
        Whether this is the clean pass, whose entries are remembered.
    """

    start: int
    frames: int
    pass_index: int
    commit: bool


@dataclass(frozen=True)
class MemorySpec:
    """What a memory is opened for.

    Parameters
    ----------
    layers
        Layers of the model.
    layout
        What is cached of a token.
    frame_tokens
        Tokens of a latent frame.
    chunk
        Latent frames that are denoised together.
    batch
        Rows of a batch.
    dtype, device
        Data type and device of all tensors.
    grid
        Rows and columns of a frame's tokens, for memories that give single tokens places of their own.
    module
        What the strategy added to the backbone for its memory, if anything.
    trained_frames
        Latent frames of the longest context that the backbone was trained with; None where that is not known.
    latent_channels
        Channels of a latent frame, for memories that describe frames by their latents; None where that is not known.
    backbone
        Name of the backbone, for memories that read files made for it; None where that is not known.
    store
        In what frames are kept: fewer bits with scales, or None for the data type itself.

    Raises
    ------
    DtypeError
        For a data type that no memory holds.
    KnobError
        For a layout that cannot be stored so.
    """

    layers: int
    layout: Layout
    frame_tokens: int
    chunk: int
    batch: int = 1
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    grid: tuple[int, int] | None = None
    module: nn.Module | None = None
    trained_frames: int | None = None
    latent_channels: int | None = None
    backbone: str | None = None
    store: Store | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES.values():
            raise DtypeError(f"a memory cannot hold {self.dtype}; allowed: {', '.join(DTYPES)}")
        _ = self.packing  # Raises now for a layout that does not allow it.

    @property
    def packing(self) -> Packing | None:
        """How frames are packed; None where they are kept as they are."""
        return None if self.store is None else Packing.of(self.layout, self.store, self.dtype)

    def packed(self, entries: Entries) -> Entries:
        """Return entries in the form in which this memory keeps frames.

        For entries that the memory made itself; what it was lent has its form already and is kept by `Entries.copy`.

        Parameters
        ----------
        entries
            In the data type of the memory.

        Returns
        -------
        Entries
            The same entries where nothing is packed.
        """
        packing = self.packing
        return entries if packing is None else packed(entries, packing)

    def bytes(self, tokens: int, dtype: torch.dtype | None = None) -> int:
        """Return the bytes of cached tokens of every row in all layers.

        Parameters
        ----------
        tokens
            Tokens of one row in one layer.
        dtype
            Data type in which they are kept exactly; in the form of the memory's frames unless given.

        Returns
        -------
        int
            Bytes.
        """
        packing = self.packing if dtype is None else None
        if packing is None:
            return self.layers * self.batch * tokens * self.layout.scalars * (dtype or self.dtype).itemsize
        frames = -(-tokens // self.frame_tokens)
        return self.layers * self.batch * packing.bytes(self.layout.shapes, tokens, frames)

    def places(self, frames: Sequence[int]) -> Tensor:
        """Return where the tokens of whole frames stand, for memories that score tokens or place them singly.

        Parameters
        ----------
        frames
            Temporal id of each frame.

        Returns
        -------
        Tensor
            (time, row, column) of every token, [1, N, 3], on the device of the memory. A spec without `grid` has none.
        """
        assert self.grid is not None
        axes = (torch.tensor(list(frames), dtype=torch.int64), *map(torch.arange, self.grid))
        # Made on the CPU, where it costs nothing, and copied at once, without waiting for the device.
        return torch.cartesian_prod(*axes).view(1, -1, 3).to(self.device, non_blocking=True)


@dataclass(frozen=True)
class Context:
    """The past that the chunk of one layer may attend to.

    The order of the slots is free: attention does not depend on it. Nothing here is ever written to.

    Parameters
    ----------
    slots
        Whole frames, by reference.
    positions
        One temporal id a frame, in the order of the slots, the same ones for all rows or [B, frames]; or (time, row,
        column) a token, [B, N, 3].
    start
        Temporal id of the chunk's own first frame, for its queries and keys in all its passes; or one a row, [B].
    weights
        Scale of every entry in this use, key and value alike, [B, N].
    """

    slots: tuple[Entries, ...]
    positions: Sequence[float] | Tensor
    start: int | Tensor
    weights: Tensor | None = None

    @property
    def frames(self) -> int:
        """Latent frames of all slots."""
        return sum(slot.frames for slot in self.slots)


@dataclass(frozen=True)
class PromptSwitch:
    """What a memory is told before the first chunk of a new prompt, with that prompt already active.

    Parameters
    ----------
    start
        Absolute id of the chunk's first frame: the number of frames so far.
    kind
        The kind of boundary that is entered.
    old_prompts, new_prompts
        Embeddings [B, L, text_dim] of the scene that ends, and of the one that begins.
    latents
        The last `Memory.lookback` clean latents (fewer near the start), [B, frames, C, H, W].
    replay
        `replay(latents, start, chunk=None)`: commit passes over clean latents, through recall and remember; one long
        bidirectional pass, or block-causal ones of `chunk` frames.
    old_texts, new_texts
        The same prompts as texts; None where a rollout has none.
    script
        The texts of all scenes of the rollout, a list a scene, those to come included; None where one has no texts.
    encode
        Strings to embeddings, for strategies that match scenes by their words.

    Raises
    ------
    SwitchError
        For an unknown kind of boundary.
    """

    start: int
    kind: Boundary
    old_prompts: Tensor
    new_prompts: Tensor
    latents: Tensor
    replay: Callable[..., None]
    old_texts: Sequence[str] | None = None
    new_texts: Sequence[str] | None = None
    script: Sequence[Sequence[str]] | None = None
    encode: Callable[[Sequence[str]], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Boundary):
            raise SwitchError(f"unknown kind of prompt switch {self.kind!r}; allowed: {', '.join(get_args(Boundary))}")


@dataclass(frozen=True)
class Weights:
    """Where the parameters come from that a strategy adds to a backbone, for records and reports.

    Parameters
    ----------
    trained
        Whether a training made them.
    about
        In a few words, such as "untrained, SVD only".
    digest
        Digest of everything that determines them besides the backbone's own weights and the knobs.
    chosen
        What was decided for this backbone, by name.
    """

    trained: bool
    about: str
    digest: str
    chosen: Mapping[str, str] = field(default_factory=dict)
