"""The same strategy at another size: so that a policy is not confounded with its budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from harness.errors import KnobError
from harness.memory import MemorySpec, Strategy

FAR = 100_000
"""Latent frames after which every bounded memory is full."""


def dense_bytes(spec: MemorySpec, window: int) -> int:
    """Cached bytes of a plain window of `window` latent frames, the current chunk included."""
    return spec.bytes((window - spec.chunk) * spec.frame_tokens)


def sized(strategy: Strategy, spec: MemorySpec, budget: int, longest: int) -> Strategy | None:
    """`strategy` with the `window` at which its cached bytes come nearest to `budget`; ties go to the smaller one.

    `spec` is of the backbone that it adapted. A cache so small that the budget would buy a window of more than
    `longest` latent frames gets these: beyond its training a backbone measures something else. None for a strategy
    that has no knob `window`, or that grows with the video.
    """
    if not strategy.bounded or "window" not in strategy.knobs():
        return None
    best: tuple[int, Strategy] | None = None
    window = spec.chunk
    while True:
        window += 1
        changed: dict[str, Any] = {"window": window}
        try:
            candidate = replace(strategy, **changed)
            candidate.open(replace(spec, device=torch.device("meta")))
            off = candidate.footprint(spec, FAR) - budget
        except KnobError:
            # Too small for what the other knobs ask for.
            if window > spec.chunk + 1000:
                return None
            continue
        if best is None or abs(off) < best[0]:
            best = (abs(off), candidate)
        if off >= 0 or window >= longest:
            return best[1]
