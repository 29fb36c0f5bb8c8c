"""Numbers that published code computed (see README.md), and the noise and requests of rollouts that replay them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.backbone.wan import CausalWan, WanConfig

FOLDER = Path(__file__).parent
WINDOWS, SCENES, SINKS, BANKS, HEADS = (FOLDER / name for name in ("windows", "scenes", "sinks", "banks", "heads"))


class Replayed:
    """The stored noise: one run of latents, and what was drawn after each step of each chunk."""

    def __init__(self, noise: Tensor, renoise: Tensor) -> None:
        self.noise, self.drawn = noise, renoise

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return self.noise[:, chunk * shape[1] : (chunk + 1) * shape[1]]

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self.drawn[chunk, step][None]


def load(name: str, folder: Path = WINDOWS) -> dict[str, Tensor]:
    return load_file(folder / f"{name}.safetensors")


def model() -> CausalWan:
    config = json.loads((WINDOWS / "config.json").read_text(encoding="utf-8"))["model"]
    wan = CausalWan(WanConfig.from_json(config))
    wan.load_state_dict(load("weights"))
    return wan.requires_grad_(False)


def noise() -> Replayed:
    inputs = load("inputs")
    return Replayed(inputs["noise"], inputs["renoise"])


def prompts() -> tuple[Tensor, Tensor]:
    inputs = load("inputs")
    return inputs["prompt_embeds_a"], inputs["prompt_embeds_b"]


def scenes_model() -> CausalWan:
    """The tiny model on which Echo-Forcing and Echo-Infinity were run."""
    wan = CausalWan(WanConfig(dim=96, ffn_dim=192, num_heads=4, num_layers=3, text_dim=32, text_len=8, freq_dim=32))
    wan.load_state_dict({name: x.float() for name, x in load("ef_weights", SCENES).items()})
    return wan.requires_grad_(False)


def scenes_noise() -> Replayed:
    inputs = load("ef_inputs", SCENES)
    steps = torch.stack([inputs[f"renoise{step}"].float() for step in range(3)])  # [3, 1, 108, 16, 8, 8]
    return Replayed(inputs["noise"].float(), steps[:, 0].unflatten(1, (-1, 3)).transpose(0, 1))


class Around(Replayed):
    """Noise of more chunks than are stored: begun again from the first one."""

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return super().initial(chunk % len(self.drawn), shape)

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return super().renoise(chunk % len(self.drawn), step, shape)


def sinks_noise() -> Around:
    """The noise with which Deep Forcing, Rolling Sink and EMA-Sink were run, on the model of the windows."""
    inputs = load("inputs_long", SINKS)
    return Around(inputs["noise"].float(), inputs["renoise"].float())


def banks_noise() -> Replayed:
    """The noise with which the cases of `banks` and `heads` were run, on the model of the windows."""
    inputs = load("long_inputs", BANKS)
    return Replayed(inputs["noise"].float(), inputs["renoise"].float())


def banks_prompts() -> dict[str, Tensor]:
    """Prompts by the names that `banks_case` gives them."""
    inputs = load("long_inputs", BANKS)
    return {name: inputs[f"prompt_embeds_{name}"] for name in "ab"}


def banks_case(name: str) -> dict[str, Any]:
    """How a case of `banks` or `heads` was run: frames, knobs, prompts and where they take effect."""
    return json.loads((BANKS / "config.json").read_text(encoding="utf-8"))["cases"][name]
