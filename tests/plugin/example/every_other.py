"""Every other chunk: recent frames in full, older ones thinned to every second chunk.

Paper: the dilated sliding window of Longformer, arXiv:2004.05150. Here it is dilated over whole chunks.
Keeps the latest `recent` frames, and of the 2 * `thinned` frames before them the even chunks, un-rotated, at slot
positions; drops the odd chunks when they leave `recent`, and the even ones when they leave the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge

from harness.errors import KnobError
from harness.memory import Memory, MemorySpec, Strategy
from harness.memory.budget import Part, apportion
from harness.memory.frames import FrameCache


@dataclass(frozen=True, kw_only=True)
class EveryOther(Strategy):
    """A window that looks back almost twice as far as it has room for.

    recent: latest latent frames, all of them kept. thinned: older latent frames that are kept, of even chunks only.
    Both are multiples of the chunk, so that the memory stays the same size.
    """

    paper = "https://arxiv.org/abs/2004.05150"

    recent: Annotated[int, Ge(1)] = 3
    thinned: Annotated[int, Ge(0)] = 6

    def open(self, spec: MemorySpec) -> Memory:
        for knob, frames in self.knobs().items():
            if frames % spec.chunk:
                raise KnobError(f"every_other: {knob} = {frames} is not a multiple of the chunk ({spec.chunk})")
        return _Thinned(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return spec.bytes(len(self.kept(frames, spec.chunk)) * spec.frame_tokens)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.recent + self.thinned + spec.chunk

    def resized(self, spec: MemorySpec, frames: int) -> EveryOther:
        parts = {
            name: Part(size, least=min(size, spec.chunk), step=spec.chunk, most=None if size else 0)
            for name, size in self.knobs().items()
        }
        return replace(self, **apportion(frames, parts))

    def kept(self, frames: int, chunk: int) -> list[int]:
        """Ids of the frames that are kept after `frames` of them."""
        old = frames - self.recent
        window = range(max(0, old - 2 * self.thinned), frames)
        return [frame for frame in window if frame >= old or frame // chunk % 2 == 0]


class _Thinned(FrameCache):
    """A window that forgets by chunk number instead of by age alone."""

    def __init__(self, spec: MemorySpec, knobs: EveryOther) -> None:
        super().__init__(spec, window=knobs.recent + knobs.thinned + spec.chunk, positions="relative")
        self.knobs = knobs

    def trim(self, layer: int) -> None:
        held = self.kept[layer]
        stays = set(self.knobs.kept(max(held) + 1, self.spec.chunk))
        self.drop(layer, [frame for frame in held if frame not in stays])
