"""The knobs of MemFlow, and what it takes on paper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge

from harness.backbone.layout import DenseLayout
from harness.errors import KnobError
from harness.memory import Memory, MemorySpec, Strategy, at_least_float32
from harness.memory.budget import Part, apportion
from harness.memory.frames import check_window
from strategies.memflow.memory import Bank, OnSwitch
from strategies.memflow.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class MemFlow(Strategy):
    """A sink, a bank of frames that the prompt chooses, and recent frames.

    window: latent frames in all, sink and current chunk included, the bank not. sink: latent frames that never leave.
    bank: frames of the bank. interval: chunks after which the next slot of the bank is taken.
    pipeline: "single" records every chunk, "interactive" every interval-th. retake: whether a recorded frame enters a
        full bank again at each chunk until the next one is recorded. sma: sparse memory activation.
    switch_query: what chooses at a prompt switch: nothing ("released") or the new "prompt".
    on_switch: then "recache" (replay; the sink stays once a frame has left), "zero_sink" (it becomes zeros) or "keep".
    """

    paper = "https://arxiv.org/abs/2512.14699"

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 3
    bank: Annotated[int, Ge(1)] = 3
    interval: Annotated[int, Ge(1)] = 3
    pipeline: Literal["single", "interactive"] = "single"
    retake: bool = True
    sma: bool = False
    switch_query: Literal["released", "prompt"] = "released"
    on_switch: OnSwitch = "recache"

    @property
    def reads_query(self) -> bool:  # type: ignore[override]  # only one knob needs the query
        return self.sma

    @property
    def starts_as_full(self) -> bool:
        return False

    def open(self, spec: MemorySpec) -> Memory:
        check_window("memflow", spec, self.window, self.sink)
        if not isinstance(spec.layout, DenseLayout) or spec.grid is None:
            raise KnobError(
                "memflow scores turned keys, for which it needs a dense cache and the grid of a frame's tokens"
            )
        return Bank(
            spec,
            self.schedule,
            window=self.window,
            sink=self.sink,
            sma=self.sma,
            hears=self.switch_query == "prompt",
            on_switch=self.on_switch,
        )

    @property
    def switch_note(self) -> str:
        if not self.sma or self.on_switch == "keep":
            return ""
        return (
            f"memflow with sma and on_switch={self.on_switch}: the released replay at a prompt switch cannot be had, "
            "because its queries cover frames that it drops; here they cover the frames that are kept. As released: "
            "sma=false; without a replay: on_switch=keep"
        )

    @property
    def schedule(self) -> Schedule:
        """When frames are recorded, and which slots of the bank they take."""
        return Schedule(self.bank, self.interval, every=self.pipeline == "single", retake=self.retake)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        # The frame that was recorded last enters the bank with the next chunk.
        chunks = -(-frames // spec.chunk)
        bank = self.schedule.filled(chunks - 1)
        held = min(frames, self.window - spec.chunk) + bank + (chunks > 0)
        ids = bank * torch.int64.itemsize
        asked = torch.Size(spec.layout.shapes[0]).numel() * at_least_float32(spec.dtype).itemsize
        return spec.bytes(held * spec.frame_tokens) + spec.layers * spec.batch * (ids + asked)

    def resized(self, spec: MemorySpec, frames: int) -> MemFlow:
        recent = self.window - self.sink - spec.chunk
        parts = {
            "sink": Part(self.sink, least=min(1, self.sink), most=self.sink),
            "bank": Part(self.bank, least=1),
            "recent": Part(recent, least=min(1, recent)),
        }
        found = apportion(frames, parts)
        window = found["sink"] + found["recent"] + spec.chunk
        return replace(self, window=window, sink=found["sink"], bank=found["bank"])
