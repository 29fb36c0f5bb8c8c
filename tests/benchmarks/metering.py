"""Overhead of measuring in a chunk: the same rollouts with the meter of the cost suites and without, in turns.

`python -m tests.benchmarks.metering`; a minute on the pocket.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from harness import registry
from harness.pocket.preset import pocket
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.suite import Row, Task
from reports.statistics.bootstrap import interval
from suites.cost_suite import timed

FRAMES = 240
ROUNDS = 15


def main() -> None:
    torch.set_num_threads(1)
    backbone, strategy = pocket(), registry.strategy("memrope")
    task = Task("stream", FRAMES, 0, (Row(0, ((0, "a thing"),)),))

    def metered() -> None:
        timed(backbone, strategy, task)

    def bare() -> None:
        assert backbone.text is not None
        assert backbone.codec is not None
        decode = backbone.codec.decoder()
        for chunk in rollout(
            backbone,
            strategy,
            prompts=backbone.text(["a thing"]),
            latent_frames=FRAMES,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(0, "a thing")]),
        ):
            decode(chunk.latents)

    ratios = []
    for number in range(ROUNDS + 1):
        seconds = {}
        # The second rollout of a round has the warmer caches, so the order alternates.
        for work in (metered, bare) if number % 2 else (bare, metered):
            began = time.perf_counter()
            work()
            seconds[work] = time.perf_counter() - began
        if number:
            ratios.append(seconds[metered] / seconds[bare])
    found = interval(np.array(ratios), np.arange(len(ratios)))
    print(f"with the meter / without: median {statistics.median(ratios):.4f}, mean {found.mean:.4f} "
          f"({found.low:.4f} to {found.high:.4f}), {ROUNDS} rounds of {FRAMES // backbone.chunk} chunks")  # fmt: skip


if __name__ == "__main__":
    main()
