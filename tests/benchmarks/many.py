"""Three thousand small cells: `compare` on them, in seconds and bytes.

    python -m tests.benchmarks.many [FOLDER [CELLS]]

Eight strategies on a backbone whose rollouts are filmed, a cell a film, made up.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from harness import registry
from harness.campaign.campaign import PUBLISHED
from harness.store.store import Store
from harness.suite import Sample
from suites.observers.film import edges
from tests.benchmarks.million import COST, ENVIRONMENT, measured

ARMS = tuple(registry.found("strategies"))
METRICS = ("psnr", "ssim", "sharpness", "colour_distance", "change", "guard", "seam", "dino", "clip", "lpips")
FRAMES = 120


def make(folder: Path, count: int, frames: int = FRAMES) -> None:
    """Write the folder of a campaign of so many cells."""
    store, rng = Store(folder), np.random.default_rng(0)
    knobs = {name: registry.strategy(name).knobs() for name in ARMS}
    names = [f"{ARMS[number % len(ARMS)]}-{number // len(ARMS)}" for number in range(count)]
    arms = [
        {"label": name, "strategy": name, "knobs": knobs[name], "tables": [PUBLISHED], "weights": None} for name in ARMS
    ]
    asked = {
        "backbone": "self-forcing", "weights": "w", "dtype": "float32", "tier": "full", "seed": 0, "arms": arms,
        "suite_versions": {"drift": "1"}, "cells": names,
    }  # fmt: skip
    plan = {cell: [cell.rpartition("-")[0], "drift", "steady", frames, 1] for cell in names}
    store.begin({"name": "many", "asked": asked, "environment": ENVIRONMENT, "plan": plan})
    for cell in names:
        strategy, _, number = cell.rpartition("-")
        about = {
            "backbone": "self-forcing", "strategy": strategy, "knobs": knobs[strategy], "suite": "drift",
            "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok",
            "reason": "", "cost": COST,
            "task": {"scenario": "steady", "frames": frames, "given": 0, "forced": False, "boundaries": ["smooth"],
                     "rows": [{"seed": int(number), "script": [[0, f"prompt {number}"]]}]},
        }  # fmt: skip
        samples = [
            Sample(0, metric, end, float(value))
            for metric in METRICS
            for end, value in zip(edges(frames), rng.random(len(edges(frames))), strict=True)
        ]
        store.finish(cell, about, samples, {})


def main() -> None:
    """Make the folder, and run the command on it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/many")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    if not (folder / "manifest.json").exists():
        make(folder, count)
    seconds, most, code = measured("compare", str(folder))
    print(f"horizon compare of {count:,} cells: {seconds:.1f} s, at most {most:.2f} GB, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
