"""Whether memory stays flat from model to film: 10,000 pictures of a tiny Self-Forcing, decoded, measured and filmed.

Run with `python -m tests.benchmarks.filming`. The resident memory after every chunk (glibc's), from the first quarter's
end on, is fitted by a line; what it rises by over the whole video is to be within the noise of the readings around it
(twice their standard deviation).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells, manifest
from harness.engines.inline import Progress, run
from harness.store.store import Store
from suites import drift
from tests import published

PICTURES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--strategy", default="memrope")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    chunks = -(-(asked.pictures + 3) // 12)
    drift.STEADY["gate"] = (3 * chunks, 1)
    resident: list[int] = []
    with tempfile.TemporaryDirectory() as place:
        os.environ["HORIZON_CACHE"] = f"{place}/cache"
        weights = published.make(Path(place, "weights"))
        size = "x".join(map(str, published.SIZE))
        campaign = make_campaign(
            {
                "backbone": "self-forcing", "weights": str(weights), "size": size, "dtype": "float32", "tier": "gate",
                "suites": ["drift"], "strategies": [asked.strategy], "equal_budget": 0,
            }
        )  # fmt: skip
        stage = registry.backbone("self-forcing", weights=weights, size=published.SIZE, dtype="float32")
        planned, store = cells(campaign, stage), Store(Path(place, "run"))
        store.begin(manifest(campaign, stage, planned, "run"))
        process, began = psutil.Process(), time.monotonic()

        # Free memory that the allocator has not returned to the system must not count.
        trim = ctypes.CDLL(None).malloc_trim

        def note(progress: Progress) -> None:
            trim(0)
            resident.append(process.memory_info().rss)

        run(store, stage, planned, save_every=5.0, lossless=True, report=note)
        (cell,) = store.cells()
        files = {path.name: path.stat().st_size for path in cell.files()}
        print(f"{cell.status}: {12 * chunks - 3:,} pictures, {time.monotonic() - began:.0f} s, files {files}")
    readings = np.array(resident[len(resident) // 4 :], float)
    steps = np.arange(len(readings))
    slope, start = np.polyfit(steps, readings, 1)
    noise = 2 * float(np.std(readings - (slope * steps + start)))
    rise = slope * len(readings)
    print(
        f"{len(readings)} readings after the first quarter: {readings[0] / 1e6:.1f} MB to {readings[-1] / 1e6:.1f} MB"
    )
    print(f"slope {slope:.0f} bytes a chunk, {rise / 1e6:+.2f} MB in all; noise ±{noise / 1e6:.2f} MB")
    print("met: flat within noise" if rise <= noise else "MISSED: it grows")
    sys.exit(rise > noise)


if __name__ == "__main__":
    main()
