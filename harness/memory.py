"""The seam between a backbone and a memory: remember, recall, forget.

A `Strategy` is a frozen record of knobs. It opens one `Memory` for one rollout. Before a chunk is denoised every layer
*recalls* a `Context`, the past that this chunk may attend to; the commit pass, the clean one after the denoising
passes, gives every layer's new `Entries` to *remember*; a prompt switch lets the memory *forget*.

Shapes: B batch rows, S tokens of a latent frame; entries are [B, frames, S, ...], un-rotated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from harness.errors import DtypeError, SwitchError
from harness.knobs import check_knobs

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone

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


class Entries:
    """What a layout caches for some whole latent frames of one layer: tensors [B, frames, S, ...], un-rotated.

    A dense layout has two, key and value; a policy may slice, copy, average and scale them without knowing which.
    """

    __slots__ = ("tensors",)

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    @property
    def frames(self) -> int:
        return self.tensors[0].shape[1]

    def __getitem__(self, frames: slice) -> Entries:
        """A view of some frames."""
        return self.map(lambda x: x[:, frames])

    def map(self, function: Callable[[Tensor], Tensor]) -> Entries:
        """Entries made of `function` of each tensor."""
        return Entries(*(function(x) for x in self.tensors))

    def mix(self, other: Entries, share: float | Tensor) -> Entries:
        """`share` of `other` and the rest of these. share: one number, or one a token, [B, 1, S]."""

        def mixed(x: Tensor, y: Tensor) -> Tensor:
            part = share.reshape(*share.shape, *[1] * (x.ndim - share.ndim)) if isinstance(share, Tensor) else share
            return part * y + (1 - part) * x

        return Entries(*map(mixed, self.tensors, other.tensors))

    @staticmethod
    def cat(parts: Sequence[Entries]) -> Entries:
        """The frames of all parts, in order."""
        return Entries(*(torch.cat(tensors, 1) for tensors in zip(*(part.tensors for part in parts), strict=True)))


class Layout(ABC):
    """What a layer caches for a token, and how that becomes something to attend to."""

    shapes: tuple[tuple[int, ...], ...]
    """Trailing shapes of the cached tensors, one token of one layer."""

    @property
    def scalars(self) -> int:
        """Cached scalars a token a layer."""
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    @abstractmethod
    def ready(self, tokens: tuple[Tensor, ...], rotation: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
        """Un-rotated tokens [B, N, ...] as attention reads them: keys turned by `rotation`, then keys and values
        scaled by `weights` [B, N]."""

    @abstractmethod
    def keys(self, entries: Entries) -> Tensor:
        """Un-rotated keys [B, frames, S, heads, channels] for policies that compare or score entries."""


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


@dataclass(frozen=True)
class Weights:
    """Where the parameters come from that a strategy adds to a backbone, for records and reports.

    trained: whether a training made them. about: in a few words, such as "untrained, SVD only". digest: of what, beside
    the backbone's own weights and the knobs, decides them. chosen: what was decided for this backbone, by name.
    """

    trained: bool
    about: str
    digest: str
    chosen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """A way to remember: a frozen dataclass of knobs, so that its repr is a complete record of what ran.

    Values are checked against the annotations when it is made, so a wrong knob cannot wait for the first chunk.
    """

    paper: ClassVar[str]
    """Where it is from, as a link."""
    reads_query: ClassVar[bool] = False
    """Whether recall and remember are given the query (then passes are compiled a layer at a time)."""
    bounded: ClassVar[bool] = True
    """Whether the memory stays the same size however long the video."""

    def __post_init__(self) -> None:
        check_knobs(self)

    @property
    def starts_as_full(self) -> bool:
        """Whether it attends to all past frames and nothing else until it first evicts."""
        return True

    def adapt(self, backbone: Backbone) -> Backbone:
        """The backbone on which this strategy runs: the same one, or a twin with layers of its own.

        Asked for by every rollout, so a twin is kept as long as the backbone; the backbone itself is never changed.
        """
        return backbone

    def weights(self, backbone: Backbone) -> Weights | None:
        """Where parameters of its own come from on this backbone; None for a strategy without any."""
        return None

    @abstractmethod
    def open(self, spec: MemorySpec) -> Memory:
        """A fresh memory for one rollout. Raises KnobError where the knobs do not fit `spec`, the adapted one's."""

    @abstractmethod
    def footprint(self, spec: MemorySpec, frames: int) -> int:
        """Bytes that the memory holds after `frames` latent frames were committed, on paper."""

    def scene_bytes(self, spec: MemorySpec) -> int:
        """Bytes that the memory keeps of every scene that a prompt switch ends, beyond `footprint`, on paper."""
        return 0

    def position_limit(self, spec: MemorySpec) -> int | None:
        """All temporal ids stay below this however long the video; None where they grow with it."""
        return None

    def knobs(self) -> dict[str, Any]:
        """Knob values by name."""
        return {knob.name: getattr(self, knob.name) for knob in fields(self)}
