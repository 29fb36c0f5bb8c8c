"""infinity-RoPE: a short window behind one sink frame, bounded positions, and scene cuts by a jump of positions.

Paper: infinity-RoPE, arXiv:2511.20649.
Keeps the first frame and the latest two (window 6, sink 1, chunk 3), un-rotated, at slot positions; drops the rest.
At every prompt switch the cache is flushed down to the sink and the last `flush_keep` frames. At a hard cut the first
chunk of the new scene also gets the temporal ids `cut`, cut + 1, ... in all its passes, far from the kept frames.

Paper and released code differ; defaults follow the code. Flush keeps the last two frames (paper: one,
`flush_keep=1`). Positions are slots 0..5 (paper: absolute up to an id f0 = 21, then pinned there: `pinned_at=21`). The
cut moves the whole chunk (paper: all but its first frame; not offered, since a chunk's frames are contiguous here).
The released code assumes a full cache at a flush; here a cache that is still filling keeps the frames that it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge

from harness.memory import At, Memory, MemorySpec, PromptSwitch, Strategy
from harness.memory.frames import FrameCache, check_pin, check_pinned_window, check_window, sink_at, window_bytes


@dataclass(frozen=True, kw_only=True)
class InfinityRope(Strategy):
    """Window and sink at block-relative positions, KV flush and RoPE cut.

    window: latent frames in all, sink and current chunk included. sink: latent frames that never leave.
    flush_keep: recent frames that survive a prompt switch. cut: temporal id of the first frame after a hard cut.
    pinned_at: temporal id at which the newest frame stays once it is reached; none = slot positions.
    """

    paper = "https://arxiv.org/abs/2511.20649"

    window: Annotated[int, Ge(1)] = 6
    sink: Annotated[int, Ge(0)] = 1
    flush_keep: Annotated[int, Ge(0)] = 2
    cut: Annotated[int, Ge(0)] = 45
    pinned_at: Annotated[int, Ge(0)] | None = None

    @property
    def starts_as_full(self) -> bool:
        return self.pinned_at is None or self.pinned_at >= self.window - 1

    def open(self, spec: MemorySpec) -> Memory:
        check_window("infinity_rope", spec, self.window, self.sink)
        check_pin("infinity_rope", self.pinned_at, self.sink, spec.chunk)
        return _Scenes(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return window_bytes(spec, self.window, frames)

    def resized(self, spec: MemorySpec, frames: int) -> InfinityRope:
        window = frames + spec.chunk
        check_pinned_window(self.pinned_at, window, self.window)
        return replace(self, window=window, sink=sink_at(spec, frames, self.window, self.sink))

    def position_limit(self, spec: MemorySpec) -> int | None:
        steady = self.window if self.pinned_at is None else self.pinned_at + 1
        return max(steady, self.cut + spec.chunk)


class _Scenes(FrameCache):
    """A window that is flushed at a prompt switch and moved to distant positions at a hard cut."""

    def __init__(self, spec: MemorySpec, knobs: InfinityRope) -> None:
        super().__init__(
            spec,
            window=knobs.window,
            sink=knobs.sink,
            positions="relative",
            on_switch="flush",
            flush_keep=knobs.flush_keep,
            pinned_at=knobs.pinned_at,
        )
        self.knobs = knobs
        self.cut_at: int | None = None

    def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
        positions, start = super().place(ids, at)
        return positions, self.knobs.cut if at.start == self.cut_at else start

    def forget(self, switch: PromptSwitch) -> None:
        super().forget(switch)
        if switch.kind == "hardcut":
            self.cut_at = switch.start

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"cut_at": self.cut_at}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.cut_at = state["cut_at"]
