"""Simulate workers that take cells in several orders, and compare the time until the last one ends with the ideal.

By hand: python -m tests.benchmarks.makespan [--workers 64] [--tier full]

The cells are those of a campaign of all strategies under the suites of quality; their lengths are the latent frames
of their tasks times a factor for each strategy, drawn between 0.6 and 2.4, and a little noise for each cell.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Sequence

from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import Cell, cells
from harness.engines.sharing.order import from_shard, longest_first, work
from harness.pocket.preset import pocket

SUITES = ("drift", "interactive", "distance", "fairness")
STRATEGIES = (
    "attention_sink", "deep_forcing", "echo_forcing", "ema_sink", "full", "infinity_rope", "longlive_rag", "memflow",
    "memrope", "rolling_sink", "sliding_window",
)  # fmt: skip


def makespan(seconds: Sequence[Sequence[float]], lengths: dict[str, float]) -> float:
    """Return the time until every cell is done.

    seconds: for each worker, the names of all cells in the order in which it asks for them.
    """
    free = [(0.0, number) for number in range(len(seconds))]
    places, taken, end = [0] * len(seconds), set(), 0.0
    while free:
        now, worker = heapq.heappop(free)
        order = seconds[worker]
        while places[worker] < len(order) and order[places[worker]] in taken:
            places[worker] += 1
        if places[worker] < len(order):
            cell = order[places[worker]]
            taken.add(cell)
            end = max(end, now + lengths[cell])
            heapq.heappush(free, (now + lengths[cell], worker))
    return end


def lengths_of(planned: Sequence[Cell], seed: int = 0) -> dict[str, float]:
    """Return a length for each cell, from its frames and a factor of its strategy."""
    rng = random.Random(seed)
    factors = {label: rng.uniform(0.6, 2.4) for label in sorted({cell.arm.label for cell in planned})}
    return {cell.id: work(cell) * factors[cell.arm.label] * rng.uniform(0.95, 1.05) for cell in planned}


def ratios(planned: Sequence[Cell], workers: int) -> dict[str, float]:
    """Return the makespan of each order as a multiple of the ideal one."""
    lengths = lengths_of(planned)
    ideal = max(sum(lengths.values()) / workers, *lengths.values())
    ordered = longest_first(planned)
    orders = {
        "task by task, as planned": [planned] * workers,
        "tasks longest first (used)": [ordered] * workers,
        "the same, from shards (Slurm)": [from_shard(ordered, number, workers) for number in range(workers)],
        "cells longest first": [sorted(planned, key=lambda cell: -lengths[cell.id])] * workers,
        "shards without help": [ordered[number::workers] for number in range(workers)],
    }
    return {
        name: makespan([[cell.id for cell in each] for each in order], lengths) / ideal
        for name, order in orders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--tier", default="full")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    campaign = {"strategies": STRATEGIES, "suites": SUITES, "tier": asked.tier, "seeds": asked.seeds}
    planned = [cell for cell in cells(make_campaign(campaign), pocket()) if not cell.skip]
    print(f"{len(planned)} cells, {asked.workers} workers")
    for name, ratio in ratios(planned, asked.workers).items():
        print(f"{ratio:6.3f}  {name}")


if __name__ == "__main__":
    main()
