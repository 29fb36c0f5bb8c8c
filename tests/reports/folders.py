"""Made-up folders of campaigns, with known values of each rollout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness import registry
from harness.store.store import Store
from harness.suite import Sample
from suites.observers import film as camera
from suites.observers import probe as watch

ENVIRONMENT = {
    "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa", "python": "3.11",
    "packages": {}, "code": {},
}  # fmt: skip
COSTS = {"sliding_window": (0.1, 4e6), "memrope": (0.11, 2e6)}
"""Seconds of a chunk and bytes of a cache, by strategy, in a campaign of `cost`."""
ENDS = range(3, 481, 3)


def films(values, lengths=None, metric="psnr"):
    """Rollouts of one metric, by arm: {label: [value of each prompt, None where its film failed]}.

    lengths: latent frames of each prompt's film; 120 where nothing is said.
    """
    return {
        label: [
            (f"prompt {number}", number, 120 if lengths is None else lengths[number], {metric: value})
            for number, value in enumerate(found)
            if value is not None
        ]
        for label, found in values.items()
    }


def campaign(folder, rollouts, *, backbone="self-forcing", seed=0, tables=None, asked=(), suite="drift", cells=None):
    """Write a folder with a cell a rollout.

    rollouts: {label: [(prompt, seed, latent frames, {metric: value, or a function of the window's end})]}. tables: in
    which an arm stands, by label. asked: more of the manifest. cells: more of what each cell says.
    """
    store = Store(Path(folder))
    arms = []
    for label in rollouts:
        name, made = registry.parse_strategy(label)
        where = (tables or {}).get(label, ["as published"])
        arms.append({"label": label, "strategy": name, "knobs": made.knobs(), "tables": where, "weights": None})
    edges = watch.edges if backbone == "pocket" else camera.edges
    whole = {}
    for arm in arms:
        for prompt, number, frames, metrics in rollouts[arm["label"]]:
            samples = [
                Sample(0, metric, end, value(end) if callable(value) else float(value))
                for metric, value in metrics.items()
                for end in edges(frames)
            ]
            about = {
                "backbone": backbone, "strategy": arm["strategy"], "knobs": arm["knobs"], "suite": suite,
                "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok",
                "reason": "", "pictures_per_second": 16, "pictures_per_latent": 4,
                "cost": {"chunk_ms": 20.0, "cache_bytes": 300_000, "seconds": {}, "switches": []},
                "task": {"scenario": "steady", "frames": frames, "given": 0, "forced": False, "boundaries": ["smooth"],
                         "rows": [{"seed": number, "script": [[0, prompt]]}]},
            }  # fmt: skip
            whole[f"{seed}-{arm['label']}-{number}".replace(".", "_").replace("=", "_")] = (about, samples)
    store.begin({
        "name": Path(folder).name,
        "asked": {
            "backbone": backbone, "weights": "w", "dtype": "float32", "tier": "quick", "seed": seed,
            "suite_versions": {suite: "1"}, "arms": arms, "cells": list(whole), **dict(asked),
        },
        "environment": ENVIRONMENT,
    })  # fmt: skip
    for name, (about, samples) in whole.items():
        store.finish(name, {**about, **(cells or {})}, samples, {"strip": np.zeros((1, 1, 3, 8, 8), np.uint8),
                                                                 "frames": np.array([0])})  # fmt: skip
    return Path(folder)


def pocket(values, metric="unsaid_identity", first=100):
    """Rollouts of the pocket at 240 frames: {label: [value of each seed]}."""
    return {
        label: [("a thing", first + number, 240, {metric: value}) for number, value in enumerate(found)]
        for label, found in values.items()
    }


def cost(folder):
    """Write a folder with samples of the cost suites: four launches of two strategies."""
    store = Store(folder)
    knobs = {name: registry.strategy(name).knobs() for name in COSTS}
    arms = [{"label": name, "strategy": name, "knobs": knobs[name], "tables": ["as published"]} for name in COSTS]
    cells = {
        f"{suite}-{name}-{seed}": (suite, name, seed)
        for suite in ("fps", "latency", "vram")
        for name in COSTS
        for seed in range(4)
    }
    asked = {"backbone": "pocket", "tier": "quick", "suite_versions": {"fps": "1"}, "arms": arms, "cells": [*cells]}
    store.begin({"name": "cost", "asked": asked, "environment": ENVIRONMENT})
    for cell, (suite, name, seed) in cells.items():
        about = {
            "backbone": "pocket", "strategy": name, "knobs": knobs[name], "suite": suite, "suite_version": "1",
            "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "status": "ok", "reason": "", "cost": {},
            "machine": {"threads": 1},
            "task": {"scenario": "switches" if suite == "latency" else "stream", "frames": 480, "given": 0,
                     "rows": [{"seed": seed, "script": [[0, "a thing"]]}]},
        }  # fmt: skip
        store.finish(cell, about, _costs(suite, *COSTS[name], seed), {})
    return store.folder


def _costs(suite, seconds, cache, seed):
    rng = np.random.default_rng(seed)
    # What the machine does in a repeat falls on all arms alike.
    pace = {end: seconds * (1 + 0.1 * seed) * (1 + 0.01 * rng.random()) for end in ENDS}
    of = {
        "fps": {
            "chunk_seconds": pace, "decode_seconds": dict.fromkeys(ENDS, 0.01), "start_seconds": {3: 2.0},
            "whole_seconds": {480: 20.0}, "steady_from": {480: 30}, "pixel_frames": {480: 480},
        },
        "latency": {
            "chunk_seconds": {end: value for end, value in pace.items() if end != 300 and end > 3},
            "first_seconds": {3: 0.2}, "switch_seconds": {300: 2 * seconds}, "steady_from": {480: 30},
        },
        "vram": {
            "cache_bytes": dict.fromkeys(ENDS, cache), "resident_bytes": dict.fromkeys(ENDS, 1e8),
            "planned_cache_bytes": {480: cache}, "peak_bytes": {480: 9e6}, "bound_seconds": {480: 0.01},
            "steady_from": {480: 30},
        },
    }[suite]  # fmt: skip
    return [Sample(0, metric, end, float(value)) for metric, curve in of.items() for end, value in curve.items()]
