"""Where the published code's numbers are, and how a rollout replays them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.backbone.wan import CausalWan, WanConfig

FOLDER = Path(os.environ.get("HORIZON_GOLDENS", Path(__file__).resolve().parents[2] / "shared" / "goldens"))
WINDOWS = FOLDER / "windows"
needs_windows = pytest.mark.skipif(
    not WINDOWS.is_dir(), reason=f"{WINDOWS} is not there; set HORIZON_GOLDENS to the folder of the published numbers"
)


class Replayed:
    """The stored noise: one run of latents, and what was drawn after each step of each chunk."""

    def __init__(self, noise: Tensor, renoise: Tensor) -> None:
        self.noise, self.drawn = noise, renoise

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return self.noise[:, chunk * shape[1] : (chunk + 1) * shape[1]]

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self.drawn[chunk, step][None]


def load(name: str) -> dict[str, Tensor]:
    return load_file(WINDOWS / f"{name}.safetensors")


def model() -> CausalWan:
    config = json.loads((WINDOWS / "config.json").read_text())["model"]
    wan = CausalWan(WanConfig.from_json(config))
    wan.load_state_dict(load("weights"))
    return wan.requires_grad_(False)


def noise() -> Replayed:
    inputs = load("inputs")
    return Replayed(inputs["noise"], inputs["renoise"])


def prompts() -> tuple[Tensor, Tensor]:
    inputs = load("inputs")
    return inputs["prompt_embeds_a"], inputs["prompt_embeds_b"]
