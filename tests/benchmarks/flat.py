"""Whether time and bytes a chunk stay flat: 2,000 chunks of a tiny model for every bounded strategy.

Run with `nox -s speed`, or `python -m tests.benchmarks.flat`. Compares the median seconds and the bytes (held and
resident) of the last 200 chunks with those of chunks 100 to 300; the bar is 5 %. All strategies run in turns, chunk by
chunk, so that a change of the machine's speed meets all of them and is seen in `control`, a fixed matrix product.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import psutil
import torch

from harness.memory import Memory
from harness.registry import found, strategy
from harness.verify.bench import Workbench

CHUNKS = 2000
EARLY = slice(100, 300)
LATE = slice(-200, None)
BAR = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    chunks = parser.parse_args().chunks
    torch.set_num_threads(1)
    memories: dict[str, Memory] = {}
    streams = {}
    for name in found("strategies"):
        made = strategy(name)
        if made.bounded:

            def watch(memory: Memory, name: str = name) -> Memory:
                memories[name] = memory
                return memory

            streams[name] = iter(Workbench(made).roll(chunks, watch=watch))
    seconds: dict[str, list[float]] = {name: [] for name in [*streams, "control"]}
    held: dict[str, list[int]] = {name: [] for name in streams}
    resident: list[int] = []
    square = torch.randn(300, 300)
    for _ in range(chunks):
        start = time.perf_counter()
        square @ square
        seconds["control"].append(time.perf_counter() - start)
        for name, stream in streams.items():
            start = time.perf_counter()
            next(stream)
            seconds[name].append(time.perf_counter() - start)
            held[name].append(memories[name].nbytes())
        resident.append(psutil.Process().memory_info().rss)
    print(f"{'':<16}{'ms early':>10}{'ms late':>10}{'ratio':>8}{'bytes early':>13}{'bytes late':>12}")
    failed = False
    for name, times in seconds.items():
        early, late = statistics.median(times[EARLY]), statistics.median(times[LATE])
        row = f"{name:<16}{early * 1e3:>10.3f}{late * 1e3:>10.3f}{late / early:>8.3f}"
        if name in held:
            first, last = max(held[name][EARLY]), max(held[name][LATE])
            failed |= abs(late / early - 1) > BAR or abs(last / first - 1) > BAR
            row += f"{first:>13}{last:>12}"
        print(row)
    early_rss, late_rss = statistics.median(resident[EARLY]), statistics.median(resident[LATE])
    print(f"resident memory of all together: {early_rss / 1e6:.1f} MB early, {late_rss / 1e6:.1f} MB late")
    failed |= late_rss / early_rss - 1 > BAR
    print("MISSED: something is not flat" if failed else f"met: within {BAR:.0%}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
