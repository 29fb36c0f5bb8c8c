"""A million records: `compare` and `gate` on them, in seconds and bytes.

    python -m tests.benchmarks.million [FOLDER]

Eight strategies under drift (300 rollouts of four minutes each) and fps (videos of an hour), made up.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from harness import registry
from harness.campaign.campaign import EQUAL, PUBLISHED
from harness.store.store import Store
from harness.suite import Sample
from suites.drift import LEVELS
from suites.observers.probe import edges

ARMS = (
    "attention_sink", "echo_forcing", "echo_infinity", "full", "infinity_rope", "memrope", "sliding_window", "videomla",
)  # fmt: skip
ENVIRONMENT = {
    "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa", "python": "3.11",
    "packages": {}, "code": {},
}  # fmt: skip
COST = {"chunk_ms": 20.0, "switches": [], "cache_bytes": 266_240, "seconds": {}}
TASKS = {("drift", "steady"): (960, 64, 3), ("drift", "steady-said"): (960, 36, 3), ("fps", "stream"): (14_400, 1, 5)}
"""Latent frames, rollouts in a cell, and cells of each strategy."""


def make(folder: Path, seed: int) -> int:
    """Write the folder of a campaign; returns the number of its records."""
    store, rng, count = Store(folder), np.random.default_rng(seed), 0
    knobs = {name: registry.strategy(name).knobs() for name in ARMS}
    cells = {
        f"{suite}-{scenario}-{name}-{number}": (suite, scenario, name, number)
        for (suite, scenario), (*_, several) in TASKS.items()
        for name in ARMS
        for number in range(several)
    }
    arms = [
        {"label": name, "strategy": name, "knobs": knobs[name], "tables": [PUBLISHED, EQUAL], "weights": None}
        for name in ARMS
    ]
    asked = {
        "backbone": "pocket", "weights": "w", "dtype": "float32", "tier": "full", "seed": 0, "arms": arms,
        "suite_versions": {"drift": "1", "fps": "1"}, "cells": list(cells),
    }  # fmt: skip
    store.begin({"name": "million", "asked": asked, "environment": ENVIRONMENT, "beside": "million"})
    for cell, (suite, scenario, name, number) in cells.items():
        frames, rows, _ = TASKS[suite, scenario]
        if suite == "drift":
            samples = [
                Sample(row, metric, int(end), float(value))
                for row in range(rows)
                for metric in LEVELS
                for end, value in zip(edges(frames), rng.random(len(edges(frames))), strict=True)
            ]
        else:
            ends = range(3, frames + 1, 3)
            seconds = 0.02 * np.exp(rng.normal(0, 0.1, len(ends)))
            samples = [Sample(0, "chunk_seconds", end, float(value)) for end, value in zip(ends, seconds, strict=True)]
            for metric, value in (("steady_from", 30.0), ("pixel_frames", 57_597.0), ("whole_seconds", 100.0),
                                  ("start_seconds", 3.0)):  # fmt: skip
                samples.append(Sample(0, metric, frames, value))
        first = 1000 * number
        about = {
            "backbone": "pocket", "strategy": name, "knobs": knobs[name], "suite": suite, "suite_version": "1",
            "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "",
            "cost": COST if suite == "drift" else {},
            "task": {"scenario": scenario, "frames": frames, "given": 3 if suite == "drift" else 0, "forced": False,
                     "boundaries": ["smooth"],
                     "rows": [{"seed": first + row, "script": [[0, "a thing"]]} for row in range(rows)]},
        }  # fmt: skip
        store.finish(cell, about, samples, {})
        count += len(samples)
    return count


def measured(*words: str) -> tuple[float, float, int]:
    """Return the seconds, the largest number of gigabytes, and the exit code of a command."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "harness.cli", *words], stdout=subprocess.DEVNULL)
    code = process.wait()
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, code


def main() -> None:
    """Make two folders, and run both commands on them."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/million")
    for number, side in enumerate(("base", "head")):
        if not (root / side / "manifest.json").exists():
            print(f"{side}: {make(root / side, number):,} records", flush=True)
    # The system gives the peak of all children so far, so the command that takes less memory comes first.
    for words in (("gate", str(root / "head"), "--baseline", str(root / "base")), ("compare", str(root / "head"))):
        seconds, most, code = measured(*words)
        print(f"horizon {words[0]}: {seconds:.1f} s, at most {most:.2f} GB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
