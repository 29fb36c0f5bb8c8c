"""Cost of Echo-Forcing relative to a plain window: time of a chunk, and the bytes of scoring at full size.

`python -m tests.benchmarks.scenes`. Chunks of both are timed in turns in one process, in steady state; the ratio is the
median over rounds with its 95 % bootstrap interval. Bytes are torch's own account of allocations, their running sum's
highest value while the tokens of one layer's history are scored and chosen: 21 frames of 1560 tokens, 12 heads of 128.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from harness.backbone.layout import DenseLayout
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.memory import At, Entries, MemorySpec
from strategies.echo_forcing import EchoForcing
from tests.benchmarks.cost import CONFIG, Case, interval, seconds, stream

WINDOW = 21
WARM_UP = 10
CASES = [
    Case("sliding_window", {"window": WINDOW}, (WINDOW,), False, torch.float32, None),
    Case("echo_forcing", {}, (WINDOW,), False, torch.float32, 1.25),
]


def ratios(rounds: int) -> list[float]:
    """Seconds of an Echo-Forcing chunk over those of a plain window of the same size, round by round."""
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).requires_grad_(False))
    streams = [stream(case, backbone, WARM_UP + rounds) for case in CASES]
    for running in streams:
        for _ in range(WARM_UP):
            next(running)
    found = []
    for _ in range(rounds):
        plain, scenes = (seconds(partial(next, running)) for running in streams)
        found.append(scenes / plain)
    return found


def scoring_bytes(dtype: torch.dtype) -> tuple[int, int]:
    """(bytes held by one layer, highest bytes beyond them while it chooses its tokens) at Wan's size."""
    spec = MemorySpec(1, DenseLayout(12, 128), 1560, 3, dtype=dtype)
    memory = EchoForcing().open(spec)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 3 * 1560, 12, 128, generator=generator).to(dtype)
    for start in range(0, 24, 3):
        tensors = (torch.randn(1, 3, 1560, 12, 128, generator=generator).to(dtype) for _ in range(2))
        memory.recall(0, query, At(start, 3, 0, commit=False))
        at = At(start, 3, 4, commit=True)
        memory.begin_commit(at)
        memory.remember(0, Entries(*tensors), query, at)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        memory.recall(0, query, At(24, 3, 0, commit=False))
    kineto = watched.profiler.kineto_results  # type: ignore[union-attr]
    total = highest = 0
    for event in kineto.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            highest = max(highest, total)
    return memory.nbytes(), highest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for dtype in (torch.float32, torch.bfloat16):
        held, extra = scoring_bytes(dtype)
        print(f"{dtype}: a layer holds {held / 1e6:.0f} MB; choosing takes at most {extra / 1e6:.0f} more (bar 256)")
    found = ratios(arguments.rounds)
    low, high = interval(found)
    middle = statistics.median(found)
    print(f"a chunk of echo_forcing over one of sliding_window, window {WINDOW}: {middle:.3f}, {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
