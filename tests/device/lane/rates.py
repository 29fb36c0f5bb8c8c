"""Time and bytes of one arm's chunks on a device, beside what the plan says."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.backbone.presets import Backbone, Codec
from harness.backbone.request import Compilation
from harness.memory import Strategy
from harness.plan.device import at_hand
from harness.plan.planning import plan
from harness.suite import Row, Task
from suites.cost_suite import settled, streamed, timed

CHUNKS = 24
"""Chunks that are timed once a memory's size is steady."""
AFTER = 4
"""Further chunks, of which the first begins with a prompt switch."""
WINDOW = 12
AT_WINDOW = (
    f"sliding_window.window={WINDOW}", f"attention_sink.window={WINDOW},sink=3", f"memrope.window={WINDOW}",
    f"infinity_rope.window={WINDOW}", f"ema_sink.window={WINDOW},sink=3", f"rolling_sink.window={WINDOW}",
    f"longlive_rag.window={WINDOW}", f"memflow.window={WINDOW}",
)  # fmt: skip


def arms() -> list[str]:
    """Return what is measured: every bounded strategy as published, then some at a window of 12."""
    published = [name for name in registry.found("strategies") if registry.strategy_class(name).bounded]
    named = [registry.parse_strategy(text) for text in published]
    others = [text for text in AT_WINDOW if registry.parse_strategy(text) not in named]
    return [*published, *others]


def rate(stage: Backbone, arm: str, compile: Compilation, chunks: int = CHUNKS) -> dict[str, Any]:
    """Return the figures of a rollout: rates, latencies, the price of a switch, and bytes.

    Parameters
    ----------
    stage
        The backbone, without a codec.
    arm
        A strategy as `horizon run --strategy` takes it.
    compile
        How passes run.
    chunks
        Chunks that are timed.

    Returns
    -------
    dict
        dit_fps (pixel frames a second), chunk_p50_ms, chunk_p90_ms, switch_ms (of a chunk that begins with
        a prompt switch), whole_seconds; planned_fps (the roofline's) and share_of_bound, for a registered backbone;
        peak_bytes, planned_bytes and their ratio on a CUDA device.
    """
    _, strategy = registry.parse_strategy(arm)
    stage = replace(stage, compile=compile)
    device, size = stage.model.device, stage.chunk
    early, task = _steady(stage, strategy, chunks)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    timing = timed(stage, strategy, task)
    drawn = timing.drawn[early : early + chunks]
    pictures = size * stage.pictures_per_latent
    found: dict[str, Any] = {
        "dit_fps": pictures * len(drawn) / sum(drawn),
        "chunk_p50_ms": 1000 * statistics.median(drawn),
        "chunk_p90_ms": 1000 * float(np.quantile(drawn, 0.9)),
        "switch_ms": 1000 * timing.drawn[early + chunks],
        "whole_seconds": timing.before + sum(timing.drawn),
    }
    if stage.name in registry.found("backbones"):
        paper = registry.open_backbone(replace(stage.request(), device="meta"))
        planned = plan(strategy, paper, stage.latent_size, task.frames)
        bound = planned.bound(at_hand(stage.model.dtype, device.type)).chunk_seconds
        found |= {"planned_fps": pictures / bound, "share_of_bound": bound / statistics.median(drawn)}
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device)
            found |= {"peak_bytes": peak, "planned_bytes": planned.peak_bytes, "ratio": peak / planned.peak_bytes}
    return found


def stream(stage: Backbone, arm: str, compile: Compilation, codec: Codec, chunks: int = CHUNKS) -> dict[str, Any]:
    """Return the rates of a rollout whose chunks are decoded.

    Returns
    -------
    dict
        dit_fps; decoded_after_fps, with every chunk decoded before the next one; stream_fps, with the decoder beside
        the passes of the next chunk; decode_ms, of a chunk; share, stream_fps by dit_fps.
    """
    _, strategy = registry.parse_strategy(arm)
    stage = replace(stage, compile=compile, codec=codec)
    early, task = _steady(stage, strategy, chunks)
    timing = timed(stage, strategy, task)
    # The first chunk has no pictures before it.
    beside = sum(seconds for _, seconds in streamed(stage, strategy, task)[early - 1 : early - 1 + chunks])
    drawn, decoded = (sum(each[early : early + chunks]) for each in (timing.drawn, timing.decoded))
    pictures = chunks * stage.chunk * stage.pictures_per_latent
    return {
        "dit_fps": pictures / drawn,
        "decoded_after_fps": pictures / (drawn + decoded),
        "stream_fps": pictures / beside,
        "decode_ms": 1000 * decoded / chunks,
        "share": drawn / beside,
    }


def _steady(stage: Backbone, strategy: Strategy, chunks: int) -> tuple[int, Task]:
    """Return a number of chunks after which a memory is steady, and a task of so many more, and of a few after a prompt
    switch."""
    size = stage.chunk
    capacity = strategy.open(strategy.adapt(stage).memory_spec()).capacity
    assert capacity is not None, strategy
    # Replaced twice, and one more chunk, in which passes of the last new size are compiled or recorded.
    early = math.ceil((2 * capacity + size) / size) + 1
    frames = (early + chunks + AFTER) * size
    said = ((0, "a"), ((early + chunks) * size, "b"))
    assert settled(stage, strategy, 2 * frames) <= early * size
    return early, Task("device", frames, 0, (Row(0, said),), ("smooth", "smooth"))


def grows(stage: Backbone, arm: str, compile: Compilation, frames: int) -> dict[str, Any]:
    """Return how time and bytes of the last quarter of a rollout compare with those of the second one.

    frames: latent frames of the rollout.
    """
    _, strategy = registry.parse_strategy(arm)
    stage = replace(stage, compile=compile)
    device = stage.model.device
    bytes_at: list[int] = []

    def each(end: int) -> None:
        if device.type == "cuda":
            bytes_at.append(torch.cuda.memory_allocated(device))

    timing = timed(stage, strategy, Task("device", frames, 0, (Row(0, ((0, "a"),)),)), each=each)
    quarter = len(timing.drawn) // 4
    second, last = slice(quarter, 2 * quarter), slice(3 * quarter, None)
    found: dict[str, Any] = {
        "chunks": len(timing.drawn),
        "time_ratio": statistics.median(timing.drawn[last]) / statistics.median(timing.drawn[second]),
    }
    if bytes_at:
        found["bytes_ratio"] = statistics.fmean(bytes_at[last]) / statistics.fmean(bytes_at[second])
    return found
