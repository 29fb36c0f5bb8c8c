"""Which kernels take the time of a chunk."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.request import Compilation
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.training.rollout_clips import example_prompts

KINDS: Mapping[str, re.Pattern[str]] = {
    "attention": re.compile(r"flash|fmha|attention|sdpa|softmax", re.IGNORECASE),
    "matrix products": re.compile(r"gemm|cutlass|cublas|nvjet|xmma|wgmma|splitk|addmm|::mm|linear", re.IGNORECASE),
    "copies": re.compile(r"memcpy|memset|copy", re.IGNORECASE),
}
"""Kinds of kernels by their names; the first that fits. Others are element-wise operations, norms and reductions."""
REST = "rest"


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel, given its name."""
    return next((kind for kind, names in KINDS.items() if names.search(kernel)), REST)


def shares(stage: Backbone, arm: str, compile: Compilation, early: int = 12, chunks: int = 2) -> dict[str, Any]:
    """Return the share of the time of steady chunks that each kind of kernel takes, and the device's idle share.

    Parameters
    ----------
    early
        Chunks before those that are profiled.
    chunks
        Chunks that are profiled.
    """
    _, strategy = registry.parse_strategy(arm)
    stage = replace(stage, compile=compile)
    device = stage.model.device
    cuda = device.type == "cuda"
    running = rollout(
        stage,
        strategy,
        prompts=example_prompts(stage, [0]),
        latent_frames=(early + chunks + 1) * stage.chunk,
        latent_size=stage.latent_size,
        noise=PairedNoise([(0, "device")]),
    )

    def wait() -> float:
        if cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    for _ in range(early):
        next(running)
    began = wait()
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        for _ in range(chunks):
            next(running)
        whole = wait() - began
    by_kind: dict[str, float] = dict.fromkeys([*KINDS, REST], 0.0)
    slowest: dict[str, float] = {}
    for event in seen.key_averages():
        seconds = (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e6
        by_kind[kind_of(event.key)] += seconds
        slowest[event.key] = seconds
    busy = sum(by_kind.values())
    assert busy > 0, "the profiler saw no kernel"
    top = sorted(slowest.items(), key=lambda each: -each[1])[:12]
    return {
        "seconds_a_chunk": whole / chunks,
        "idle": max(0.0, 1 - busy / whole),
        "shares": {kind: seconds / busy for kind, seconds in by_kind.items()},
        "slowest": {name[:120]: seconds / busy for name, seconds in top},
    }
