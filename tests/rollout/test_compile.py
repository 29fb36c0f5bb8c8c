"""Compilation: the same numbers, and never more graphs than the first full context needed."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from harness.registry import strategy
from harness.verify.bench import Workbench
from tests.lanes import pushed

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler on the CPU"
)
BOUNDED = ["sliding_window", "attention_sink", "infinity_rope", "memrope", "longlive_rag", "memflow"]
BOUNDED += ["dummy_forcing", "forcing_kv"]


@pytest.mark.parametrize("name", pushed(BOUNDED, "sliding_window", "forcing_kv"))
def test_compiled_equals_eager_and_is_compiled_once(name: str) -> None:
    bench = Workbench(strategy(name))
    # The bank of memflow and the retrieved frames of longlive_rag are complete later than a window is full.
    full = bench.chunks + 2
    chunks = full + 6
    # A switch lets infinity_rope's context stay full and the others' prompt change; neither may recompile.
    switches = bench.switches(full + 2)
    eager = bench.latents(chunks, switches=switches)
    running = iter(bench.roll(chunks, switches=switches, compile=True))
    compiled = [next(running).latents for _ in range(full)]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    compiled += [chunk.latents for chunk in running]
    assert counters["stats"]["unique_graphs"] == graphs
    torch.testing.assert_close(torch.cat(compiled, 1), torch.cat(eager, 1), rtol=0, atol=2e-5)


def test_compiled_rollout_resumes_bit_for_bit() -> None:
    bench = Workbench(strategy("memrope"))
    whole = list(bench.roll(compile=True))
    again = bench.latents(compile=True, resume=_state_after(bench, bench.chunks - 2))
    assert torch.equal(torch.cat(again, 1), torch.cat([chunk.latents for chunk in whole[-2:]], 1))


def _state_after(bench: Workbench, chunks: int) -> dict[str, object]:
    for chunk in bench.roll(compile=True):
        if chunk.index == chunks - 1:
            return chunk.state()
    raise AssertionError("the rollout ended early")
