"""On a CUDA device: the same video as on the CPU, and no synchronisation between the passes of a chunk."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from harness.backbone.presets import Backbone, scramble
from harness.backbone.request import Compilation
from harness.backbone.wan import CausalWan
from harness.registry import strategy
from harness.verify.bench import CONFIG, Workbench

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; there is none here"),
]
BOUNDED = ["sliding_window", "attention_sink", "infinity_rope", "memrope"]


def bench(name: str, device: str) -> Workbench:
    return Workbench(strategy(name), Backbone(model=scramble(CausalWan(CONFIG)).to(device).requires_grad_(False)))


@pytest.mark.parametrize("compile", get_args(Compilation))
@pytest.mark.parametrize("name", BOUNDED)
def test_same_video_as_on_the_cpu(name: str, compile: Compilation) -> None:
    both = []
    for device in ("cpu", "cuda"):
        where = bench(name, device)
        how: Compilation = compile if device == "cuda" else "off"
        switches = where.switches(where.chunks - 2, rows=2)
        both.append(torch.cat(where.latents(seeds=(0, 1), switches=switches, compile=how), 1))
    theirs, ours = both
    torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("compile", get_args(Compilation))
@pytest.mark.parametrize("name", BOUNDED)
def test_steady_chunks_do_not_synchronise(name: str, compile: Compilation) -> None:
    on_gpu = bench(name, "cuda")
    running = iter(on_gpu.roll(compile=compile))
    for _ in range(on_gpu.chunks - 2):
        next(running)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert next(running).latents.is_cuda
    finally:
        torch.cuda.set_sync_debug_mode("default")
