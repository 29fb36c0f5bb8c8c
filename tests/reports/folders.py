"""Campaigns' folders made up: what was measured is known, down to each rollout."""

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
