"""Attention sink: the first frames stay, a window of recent frames slides.

Papers: arXiv:2309.17453 (sink tokens); LongLive, arXiv:2509.22622 (sink frames, re-cache at a prompt switch); Self
Gradient Forcing, arXiv:2607.20368 (recent frames pinned to the top of the trained range, `pinned_at=20`).
Keeps the first `sink` frames and the latest `window - sink - chunk`; drops the oldest in between.

Deviations: a sink consists of whole latent frames, not of single tokens. LongLive's released positions are "absolute";
its "infinite" option and MemRoPE's "eviction" are "relative". "relative" is the default here, because absolute ids
leave the trained range. LongLive's released code attends to stale sink slots when the sink is larger than a chunk; this
is not copied. Of Self Gradient Forcing only the memory is here; its weights are the backbone `sgf`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge

from harness.memory import Memory, MemorySpec, Strategy
from harness.memory.frames import (
    FrameCache,
    OnSwitch,
    Positions,
    check_pin,
    check_pinned_window,
    check_window,
    sink_at,
    window_bytes,
)


@dataclass(frozen=True, kw_only=True)
class AttentionSink(Strategy):
    """Sink frames and a sliding window.

    window: latent frames in all, sink and current chunk included. sink: latent frames that never leave.
    positions: temporal ids are frame ids ("absolute") or cache slots ("relative").
    on_switch: "keep" all; "flush" all but the sink and the last two frames; LongLive's "recache" (its global sink is
    kept) or "recache_all".
    pinned_at: temporal id at which the newest frame stays once it is reached, whatever `positions` says: the recent
    frames end there, the sink stays at 0, 1, ...; none = as `positions` says.
    """

    paper = "https://arxiv.org/abs/2509.22622"

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 3
    positions: Positions = "relative"
    on_switch: OnSwitch = "keep"
    pinned_at: Annotated[int, Ge(0)] | None = None

    @property
    def starts_as_full(self) -> bool:
        return self.pinned_at is None or self.pinned_at >= self.window - 1

    def open(self, spec: MemorySpec) -> Memory:
        check_window("attention_sink", spec, self.window, self.sink)
        # A replay after a switch is one pass over all frames behind the sink, which need ids of their own.
        room = self.window - self.sink if self.on_switch.startswith("recache") else spec.chunk
        check_pin("attention_sink", self.pinned_at, self.sink, room)
        return FrameCache(
            spec,
            window=self.window,
            sink=self.sink,
            positions=self.positions,
            on_switch=self.on_switch,
            pinned_at=self.pinned_at,
        )

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return window_bytes(spec, self.window, frames)

    def resized(self, spec: MemorySpec, frames: int) -> AttentionSink:
        window = frames + spec.chunk
        check_pinned_window(self.pinned_at, window, self.window)
        return replace(self, window=window, sink=sink_at(spec, frames, self.window, self.sink))

    def position_limit(self, spec: MemorySpec) -> int | None:
        if self.pinned_at is not None:
            return self.pinned_at + 1
        return self.window if self.positions == "relative" else None
