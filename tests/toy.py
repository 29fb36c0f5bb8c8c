"""A suite and a backbone so small that a whole campaign takes a second."""

from __future__ import annotations

import hashlib

import torch

from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.suite import Metric, QualitySuite, Row, Sample, Task
from harness.verify.bench import CONFIG, LATENT_SIZE

ASKED = {
    "backbone": "toy", "weights": "0", "dtype": "float32", "tier": "quick", "seed": 0, "suite_versions": {"toy": "1"},
    "arms": [], "cells": [],
}  # fmt: skip
"""What a manifest says was asked for."""
ABOUT = {
    "status": "ok", "reason": "", "backbone": "toy", "strategy": "full", "knobs": {}, "suite": "toy",
    "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25, "cost": {},
    "task": {"scenario": "plain", "frames": 6, "given": 0, "rows": [{"seed": 0, "script": [[0, "a"]]}],
             "boundaries": ["smooth"], "forced": False},
}  # fmt: skip
"""What a finished cell says of itself."""


def encode(prompts):
    """Embeddings that are a function of the prompt's text."""
    rows = []
    for prompt in prompts:
        seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")
        rows.append(torch.randn(CONFIG.text_len, CONFIG.text_dim, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(rows)


def backbone(**changes):
    model = scramble(CausalWan(CONFIG)).requires_grad_(False)
    return Backbone(**{"model": model, "name": "toy", "latent_size": LATENT_SIZE, "text": encode, **changes})


class Watch:
    """Keeps the mean of every chunk of every row."""

    def __init__(self, task):
        self.task, self.taken, self.kept = task, [], []

    def see(self, latents, start):
        stop = start + latents.shape[1]
        self.taken += [Sample(row, "level", stop, float(x.mean())) for row, x in enumerate(latents)]
        self.kept.append(latents[:1, 0].clone())

    def samples(self):
        return self.taken

    def pictures(self):
        return {"first": torch.cat(self.kept).numpy()}

    def state_dict(self):
        return {"taken": [list(sample) for sample in self.taken], "kept": list(self.kept)}

    def load_state_dict(self, state):
        self.taken, self.kept = [Sample(*sample) for sample in state["taken"]], list(state["kept"])


class Toy(QualitySuite):
    """Two tasks, one with a switch."""

    name = "toy"
    version = "1"
    metrics = property(lambda self: {"level": Metric("1", "neither", "mean of the latents")})
    tiers = ("quick",)

    def tasks(self, backbone, tier, seed=0):
        rows = tuple(Row(seed + each, ((0, f"a {each}"),)) for each in range(2))
        turn = (Row(seed, ((0, "a"), (9, "b"))),)
        return [Task("plain", 30, 0, rows), Task("turn", 18, 3, turn, ("smooth", "hardcut"))]

    def given(self, backbone, task):
        generator = torch.Generator().manual_seed(1)
        return torch.randn(len(task.rows), task.given, 4, *LATENT_SIZE, generator=generator) if task.given else None

    def observer(self, backbone, task, place):
        return Watch(task)

    def scores(self, samples):
        return samples[samples["at_frame"] == samples["horizon_latent_frames"]]
