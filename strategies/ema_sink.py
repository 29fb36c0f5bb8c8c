"""EMA-Sink: the sink absorbs, by a moving average, every frame that leaves the window.

Paper: Reward Forcing, arXiv:2512.04678; the released code at commit 4317f5a.
Keeps a sink of one chunk and the latest `window - 2 * chunk` frames. When a chunk leaves the window, its i-th frame is
mixed into the i-th sink frame, token by token, keys un-rotated and values alike: the sink becomes
`alpha * sink + (1 - alpha) * frame`, so alpha is the weight of the *old* sink. All positions are cache slots. Of a
frame-wise model, for which nothing was released, the sink may have several frames, which absorb frames in turn.

Deviations: the released code accumulates in the data type of the cache (`accumulator="cache"`), where in bfloat16
steps of a thousandth are rounded away; float32 is the default here. Sinks of another size than a chunk, and windows
that are no multiple of it, overwrite the sink in the released code instead of averaging; they are refused. Prompt
switches do not exist there; here the memory is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from harness.errors import KnobError
from harness.memory import At, Context, Entries, Memory, MemorySpec, Strategy
from harness.memory.averages import Accumulator, AveragingCache, accumulator_dtype, as_type, average_bytes, folded
from harness.memory.budget import Part, apportion
from harness.memory.frames import check_window


@dataclass(frozen=True, kw_only=True)
class EMASink(Strategy):
    """A sink that averages what leaves, and recent frames.

    window: latent frames in all, sink and current chunk included; a multiple of the chunk.
    sink: latent frames of the sink: as many as a chunk has, any number where that is one.
    alpha: weight of the old sink; 1 is a plain sink. accumulator: in what the sink is kept.
    """

    paper = "https://arxiv.org/abs/2512.04678"

    window: Annotated[int, Ge(1)] = 9
    sink: Annotated[int, Ge(1)] = 3
    alpha: Annotated[float, Ge(0), Le(1)] = 0.999
    accumulator: Accumulator = "float32"

    def open(self, spec: MemorySpec) -> Memory:
        check_window("ema_sink", spec, self.window, self.sink)
        if self.sink != spec.chunk != 1 or self.window % spec.chunk:
            raise KnobError(
                f"ema_sink: sink {self.sink} and window {self.window} do not fit a chunk of {spec.chunk} latent "
                f"frames, which is averaged frame by frame into the sink; sink must be {spec.chunk}, window a multiple "
                "of it"
            )
        return _AveragingSink(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        averaging = frames + spec.chunk > self.window
        kept = min(frames, self.window - spec.chunk) - self.sink * averaging
        averages = average_bytes(spec, self.sink * averaging * spec.frame_tokens, self.accumulator)
        return spec.bytes(kept * spec.frame_tokens) + averages

    def resized(self, spec: MemorySpec, frames: int) -> EMASink:
        size = self.window - self.sink - spec.chunk
        recent = Part(size, least=min(size, spec.chunk), step=spec.chunk)
        parts = {"sink": Part(self.sink, least=self.sink, most=self.sink), "recent": recent}
        return replace(self, window=sum(apportion(frames, parts).values()) + spec.chunk)

    @property
    def kept_sink(self) -> int:
        """0: the sink is an average."""
        return 0

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window


class _AveragingSink(AveragingCache):
    """A window whose sink becomes averages, `averages[layer]`, once a chunk leaves; empty before."""

    def __init__(self, spec: MemorySpec, knobs: EMASink) -> None:
        super().__init__(spec, window=knobs.window, sink=knobs.sink, accumulator=knobs.accumulator)
        self.alpha, self.dtype = knobs.alpha, accumulator_dtype(spec, knobs.accumulator)

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        averages = [as_type(average, self.spec.dtype) for average in self.averages[layer]]
        slots = (*averages, *self.kept[layer].values())
        return Context(slots, range(len(slots)), len(slots))

    def trim(self, layer: int) -> None:
        assert self.capacity is not None
        kept, averages = self.kept[layer], self.averages[layer]
        excess = len(kept) + len(averages) - self.capacity
        if excess <= 0:
            return
        if not averages:
            averages = [as_type(frame, self.dtype) for frame in self.drop(layer, list(kept)[: self.sink])]
        oldest = next(iter(kept))
        leaving = Entries.cat(self.drop(layer, list(kept)[:excess]))
        made = folded(averages, leaving, 1 - self.alpha, first=oldest - self.sink)
        self.averages[layer] = self.as_kept(made)
