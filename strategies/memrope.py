"""MemRoPE: two moving averages of all evicted frames, between a sink and the recent frames.

Paper: MemRoPE, arXiv:2603.12513.
Keeps the first `sink` frames, a long- and a short-term memory frame, and as many recent frames as the window has room
for: with the defaults 3 + 1 + 1 + 4, and 3 of the chunk. Evicted frames are averaged over frames and tokens into one
vector a head, which is mixed into both memories, keys un-rotated and values alike. Every memory token holds this one
vector; memory tokens differ by their rotation only. All positions are cache slots.

Paper and released code differ; defaults follow the code. Released: memories appear with the first eviction, as a copy
of it, and the first two frames behind the sink make room for them without being averaged in. Paper (`init="paper"`):
memories start as zeros, are attended from the first chunk on, and every evicted frame enters them. The released code
accumulates in the cache's data type (`accumulator="cache"`), where small updates vanish in bfloat16; float32 is the
default here. MemRoPE does not react to a prompt switch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness.errors import KnobError
from harness.memory import At, Context, Entries, Memory, MemorySpec, Strategy
from harness.memory.averages import Accumulator, AveragingCache, accumulator_dtype, average_bytes
from harness.memory.frames import check_window, sink_at

Alpha = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class MemRoPE(Strategy):
    """Sink, exponential moving averages of the evicted frames, and recent frames.

    window: latent frames in all, sink, memories and current chunk included. sink: latent frames that never leave.
    alpha_long, alpha_short: weight of the evicted frames in each memory; none removes that memory.
    pooling: average over the evicted "chunk" (frames and tokens) or a "position" (frames only, every token its own);
        "adaptive" is by position, with a short alpha that grows with how much a token changed.
    init: as "released" or as in the "paper". accumulator: in what the averages are kept.
    """

    paper = "https://arxiv.org/abs/2603.12513"

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 3
    alpha_long: Alpha | None = 0.01
    alpha_short: Alpha | None = 0.1
    pooling: Literal["chunk", "position", "adaptive"] = "chunk"
    init: Literal["released", "paper"] = "released"
    accumulator: Accumulator = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streams == 0:
            raise KnobError("MemRoPE: alpha_long and alpha_short are both none; leave one, or use attention_sink")
        if self.pooling == "adaptive" and (self.alpha_short or 0) > 0.2:
            raise KnobError(
                f"MemRoPE: adaptive pooling raises alpha_short up to five times, so it must be <= 0.2, "
                f"not {self.alpha_short}"
            )

    @property
    def streams(self) -> int:
        """Number of memory frames."""
        return (self.alpha_long is not None) + (self.alpha_short is not None)

    @property
    def starts_as_full(self) -> bool:
        return self.init == "released"

    def open(self, spec: MemorySpec) -> Memory:
        check_window("memrope", spec, self.window, self.sink, self.streams)
        return _Averages(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        averaging = self.init == "paper" or frames + spec.chunk > self.window
        room = self.window - spec.chunk - self.streams * averaging
        tokens = 1 if self.pooling == "chunk" else spec.frame_tokens
        memories = self.streams * averaging * average_bytes(spec, tokens, self.accumulator)
        return spec.bytes(min(frames, room) * spec.frame_tokens) + memories

    def resized(self, spec: MemorySpec, frames: int) -> MemRoPE:
        sink = sink_at(spec, frames, self.window, self.sink, self.streams)
        return replace(self, window=frames + spec.chunk, sink=sink)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window

    def dtype(self, spec: MemorySpec) -> torch.dtype:
        """Return the data type in which the averages are accumulated."""
        return accumulator_dtype(spec, self.accumulator)


class _Averages(AveragingCache):
    """A window whose evicted frames are averaged. `averages[layer]` is (long, short), or empty before an eviction."""

    def __init__(self, spec: MemorySpec, knobs: MemRoPE) -> None:
        super().__init__(spec, window=knobs.window, sink=knobs.sink, accumulator=knobs.accumulator)
        self.knobs = knobs
        if knobs.init == "paper":
            tokens = 1 if knobs.pooling == "chunk" else spec.frame_tokens
            shapes = [(spec.batch, 1, tokens, *shape) for shape in spec.layout.shapes]
            zeros = partial(torch.zeros, dtype=knobs.dtype(spec), device=spec.device)
            self.averages = [
                self.as_kept([Entries(*(zeros(shape) for shape in shapes)) for _ in range(knobs.streams)])
                for _ in range(spec.layers)
            ]

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        frames, spec = list(self.kept[layer].values()), self.spec
        memories = [
            average.map(lambda x: x.to(spec.dtype).expand(-1, -1, spec.frame_tokens, *x.shape[3:]))
            for average in self.averages[layer]
        ]
        slots = (*frames[: self.sink], *memories, *frames[self.sink :])
        return Context(slots, range(len(slots)), len(slots))

    def trim(self, layer: int) -> None:
        assert self.capacity is not None
        kept, streams, sink = self.kept[layer], self.knobs.streams, self.sink
        excess = len(kept) + len(self.averages[layer]) - self.capacity
        if excess <= 0:
            return
        first = not self.averages[layer]
        if first:
            # The memories take the slots of the first frames behind the sink, which are lost.
            self.drop(layer, list(kept)[sink : sink + streams])
        group = Entries.cat(self.drop(layer, list(kept)[sink : sink + excess]))
        over = (1, 2) if self.knobs.pooling == "chunk" else (1,)
        pooled = group.map(lambda x: x.to(self.knobs.dtype(self.spec)).mean(over, keepdim=True))
        made = [pooled.copy() for _ in range(streams)] if first else self._mix(self.averages[layer], pooled)
        self.averages[layer] = self.as_kept(made)

    def _mix(self, averages: list[Entries], pooled: Entries) -> list[Entries]:
        alphas: list[float | Tensor] = [a for a in (self.knobs.alpha_long, self.knobs.alpha_short) if a is not None]
        if self.knobs.pooling == "adaptive" and self.knobs.alpha_short is not None:
            alphas[-1] = self._adapted(self.knobs.alpha_short, averages[-1], pooled)
        return [average.mix(pooled, alpha) for average, alpha in zip(averages, alphas, strict=True)]

    def _adapted(self, alpha: float, short: Entries, pooled: Entries) -> Tensor:
        """Return a short alpha a token, [B, 1, S]: 0.1 to 5 times `alpha`, rising with the change of its key."""
        keys = self.spec.layout.keys
        change = (keys(pooled) - keys(short)).norm(dim=-1).mean(-1)
        change = change / (change.amax(-1, keepdim=True) + 1e-8)
        return 0.1 * alpha + change * (5 - 0.1) * alpha
