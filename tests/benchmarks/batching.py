"""What a batch of 64 rollouts saves against one by one, and whether the result is the same; float32, pocket.

python -m tests.benchmarks.batching
"""

from __future__ import annotations

import statistics
import time

import torch

from harness import registry
from harness.pocket.readout import play
from harness.pocket.world import script

ROLLOUTS, FRAMES, ONES = 64, 84, 8


def main() -> None:
    backbone, strategy = registry.backbone("pocket"), registry.strategy("memrope")
    scripts = [script("a thing")] * ROLLOUTS

    def seconds(rows: range) -> tuple[float, torch.Tensor]:
        began = time.perf_counter()
        made, _ = play(backbone, strategy, scripts[: len(rows)], rows, FRAMES, given=3)
        return time.perf_counter() - began, made

    with torch.inference_mode():
        seconds(range(2))
        # One by one is fastest with one thread a rollout at a time, the batch with all of them.
        threads = torch.get_num_threads()
        ratios = []
        for _ in range(3):
            whole, together = seconds(range(ROLLOUTS))
            singles = {}
            for count in {1, threads}:
                torch.set_num_threads(count)
                parts = [seconds(range(row, row + 1)) for row in range(ONES)]
                singles[count] = sum(part[0] for part in parts) * ROLLOUTS / ONES
            torch.set_num_threads(threads)
            off = max(float((together[row] - parts[row][1][0]).abs().max()) for row in range(ONES))
            best = min(singles.values())
            ratios.append(best / whole)
            print(
                f"batch {whole:.1f} s, one by one {best:.1f} s: {best / whole:.1f} times; largest difference {off:.1e}"
            )
    print(f"median {statistics.median(ratios):.1f} times")


if __name__ == "__main__":
    main()
