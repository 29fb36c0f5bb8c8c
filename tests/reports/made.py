"""Made-up evidence for the gate, with known values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from reports.gate.evidence import COLUMNS, Evidence

MANIFEST = {
    "name": "made",
    "asked": {
        "backbone": "pocket", "weights": "w", "dtype": "float32", "tier": "gate", "seed": 0,
        "suite_versions": {"drift": "1", "latency": "1", "vram": "1"},
        "arms": [{"label": name, "knobs": {"window": 12}, "weights": None} for name in ("memrope", "videomla")],
        "cells": [],
    },
    "environment": {
        "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa",
        "python": "3.11.2", "packages": {"torch": "2.13.0"}, "code": {"commit": "0123456789abcdef"},
    },
    "beside": "made",
}  # fmt: skip
NUMBERS = {
    ("drift", "steady", "unsaid_identity"): ("share", "higher", 240),
    ("latency", "switches", "chunk_p50_ms"): ("ms", "lower", 96),
    ("vram", "stream", "cache_bytes"): ("B", "lower", 45),
}


def evidence(values, manifest=MANIFEST, source="made", **about):
    """values: {(arm, metric): values of its rollouts or launches}."""
    rows = []
    for (arm, metric), given in values.items():
        (suite, scenario), (unit, better, frames) = next((k[:2], v) for k, v in NUMBERS.items() if k[2] == metric)
        repeats = range(len(given)) if suite != "drift" else [0] * len(given)
        for number, (repeat, value) in enumerate(zip(repeats, given, strict=True)):
            seed = 100 + number if suite == "drift" else repeat
            rows.append(
                (arm, suite, scenario, frames, frames / 4, metric, unit, better, "a thing", seed, repeat, float(value))
            )
    return Evidence(Path(source), manifest, pd.DataFrame(rows, columns=list(COLUMNS)), **about)


def launches(seed, count=6, level=20.0, noise=0.008):
    """Milliseconds of so many launches."""
    return level * np.exp(np.random.default_rng(seed).normal(0, noise, count))


def whole(seed, arms=("memrope", "videomla"), slower=(), larger=(), forgetful=()):
    """Return a run of every metric, in which the given arms are a tenth slower, larger, or forget a tenth."""
    rng = np.random.default_rng(1000)
    values = {}
    for number, arm in enumerate(arms):
        identity = rng.uniform(0.5, 0.9, 16) - 0.1 * (arm in forgetful) * rng.uniform(0.5, 1.5, 16)
        values[arm, "unsaid_identity"] = identity
        values[arm, "chunk_p50_ms"] = launches(100 * seed + number) * (1.1 if arm in slower else 1)
        values[arm, "cache_bytes"] = [266_240 * (1.1 if arm in larger else 1)] * 2
    return values
