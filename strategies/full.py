"""Full attention: every past frame stays.

Paper: Self-Forcing, arXiv:2506.08009 (its default, `local_attn_size` = -1).
Keeps all frames, un-rotated, at their absolute ids; drops nothing. The released code fails past 21 latent frames, the
trained range. This one continues, and `footprint` states the cost: 288 MB a latent frame at Wan size in bf16.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.memory import Memory, MemorySpec, Strategy
from harness.memory.frames import FrameCache


@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Unbounded memory: the reference for every bounded memory within the trained range."""

    paper = "https://arxiv.org/abs/2506.08009"
    bounded = False

    def open(self, spec: MemorySpec) -> Memory:
        return FrameCache(spec, window=None)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return spec.bytes(frames * spec.frame_tokens)
