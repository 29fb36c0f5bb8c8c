"""The oracle replays every golden rollout of the upstream pipelines (spec section 8)."""

import json
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.goldens import WINDOWS

from .rollout import Switch, rollout

CHUNK = 3
TOLERANCE = 2e-5


class Case(NamedTuple):
    """Request for a golden rollout; a switch is the latent frame and kind of the change to prompt b."""

    strategy: str
    knobs: dict[str, Any]
    switch: tuple[int, str] | None = None


SINK: dict[str, Any] = {"window": 12, "sink": 3, "positions": "absolute", "on_switch": "keep"}

CASES = {
    "sf_full": Case("full", {}),
    "sf_window9": Case("sliding_window", {"window": 9, "positions": "absolute", "on_switch": "keep"}),
    "longlive_w12_s3": Case("attention_sink", SINK),
    "longlive_switch14_globalsink": Case("attention_sink", SINK | {"on_switch": "recache"}, (14, "smooth")),
    "longlive_switch14_noglobalsink": Case("attention_sink", SINK | {"on_switch": "recache_all"}, (14, "smooth")),
    "memrope_eviction_w12_s3": Case("attention_sink", SINK | {"positions": "relative"}),
    "memrope_ema_w12_s3": Case("memrope", {"pooling": "chunk", "init": "released"}),
    "memrope_ema_adaptive_w12_s3": Case("memrope", {"pooling": "adaptive", "init": "released"}),
    "infinityrope_w6_s1": Case("infinity_rope", {}),
    "infinityrope_flush_w6_s1": Case("infinity_rope", {}, (12, "smooth")),
    "infinityrope_cut_w6_s1": Case("infinity_rope", {}, (12, "hardcut")),
}


class StoredNoise:
    """The noise that the golden rollouts were made with."""

    def __init__(self, inputs: dict[str, Tensor]) -> None:
        self.inputs = inputs

    def initial(self, chunk_index: int, shape: tuple[int, ...]) -> Tensor:
        """[1, T, 16, 6, 8] cut into chunks."""
        first = chunk_index * CHUNK
        return self.inputs["noise"][:, first : first + CHUNK].view(shape)

    def renoise(self, chunk_index: int, step_index: int, shape: tuple[int, ...]) -> Tensor:
        """[chunks, 3, 3, 16, 6, 8] by chunk and step."""
        return self.inputs["renoise"][chunk_index, step_index].view(shape)


@pytest.mark.parametrize("name", CASES)
def test_golden_rollout(name: str) -> None:
    """Every final latent of the stored rollout, within the tolerance that its README recommends."""
    case = CASES[name]
    config = json.loads((WINDOWS / "config.json").read_text(encoding="utf-8"))["model"]
    inputs = load_file(WINDOWS / "inputs.safetensors")
    expected = load_file(WINDOWS / f"{name}.safetensors")["latents"]
    switches: list[Switch] = []
    if case.switch is not None:
        switches.append((case.switch[0], inputs["prompt_embeds_b"], case.switch[1]))

    latents = rollout(
        load_file(WINDOWS / "weights.safetensors"),
        config,
        strategy=case.strategy,
        knobs=case.knobs,
        prompts=inputs["prompt_embeds_a"],
        latent_frames=expected.shape[1],
        latent_size=(expected.shape[3], expected.shape[4]),
        noise=StoredNoise(inputs),
        switches=switches,
        chunk=CHUNK,
    )

    torch.testing.assert_close(latents, expected, rtol=0.0, atol=TOLERANCE)
