"""Rolling Sink: the old slots of a window walk through the first frames, forth and back.

Paper: Rolling Sink, arXiv:2602.07775; the released code at commit d7fc0d9.
Keeps the first `window - chunk` frames for good, and the latest chunk. A chunk sees `window - chunk` slots with
contiguous temporal ids right before its own. The slots of the latest chunk hold these frames themselves; a slot with an
older id p holds the frame of the beginning to which p is reflected: ids count up through the kept frames, then down
again, the frames at both ends twice in a row. While the window fills up this is what was generated.

Deviations: the released code keeps absolute ids, which leave the trained range; slots are the default here, and give
the same numbers to rounding. With context noise above 0 the released code silently becomes a sliding window; here it
does not. Its sampling script starts every chunk from the same noise, which is no part of the memory:
`harness.rollout.noise.RepeatedNoise`. Prompt switches do not exist there; here the memory is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from harness.memory import At, Context, Memory, MemorySpec, Strategy
from harness.memory.budget import Part, apportion
from harness.memory.frames import FrameCache, Positions, check_whole_chunks, check_window


@dataclass(frozen=True, kw_only=True)
class RollingSink(Strategy):
    """The first frames, seen in turn, and the latest chunk.

    window: latent frames in all, current chunk included; a multiple of the chunk. positions: temporal ids are frame ids
    ("absolute") or cache slots ("relative").
    """

    paper = "https://arxiv.org/abs/2602.07775"

    window: Annotated[int, Ge(1)] = 21
    positions: Positions = "relative"

    def open(self, spec: MemorySpec) -> Memory:
        check_window("rolling_sink", spec, self.window, 0, spec.chunk)
        check_whole_chunks("rolling_sink", spec, self.window)
        return _Reflected(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        period = self.window - spec.chunk
        latest = min(max(frames - period, 0), spec.chunk)
        return spec.bytes((min(frames, period) + latest) * spec.frame_tokens)

    def resized(self, spec: MemorySpec, frames: int) -> RollingSink:
        parts = {"first": Part(self.window - spec.chunk, least=spec.chunk, step=spec.chunk)}
        return replace(self, window=apportion(frames, parts)["first"] + spec.chunk)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window if self.positions == "relative" else None


class _Reflected(FrameCache):
    """The first frames and the latest ones, by frame id; `recall` says which of them stand in the slots."""

    def __init__(self, spec: MemorySpec, knobs: RollingSink) -> None:
        super().__init__(spec, window=knobs.window, positions=knobs.positions)
        self.period = knobs.window - spec.chunk

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        kept = self.kept[layer]
        ids = list(range(max(0, at.start - self.period), at.start))
        latest = at.start - self.spec.chunk
        slots = tuple(kept[id if id >= latest else self.reflected(id)] for id in ids)
        return Context(slots, *self.place(ids, at))

    def reflected(self, id: int) -> int:
        """Return the frame of the beginning that stands for an id: up through the kept frames, then down again."""
        turn, step = divmod(id, self.period)
        return self.period - 1 - step if turn % 2 else step

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        latest = max(kept) + 1 - self.spec.chunk
        self.drop(layer, [frame for frame in kept if self.period <= frame < latest])
