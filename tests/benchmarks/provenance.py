"""Time of provenance at a campaign's start: digests of the code of all cells, and the environment.

python -m tests.benchmarks.provenance [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = """
import time
from harness import registry
from harness.provenance.environment import environment
from harness.provenance.code import code_of
backbone = registry.backbone("pocket")
suites = [registry.load("suites", name)() for name in ("drift", "interactive", "distance")]
strategies = [registry.strategy(name) for name in registry.found("strategies")]
[suite.instruments() for suite in suites]
began, used = time.perf_counter(), time.process_time()
environment(backbone)
for suite in suites:
    for strategy in strategies:
        code_of(strategy, suite, "pocket")
print(time.perf_counter() - began, time.process_time() - used)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = []
    for _ in range(parser.parse_args().runs):
        # Each measurement has its own process, because a process caches its digests.
        done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, encoding="utf-8")
        runs.append([float(word) for word in done.stdout.split()])
    wall, own = (statistics.median(values) for values in zip(*runs, strict=True))
    print(f"digests and environment: {wall:.3f} s, {own:.3f} s of this process (median of {len(runs)})")


if __name__ == "__main__":
    main()
