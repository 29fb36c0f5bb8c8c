"""A campaign as large as the default one, made up: every strategy under the default suites, with small films.

    python -m tests.page.showcase FOLDER [ROWS]

Prompts, seeds and true pictures are those of the suites; how well each arm keeps a scene is invented.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from harness import registry
from harness.backbone.request import BackboneRequest
from harness.campaign.campaign import EQUAL, PUBLISHED
from harness.films.small import SmallFilm
from harness.store.store import Store
from harness.suite import Sample, Task
from suites.drift import Drift
from suites.interactive import Interactive
from suites.observers.probe import edges
from suites.observers.truth import truth_of

LASTS = {
    "attention_sink": 58, "deep_forcing": 52, "dummy_forcing": 9, "echo_forcing": 44, "echo_infinity": 56,
    "ema_sink": 47, "forcing_kv": 36, "full": 60, "infinity_rope": 28, "longlive_rag": 55, "memflow": 50, "memrope": 60,
    "quantized": 58, "rolling_sink": 60, "sliding_window": 14, "videomla": 12,
}  # fmt: skip
"""Seconds for which an arm keeps a scene, about."""
SIZES = {name: 200_000 + 31_000 * number for number, name in enumerate(LASTS)} | {"full": 4_200_000}
ENVIRONMENT = {
    "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa", "python": "3.11",
    "packages": {"torch": "2.13.0"}, "code": {"commit": "0123456789abcdef"},
}  # fmt: skip


class Same:
    """Decoder of pictures that are decoded already."""

    def __call__(self, pictures):
        return pictures

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def arms(names):
    """The arms of a manifest: every strategy, and a variant at the equal budget."""
    made = [
        {"label": name, "strategy": name, "knobs": registry.strategy(name).knobs(), "tables": [PUBLISHED, EQUAL],
         "weights": {"about": "untrained, SVD only"} if name == "videomla" else None}
        for name in names
    ]  # fmt: skip
    if "memrope" in names:
        knobs = registry.strategy("memrope", window=9).knobs()
        made.append({"label": "memrope.window=9", "strategy": "memrope", "knobs": knobs, "tables": [EQUAL],
                     "weights": None})  # fmt: skip
    return made


def make(folder: Path, names=tuple(LASTS), films: bool = True, rows: int | None = None) -> Path:
    """Write the campaign's folder. rows: rollouts of each cell; by default those of tier "quick"."""
    backbone = registry.open_backbone(BackboneRequest(name="pocket"))
    tasks = [(suite.name, suite.version, task) for suite in (Drift(), Interactive())
             for task in suite.tasks(backbone, "quick")]  # fmt: skip
    tasks = [(suite, version, _cut(task, rows)) for suite, version, task in tasks]
    every = arms(names)
    cells = {
        f"{number:03d}-{arm['label'].replace('.', '-').replace('=', '-')}": (arm, *each)
        for number, each in enumerate(tasks)
        for arm in every
    }
    asked = {
        "backbone": "pocket", "weights": "w", "dtype": "float32", "tier": "quick", "seed": 0, "arms": every,
        "suite_versions": {"drift": Drift.version, "interactive": Interactive.version}, "cells": [*cells, "oom"],
        "known_world": True,
    }  # fmt: skip
    store = Store(folder)
    store.begin({"name": "showcase", "asked": asked, "environment": ENVIRONMENT, "when": "2026-01-01"})
    for place, (cell, (arm, suite, version, task)) in enumerate(cells.items()):
        rng = np.random.default_rng([place // len(every), len(arm["label"])])
        lasts = LASTS[arm["strategy"]] * (0.8 if arm["label"] != arm["strategy"] else 1)
        samples = list(_drift(task, lasts, rng) if suite == "drift" else _interactive(task, lasts, rng))
        if films:
            _film(store, cell, backbone, task, lasts)
        turns = [{"passes": 1, "frames": 9, "bytes": 0, "seconds": 0.002 * lasts}] * (len(task.boundaries) > 1)
        about = {
            "backbone": "pocket", "strategy": arm["strategy"], "arm": arm["label"], "knobs": arm["knobs"],
            "knobs_set": {"window": 9} if "." in arm["label"] else {}, "suite": suite, "suite_version": version,
            "skipped_metrics": {"clip": "needs weights: pip install 'horizon-bench[perceptual]'"},
            "seconds_per_latent_frame": 0.25, "pictures_per_second": 4.0, "pictures_per_latent": 1, "status": "ok",
            "reason": "", "task": _plain(task),
            "cost": {"chunk_ms": 12 + SIZES[arm["strategy"]] / 4e4, "cache_bytes": SIZES[arm["strategy"]],
                     "seconds": {}, "switches": turns},
        }  # fmt: skip
        store.finish(cell, about, samples, {})
    store.finish("oom", {**about, "status": "oom", "reason": "needs 9 GB of 8 GB", "cost": {}}, (), {})
    return folder


def _cut(task: Task, rows: int | None) -> Task:
    return Task(task.scenario, task.frames, task.given, task.rows[:rows], task.boundaries)


def _plain(task: Task):
    rows = [{"seed": row.seed, "script": [list(each) for each in row.script]} for row in task.rows]
    return {"scenario": task.scenario, "frames": task.frames, "given": task.given, "forced": False, "rows": rows,
            "boundaries": list(task.boundaries)}  # fmt: skip


def _drift(task: Task, lasts: float, rng):
    covered = task.scenario in ("occlusion", "intermittent")
    starts = [start for start, _ in task.rows[0].script]
    for row in range(len(task.rows)):
        lost = lasts * 4 * rng.uniform(0.8, 1.2) if lasts < 60 else 1e9
        for end in edges(task.frames):
            level = 1.0 if end < lost else max(0.12, 1 - (end - lost) / 60) * rng.uniform(0.9, 1)
            scene = max(place for place, start in enumerate(starts) if start < end)
            hidden = covered and scene % 2 == 1
            for metric in ("unsaid_identity", "identity", "motion", "latest", "reverted", "guard"):
                changing = task.scenario in ("evolve", "accumulate")
                if metric in ("latest", "reverted") and not changing:
                    continue
                value = {"motion": 0.97, "reverted": 0.6 * (1 - level), "guard": 1.0}.get(metric, level)
                yield Sample(row, metric, end, None if hidden else round(float(value), 4))


def _interactive(task: Task, lasts: float, rng):
    starts = [start for start, _ in task.rows[0].script]
    stops = [*starts[1:], task.frames]
    quality = min(1.0, lasts / 60)
    for row in range(len(task.rows)):
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            for end in range(start + 3, stop + 1, 3):
                yield Sample(row, "first_scene", end, round(float(rng.uniform(0.9, 1) if not number else 0.2), 3))
                if number:
                    level = min(1.0, (end - start) / 9) * (0.6 + 0.4 * quality)
                    yield Sample(row, "new_scene", end, round(float(level * rng.uniform(0.95, 1)), 3))
                    yield Sample(row, "old_scene", end, round(float((1 - level) * rng.uniform(0.9, 1)), 3))
            if number:
                follows = rng.random() < 0.5 + 0.5 * quality
                yield Sample(row, "response", start, float(rng.integers(3, 9)) if follows else 21.0)
                yield Sample(row, "responded", start, float(follows))
                yield Sample(row, "leakage_12", start, float(rng.uniform(0, 0.3)))
                yield Sample(row, "jump", start, float(rng.uniform(0, 0.1)))
                if task.boundaries[number] == "recall":
                    yield Sample(row, "recall", start, float(rng.uniform(0.2, 0.3) + 0.6 * quality))
                    yield Sample(row, "reverted", start, float(rng.uniform(0, 0.3)))
            yield Sample(row, "constancy", start, float(rng.uniform(0.85, 1)))


def _film(store: Store, cell: str, backbone, task: Task, lasts: float):
    """Write the true pictures of the first row, which fade from the second at which the arm forgets."""
    pictures = truth_of(backbone.world, _cut(task, 1), task.frames).pixels
    fade = ((torch.arange(task.frames) / 4 - lasts) / 10).clamp(0, 0.85)[None, :, None, None, None]
    film = SmallFilm(Same(), task.frames, 4.0)
    film.see(pictures * (1 - fade) + fade * pictures.roll(1, 2).flip(-1))
    film.write(store.workspace(cell))


if __name__ == "__main__":
    make(Path(sys.argv[1]), rows=int(sys.argv[2]) if len(sys.argv) > 2 else None)
