"""Sliding window: the latest frames, first in, first out.

Paper: Self-Forcing, arXiv:2506.08009 (`local_attn_size` = 9, 12 or 21).
Keeps the latest `window - chunk` frames; drops the oldest.

Deviations: the released code bakes absolute positions into its cached keys. Rotary attention depends on distances only,
so without a sink "relative" slots give the same result (to rounding) and never leave the trained range; this is the
default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge

from harness.memory import Memory, MemorySpec, Strategy
from harness.memory.frames import FrameCache, OnSwitch, Positions, check_window, window_bytes


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Strategy):
    """A window of recent frames: the baseline.

    window: latent frames in all, current chunk included. positions, on_switch: as for attention_sink, without a sink.
    """

    paper = "https://arxiv.org/abs/2506.08009"

    window: Annotated[int, Ge(1)] = 12
    positions: Positions = "relative"
    on_switch: OnSwitch = "keep"

    def open(self, spec: MemorySpec) -> Memory:
        check_window("sliding_window", spec, self.window, sink=0)
        return FrameCache(spec, window=self.window, positions=self.positions, on_switch=self.on_switch)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return window_bytes(spec, self.window, frames)

    def resized(self, spec: MemorySpec, frames: int) -> SlidingWindow:
        return replace(self, window=frames + spec.chunk)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window if self.positions == "relative" else None
